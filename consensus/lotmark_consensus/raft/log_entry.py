"""One entry of the replicated log, and the bytes that stand for it in PySyncObj and on disk."""

import struct
from dataclasses import dataclass
from enum import IntEnum

_HEAD = struct.Struct(">BQ")
HEAD_SIZE = _HEAD.size


class EntryKind(IntEnum):
    """What an entry holds; the numbers are PySyncObj's command types."""

    BLOCK = 0
    NO_OP = 1  # the first entry of a term
    MEMBERSHIP = 2  # "+" or "-" and a voter's name


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What an entry says; its index and term stand beside it."""

    kind: EntryKind
    time_ms: int  # of a block; 0 for the other kinds
    payload: bytes


def encode_command(entry: LogEntry) -> bytes:
    """Return the command: the kind's byte, for a block its time as u64 big-endian, the payload."""
    if entry.kind is EntryKind.BLOCK:
        return _HEAD.pack(entry.kind, entry.time_ms) + entry.payload
    return bytes((entry.kind,)) + entry.payload


def decode_command(command: bytes) -> LogEntry:
    """Return what a command says; it was checked before it came into the log."""
    if command[0] == EntryKind.BLOCK:
        _, time_ms = _HEAD.unpack_from(command)
        return LogEntry(EntryKind.BLOCK, time_ms, command[HEAD_SIZE:])
    return LogEntry(EntryKind(command[0]), 0, command[1:])
