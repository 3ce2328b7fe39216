"""What questions about rule packages ask and return: records that fit together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from lotmark.errors import MalformedError, ProofError
from lotmark.package_change import ChangeKind, change_bytes, change_hash, kind_of, name_of
from lotmark.v1 import contract_queries_pb2, contracts_pb2


class ProposalStatus(IntEnum):
    """What became of a proposal."""

    OPEN = 1
    ACTIVATED = 2
    EXPIRED = 3
    VOID = 4  # it could not be carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedVersion:
    """A version of a package that the parties have approved."""

    version: int
    package_hash: bytes
    proposal: bytes  # hash of the proposal that brought it
    from_height: int
    approvals: Sequence[str]  # parties that are bound by it


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStanding:
    """A package, by the node's word."""

    name: str
    versions: Sequence[ApprovedVersion]  # the newest 16, ascending
    in_force: int  # version; 0: none yet
    is_suspended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStanding:
    """A change that is proposed, and how far it is; how far is the node's word."""

    proposal: bytes  # its hash, which fits the change and the chain
    change: contracts_pb2.PackageChange
    status: ProposalStatus
    opened_height: int
    decided_height: int  # 0: it is open
    approvals: Sequence[str]
    missing_parties: Sequence[str]  # members that have not approved, while it is open
    rule: str  # who must approve, while it is open: "all" or "majority"
    missing_parts: Sequence[int]  # their positions, while it is open

    @property
    def kind(self) -> ChangeKind:
        """What is asked for."""
        return kind_of(self.change)

    @property
    def package(self) -> str:
        """Name of the package that it is about."""
        return name_of(self.change, self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """All packages, and the open proposals."""

    height: int
    packages: Sequence[PackageStanding]
    proposals: Sequence[ChangeStanding]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedPackage:
    """A proposal, and the files whose parts it names."""

    standing: ChangeStanding
    files: Mapping[str, bytes] | None  # None: parts are missing, or it brings no package


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim, by the node's word."""

    claim: str
    version: int  # of the package, that has opened it
    opened_by: int  # entry index of the event
    receipt_count: int  # 1,000: that many or more


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReceipt:
    """A rule receipt; only a proof of its entry shows that it is on the ledger."""

    index: int
    height: int
    time_ms: int
    event_index: int
    raw: bytes = field(repr=False)  # canonical JSON
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimHistory:
    """A claim and its rule receipts, in the order of the log."""

    claim: Claim | None  # None: only rules that refused have named it
    receipts: Sequence[FoundReceipt]


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds, by the node's word."""

    currency: str
    account: str  # family, colon, name
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementQuery:
    """Which postings to return: those that keep every condition given."""

    package: str = ""
    party: str = ""  # accounts of this name, in any family
    account: str = ""  # family, colon, name
    from_height: int = 0  # first block; 0: the first one
    to_height: int = 0  # last block; 0: the newest one
    from_ms: int = 0  # blocks of this time or later; 0: all
    to_ms: int = 0  # blocks before this time; 0: all


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPosting:
    """A posting of a rule receipt, by the node's word."""

    receipt_index: int
    number: int  # within the rule receipt; the first is 0
    event_index: int
    height: int
    time_ms: int
    package: str
    version: int
    rule: str
    claim: str
    debit: str  # account that it took from
    credit: str  # account that it gave to
    minor: int
    currency: str
    memo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Postings, in the order of the log."""

    height: int  # last block that was looked at
    postings: Sequence[FoundPosting]


def read_standing(message: contract_queries_pb2.PackageStanding) -> PackageStanding:
    """Return how a package stands."""
    return PackageStanding(
        name=message.name,
        versions=[
            ApprovedVersion(
                version=each.version,
                package_hash=each.package,
                proposal=each.proposal,
                from_height=each.from_height,
                approvals=tuple(each.approvals),
            )
            for each in message.versions
        ],
        in_force=message.in_force,
        is_suspended=message.suspended,
    )


def read_change(
    message: contract_queries_pb2.PackageProposalStanding, chain_id: bytes
) -> ChangeStanding:
    """Return a proposal.

    Raises:
        ProofError: Its hash is not that of the change, or it stands as nothing that is known.
        MalformedError: The change is none.
    """
    if change_hash(chain_id, change_bytes(message.change)) != message.proposal:
        raise ProofError(f"proposal {message.proposal.hex()} came with a change that is not its")
    kind_of(message.change)
    try:
        status = ProposalStatus(message.status)
    except ValueError as error:
        raise ProofError(f"a proposal stands as {message.status}; update the client") from error
    return ChangeStanding(
        proposal=message.proposal,
        change=message.change,
        status=status,
        opened_height=message.opened_height,
        decided_height=message.decided_height,
        approvals=tuple(message.approvals),
        missing_parties=tuple(message.missing_parties),
        rule=message.rule,
        missing_parts=tuple(message.missing_parts),
    )


def read_claim(message: contract_queries_pb2.ClaimStanding) -> Claim:
    """Return a claim."""
    return Claim(
        claim=message.claim,
        version=message.version,
        opened_by=message.opened_by,
        receipt_count=message.receipt_count,
    )


def read_receipt(message: contract_queries_pb2.RuleReceiptEntry) -> FoundReceipt:
    """Return a rule receipt.

    Raises:
        MalformedError: It is no JSON object.
    """
    try:
        document = json.loads(message.document)
    except ValueError as error:
        raise MalformedError(f"the rule receipt of entry {message.index} is no JSON") from error
    if not isinstance(document, dict):
        raise MalformedError(f"the rule receipt of entry {message.index} is no JSON object")
    return FoundReceipt(
        index=message.index,
        height=message.height,
        time_ms=message.time_ms,
        event_index=message.event_index,
        raw=message.document,
        document=document,
    )


def read_posting(message: contract_queries_pb2.PostingEntry) -> FoundPosting:
    """Return a posting."""
    return FoundPosting(
        receipt_index=message.receipt_index,
        number=message.number,
        event_index=message.event_index,
        height=message.height,
        time_ms=message.time_ms,
        package=message.package,
        version=message.version,
        rule=message.rule,
        claim=message.claim,
        debit=getattr(message, "from"),  # a word of Python's
        credit=message.to,
        minor=message.minor,
        currency=message.currency,
        memo=message.memo,
    )
