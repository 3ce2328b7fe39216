"""What the ledger remembers of its newest events and batches, to know a second one when it comes.

The rows of table RECENT_BLOCK hold it; this is their index. A block leaves the window once the
blocks after it weigh `duplicate_window_events` or more, an event and a batch weighing one each.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lotmark.batch import BatchHeader, batch_id_of, parse_header
from lotmark_node.state_machine.state import StateReader
from lotmark_node.state_machine.tables import (
    RecentBatch,
    Table,
    encode_recent,
    parse_recent,
    row_key,
    split_row_key,
    u64,
)

LaneSequence = tuple[bytes, int, int]  # signer, lane, sequence


@dataclass(slots=True)
class RecentBlock:
    """What one block adds to the window."""

    height: int
    event_ids: list[bytes] = field(default_factory=list)
    batches: list[tuple[LaneSequence, bytes, RecentBatch]] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """How much of the window it takes."""
        return len(self.event_ids) + len(self.batches)

    def add_batch(self, header: BatchHeader, batch_id: bytes, recent: RecentBatch) -> None:
        """Remember a batch that consumed its number."""
        self.batches.append(((header.signer, header.lane, header.sequence), batch_id, recent))

    def row(self) -> tuple[bytes, bytes]:
        """Return the block's row."""
        value = encode_recent(self.event_ids, [recent for _, _, recent in self.batches])
        return recent_key(self.height), value


def recent_key(height: int) -> bytes:
    """Return the key of a recent block's row."""
    return row_key(Table.RECENT_BLOCK, u64(height))


class DuplicateWindow:
    """The newest blocks' event ids and batches, to be asked quickly."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._blocks: deque[tuple[int, Sequence[bytes], Sequence[LaneSequence]]] = deque()
        self._event_ids: set[bytes] = set()
        self._batches: dict[LaneSequence, tuple[int, bytes]] = {}  # -> height, batch id

    @classmethod
    def load(cls, reader: StateReader, weight_max: int) -> "DuplicateWindow":
        """Build the window from its rows."""
        window = cls(weight_max)
        for key, value in reader.rows(bytes([Table.RECENT_BLOCK])):
            event_ids, batches = parse_recent(value)
            block = RecentBlock(int.from_bytes(split_row_key(key)[1][0], "big"), event_ids)
            for recent in batches:
                header_bytes = recent.signed_header[2:-64]
                block.add_batch(parse_header(header_bytes), batch_id_of(header_bytes), recent)
            window.advance(block, ())
        return window

    def has_event(self, event_id: bytes) -> bool:
        """Tell whether an accepted event with this id is in the window."""
        return event_id in self._event_ids

    def find_batch(self, at: LaneSequence) -> tuple[int, bytes] | None:
        """Return height and batch id of the batch on record under a number, or None."""
        return self._batches.get(at)

    def leaving(self, block: RecentBlock) -> list[int]:
        """Return the heights whose blocks leave the window when `block` enters it."""
        weight, heights = self._weight + block.weight, []
        for height, event_ids, batches in self._blocks:
            own_weight = len(event_ids) + len(batches)
            if weight - own_weight < self._weight_max:
                break
            weight -= own_weight
            heights.append(height)
        return heights

    def advance(self, block: RecentBlock, leaving: Iterable[int]) -> None:
        """Let `block` enter and the oldest blocks, `leaving`, go."""
        for height in leaving:
            oldest, event_ids, lane_sequences = self._blocks.popleft()
            assert oldest == height, "blocks leave in the order of their heights"
            self._event_ids.difference_update(event_ids)
            for at in lane_sequences:
                del self._batches[at]
            self._weight -= len(event_ids) + len(lane_sequences)
        if block.weight:
            self._event_ids.update(block.event_ids)
            for at, batch_id, _ in block.batches:
                self._batches[at] = (block.height, batch_id)
            lane_sequences = [at for at, _, _ in block.batches]
            self._blocks.append((block.height, block.event_ids, lane_sequences))
            self._weight += block.weight


def find_recent_header(
    reader: StateReader, height: int, batch_id: bytes, own: RecentBlock
) -> RecentBatch | None:
    """Return the header on record of a batch in the window, `own` being the block in the making."""
    if height == own.height:
        return next((recent for _, id_, recent in own.batches if id_ == batch_id), None)
    raw = reader.get(recent_key(height))
    if raw is None:
        return None
    _, batches = parse_recent(raw)
    return next((r for r in batches if batch_id_of(r.signed_header[2:-64]) == batch_id), None)
