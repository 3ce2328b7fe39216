"""Reads a package's test: a story of events with the receipts, balances and values expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from lotmark_contracts.execution.inputs import Ancestor, Event, Party
from lotmark_contracts.package.builtin_types import (
    ANCESTORS_MAX,
    ITEM_LENGTH_MAX,
    NAME_LENGTH_MAX,
    PARTIES_MAX,
)
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN
from lotmark_contracts.wcel.values import Value

STEPS_MAX = 500
EXPECTED_MAX = 64  # of each kind, a step


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A block: an event, or a time that is waited for, and what is expected of it."""

    node: Node
    event: Event | None
    now_ms: int
    expected: Mapping[str, Node]  # receipts, because, balances, state, alerts, work_orders


@dataclass(frozen=True, slots=True)
class Scenario:
    """A test of a package."""

    path: str
    title: str
    node: Node
    parties: tuple[Party, ...]
    approved_by: frozenset[str] | None  # ids of parties; None: all of them
    steps: tuple[Step, ...]


def read_scenario(node: Node) -> Scenario:
    """Return a test.

    Raises:
        PackageRefused: It is malformed.
    """
    fields = node.fields(("title", "steps"), ("parties", "approved_by"))
    party_nodes = fields["parties"].items(PARTIES_MAX) if "parties" in fields else ()
    parties = tuple(map(_party, party_nodes))
    step_nodes = fields["steps"].items(STEPS_MAX, count_min=1)
    steps = tuple(_step(each, number) for number, each in enumerate(step_nodes, 1))
    for each, (before, after) in zip(step_nodes[1:], pairwise(steps), strict=True):
        if after.now_ms < before.now_ms:
            members = each.members()
            time = members["wait_until" if "wait_until" in members else "now"]
            raise time.refused("ledger time never goes back")
    return Scenario(
        node.file.path,
        fields["title"].text(200),
        fields["steps"],
        parties,
        _approved_by(fields.get("approved_by"), [party.id for party in parties]),
        steps,
    )


def _party(node: Node) -> Party:
    fields = node.fields(("id", "role"))
    return Party(fields["id"].text(NAME_LENGTH_MAX), fields["role"].text(NAME_LENGTH_MAX))


def _approved_by(node: Node | None, parties: Sequence[str]) -> frozenset[str] | None:
    if node is None:
        return None
    approved = []
    for each in node.items(PARTIES_MAX):
        if each.text(NAME_LENGTH_MAX) not in parties:
            raise each.refused(f"{each.text()!r} is no party{suggest(each.text(), parties)}")
        approved.append(each.text())
    return frozenset(approved)


def _step(node: Node, number: int) -> Step:
    if "wait_until" in node.members():
        fields = node.fields(("wait_until", "expect"))
        return Step(
            node=node,
            event=None,
            now_ms=fields["wait_until"].integer(0, INT_MAX),
            expected=_expected(fields["expect"]),
        )
    fields = node.fields(("event", "now", "data", "expect"), ("id", "author", "provenance"))
    nodes = fields["provenance"].items(ANCESTORS_MAX) if "provenance" in fields else ()
    ancestors = tuple(map(_ancestor, nodes))
    fields["data"].members()
    event = Event(
        id=fields["id"].text(100) if "id" in fields else f"step-{number}",
        type=fields["event"].text(),
        author=fields["author"].text(NAME_LENGTH_MAX) if "author" in fields else "",
        fields=cast("dict[str, Value]", fields["data"].plain()),
        provenance=lambda: ancestors,
    )
    return Step(
        node=node,
        event=event,
        now_ms=fields["now"].integer(0, INT_MAX),
        expected=_expected(fields["expect"]),
    )


def _expected(node: Node) -> Mapping[str, Node]:
    return node.fields(("receipts",), ("because", "balances", "state", "alerts", "work_orders"))


def _ancestor(node: Node) -> Ancestor:
    fields = node.fields(("item", "entry", "recorded_at"), ("depth", "event_type", "party"))

    def text(name: str, length_max: int) -> str:
        return fields[name].text(length_max) if name in fields else ""

    return Ancestor(
        item=text("item", ITEM_LENGTH_MAX),
        depth=fields["depth"].integer(0, 1_000) if "depth" in fields else 0,
        entry=fields["entry"].integer(0, INT_MAX),
        event_type=text("event_type", NAME_LENGTH_MAX),
        party=text("party", NAME_LENGTH_MAX),
        recorded_at_ms=fields["recorded_at"].integer(INT_MIN, INT_MAX),
    )
