"""Which packages and proposals of packages there are, and their files."""

from lotmark.errors import MalformedError
from lotmark.governance import ApprovalRule
from lotmark.key_grant import NEVER
from lotmark.merkle import HASH_SIZE
from lotmark.package_change import kind_of, name_of
from lotmark.state_rows import ProposalRow, ProposalStatus, Table, members, split_row_key
from lotmark.v1 import contract_queries_pb2, contracts_pb2
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.store import LedgerStore
from lotmark_node.rpc.row_pages import check_size, row_page
from lotmark_node.state_machine.contract_rows import (
    open_package_proposals,
    package_key,
    package_proposal,
    package_row,
    parse_package_row,
    parse_version_row,
    part_key,
    version_key,
    version_rows,
)
from lotmark_node.state_machine.ledger_state import LedgerState
from lotmark_node.state_machine.package_effects import approval_rule

PACKAGES_MAX = 50  # in one answer
VERSIONS_MAX = 16  # of a package, the newest ones
NAME_SIZE_MAX = 40

_STATUS = {
    ProposalStatus.OPEN: contract_queries_pb2.PACKAGE_PROPOSAL_STATUS_OPEN,
    ProposalStatus.ACTIVATED: contract_queries_pb2.PACKAGE_PROPOSAL_STATUS_ACTIVATED,
    ProposalStatus.EXPIRED: contract_queries_pb2.PACKAGE_PROPOSAL_STATUS_EXPIRED,
    ProposalStatus.VOID: contract_queries_pb2.PACKAGE_PROPOSAL_STATUS_VOID,
}


def list_packages(
    request: contract_queries_pb2.ListPackagesRequest, store: LedgerStore, state: LedgerState
) -> contract_queries_pb2.ListPackagesResponse:
    """Return a page of packages, the first one with the open proposals.

    Raises:
        MalformedError: The name, or what to go on with, is none.
        NotOnLedger: There is no package of this name, and none is proposed.
    """
    check_size(request.name, NAME_SIZE_MAX, "a package's name")
    if not request.name.isascii():
        raise _no_package(request.name)
    answer = contract_queries_pb2.ListPackagesResponse(height=state.height)
    if not request.resume:
        for hashed in open_package_proposals(store):
            row = package_proposal(store, hashed)
            if row is not None and request.name in ("", _name_of(row)):
                answer.proposals.append(_proposal_standing(store, state, hashed, row))
    prefix = package_key(request.name) if request.name else bytes([Table.PACKAGE])
    found, answer.resume = row_page(
        store,
        prefix,
        request.resume,
        lambda key, value: _package_standing(store, state, key, value),
        told_max=PACKAGES_MAX,
        looked_at_max=PACKAGES_MAX,
    )
    answer.packages.extend(found)
    if request.name and not answer.packages and not answer.proposals:
        raise _no_package(request.name)
    return answer


def _package_standing(
    store: LedgerStore, state: LedgerState, key: bytes, value: bytes
) -> contract_queries_pb2.PackageStanding:
    name = split_row_key(key)[1][0].decode("ascii")
    in_force = state.packages.in_force(name, state.height + 1)
    return contract_queries_pb2.PackageStanding(
        name=name,
        versions=[
            contract_queries_pb2.PackageVersion(
                version=version,
                package=row.package_hash,
                proposal=row.proposal,
                from_height=row.from_height,
                approvals=row.approvals,
            )
            for version, row in version_rows(store, name)[-VERSIONS_MAX:]
        ],
        in_force=0 if in_force is None else in_force.package.manifest.version,
        suspended=parse_package_row(value).is_suspended,
    )


def _proposal_standing(
    store: LedgerStore, state: LedgerState, hashed: bytes, row: ProposalRow
) -> contract_queries_pb2.PackageProposalStanding:
    change = contracts_pb2.PackageChange.FromString(row.proposal)
    standing = contract_queries_pb2.PackageProposalStanding(
        proposal=hashed,
        change=change,
        status=_STATUS[row.status],
        opened_height=row.opened_height,
        decided_height=0 if row.decided_height == NEVER else row.decided_height,
        approvals=row.approvals,
    )
    if row.status is ProposalStatus.OPEN:
        height = state.height + 1
        kind = kind_of(change)
        rule = approval_rule(kind, name_of(change, kind), height, state.packages)
        standing.rule = ApprovalRule(rule).name.lower()
        standing.missing_parties.extend(sorted(members(store, height).keys() - set(row.approvals)))
        standing.missing_parts.extend(
            at
            for at in range(len(change.activate.parts))
            if store.get(part_key(hashed, at)) is None
        )
    return standing


def get_package(
    request: contract_queries_pb2.GetPackageRequest, store: LedgerStore, state: LedgerState
) -> contract_queries_pb2.GetPackageResponse:
    """Return how a package was proposed, and its files.

    Raises:
        MalformedError: The request names none.
        NotOnLedger: There is no such proposal or version.
    """
    hashed = _asked(request, store)
    row = package_proposal(store, hashed)
    if row is None:
        raise NotOnLedger(f"no change of packages {hashed.hex()} was ever proposed")
    standing = _proposal_standing(store, state, hashed, row)
    parts = [store.get(part_key(hashed, at)) for at in range(len(standing.change.activate.parts))]
    found = [part for part in parts if part is not None]
    return contract_queries_pb2.GetPackageResponse(
        proposal=standing, archive=b"".join(found) if len(found) == len(parts) else b""
    )


def _asked(request: contract_queries_pb2.GetPackageRequest, store: LedgerStore) -> bytes:
    """Return the hash of the proposal that a request asks for."""
    if request.WhichOneof("which") == "proposal":
        if len(request.proposal) != HASH_SIZE:
            raise MalformedError(f"a proposal's hash has {HASH_SIZE} bytes")
        return request.proposal
    check_size(request.name, NAME_SIZE_MAX, "a package's name")
    package = package_row(store, request.name) if request.name.isascii() else None
    if package is None:
        raise NotOnLedger(f"no package {request.name!a} was ever approved")
    version = request.version or package.version
    raw = store.get(version_key(request.name, version))
    if raw is None:
        raise NotOnLedger(
            f"package {request.name} has no version {version}; the newest is {package.version}"
        )
    return parse_version_row(raw).proposal


def _name_of(row: ProposalRow) -> str:
    change = contracts_pb2.PackageChange.FromString(row.proposal)
    return name_of(change, kind_of(change))


def _no_package(name: str) -> NotOnLedger:
    return NotOnLedger(f"no package {name!a} was ever approved, and none is proposed")
