"""Entries: the leaves of the log. Layouts: docs/protocol.md, section 5."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from lotmark.errors import MalformedError

_ENTRY_DOMAIN = b"lotmark/entry/v1\n"
_HEAD = struct.Struct(">BQQQH")
_EVENT = struct.Struct(">BQQQHQH32s")
_CLOSE = struct.Struct(">HQQQQ32s32s32sQ32s32sIIIIII")
_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")

PROTOCOL = 1
RULE_RECEIPT_SIZE_MAX = 4 << 20  # of its document
NO_INDEX = 2**64 - 1


class EntryKind(IntEnum):
    """Every kind of leaf there is."""

    GENESIS = 0
    EVENT = 1
    RULE_RECEIPT = 2
    BLOCK_CLOSE = 3
    BATCH = 4
    EQUIVOCATION = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHead:
    """What every leaf begins with."""

    kind: EntryKind
    index: int
    height: int
    time_ms: int
    outcome: int = 0


def leaf_data(head: EntryHead, payload: bytes) -> bytes:
    """Return the bytes of one leaf."""
    return (
        _ENTRY_DOMAIN
        + _HEAD.pack(head.kind, head.index, head.height, head.time_ms, head.outcome)
        + payload
    )


def parse_leaf_data(raw: bytes) -> tuple[EntryHead, bytes]:
    """Split a leaf into its head and payload.

    Raises:
        MalformedError: The bytes are no leaf.
    """
    start = len(_ENTRY_DOMAIN)
    if not raw.startswith(_ENTRY_DOMAIN) or len(raw) < start + _HEAD.size:
        raise MalformedError(f"{len(raw)} bytes are no leaf of version 1")
    kind, index, height, time_ms, outcome = _HEAD.unpack_from(raw, start)
    if kind > EntryKind.EQUIVOCATION:
        raise MalformedError(f"entry kind {kind} is not known to this version")
    head = EntryHead(
        kind=EntryKind(kind), index=index, height=height, time_ms=time_ms, outcome=outcome
    )
    return head, raw[start + _HEAD.size :]


def event_payload(batch_index: int, position: int, event_id: bytes) -> bytes:
    """Return the payload of an event entry."""
    return _U64.pack(batch_index) + _U16.pack(position) + event_id


def parse_event_payload(payload: bytes) -> tuple[int, int, bytes]:
    """Return batch entry index, position and event id of an event entry.

    Raises:
        MalformedError: The bytes are no such payload.
    """
    if len(payload) != 42:
        raise MalformedError(f"an event entry's payload has 42 bytes, not {len(payload)}")
    return _U64.unpack_from(payload)[0], _U16.unpack_from(payload, 8)[0], payload[10:]


def event_leaf_hashes(
    batch_index: int, height: int, time_ms: int, event_ids: Sequence[bytes], outcomes: Sequence[int]
) -> list[bytes]:
    """Return the leaf hashes of a batch's events, which follow the batch entry one by one."""
    sha256, pack, prefix = hashlib.sha256, _EVENT.pack, b"\0" + _ENTRY_DOMAIN
    first = batch_index + 1
    return [
        sha256(
            prefix + pack(1, first + at, height, time_ms, outcomes[at], batch_index, at, event_id)
        ).digest()
        for at, event_id in enumerate(event_ids)
    ]


def equivocation_payload(first_index: int, first: bytes, second: bytes) -> bytes:
    """Return the payload of an equivocation: two headers with signatures under one number."""
    return _U64.pack(first_index) + first + second


@dataclass(frozen=True, slots=True)
class RuleReceiptPayload:
    """What a rule made of an event: the event's place, and the rule receipt itself."""

    batch_index: int  # of the event; where a timer was due, of the event that set it
    position: int
    document: bytes  # canonical JSON

    def encode(self) -> bytes:
        """Return the payload's bytes."""
        return _U64.pack(self.batch_index) + _U16.pack(self.position) + self.document

    @property
    def event_index(self) -> int:
        """The entry index of the event."""
        return self.batch_index + 1 + self.position


def parse_rule_receipt(payload: bytes) -> RuleReceiptPayload:
    """Parse the payload of a rule receipt; its document is not looked at.

    Raises:
        MalformedError: The bytes are no such payload.
    """
    if len(payload) <= _U64.size + _U16.size:
        raise MalformedError(f"a rule receipt has more than 10 bytes, not {len(payload)}")
    return RuleReceiptPayload(
        _U64.unpack_from(payload)[0], _U16.unpack_from(payload, 8)[0], payload[10:]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockClose:
    """The last entry of a block: what the ledger became by it."""

    protocol: int = PROTOCOL
    height: int
    time_ms: int
    previous_close_index: int
    previous_size: int
    previous_root: bytes
    proposal_digest: bytes
    state_digest: bytes
    item_epoch: int = 0
    item_root: bytes = bytes(32)
    policy_digest: bytes
    batch_count: int = 0
    refused_batch_count: int = 0
    event_count: int = 0
    refused_event_count: int = 0
    receipt_count: int = 0
    equivocation_count: int = 0

    def encode(self) -> bytes:
        """Return the close's payload."""
        return _CLOSE.pack(*[getattr(self, name) for name in self.__dataclass_fields__])


def parse_close(payload: bytes) -> BlockClose:
    """Parse a close's payload.

    Raises:
        MalformedError: The bytes are no close of this version.
    """
    if len(payload) != _CLOSE.size:
        raise MalformedError(f"a block close has {_CLOSE.size} bytes, not {len(payload)}")
    close = BlockClose(
        **dict(zip(BlockClose.__dataclass_fields__, _CLOSE.unpack(payload), strict=True))
    )
    if close.protocol != PROTOCOL:
        raise MalformedError(f"protocol {close.protocol} is not known; update the verifier")
    return close
