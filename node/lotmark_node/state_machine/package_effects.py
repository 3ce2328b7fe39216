"""What events about packages do to the state: proposals, their parts, approvals, decisions.

A proposal names the hashes of its package's parts; events bring them. With the last one every node
checks the package, and a proposal whose package does not pass is void at once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from lotmark.errors import ProtocolError
from lotmark.governance import (
    PROPOSAL_MS_MAX,
    PROPOSAL_MS_MIN,
    ApprovalRule,
    approvals_suffice,
)
from lotmark.key_rules import Place, judge_roots
from lotmark.outcome import Outcome
from lotmark.package_change import (
    ChangeKind,
    change_approval_statement,
    change_bytes,
    change_hash,
    kind_of,
    name_of,
)
from lotmark.state_rows import ProposalRow, ProposalStatus, members
from lotmark.v1 import contracts_pb2, governance_pb2
from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.manifest import Approval
from lotmark_node.state_machine.contract_rows import (
    PackageRow,
    VersionRow,
    open_package_proposals,
    package_key,
    package_proposal,
    package_proposal_key,
    package_row,
    part_key,
    put_open_package_proposals,
    version_key,
    version_rows,
)
from lotmark_node.state_machine.package_check import check_package
from lotmark_node.state_machine.packages_in_force import Packages, files_of
from lotmark_node.state_machine.state import StateChanges

OPEN_PROPOSALS_MAX = 16
OPEN_PROPOSALS_OF_PARTY_MAX = 4
CHECKS_MAX = 2  # of whole packages in a block

_RULES = {Approval.ALL: ApprovalRule.ALL, Approval.MAJORITY: ApprovalRule.MAJORITY}


def propose(state: StateChanges, body: contracts_pb2.PackageProposal, place: Place) -> Outcome:
    """Put a change of packages before the parties, approved by the one that proposes it."""
    try:
        kind_of(body.change)
    except ProtocolError:
        return Outcome.PACKAGE_CHANGE_INVALID
    if not PROPOSAL_MS_MIN <= body.change.expires_ms - place.time_ms <= PROPOSAL_MS_MAX:
        return Outcome.PACKAGE_CHANGE_INVALID
    raw = change_bytes(body.change)
    hashed = change_hash(place.chain.id, raw)
    if package_proposal(state, hashed) is not None:
        return Outcome.PROPOSAL_EXISTS
    outcome = _judge_approval(state, hashed, body.party, body.roots, place)
    if outcome:
        return outcome
    open_hashes = open_package_proposals(state)
    if not _has_room(state, open_hashes, body):
        return Outcome.PACKAGE_PROPOSALS_TOO_MANY
    if not _can_be_done(state, body.change):
        return Outcome.PACKAGE_CHANGE_INVALID
    row = ProposalRow(opened_height=place.height, approvals=(body.party,), proposal=raw)
    state.put(package_proposal_key(hashed), row.encode())
    put_open_package_proposals(state, [*open_hashes, hashed])
    return Outcome.ACCEPTED


def _has_room(
    state: StateChanges, open_hashes: Sequence[bytes], body: contracts_pb2.PackageProposal
) -> bool:
    """Tell whether one more may be open; stops are counted apart, as they must not have to wait."""
    is_stop = body.change.HasField("suspend")
    alike = [
        row
        for row in (_proposal(state, each) for each in open_hashes)
        if contracts_pb2.PackageChange.FromString(row.proposal).HasField("suspend") is is_stop
    ]
    own = [row for row in alike if row.approvals[0] == body.party]
    return len(alike) < OPEN_PROPOSALS_MAX and len(own) < OPEN_PROPOSALS_OF_PARTY_MAX


def approve(state: StateChanges, body: contracts_pb2.PackageApproval, place: Place) -> Outcome:
    """Count a party's approval, once; of a version in force, the party is bound by it from now."""
    row = package_proposal(state, body.proposal)
    if row is None:
        return Outcome.PROPOSAL_UNKNOWN
    change = contracts_pb2.PackageChange.FromString(row.proposal)
    is_open = row.status is ProposalStatus.OPEN and place.time_ms < change.expires_ms
    is_version = row.status is ProposalStatus.ACTIVATED and change.HasField("activate")
    if not is_open and not is_version:
        return Outcome.PROPOSAL_CLOSED
    outcome = _judge_approval(state, body.proposal, body.party, body.roots, place)
    if outcome:
        return outcome
    if body.party in row.approvals:
        return Outcome.APPROVED_ALREADY
    approvals = (*row.approvals, body.party)
    state.put(package_proposal_key(body.proposal), replace(row, approvals=approvals).encode())
    if is_version:
        _bind(state, change.activate, approvals)
    return Outcome.ACCEPTED


