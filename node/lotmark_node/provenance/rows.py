"""Keys of the index's rows. Each kind of row has a byte of its own, by which its key begins.

A list's tail has the key of kind and name; its chunks, of a kind of their own, follow one another.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")
_DIGEST_KEPT = 16  # bytes of a hash: enough to find, the event decides

WINDOW_MS = 3_600_000  # of event time, by which sightings are gathered


class Postings(IntEnum):
    """Lists of entry indexes; the chunks of a kind have its number + 1."""

    ITEM = 0x10
    PARTY = 0x12
    DEVICE = 0x14
    MODEL = 0x16
    DISPOSITION = 0x18
    TYPE = 0x1A


class Edges(IntEnum):
    """Lists of links; the chunks of a kind have its number + 1."""

    BACK = 0x30  # what an item was made of
    FORWARD = 0x32  # what it went into


FACTS = 0x40  # what is known of an item beside its links
SIGHTING = 0x50  # what a device or tool touched, by window
TIME = 0x51  # events by their own time, by window
DIGEST = 0x60  # events by a digest that they anchor
FILE_NAME = 0x61  # events by the name of a file that they anchor
EPCIS_HASH = 0x62  # events by the hash of an EPCIS event
_FILE_NAME_BYTE = bytes((FILE_NAME,))
ALIAS = 0x70  # items by a shorter name


def tail_key(kind: int, name: str) -> bytes:
    """Return the key of a list's tail, or of an item's facts."""
    return bytes((kind,)) + name.encode()


def tail_keys(kind: int, names: Sequence[str]) -> list[bytes]:
    """Return the keys of the tails of one name or more, encoded all at once: no name has a line."""
    prefix = chr(kind)
    return (prefix + f"\n{prefix}".join(names)).encode().split(b"\n")


def chunks_prefix(tail: bytes) -> bytes:
    """Return the prefix of the chunks of the list with this tail key."""
    return bytes((tail[0] + 1,)) + _U16.pack(len(tail) - 1) + tail[1:]


def chunk_key(tail: bytes, at: int) -> bytes:
    """Return the key of a chunk: of postings by its first index, of edges by those before it."""
    return chunks_prefix(tail) + _U64.pack(at)


def sightings_prefix(name: str) -> bytes:
    """Return the prefix of what a device or tool has touched."""
    raw = name.encode()
    return bytes((SIGHTING,)) + _U16.pack(len(raw)) + raw


def window_key(prefix: bytes, window: int, index: int) -> bytes:
    """Return the key of what one block puts into one window; `index` is any of the block."""
    return prefix + _U64.pack(window) + _U64.pack(index)


TIME_PREFIX = bytes((TIME,))


def digest_prefix(kind: int, digest: bytes) -> bytes:
    """Return the prefix of the events under a digest; an entry index follows it."""
    return bytes((kind,)) + digest[:_DIGEST_KEPT]


def file_name_prefix(name: str) -> bytes:
    """Return the prefix of the events that anchor a file of this name."""
    raw = name.encode()
    return b"".join((_FILE_NAME_BYTE, _U16.pack(len(raw)), raw))


def alias_prefix(name: str) -> bytes:
    """Return the prefix of the items with a short name; the item's name follows it."""
    raw = name.encode()
    return bytes((ALIAS,)) + _U16.pack(len(raw)) + raw


INDEX_FORMAT = 2  # of all of these; an index of another one is made again
INDEXED_KEY = b"\x00indexed"  # format and height up to which everything is in the index
