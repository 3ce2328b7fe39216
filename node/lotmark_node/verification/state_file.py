"""The state at the beginning of a range: loaded, and held against all that vouches for it."""

import struct
from collections.abc import Iterable
from dataclasses import replace

from google.protobuf.message import DecodeError

from lotmark.errors import MalformedError, ProofError
from lotmark.item_epochs import parse_running_epoch
from lotmark.package_change import change_bytes
from lotmark.rule_value import encode_value, parse_value
from lotmark.state_rows import (
    GOVERNED_TABLES,
    NODE_KEY_VALUE,
    parse_batch_key_count,
    parse_proposal_row,
)
from lotmark.v1 import contracts_pb2
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.operator_register import OperatorRegister
from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.package import load_package
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.contract_rows import (
    PRESENT,
    VersionRow,
    encode_balance,
    evidence_value,
    package_names,
    package_proposal,
    package_row,
    parse_balance,
    parse_claim_row,
    parse_evidence_value,
    parse_package_row,
    parse_timer_row,
    parse_version_row,
    part_key,
    version_rows,
)
from lotmark_node.state_machine.operator_row import (
    OperatorRow,
    operator_key,
    parse_operator_row,
)
from lotmark_node.state_machine.packages_in_force import VERSIONS_MAX, files_of
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.tables import (
    Table,
    edge_value,
    encode_heads,
    encode_recent,
    parse_counters,
    parse_edge_value,
    parse_heads,
    parse_key_row,
    parse_lane_row,
    parse_party_row,
    parse_recent,
    parse_usage,
    row_key,
    split_row_key,
)

_ROWS_SUMMED = 256  # at once
_SHOWN_MAX = 48  # bytes of a key in a message


def load_rows(
    rows: Iterable[tuple[bytes, bytes]], state_digest: bytes
) -> tuple[StateInMemory, lthash.Lanes]:
    """Return the state that the rows of a state file are, with its lanes.

    Args:
        rows: Keys and values, strictly ascending by key.
        state_digest: That the log vouches for.

    Raises:
        ProofError: The rows have another digest.
        MalformedError: A row is not what its table holds.
    """
    state, lanes = StateInMemory(), lthash.empty_lanes()
    waiting: list[bytes] = []
    for key, value in rows:
        _check_row(key, value)
        state.put(key, value)
        waiting.append(lthash.row_bytes(key, value))
        if len(waiting) == _ROWS_SUMMED:
            lanes += lthash.sum_elements(waiting)
            waiting.clear()
    lanes += lthash.sum_elements(waiting)
    digest = lthash.digest(lanes)
    if digest != state_digest:
        raise ProofError(
            f"the rows have digest {digest.hex()}, the close before them says {state_digest.hex()}"
        )
    return state, lanes


def _check_row(key: bytes, value: bytes) -> None:
    """Check that a row is one that a transition could have written, so that it can be read."""
    try:
        table, parts = split_row_key(key)
        sound = row_key(table, *parts) == key and _written_again(table, value) == value
    except (struct.error, IndexError, ValueError, DecodeError) as error:
        raise MalformedError(f"row {key[:_SHOWN_MAX].hex()} cannot be read") from error
    if not sound:
        raise MalformedError(f"row {key[:_SHOWN_MAX].hex()} has another form than its table's")


def _written_again(table: Table, value: bytes) -> bytes:
    match table:
        case Table.PARAMETER | Table.TIMER_PLACE | Table.ONCE:
            return value[:8].rjust(8, b"\0")
        case Table.PARTY:
            return parse_party_row(value).encode()
        case Table.KEY:
            return parse_key_row(value).encode()
        case Table.LANE:
            return parse_lane_row(value).encode()
        case Table.RECENT_BLOCK:
            return encode_recent(*parse_recent(value))
        case Table.HEAD:
            return encode_heads(*parse_heads(value))
        case Table.ITEM_EPOCH:
            return parse_running_epoch(value).encode()
        case Table.PARENT:
            return edge_value(*parse_edge_value(value))
        case Table.COUNTER:
            return parse_counters(value).encode()
        case Table.QUOTA:
            return parse_usage(value, int.from_bytes(value[:8])).encode()
        case Table.PROPOSAL:
            return parse_proposal_row(value).encode()
        case Table.POLICY | Table.OPEN_PROPOSALS | Table.OPEN_PACKAGE_PROPOSALS:
            return value
        case Table.PACKAGE_PART:
            return value
        case Table.PACKAGE:
            return parse_package_row(value).encode()
        case Table.PACKAGE_VERSION:
            return parse_version_row(value).encode()
        case Table.PACKAGE_PROPOSAL:
            return _package_proposal_again(value)
        case Table.RULE_VALUE:
            return encode_value(parse_value(value))
        case Table.ACCOUNT:
            return encode_balance(parse_balance(value))
        case Table.CLAIM:
            return parse_claim_row(value).encode()
        case Table.CLAIM_RECEIPT:
            return PRESENT
        case Table.TIMER:
            return parse_timer_row(value).encode()
        case Table.EVIDENCE:
            return evidence_value(*parse_evidence_value(value))
        case Table.NODE_KEY:
            return NODE_KEY_VALUE
        case Table.BATCH_KEY_COUNT:
            return parse_batch_key_count(value).encode()
        case Table.OPERATOR:
            return parse_operator_row(value).encode()


