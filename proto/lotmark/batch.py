"""Batches: 1 to 256 events under one signature. Layout and bounds: docs/protocol.md, section 3."""

import hashlib
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lotmark import merkle
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError
from lotmark.key_grant import PARTY_PATTERN

BATCH_SIZE_MAX = 1_048_576
BATCH_EVENTS_MAX = 256
EVENT_SIZE_MAX = 16_384
SCHEMA = 1
ZERO_HASH = bytes(32)

_is_party = re.compile(PARTY_PATTERN.encode()).fullmatch
_BATCH_DOMAIN = b"lotmark/batch/v1\n"
_HEADER = struct.Struct(">32s32sIQ32s32sHQBIH32sQ32sB")
_HEADER_SIZE_MAX = _HEADER.size + 31
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class ClockState(IntEnum):
    """What a batch's author says of its clock."""

    UNKNOWN = 0
    SYNCHRONISED = 1
    DEGRADED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHeader:
    """What the signature of a batch covers."""

    chain_id: bytes
    signer: bytes
    lane: int
    sequence: int  # from 1
    previous: bytes = ZERO_HASH  # batch id before this one in the lane
    replaces: bytes = ZERO_HASH  # batch id whose events are signed again here
    schema: int = SCHEMA
    created_at_ms: int
    clock: ClockState = ClockState.UNKNOWN
    clock_uncertainty_us: int = 0
    event_count: int
    events_root: bytes
    seen_size: int = 0  # newest checkpoint the author has seen: a lower bound on the batch's age
    seen_root: bytes = ZERO_HASH
    party: str

    def encode(self) -> bytes:
        """Return the header bytes."""
        return _HEADER.pack(
            self.chain_id,
            self.signer,
            self.lane,
            self.sequence,
            self.previous,
            self.replaces,
            self.schema,
            self.created_at_ms,
            self.clock,
            self.clock_uncertainty_us,
            self.event_count,
            self.events_root,
            self.seen_size,
            self.seen_root,
            len(self.party),
        ) + self.party.encode("ascii")


def parse_header(raw: bytes) -> BatchHeader:
    """Parse header bytes; what they claim is not checked here.

    Raises:
        MalformedError: The bytes are no header.
    """
    if not _HEADER.size < len(raw) <= _HEADER_SIZE_MAX:
        raise MalformedError(
            f"a batch header has {_HEADER.size + 1} to {_HEADER_SIZE_MAX} bytes, not {len(raw)}"
        )
    *fields, clock, uncertainty_us, count, root, seen_size, seen_root, party_size = (
        _HEADER.unpack_from(raw)
    )
    chain_id, signer, lane, sequence, previous, replaces, schema, created_at_ms = fields
    party = raw[_HEADER.size :]
    if len(party) != party_size or not _is_party(party):
        raise MalformedError(f"the party of a batch header is no party id of {party_size} bytes")
    if clock > ClockState.DEGRADED:
        raise MalformedError(f"clock state {clock} of a batch header is not 0, 1 or 2")
    return BatchHeader(
        chain_id=chain_id,
        signer=signer,
        lane=lane,
        sequence=sequence,
        previous=previous,
        replaces=replaces,
        schema=schema,
        created_at_ms=created_at_ms,
        clock=ClockState(clock),
        clock_uncertainty_us=uncertainty_us,
        event_count=count,
        events_root=root,
        seen_size=seen_size,
        seen_root=seen_root,
        party=party.decode("ascii"),
    )


