"""An event in its block, with what rules may ask beside it: each is made once, when it is asked."""

from functools import cached_property
from operator import attrgetter

from lotmark_contracts.execution.inputs import (
    Ancestor,
    Circumstances,
    Event,
    Evidence,
    in_order,
    party_records,
    provenance_records,
)
from lotmark_contracts.wcel.values import Value

_EVIDENCE = attrgetter("depth", "entry", "item")


class Block:
    """What holds for all events of a block, as rules see it."""

    def __init__(self, circumstances: Circumstances) -> None:
        self.circumstances = circumstances

    @cached_property
    def parties(self) -> list[Value]:
        """The parties as rules see them."""
        return party_records(self.circumstances.parties)

    @cached_property
    def party_ids(self) -> frozenset[str]:
        """The ids of the parties."""
        return frozenset(party.id for party in self.circumstances.parties)


class Occasion:
    """An event, the block that it stands in, and its provenance."""

    def __init__(self, event: Event, block: Block) -> None:
        self.event = event
        self.block = block

    @cached_property
    def ancestors(self) -> list[Ancestor]:
        """The event's provenance in the order in which rules see it."""
        return in_order(self.event.provenance())

    @cached_property
    def evidence(self) -> tuple[Evidence, ...]:
        """The event's provenance as receipts keep it."""
        return tuple(map(_EVIDENCE, self.ancestors))

    @cached_property
    def provenance(self) -> list[Value]:
        """The event's provenance as rules see it."""
        return provenance_records(self.ancestors)
