"""State tables and their bytes. Layouts: docs/protocol.md, section 7.

Those that say who may do what come from `lotmark.state_rows`: verifiers read them too.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from lotmark.state_rows import (
    KeyRow,
    PartyRow,
    Table,
    parse_key_row,
    parse_party_row,
    read_str8,
    row_key,
    split_row_key,
    str8,
    u64,
)

__all__ = [
    "Counters",
    "KeyRow",
    "LaneRow",
    "LogHead",
    "PartyRow",
    "RecentBatch",
    "Relation",
    "Table",
    "Usage",
    "edge_value",
    "encode_heads",
    "encode_recent",
    "lane_key",
    "parse_counters",
    "parse_edge_value",
    "parse_heads",
    "parse_key_row",
    "parse_lane_row",
    "parse_party_row",
    "parse_recent",
    "parse_usage",
    "row_key",
    "split_row_key",
    "u64",
]

_U8 = struct.Struct(">B")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class Relation(IntEnum):
    """How one item is part of another's history."""

    CONSUMED = 1
    AGGREGATED = 2
    ASSOCIATED = 3
    AGGREGATION_ENDED = 4
    ASSOCIATION_ENDED = 5


def edge_value(relation: Relation, quantity: str, unit: str) -> bytes:
    """Return the value of a parent row."""
    return _U8.pack(relation) + str8(quantity) + str8(unit)


def parse_edge_value(raw: bytes) -> tuple[Relation, str, str]:
    """Return relation, quantity and unit of a parent row."""
    quantity, at = read_str8(raw, 1)
    unit, _ = read_str8(raw, at)
    return Relation(raw[0]), quantity, unit


_LANE = struct.Struct(">Q32sQB")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """Where a lane stands."""

    sequence: int = 0
    batch_id: bytes = bytes(32)
    batch_index: int = 0
    closed: bool = False

    def encode(self) -> bytes:
        """Return the row's value."""
        return _LANE.pack(self.sequence, self.batch_id, self.batch_index, self.closed)


def parse_lane_row(raw: bytes) -> LaneRow:
    """Parse a lane's row."""
    sequence, batch_id, batch_index, closed = _LANE.unpack(raw)
    return LaneRow(
        sequence=sequence, batch_id=batch_id, batch_index=batch_index, closed=bool(closed)
    )


def lane_key(signer: bytes, lane: int) -> bytes:
    """Return the key of a lane's row."""
    return row_key(Table.LANE, signer, _U32.pack(lane))


@dataclass(frozen=True, slots=True)
class RecentBatch:
    """A batch that the duplicate window still knows."""

    batch_index: int
    signed_header: bytes


def encode_recent(event_ids: Sequence[bytes], batches: Sequence[RecentBatch]) -> bytes:
    """Return the value of a recent block's row."""
    return b"".join(
        [
            _U32.pack(len(event_ids)),
            *event_ids,
            _U16.pack(len(batches)),
            *[_U64.pack(batch.batch_index) + batch.signed_header for batch in batches],
        ]
    )


def parse_recent(raw: bytes) -> tuple[list[bytes], list[RecentBatch]]:
    """Return the event ids and batches of a recent block's row."""
    (count,) = _U32.unpack_from(raw)
    at = 4 + 32 * count
    if at > len(raw):
        raise struct.error(f"{count} event ids are announced in {len(raw)} bytes")
    event_ids = [raw[start : start + 32] for start in range(4, at, 32)]
    (batch_count,) = _U16.unpack_from(raw, at)
    at += 2
    batches = []
    for _ in range(batch_count):
        (batch_index,) = _U64.unpack_from(raw, at)
        end = at + 8 + 2 + _U16.unpack_from(raw, at + 8)[0] + 64
        batches.append(RecentBatch(batch_index, raw[at + 8 : end]))
        at = end
    return event_ids, batches


_HEAD = struct.Struct(">QQ32s")
_TURN = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class LogHead:
    """The log after a block."""

    height: int
    size: int
    root: bytes


def encode_heads(heads: Sequence[LogHead], term: int, counter: int) -> bytes:
    """Return the value of the head row."""
    packed = [_HEAD.pack(head.height, head.size, head.root) for head in heads]
    return _U8.pack(len(heads)) + b"".join(packed) + _TURN.pack(term, counter)


def parse_heads(raw: bytes) -> tuple[list[LogHead], int, int]:
    """Return the heads, the term and the counter of the head row."""
    end = 1 + raw[0] * _HEAD.size
    heads = [LogHead(*fields) for fields in _HEAD.iter_unpack(raw[1:end])]
    term, counter = _TURN.unpack_from(raw, end)
    return heads, term, counter


_FIVE = struct.Struct(">QQQQQ")


@dataclass(slots=True, kw_only=True)
class Counters:
    """What a party has put on the log."""

    batches: int = 0
    refused_batches: int = 0
    events: int = 0
    refused_events: int = 0
    size: int = 0

    def encode(self) -> bytes:
        """Return the row's value."""
        return _FIVE.pack(
            self.batches, self.refused_batches, self.events, self.refused_events, self.size
        )


def parse_counters(raw: bytes | None) -> Counters:
    """Parse a party's counters; a missing row counts nothing."""
    if raw is None:
        return Counters()
    batches, refused_batches, events, refused_events, size = _FIVE.unpack(raw)
    return Counters(
        batches=batches,
        refused_batches=refused_batches,
        events=events,
        refused_events=refused_events,
        size=size,
    )


@dataclass(slots=True, kw_only=True)
class Usage:
    """What a party used of its quotas in one minute of block time."""

    minute: int
    events: int = 0
    size: int = 0
    signatures: int = 0
    state_keys: int = 0

    def encode(self) -> bytes:
        """Return the row's value."""
        return _FIVE.pack(self.minute, self.events, self.size, self.signatures, self.state_keys)


def parse_usage(raw: bytes | None, minute: int) -> Usage:
    """Parse a party's usage; a row of another minute counts nothing."""
    if raw is None or _U64.unpack_from(raw)[0] != minute:
        return Usage(minute=minute)
    _, events, size, signatures, state_keys = _FIVE.unpack(raw)
    return Usage(
        minute=minute, events=events, size=size, signatures=signatures, state_keys=state_keys
    )
