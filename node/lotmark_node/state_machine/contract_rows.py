"""Rows about rule packages and what their rules keep. Layouts: docs/protocol.md, section 7."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from lotmark.rule_value import RuleValue, encode_value, parse_value
from lotmark.state_rows import (
    ProposalRow,
    RowReader,
    Rows,
    Table,
    parse_proposal_row,
    read_str8,
    row_key,
    split_row_key,
    str8,
    u64,
)

_PACKAGE = struct.Struct(">IB")
_VERSION = struct.Struct(">32s32sQH")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_I64 = struct.Struct(">q")
_CLAIM = struct.Struct(">IQ")
_TIMER = struct.Struct(">QQH")
_EVIDENCE = struct.Struct(">QQ")

PRESENT = b"\1"  # the value of rows whose key says all


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A package, whichever of its versions is in force."""

    version: int  # the newest that was approved
    is_suspended: bool = False

    def encode(self) -> bytes:
        """Return the row's value."""
        return _PACKAGE.pack(self.version, self.is_suspended)


def package_key(name: str) -> bytes:
    """Return the key of a package's row."""
    return row_key(Table.PACKAGE, name.encode("ascii"))


def parse_package_row(raw: bytes) -> PackageRow:
    """Parse a package's row."""
    version, is_suspended = _PACKAGE.unpack(raw)
    return PackageRow(version, bool(is_suspended))