class Batch:
    """A batch as its author sent it, with what follows from the bytes alone."""

    __slots__ = (
        "_carried_root",
        "_event_ids",
        "batch_id",
        "events",
        "header",
        "raw",
        "signed_header",
    )

    def __init__(self, raw: bytes, signed_header: bytes, events: Sequence[bytes]) -> None:
        self.raw = raw
        self.signed_header = signed_header  # header length u16, header, signature: as on the log
        self.events = events
        self.header = parse_header(signed_header[2:-64])
        self.batch_id = hashlib.sha256(_BATCH_DOMAIN + signed_header[2:-64]).digest()
        self._event_ids: list[bytes] | None = None
        self._carried_root: bytes | None = None

    @property
    def event_ids(self) -> list[bytes]:
        """The ids of the events as carried."""
        if self._event_ids is None:
            sha256 = hashlib.sha256
            self._event_ids = [sha256(b"\0" + event).digest() for event in self.events]
        return self._event_ids

    def event_id(self, position: int) -> bytes:
        """Return the id of one event; the others need not be hashed for it."""
        if self._event_ids is None:
            return merkle.leaf_hash(self.events[position])
        return self._event_ids[position]

    @property
    def carried_root(self) -> bytes:
        """The root of the events as carried; the header's own claim may differ."""
        if self._carried_root is None:
            self._carried_root = merkle.root(self.event_ids)
        return self._carried_root

    @property
    def signature(self) -> bytes:
        """The author's signature."""
        return self.signed_header[-64:]

    @property
    def signed_message(self) -> bytes:
        """What the signature is over."""
        return _BATCH_DOMAIN + self.signed_header[2:-64]


def parse_batch(raw: bytes, start: int = 0) -> tuple[Batch, int]:
    """Parse one batch at `start`; return it and where it ends.

    Whether the signature, the count and the root hold is for the ledger's rules to say.

    Raises:
        MalformedError: The bytes are no batch, or exceed a bound.
    """
    try:
        (header_size,) = _U16.unpack_from(raw, start)
        head_end = start + 2 + header_size + 64
        (event_count,) = _U16.unpack_from(raw, head_end)
    except struct.error as error:
        raise MalformedError(f"batch at byte {start} is cut off in its header") from error
    if not 1 <= event_count <= BATCH_EVENTS_MAX:
        raise MalformedError(f"a batch carries 1 to {BATCH_EVENTS_MAX} events, not {event_count}")
    at, size = head_end + 2, len(raw)
    events = []
    for position in range(event_count):
        body = at + 4
        if body > size:
            raise MalformedError(f"batch at byte {start} is cut off before event {position}")
        at = body + _U32.unpack_from(raw, body - 4)[0]
        events.append(raw[body:at])
    if at > size:
        raise MalformedError(f"batch at byte {start} is cut off: {size} bytes, {at} announced")
    if at - start > BATCH_SIZE_MAX:
        raise MalformedError(f"a batch has at most {BATCH_SIZE_MAX} bytes, not {at - start}")
    whole = raw if start == 0 and at == size else raw[start:at]
    return Batch(whole, raw[start:head_end], events), at


def parse_one_batch(raw: bytes) -> Batch:
    """Parse bytes that are one batch and nothing else.

    Raises:
        MalformedError: They are not.
    """
    batch, end = parse_batch(raw)
    if end != len(raw):
        raise MalformedError(f"{len(raw) - end} bytes follow the batch")
    return batch


def sign_batch(key: PrivateKey, events: Iterable[bytes], **header: object) -> Batch:
    """Sign events into a batch.

    Args:
        key: The signer's key.
        events: 1 to 256 events' bytes.
        **header: Fields of `BatchHeader`, without `signer`, `event_count` and `events_root`.
    """
    bodies = list(events)
    root = merkle.root([merkle.leaf_hash(event) for event in bodies])
    encoded = BatchHeader(
        signer=key.public,
        event_count=len(bodies),
        events_root=root,
        **header,  # type: ignore[arg-type]  # checked by the record
    ).encode()
    signed_header = _U16.pack(len(encoded)) + encoded + key.sign(_BATCH_DOMAIN + encoded)
    framed = [part for event in bodies for part in (_U32.pack(len(event)), event)]
    raw = b"".join([signed_header, _U16.pack(len(bodies)), *framed])
    return Batch(raw, signed_header, bodies)


def batch_id_of(header_bytes: bytes) -> bytes:
    """Return the batch id of header bytes."""
    return hashlib.sha256(_BATCH_DOMAIN + header_bytes).digest()
