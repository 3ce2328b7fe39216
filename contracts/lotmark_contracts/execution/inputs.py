"""What a rule is told: the event and its author, what its items are made of, time, parties."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lotmark_contracts.package.builtin_types import ANCESTORS_MAX, PARTIES_MAX
from lotmark_contracts.wcel.values import Value


@dataclass(frozen=True, slots=True)
class Party:
    """A member of the ledger."""

    id: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """An entry of the ledger about an item of the event, or about what that was made of."""

    item: str
    depth: int  # 0: of the event's own items
    entry: int
    event_type: str
    party: str
    recorded_at_ms: int  # ledger time


def no_provenance() -> Sequence[Ancestor]:
    """Return what is known about an event that has no items: nothing."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event that rules may listen to."""

    id: str
    type: str
    author: str  # the party that signed it
    fields: dict[str, Value]
    # What the ledger knows of the event beside its fields, under names of `ENVELOPE_NAMES`.
    envelope: Mapping[str, Value] | None = None
    # Asked at most once, and only for a rule that names `provenance`: a closure is slow to build.
    provenance: Callable[[], Sequence[Ancestor]] = no_provenance
    # Of the ledger's own types: fields that a package does not declare are passed over.
    is_native: bool = False


_BY_ENTRY = attrgetter("entry", "item")

# Which ancestor a rule has seen, as its receipt keeps it: depth, entry, item.
Evidence = tuple[int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What holds for all events of a block."""

    now_ms: int  # ledger time, never a node's clock
    height: int
    parties: Sequence[Party] = ()


def party_records(parties: Sequence[Party]) -> list[Value]:
    """Return parties as rules see them, by id."""
    assert len(parties) <= PARTIES_MAX, "the ledger has fewer parties"
    ordered = sorted(parties, key=lambda party: party.id)
    return [{"id": party.id, "role": party.role} for party in ordered]


def in_order(provenance: Sequence[Ancestor]) -> list[Ancestor]:
    """Return ancestors by entry and item, as rules see them."""
    assert len(provenance) <= ANCESTORS_MAX, "who builds a closure caps it"
    return sorted(provenance, key=_BY_ENTRY)


def provenance_records(ordered: Sequence[Ancestor]) -> list[Value]:
    """Return ancestors that are in order as rules see them."""
    return [
        {
            "item": each.item,
            "depth": each.depth,
            "entry": each.entry,
            "event_type": each.event_type,
            "party": each.party,
            "recorded_at": each.recorded_at_ms,
        }
        for each in ordered
    ]
