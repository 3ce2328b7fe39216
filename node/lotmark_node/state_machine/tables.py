"""State tables and their bytes. Layouts: docs/protocol.md, section 7."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from lotmark.key_grant import NEVER

_U8 = struct.Struct(">B")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class Table(IntEnum):
    """Every table there is."""

    PARAMETER = 1
    PARTY = 2
    KEY = 3
    LANE = 4
    RECENT_BLOCK = 5
    HEAD = 6
    ITEM = 7
    PARENT = 8
    CHILD = 9
    COUNTER = 10
    QUOTA = 11
    POLICY = 12
    OPERATOR = 20


class Relation(IntEnum):
    """How one item is part of another's history."""

    CONSUMED = 1
    AGGREGATED = 2
    ASSOCIATED = 3
    AGGREGATION_ENDED = 4
    ASSOCIATION_ENDED = 5


def row_key(table: Table, *parts: bytes) -> bytes:
    """Return the state key of a row."""
    return bytes([table]) + b"".join([_U16.pack(len(part)) + part for part in parts])


def split_row_key(key: bytes) -> tuple[Table, list[bytes]]:
    """Return the table and parts of a state key that `row_key` made."""
    parts, at = [], 1
    while at < len(key):
        end = at + 2 + _U16.unpack_from(key, at)[0]
        parts.append(key[at + 2 : end])
        at = end
    return Table(key[0]), parts


def u64(number: int) -> bytes:
    """Return 8 bytes."""
    return _U64.pack(number)


def _str8(value: str) -> bytes:
    raw = value.encode("ascii")
    return _U8.pack(len(raw)) + raw


def _read_str8(raw: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + raw[at]
    return raw[at + 1 : end].decode("ascii"), end


def item_key(item: str) -> bytes:
    """Return the key of an item's row; hot, so written out."""
    raw = item.encode("ascii")
    return b"\x07" + _U16.pack(len(raw)) + raw


def edge_value(relation: Relation, quantity: str, unit: str) -> bytes:
    """Return the value of a parent or child row."""
    return _U8.pack(relation) + _str8(quantity) + _str8(unit)


def parse_edge_value(raw: bytes) -> tuple[Relation, str, str]:
    """Return relation, quantity and unit of a parent or child row."""
    quantity, at = _read_str8(raw, 1)
    unit, _ = _read_str8(raw, at)
    return Relation(raw[0]), quantity, unit


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRow:
    """A member."""

    role: int
    threshold: int
    roots: tuple[bytes, ...]
    ca_digest: bytes

    def encode(self) -> bytes:
        """Return the row's value."""
        head = bytes([self.role, self.threshold, len(self.roots)])
        return head + b"".join(self.roots) + self.ca_digest


def parse_party_row(raw: bytes) -> PartyRow:
    """Parse a party's row."""
    roots = tuple(raw[3 + 32 * at : 35 + 32 * at] for at in range(raw[2]))
    return PartyRow(role=raw[0], threshold=raw[1], roots=roots, ca_digest=raw[-32:])


_KEY_HEAD = struct.Struct(">BQQQQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key, whether or not it is in force."""

    purpose: int
    from_height: int
    revoked_height: int = NEVER
    compromised_since_ms: int = 0
    not_before_ms: int
    not_after_ms: int
    party: str
    holder: str
    event_types: tuple[int, ...] = ()  # empty: all

    def encode(self) -> bytes:
        """Return the row's value."""
        return (
            _KEY_HEAD.pack(
                self.purpose,
                self.from_height,
                self.revoked_height,
                self.compromised_since_ms,
                self.not_before_ms,
                self.not_after_ms,
            )
            + _str8(self.party)
            + _str8(self.holder)
            + _U8.pack(len(self.event_types))
            + b"".join([_U16.pack(number) for number in self.event_types])
        )

    def revoked(self, *, height: int, compromised_since_ms: int) -> "KeyRow":
        """Return the row of this key once it is revoked."""
        return replace(self, revoked_height=height, compromised_since_ms=compromised_since_ms)


def parse_key_row(raw: bytes) -> KeyRow:
    """Parse a key's row."""
    purpose, from_height, revoked, compromised, not_before, not_after = _KEY_HEAD.unpack_from(raw)
    party, at = _read_str8(raw, _KEY_HEAD.size)
    holder, at = _read_str8(raw, at)
    types = tuple(number for (number,) in _U16.iter_unpack(raw[at + 1 :]))
    return KeyRow(
        purpose=purpose,
        from_height=from_height,
        revoked_height=revoked,
        compromised_since_ms=compromised,
        not_before_ms=not_before,
        not_after_ms=not_after,
        party=party,
        holder=holder,
        event_types=types,
    )


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
