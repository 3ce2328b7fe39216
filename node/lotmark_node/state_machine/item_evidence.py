"""What the ledger has on record of items and of what they were made of, as rules ask for it.

Evidence is kept as rows of its own: entries of types that say something about a lot or unit as a
whole, and of those that packages in force ask for. Measurements by the thousand are found by the
provenance index, which rules cannot wait for.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.item_name import canonical_item
from lotmark.state_rows import Table, row_key, split_row_key
from lotmark.v1 import event_pb2
from lotmark_contracts.execution.inputs import Ancestor
from lotmark_contracts.package.builtin_types import ANCESTORS_MAX
from lotmark_node.state_machine.contract_rows import (
    evidence_key,
    evidence_of,
    evidence_value,
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
PARTS_MAX = 256  # of one item that it looks at
# Of an item, a party and a type the first ones: nobody can hide what others have on record. Of
# types that only a package asks for, such as measurements by the thousand, just the first one.
ENTRIES_MAX = 8

_USED = event_pb2.ITEM_ROLE_USED
_BODY_NAMES = {number: body for body, number in EVENT_TYPES.items()}
_ENDED = (Relation.AGGREGATION_ENDED, Relation.ASSOCIATION_ENDED)


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


def ancestors_of(changes: StateChanges, items: Sequence[str]) -> list[Ancestor]:
    """Return the evidence about items and about what they were made of, nearest first.

    Args:
        changes: The state as the block has it so far.
        items: Canonical names.

    Returns:
        At most `ANCESTORS_MAX` entries: of each item those that came first, by depth. What was
        taken out of an item again is none of its parts.
    """
    found: list[Ancestor] = []
    for depth, item in _closure(changes, items):
        for entry in evidence_of(changes, item):
            if len(found) == ANCESTORS_MAX:
                return found
            found.append(
                Ancestor(
                    item=item,
                    depth=depth,
                    entry=entry.entry,
                    event_type=_BODY_NAMES[entry.event_type],
                    party=entry.party,
                    recorded_at_ms=entry.recorded_at_ms,
                )
            )
    return found


def _closure(changes: StateChanges, items: Sequence[str]) -> Iterable[tuple[int, str]]:
    """Return items and what they were made of, each once, with how many steps lie between."""
    seen = set(items)
    level = sorted(seen)
    for depth in range(DEPTH_MAX + 1):
        for item in level:
            yield depth, item
        below: list[str] = []
        for item in level:
            for part in _parts_of(changes, item):
                if part not in seen and len(seen) < ITEMS_MAX:
                    seen.add(part)
                    below.append(part)
        level = sorted(below)


def _parts_of(changes: StateChanges, item: str) -> list[str]:
    """Return what went into an item and was not taken out of it again, ascending."""
    newest: dict[str, Relation] = {}
    edges = changes.rows(row_key(Table.PARENT, item.encode()))
    for key, value in islice(edges, PARTS_MAX):
        newest[split_row_key(key)[1][1].decode()] = parse_edge_value(value)[0]
    return [part for part, relation in newest.items() if relation not in _ENDED]
