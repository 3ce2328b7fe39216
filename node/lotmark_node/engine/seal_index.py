"""Which rows of the store's index lead to seals: by item, by report, and to what corrects them.

A row's key is a prefix and the index of the entry; the prefix keeps enough of a hash to find, and
the entry decides.
"""

import hashlib
import struct
from collections.abc import Iterator

from lotmark.event import EVENT_TYPES
from lotmark.v1 import event_pb2

_U64 = struct.Struct(">Q")
_KEPT = 16  # bytes of a hash
_ITEM, _REPORT, _CORRECTION = b"s", b"r", b"c"


def item_prefix(item: str) -> bytes:
    """Return the prefix of the seals that name an item."""
    return _ITEM + hashlib.sha256(item.encode()).digest()[:_KEPT]


def report_prefix(digest: bytes) -> bytes:
    """Return the prefix of the seals of a report."""
    return _REPORT + digest[:_KEPT]


def correction_prefix(event_id: bytes, party: str) -> bytes:
    """Return the prefix of the corrections of an event by a party: anybody can send one."""
    return _CORRECTION + hashlib.sha256(event_id + party.encode()).digest()[:_KEPT]


def _tag(body: str) -> bytes:
    """Return the bytes by which a body begins in an event: field number and wire type."""
    number = EVENT_TYPES[body] << 3 | 2
    return bytes([number & 0x7F | 0x80, number >> 7])


_SEAL_TAG, _CORRECTION_TAG = _tag("report_seal"), _tag("correction")


def seal_rows(event: bytes, party: str, index: int) -> Iterator[tuple[bytes, bytes]]:
    """Return the rows of a party's accepted event; most have none, which costs two searches."""
    if _SEAL_TAG not in event and _CORRECTION_TAG not in event:
        return
    message = event_pb2.Event.FromString(event)
    place = _U64.pack(index)
    match message.WhichOneof("body"):
        case "report_seal":
            yield report_prefix(message.report_seal.report_digest) + place, b""
            for item in message.items:
                yield item_prefix(item.id) + place, b""
        case "correction":
            yield correction_prefix(message.correction.event_id, party) + place, b""
