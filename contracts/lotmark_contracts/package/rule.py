"""A compiled rule: what it listens to, what it computes, and what it may do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lotmark_contracts.package.projection import Projection
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
    name: str
    family: str
    key: Placed
    default: Value
    projection: Projection  # of what a newer version may have kept
    check: Check
    size_max: int  # that `measured` never says more of its value


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
class Account:
    """An account that a payment is taken from, or given to."""

    family: str
    name: Placed
    is_of_party: bool  # its name is that of a party, which has to be bound by the rules


@dataclass(frozen=True, slots=True)
class Pay:
    """Moves an amount from one account to another."""

    amount: Placed
    currency: Placed
    debit: Account
    credit: Account
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
class StartTimer:
    """Sets a timer, in place of the one under the same name and key."""

    name: str
    key: Placed
    at: Placed  # ledger time
    fields: Mapping[str, Placed]
    check: Check  # that the fields are within the bounds of the timer's type


@dataclass(frozen=True, slots=True)
class StopTimer:
    """Takes a timer back."""

    name: str
    key: Placed


@dataclass(frozen=True, slots=True)
class Loop:
    """The list for each of whose items an effect is made."""

    item_slot: int
    index_slot: int | None
    items: Placed


Action = Pay | Keep | Alert | WorkOrder | StartTimer | StopTimer


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule does, for each item of a list, and where a condition holds."""

    loop: Loop | None
    condition: Placed | None
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule, compiled."""

    name: str
    title: str
    event_type: str  # or the timer's name
    is_on_timer: bool
    is_guard: bool  # asked before an event's outcome is fixed; it refuses, and does nothing else
    early_checks: Mapping[str, tuple[Check, bool]]  # of the fields that `when` names
    event_check: Check
    event_projection: Projection
    envelope_names: tuple[str, ...]  # of `ENVELOPE_NAMES` those that the package declares
    when: Placed | None
    claim: Placed | None
    claim_text: str  # as it is written; empty: there is none
    once: Placed | None  # None: of a guard
    reads: tuple[Read, ...]
    steps: tuple[Step | TableStep, ...]
    skip: Placed | None
    refusals: tuple[Refusal, ...]
    effects: tuple[Effect, ...]
    slot_count: int
    worst_gas: int
    names: frozenset[str]  # of the variables that it uses
    early_names: frozenset[str]  # of those that it uses before it knows that it is concerned
