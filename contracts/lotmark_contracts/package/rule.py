"""A compiled rule: what it listens to, what it computes, and what it may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lotmark_contracts.package.table import Table
from lotmark_contracts.package.value_check import Check
from lotmark_contracts.wcel.compiler import Program
from lotmark_contracts.wcel.values import Value


class Slot:
    """Where the variables that every rule has stand in its frame."""

    EVENT = 0
    AUTHOR = 1
    NOW = 2
    HEIGHT = 3
    PARAMS = 4
    PROVENANCE = 5
    PARTIES = 6


class AlertLevel(StrEnum):
    """How soon somebody has to look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression of a rule, and what receipts call its place: "let.share", "then[2].pay"."""

    place: str
    program: Program


@dataclass(frozen=True, slots=True)
class Read:
    """A kept value that a rule reads before it computes."""

    slot: int
    family: str
    key: Placed
    default: Value


@dataclass(frozen=True, slots=True)
class Step:
    """A named expression."""

    slot: int
    name: str
    expression: Placed


@dataclass(frozen=True, slots=True)
class TableStep:
    """A named decision of a table."""

    slot: int
    name: str
    table: Table
    inputs: tuple[Placed, ...]  # in the order of the table's columns


@dataclass(frozen=True, slots=True)
class Refusal:
    """A condition under which nothing happens but a receipt that says why."""

    condition: Placed
    reason: str


@dataclass(frozen=True, slots=True)
class Pay:
    """Moves an amount from one account to another."""

    amount: Placed
    currency: Placed
    debit_family: str
    debit_name: Placed
    credit_family: str
    credit_name: Placed
    memo: Placed | None


@dataclass(frozen=True, slots=True)
class Keep:
    """Keeps a value under a key."""

    family: str
    key: Placed
    value: Placed | Mapping[str, Placed]  # or each field of a record
    check: Check  # that the value is within the bounds of the family's type


@dataclass(frozen=True, slots=True)
class Alert:
    """Tells somebody."""

    text: Placed
    level: AlertLevel


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """Asks somebody to do something."""

    text: Placed
    assignee: Placed


@dataclass(frozen=True, slots=True)
class Loop:
    """The list for each of whose items an effect is made."""

    item_slot: int
    index_slot: int | None
    items: Placed


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule does, for each item of a list, and where a condition holds."""

    loop: Loop | None
    condition: Placed | None
    action: Pay | Keep | Alert | WorkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, compiled."""

    name: str
    title: str
    event_type: str
    early_checks: Mapping[str, tuple[Check, bool]]  # of the fields that `when` names
    event_check: Check
    when: Placed | None
    once: Placed
    reads: tuple[Read, ...]
    steps: tuple[Step | TableStep, ...]
    skip: Placed | None
    refusals: tuple[Refusal, ...]
    effects: tuple[Effect, ...]
    slot_count: int
    worst_gas: int
    names: frozenset[str]  # of the variables that it uses