def _bind(
    state: StateChanges,
    activation: contracts_pb2.PackageActivation,
    approvals: tuple[str, ...],
) -> None:
    for version, row in version_rows(state, activation.name):
        if version == activation.version:
            bound = replace(row, approvals=approvals)
            state.put(version_key(activation.name, version), bound.encode())


def _judge_approval(
    state: StateChanges,
    proposal: bytes,
    party: str,
    roots: Sequence[governance_pb2.KeySignature],
    place: Place,
) -> Outcome:
    signed = change_approval_statement(chain_id=place.chain.id, proposal=proposal, party=party)
    return judge_roots(state, party, signed, roots, height=place.height)


def _proposal(state: StateChanges, hashed: bytes) -> ProposalRow:
    row = package_proposal(state, hashed)
    assert row is not None, "an open proposal has a row"
    return row


def _can_be_done(state: StateChanges, change: contracts_pb2.PackageChange) -> bool:
    """Tell whether a change fits the packages that there are."""
    kind = kind_of(change)
    row = package_row(state, name_of(change, kind))
    match kind:
        case ChangeKind.ACTIVATE:
            return change.activate.version == (row.version if row else 0) + 1
        case ChangeKind.SUSPEND:
            return row is not None and not row.is_suspended
        case ChangeKind.RESUME:
            return row is not None and row.is_suspended


def take_part(
    state: StateChanges, body: contracts_pb2.PackagePart, place: Place, packages: Packages
) -> Outcome:
    """Keep a part of each proposed package that waits for it, and check those that are whole.

    Checking takes up to seconds, so a block does it for `CHECKS_MAX` packages; what would make
    another one whole is refused, and can come again.
    """
    digest = hashlib.sha256(body.data).digest()
    is_wanted, is_kept, is_sound = False, False, True
    for hashed in open_package_proposals(state):
        row = _proposal(state, hashed)
        change = contracts_pb2.PackageChange.FromString(row.proposal)
        wanting = [
            at
            for at, part in enumerate(change.activate.parts)
            if part == digest and state.get(part_key(hashed, at)) is None
        ]
        is_wanted = is_wanted or bool(wanting)
        if not wanting or state.package_checks >= CHECKS_MAX:
            continue
        is_kept = True
        for at in wanting:
            state.put(part_key(hashed, at), body.data)
        if _is_whole(state, hashed, change):
            state.package_checks += 1
            if not _is_sound(state, hashed, change, packages):
                is_sound = False
                _close(state, hashed, replace(row, status=ProposalStatus.VOID), place)
    if not is_wanted:
        return Outcome.PACKAGE_PART_UNKNOWN
    if not is_kept:
        return Outcome.PACKAGE_PROPOSALS_TOO_MANY
    return Outcome.ACCEPTED if is_sound else Outcome.PACKAGE_INVALID


def _is_whole(state: StateChanges, hashed: bytes, change: contracts_pb2.PackageChange) -> bool:
    count = len(change.activate.parts)
    return all(state.get(part_key(hashed, at)) is not None for at in range(count))


