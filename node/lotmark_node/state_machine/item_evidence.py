"""What the ledger has on record of items and of what they were made of, as rules ask for it.

Evidence is kept as rows of its own: entries of types that say something about a lot or unit as a
whole, and of those that packages in force ask for. Measurements by the thousand are found by the
provenance index, which rules cannot wait for.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.item_name import canonical_item
from lotmark.state_rows import Table, row_key, split_row_key
from lotmark.v1 import event_pb2
from lotmark_contracts.execution.inputs import Ancestor
from lotmark_contracts.package.builtin_types import ANCESTORS_MAX
from lotmark_node.state_machine.contract_rows import (
    evidence_key,
    evidence_value,
    parse_evidence_value,
)
from lotmark_node.state_machine.state import StateChanges
from lotmark_node.state_machine.tables import Relation, parse_edge_value

EVIDENCE_TYPES = frozenset(
    EVENT_TYPES[body]
    for body in (
        "lot_created",
        "material_receipt",
        "incoming_inspection",
        "report_seal",
        "part_analysis",
    )
)
DEPTH_MAX = 8
ITEMS_MAX = 256  # that a closure goes through
ROWS_MAX = 1_024  # that it looks at
# Of an item, a party and a type the first ones: nobody can hide what others have on record. Of
# types that only a package asks for, such as measurements by the thousand, just the first one.
ENTRIES_MAX = 8

_USED = event_pb2.ITEM_ROLE_USED
_BODY_NAMES = {number: body for body, number in EVENT_TYPES.items()}
_ENDED = {
    Relation.AGGREGATION_ENDED: Relation.AGGREGATED,
    Relation.ASSOCIATION_ENDED: Relation.ASSOCIATED,
}


def put_evidence(
    changes: StateChanges, event: CheckedEvent, party: str, index: int, time_ms: int
) -> None:
    """Keep that an entry is about its items, those aside that were only used."""
    event_type = event.event_type
    slots = range(ENTRIES_MAX if event_type in EVIDENCE_TYPES else 1)
    names = map(canonical_item, event.item_ids)
    for item in dict.fromkeys(
        name for name, role in zip(names, event.item_roles, strict=True) if role != _USED
    ):
        for slot in slots:
            key = evidence_key(item, party, event_type, slot)
            if changes.get(key) is None:
                changes.put(key, evidence_value(index, time_ms))
                break


@dataclass(frozen=True, slots=True)
class Closure:
    """What is on record of items and of what they were made of."""

    ancestors: Sequence[Ancestor]  # nearest first
    row_count: int  # of the state, that were looked at


def ancestors_of(changes: StateChanges, items: Sequence[str]) -> Closure:
    """Return the evidence about items and about what they were made of.

    What came first counts first, so that nobody hides by later events what was there before: parts
    in the order of their entries, and at most `ANCESTORS_MAX` entries. After `ROWS_MAX` rows no
    more are looked at.

    Args:
        changes: The state as the block has it so far.
        items: Canonical names.
    """
    return _Search(changes).run(items)


class _Search:
    def __init__(self, changes: StateChanges) -> None:
        self._changes = changes
        self._row_count = 0

    def run(self, items: Sequence[str]) -> Closure:
        """Go through the items level by level."""
        found: list[Ancestor] = []
        seen = dict.fromkeys(items)
        level = list(seen)
        for depth in range(DEPTH_MAX + 1):
            for item in level:
                found += self._evidence(item, depth)
            below: list[str] = []
            for item in level if depth < DEPTH_MAX else ():
                for part in self._parts(item):
                    if part not in seen and len(seen) < ITEMS_MAX:
                        seen[part] = None
                        below.append(part)
            level = below
        return Closure(found[:ANCESTORS_MAX], self._row_count)

    def _rows(self, table: Table, item: str) -> Iterator[tuple[list[bytes], bytes]]:
        """Return an item's rows, by what follows its name, while there are any left to look at."""
        for key, value in self._changes.rows(row_key(table, item.encode())):
            if self._row_count == ROWS_MAX:
                return
            self._row_count += 1
            yield split_row_key(key)[1][1:], value

    def _evidence(self, item: str, depth: int) -> list[Ancestor]:
        found = []
        for (party, event_type, _), value in self._rows(Table.EVIDENCE, item):
            entry, time_ms = parse_evidence_value(value)
            found.append(
                Ancestor(
                    item=item,
                    depth=depth,
                    entry=entry,
                    event_type=_BODY_NAMES[int.from_bytes(event_type)],
                    party=party.decode(),
                    recorded_at_ms=time_ms,
                )
            )
        return sorted(found, key=lambda each: each.entry)

    def _parts(self, item: str) -> Iterable[str]:
        """Return what went into an item and was not taken out again, in the order of entries.

        What a transformation has consumed nobody takes out.
        """
        parts: dict[tuple[bytes, Relation], None] = {}
        for (_, part), value in self._rows(Table.PARENT, item):
            relation = parse_edge_value(value)[0]
            if relation in _ENDED:
                parts.pop((part, _ENDED[relation]), None)
            else:
                parts[part, relation] = None
        return dict.fromkeys(part.decode() for part, _ in parts)