def package_row(rows: RowReader, name: str) -> PackageRow | None:
    """Return a package's row, or None where no version of it was ever approved."""
    raw = rows.get(package_key(name))
    return None if raw is None else parse_package_row(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A version of a package that was approved."""

    package_hash: bytes
    proposal: bytes  # under which its parts stand
    from_height: int
    approvals: tuple[str, ...]  # the parties that are bound by it

    def encode(self) -> bytes:
        """Return the row's value."""
        head = _VERSION.pack(
            self.package_hash, self.proposal, self.from_height, len(self.approvals)
        )
        return head + b"".join([str8(party) for party in self.approvals])


def version_key(name: str, version: int) -> bytes:
    """Return the key of a version's row."""
    return row_key(Table.PACKAGE_VERSION, name.encode("ascii"), _U32.pack(version))


def parse_version_row(raw: bytes) -> VersionRow:
    """Parse a version's row."""
    package_hash, proposal, from_height, count = _VERSION.unpack_from(raw)
    approvals, at = [], _VERSION.size
    for _ in range(count):
        party, at = read_str8(raw, at)
        approvals.append(party)
    return VersionRow(
        package_hash=package_hash,
        proposal=proposal,
        from_height=from_height,
        approvals=tuple(approvals),
    )


def version_rows(rows: RowReader, name: str) -> list[tuple[int, VersionRow]]:
    """Return the versions of a package that were approved, ascending."""
    found = rows.rows(row_key(Table.PACKAGE_VERSION, name.encode("ascii")))
    return [
        (_U32.unpack(split_row_key(key)[1][1])[0], parse_version_row(value)) for key, value in found
    ]


def package_names(rows: RowReader) -> list[str]:
    """Return the names of all packages, ascending."""
    found = rows.rows(bytes([Table.PACKAGE]))
    return sorted(split_row_key(key)[1][0].decode("ascii") for key, _ in found)


def package_proposal_key(proposal: bytes) -> bytes:
    """Return the key of a proposal's row."""
    return row_key(Table.PACKAGE_PROPOSAL, proposal)


def package_proposal(rows: RowReader, proposal: bytes) -> ProposalRow | None:
    """Return a proposal's row by its hash."""
    raw = rows.get(package_proposal_key(proposal))
    return None if raw is None else parse_proposal_row(raw)


OPEN_PROPOSALS_KEY = row_key(Table.OPEN_PACKAGE_PROPOSALS)


def open_package_proposals(rows: RowReader) -> list[bytes]:
    """Return the hashes of all open proposals, in the order in which they were opened."""
    raw = rows.get(OPEN_PROPOSALS_KEY) or b""
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def put_open_package_proposals(rows: Rows, hashes: Sequence[bytes]) -> None:
    """Write which proposals are open."""
    rows.put(OPEN_PROPOSALS_KEY, b"".join(hashes))


def part_key(proposal: bytes, position: int) -> bytes:
    """Return the key of a part of a package that is proposed."""
    return row_key(Table.PACKAGE_PART, proposal, bytes([position]))


def rule_value_key(package: str, family: str, key: str) -> bytes:
    """Return the key of a value that a rule has kept."""
    return row_key(Table.RULE_VALUE, package.encode(), family.encode(), key.encode())


def once_key(package: str, rule: str, key: str) -> bytes:
    """Return the key that says that a rule has fired."""
    return row_key(Table.ONCE, package.encode(), rule.encode(), key.encode())


def account_key(package: str, currency: str, account: str) -> bytes:
    """Return the key of an account's balance."""
    return row_key(Table.ACCOUNT, package.encode(), currency.encode(), account.encode())


def encode_balance(minor: int) -> bytes:
    """Return the value of an account's row."""
    return _I64.pack(minor)


def parse_balance(raw: bytes) -> int:
    """Return an account's balance in minor units."""
    balance: int = _I64.unpack(raw)[0]
    return balance


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claim: the version of the package that has opened it, and by which event."""

    version: int
    opened_by: int  # entry index

    def encode(self) -> bytes:
        """Return the row's value."""
        return _CLAIM.pack(self.version, self.opened_by)


def claim_key(package: str, claim: str) -> bytes:
    """Return the key of a claim's row."""
    return row_key(Table.CLAIM, package.encode(), claim.encode())


def parse_claim_row(raw: bytes) -> ClaimRow:
    """Parse a claim's row."""
    return ClaimRow(*_CLAIM.unpack(raw))


def claim_receipt_key(package: str, claim: str, receipt_index: int) -> bytes:
    """Return the key by which a rule receipt of a claim is found."""
    return row_key(Table.CLAIM_RECEIPT, package.encode(), claim.encode(), u64(receipt_index))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerRow:
    """What happens when a timer is due."""

    event_index: int  # of the event that has set it
    batch_index: int  # of that event's batch
    position: int  # in it
    author: str
    fields: dict[str, RuleValue]

    def encode(self) -> bytes:
        """Return the row's value."""
        head = _TIMER.pack(self.event_index, self.batch_index, self.position)
        return head + str8(self.author) + encode_value(self.fields)


def timer_key(due_ms: int, package: str, name: str, key: str) -> bytes:
    """Return the key of a timer's row; rows ascend by when they are due."""
    return row_key(Table.TIMER, u64(due_ms), package.encode(), name.encode(), key.encode())


def parse_timer_key(raw: bytes) -> tuple[int, str, str, str]:
    """Return when a timer is due, its package, name and key."""
    due, package, name, key = split_row_key(raw)[1]
    return int.from_bytes(due), package.decode(), name.decode(), key.decode()


def parse_timer_row(raw: bytes) -> TimerRow:
    """Parse a timer's row.

    Raises:
        ValueError: Its fields are no record, among other errors of rows in a form that is none.
    """
    event_index, batch_index, position = _TIMER.unpack_from(raw)
    author, at = read_str8(raw, _TIMER.size)
    fields = parse_value(raw[at:])
    if not isinstance(fields, dict):
        raise ValueError("a timer's fields are a record")
    return TimerRow(
        event_index=event_index,
        batch_index=batch_index,
        position=position,
        author=author,
        fields=fields,
    )


def timer_place_key(package: str, name: str, key: str) -> bytes:
    """Return the key of the row that says when a timer is due."""
    return row_key(Table.TIMER_PLACE, package.encode(), name.encode(), key.encode())


def evidence_key(item: str, party: str, event_type: int, slot: int) -> bytes:
    """Return the key of an evidence row: of one of the first entries of a party and type."""
    return row_key(
        Table.EVIDENCE, item.encode(), party.encode(), _U16.pack(event_type), bytes([slot])
    )


def evidence_value(entry: int, time_ms: int) -> bytes:
    """Return the value of an evidence row."""
    return _EVIDENCE.pack(entry, time_ms)


def parse_evidence_value(raw: bytes) -> tuple[int, int]:
    """Return entry index and time of an evidence row."""
    entry, time_ms = _EVIDENCE.unpack(raw)
    return entry, time_ms