def _is_sound(
    state: StateChanges, hashed: bytes, change: contracts_pb2.PackageChange, packages: Packages
) -> bool:
    activation = change.activate
    try:
        check_package(
            files_of(state, hashed),
            name=activation.name,
            version=activation.version,
            package_hash=activation.package,
            older=packages.newest(activation.name),
        )
    except (PackageRefused, ProtocolError):
        return False
    return True


def decide(state: StateChanges, place: Place, packages: Packages) -> None:
    """Decide the open proposals that can be decided, in the order in which they were opened."""
    for hashed in open_package_proposals(state):
        row = _proposal(state, hashed)
        change = contracts_pb2.PackageChange.FromString(row.proposal)
        status = _judge(state, hashed, row, change, place, packages)
        if status is ProposalStatus.OPEN:
            continue
        if status is ProposalStatus.ACTIVATED:
            _carry_out(state, hashed, row, change, place)
        _close(state, hashed, replace(row, status=status), place)


def _judge(
    state: StateChanges,
    hashed: bytes,
    row: ProposalRow,
    change: contracts_pb2.PackageChange,
    place: Place,
    packages: Packages,
) -> ProposalStatus:
    """Return what is to become of an open proposal."""
    if place.time_ms >= change.expires_ms:
        return ProposalStatus.EXPIRED
    if not _can_be_done(state, change):
        return ProposalStatus.VOID  # another one was quicker
    kind = kind_of(change)
    rule = approval_rule(kind, name_of(change, kind), place.height + 1, packages)
    present = members(state, place.height + 1)
    if not approvals_suffice(rule, present.keys(), row.approvals, None):
        return ProposalStatus.OPEN
    if kind is ChangeKind.ACTIVATE and not _is_whole(state, hashed, change):
        return ProposalStatus.OPEN
    return ProposalStatus.ACTIVATED


def approval_rule(kind: ChangeKind, name: str, height: int, packages: Packages) -> ApprovalRule:
    """Return who must approve: as the version in force says, and of a first version everybody."""
    if kind is ChangeKind.SUSPEND:
        return ApprovalRule.MAJORITY
    in_force = packages.in_force(name, height)
    return ApprovalRule.ALL if in_force is None else _RULES[in_force.package.manifest.approval]


def _carry_out(
    state: StateChanges,
    hashed: bytes,
    row: ProposalRow,
    change: contracts_pb2.PackageChange,
    place: Place,
) -> None:
    """Do what an approved proposal asks for, from the next height on."""
    match kind_of(change):
        case ChangeKind.ACTIVATE:
            activation = change.activate
            version = VersionRow(
                package_hash=activation.package,
                proposal=hashed,
                from_height=max(activation.from_height, place.height + 1),
                approvals=row.approvals,
            )
            state.put(version_key(activation.name, activation.version), version.encode())
            # Whoever approved the version wants it executed.
            state.put(package_key(activation.name), PackageRow(activation.version).encode())
        case ChangeKind.SUSPEND:
            _set_suspended(state, change.suspend.name, is_suspended=True)
        case ChangeKind.RESUME:
            _set_suspended(state, change.resume.name, is_suspended=False)


def _set_suspended(state: StateChanges, name: str, *, is_suspended: bool) -> None:
    row = package_row(state, name)
    assert row is not None, "it was judged that there is such a package"
    state.put(package_key(name), replace(row, is_suspended=is_suspended).encode())


def _close(state: StateChanges, hashed: bytes, row: ProposalRow, place: Place) -> None:
    """Write what became of a proposal; of one that comes to nothing the parts are not kept."""
    decided = replace(row, decided_height=place.height)
    state.put(package_proposal_key(hashed), decided.encode())
    open_hashes = open_package_proposals(state)
    put_open_package_proposals(state, [each for each in open_hashes if each != hashed])
    change = contracts_pb2.PackageChange.FromString(row.proposal)
    if row.status is not ProposalStatus.ACTIVATED:
        for at in range(len(change.activate.parts)):
            if state.get(part_key(hashed, at)) is not None:
                state.delete(part_key(hashed, at))