def _package_proposal_again(value: bytes) -> bytes:
    row = parse_proposal_row(value)
    change = contracts_pb2.PackageChange.FromString(row.proposal)
    change.DiscardUnknownFields()
    return replace(row, proposal=change_bytes(change)).encode()


def check_governed_rows(state: StateInMemory, keys: KeyRegister) -> None:
    """Check the rows that follow from the genesis and the events that govern alone.

    Raises:
        ProofError: They are not as these make them: an event was left out, or made up.
    """
    for table in GOVERNED_TABLES:
        prefix = bytes([table])
        expected, found = dict(keys.rows(prefix)), dict(state.rows(prefix))
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                raise ProofError(
                    f"{table.name.lower().replace('_', ' ')} {_named(key)} is not in the state as"
                    " the genesis and the events of the file that govern have it"
                )


def check_package_rows(state: StateInMemory) -> None:
    """Check that the packages of a state can be executed: nothing they are made of is missing.

    Raises:
        ProofError: A version that may be executed lacks a row, or is no package.
    """
    for name in package_names(state):
        row, versions = package_row(state, name), version_rows(state, name)
        newest = row.version if row else 0
        if not versions or versions[-1][0] != newest:
            raise ProofError(f"package {name} has no version {newest} in the state")
        for number, version in versions[-VERSIONS_MAX:]:
            _check_version(state, f"package {name} version {number}", version)


def _check_version(state: StateInMemory, what: str, version: VersionRow) -> None:
    proposal = package_proposal(state, version.proposal)
    if proposal is None:
        raise ProofError(f"{what} has no change in the state")
    try:
        change = contracts_pb2.PackageChange.FromString(proposal.proposal)
        for at in range(len(change.activate.parts)):
            if state.get(part_key(version.proposal, at)) is None:
                raise ProofError(f"{what} lacks part {at} in the state")
        package = load_package(files_of(state, version.proposal))
    except (DecodeError, MalformedError, PackageRefused) as error:
        raise ProofError(f"{what} is no package in the state: {error}") from error
    if package.hash != version.package_hash:
        raise ProofError(f"{what} is another package in the state than was approved")


def check_operator_rows(state: StateInMemory, register: OperatorRegister) -> None:
    """Check that the credentials of the state are those that follow from the events about them.

    Raises:
        ProofError: They are not: a registration or revocation was left out, or made up.
    """
    expected = {
        operator_key(credential_id): OperatorRow(
            from_height=registered.from_height,
            revoked_height=registered.revoked_height,
            compromised_since_ms=registered.compromised_since_ms,
            not_before_ms=registered.grant.not_before_ms,
            not_after_ms=registered.grant.not_after_ms,
            party=registered.grant.party,
            role=registered.grant.role,
            relying_party=registered.grant.relying_party,
            meanings=registered.grant.meanings,
        ).encode()
        for credential_id, registered in register.operators.items()
    }
    found = dict(state.rows(bytes([Table.OPERATOR])))
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise ProofError(
                f"credential {key[3:].hex()} is not in the state as the events about operators of"
                " the file have it"
            )


def _named(key: bytes) -> str:
    """Return what a row is of, as a person reads it."""
    name = b"".join(split_row_key(key)[1])
    try:
        text = name.decode("ascii")
    except UnicodeDecodeError:
        return name.hex()
    return text if text.isprintable() else name.hex()
