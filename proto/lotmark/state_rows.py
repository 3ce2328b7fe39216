"""Rows of the state that say who may do what. Layouts: docs/protocol.md, section 7.

They stand here, below the state machine, because verifiers follow these rows without executing
the rest.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

from lotmark.key_grant import NEVER, NODE_PURPOSES, KeyPurpose
from lotmark.outcome import Outcome

_U8 = struct.Struct(">B")
_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")


class Table(IntEnum):
    """Every table there is."""

    PARAMETER = 1
    PARTY = 2
    KEY = 3
    LANE = 4
    RECENT_BLOCK = 5
    HEAD = 6
    PARENT = 8
    COUNTER = 10
    QUOTA = 11
    POLICY = 12
    PROPOSAL = 13
    OPEN_PROPOSALS = 14
    ITEM_EPOCH = 15
    NODE_KEY = 16
    BATCH_KEY_COUNT = 17
    PACKAGE = 18
    PACKAGE_VERSION = 19
    OPERATOR = 20
    PACKAGE_PROPOSAL = 21
    OPEN_PACKAGE_PROPOSALS = 22
    PACKAGE_PART = 23
    RULE_VALUE = 24
    ONCE = 25
    ACCOUNT = 26
    CLAIM = 27
    CLAIM_RECEIPT = 28
    TIMER = 29
    TIMER_PLACE = 30
    EVIDENCE = 31


# What follows from the genesis and the events about keys and governance alone.
GOVERNED_TABLES = (
    Table.PARAMETER,
    Table.PARTY,
    Table.KEY,
    Table.POLICY,
    Table.PROPOSAL,
    Table.OPEN_PROPOSALS,
    Table.NODE_KEY,
    Table.BATCH_KEY_COUNT,
)


class Rows(Protocol):
    """Rows that a rule reads and writes."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        ...

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        ...


class RowReader(Protocol):
    """Rows that are only read."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        ...

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        ...


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


def str8(value: str) -> bytes:
    """Return an ASCII string behind its length."""
    raw = value.encode("ascii")
    return _U8.pack(len(raw)) + raw


def read_str8(raw: bytes, at: int) -> tuple[str, int]:
    """Return the string at a place that `str8` made, and where it ends."""
    end = at + 1 + raw[at]
    return raw[at + 1 : end].decode("ascii"), end


_PARTY_HEAD = struct.Struct(">BQQIBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRow:
    """A party that is a member, will be one from the next height on, or was one."""

    role: int
    from_height: int = 0
    removed_height: int = NEVER  # from which it is no member
    generation: int = 0  # how often its roots were rotated
    threshold: int
    roots: tuple[bytes, ...]
    ca_pem: str

    def encode(self) -> bytes:
        """Return the row's value."""
        head = _PARTY_HEAD.pack(
            self.role,
            self.from_height,
            self.removed_height,
            self.generation,
            self.threshold,
            len(self.roots),
        )
        return head + b"".join(self.roots) + self.ca_pem.encode("ascii")

    def is_member(self, height: int) -> bool:
        """Return whether it is a member in the block of `height`."""
        return self.from_height <= height < self.removed_height


def parse_party_row(raw: bytes) -> PartyRow:
    """Parse a party's row."""
    role, from_height, removed, generation, threshold, count = _PARTY_HEAD.unpack_from(raw)
    end = _PARTY_HEAD.size + 32 * count
    starts = range(_PARTY_HEAD.size, end, 32)
    return PartyRow(
        role=role,
        from_height=from_height,
        removed_height=removed,
        generation=generation,
        threshold=threshold,
        roots=tuple(raw[start : start + 32] for start in starts),
        ca_pem=raw[end:].decode("ascii"),
    )


def party_key(party: str) -> bytes:
    """Return the key of a party's row; whatever is no party's id has none."""
    return row_key(Table.PARTY, party.encode())


def party_row(rows: RowReader, party: str) -> PartyRow | None:
    """Return a party's row, or None where there never was such a party."""
    raw = rows.get(party_key(party))
    return None if raw is None else parse_party_row(raw)


def removed_height(rows: RowReader, party: str) -> int:
    """Return from which height a party that has a row is no member; it is read for every batch."""
    raw = rows.get(party_key(party))
    assert raw is not None, f"{party} has a row"
    removed: int = _PARTY_HEAD.unpack_from(raw)[2]
    return removed


def members(rows: RowReader, height: int) -> dict[str, PartyRow]:
    """Return the parties that are members in the block of `height`, in the order of their rows."""
    found = {}
    for key, value in rows.rows(bytes([Table.PARTY])):
        row = parse_party_row(value)
        if row.is_member(height):
            found[key[3:].decode("ascii")] = row
    return found


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
            + str8(self.party)
            + str8(self.holder)
            + _U8.pack(len(self.event_types))
            + b"".join([_U16.pack(number) for number in self.event_types])
        )

    def revoked(self, *, height: int, compromised_since_ms: int) -> "KeyRow":
        """Return the row of this key once it is revoked."""
        return replace(self, revoked_height=height, compromised_since_ms=compromised_since_ms)

    def judge(self, *, height: int, time_ms: int) -> Outcome:
        """Judge whether the key is in force in the block of `height` and `time_ms`."""
        if self.revoked_height <= height:
            return Outcome.KEY_REVOKED
        if self.from_height > height or time_ms < self.not_before_ms:
            return Outcome.KEY_NOT_YET_VALID
        if time_ms >= self.not_after_ms:
            return Outcome.KEY_EXPIRED
        return Outcome.ACCEPTED


def parse_key_row(raw: bytes) -> KeyRow:
    """Parse a key's row."""
    purpose, from_height, revoked, compromised, not_before, not_after = _KEY_HEAD.unpack_from(raw)
    party, at = read_str8(raw, _KEY_HEAD.size)
    holder, at = read_str8(raw, at)
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


NODE_KEY_VALUE = b"\1"  # it says nothing: the row's key does


def key_key(key: bytes) -> bytes:
    """Return the key of a key's row."""
    return row_key(Table.KEY, key)


def key_row(rows: RowReader, key: bytes) -> KeyRow | None:
    """Return a key's row, or None where the ledger does not know the key.

    Of a party that was removed no key is in force any more: its batch keys, which may be thousands,
    are not revoked one by one.
    """
    raw = rows.get(key_key(key))
    return None if raw is None else until_removal(rows, parse_key_row(raw))


def until_removal(rows: RowReader, row: KeyRow) -> KeyRow:
    """Return a key's row, revoked where its party is no member any more."""
    removed = removed_height(rows, row.party)
    return row if row.revoked_height <= removed else replace(row, revoked_height=removed)


def put_key(rows: Rows, key: bytes, row: KeyRow) -> None:
    """Write a key's row, and for a node's key the one by which it is found."""
    rows.put(key_key(key), row.encode())
    if row.purpose in NODE_PURPOSES:
        parts = row.party.encode("ascii"), bytes([row.purpose]), row.holder.encode("ascii")
        rows.put(row_key(Table.NODE_KEY, *parts, key), NODE_KEY_VALUE)


def node_keys(
    rows: RowReader,
    *,
    party: str | None = None,
    purpose: KeyPurpose | None = None,
    node: str | None = None,
) -> Iterator[tuple[bytes, KeyRow]]:
    """Return keys of nodes with their rows, those that are revoked too.

    Nothing else may look for keys: batch keys are too many to be gone through.

    Args:
        rows: The state.
        party: Whose keys; None: every party's.
        purpose: What they are for; None: all that nodes have. Only with a party.
        node: Of which node; None: of all the party's. Only with a purpose.
    """
    parts: list[bytes] = []
    if party is not None:
        parts.append(party.encode())
        if purpose is not None:
            parts.append(bytes([purpose]))
            if node is not None:
                parts.append(node.encode())
    for found, _ in rows.rows(row_key(Table.NODE_KEY, *parts)):
        key = split_row_key(found)[1][-1]
        raw = rows.get(key_key(key))
        assert raw is not None, "a node's key has a row"
        yield key, parse_key_row(raw)


_BATCH_KEY_COUNT = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class BatchKeyCount:
    """How many batch keys events have registered for a party; its first ones are not counted."""

    ever: int = 0
    unrevoked: int = 0

    def encode(self) -> bytes:
        """Return the row's value."""
        return _BATCH_KEY_COUNT.pack(self.ever, self.unrevoked)


def parse_batch_key_count(raw: bytes | None) -> BatchKeyCount:
    """Parse a party's count; a missing row counts nothing."""
    return BatchKeyCount() if raw is None else BatchKeyCount(*_BATCH_KEY_COUNT.unpack(raw))


def batch_key_count_key(party: str) -> bytes:
    """Return the key of a party's count."""
    return row_key(Table.BATCH_KEY_COUNT, party.encode("ascii"))


class ProposalStatus(IntEnum):
    """What became of a proposal; the numbers are those of its row."""

    OPEN = 1
    ACTIVATED = 2
    EXPIRED = 3
    VOID = 4  # approved, but by then it could not be carried out


_PROPOSAL_HEAD = struct.Struct(">BQQH")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRow:
    """A proposal, who approved it and what became of it."""

    status: ProposalStatus = ProposalStatus.OPEN
    opened_height: int
    decided_height: int = NEVER  # at whose end it ceased to be open
    approvals: tuple[str, ...]  # parties, in the order in which they approved
    proposal: bytes  # lotmark.v1.Proposal, canonical

    def encode(self) -> bytes:
        """Return the row's value."""
        head = _PROPOSAL_HEAD.pack(
            self.status, self.opened_height, self.decided_height, len(self.approvals)
        )
        return head + b"".join([str8(party) for party in self.approvals]) + self.proposal


def parse_proposal_row(raw: bytes) -> ProposalRow:
    """Parse a proposal's row."""
    status, opened, decided, count = _PROPOSAL_HEAD.unpack_from(raw)
    approvals, at = [], _PROPOSAL_HEAD.size
    for _ in range(count):
        party, at = read_str8(raw, at)
        approvals.append(party)
    return ProposalRow(
        status=ProposalStatus(status),
        opened_height=opened,
        decided_height=decided,
        approvals=tuple(approvals),
        proposal=raw[at:],
    )


def proposal_key(proposal_hash: bytes) -> bytes:
    """Return the key of a proposal's row."""
    return row_key(Table.PROPOSAL, proposal_hash)


OPEN_PROPOSALS_KEY = row_key(Table.OPEN_PROPOSALS)


def open_proposals(rows: RowReader) -> list[bytes]:
    """Return the hashes of all open proposals, in the order in which they were opened."""
    raw = rows.get(OPEN_PROPOSALS_KEY) or b""
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def put_open_proposals(rows: Rows, hashes: Sequence[bytes]) -> None:
    """Write which proposals are open."""
    rows.put(OPEN_PROPOSALS_KEY, b"".join(hashes))


def parameter_key(name: str) -> bytes:
    """Return the key of a parameter's row."""
    return row_key(Table.PARAMETER, name.encode("ascii"))


def parameter(rows: RowReader, name: str) -> int:
    """Return a parameter of the chain."""
    raw = rows.get(parameter_key(name))
    assert raw is not None, f"height 0 has parameter {name}"
    return int.from_bytes(raw)
