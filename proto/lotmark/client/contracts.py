"""Questions about rule packages, over a session with a node.

What a node says of claims, balances and postings is its word; that files are those that a proposal
names by hash is checked here, and `prove` shows that a rule receipt is on the ledger.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from lotmark.client.calls import node_errors
from lotmark.client.contract_records import (
    Balance,
    ChangeStanding,
    Claim,
    ClaimHistory,
    FoundReceipt,
    Packages,
    PackageStanding,
    ProposedPackage,
    Statement,
    StatementQuery,
    read_change,
    read_claim,
    read_posting,
    read_receipt,
    read_standing,
)
from lotmark.client.ledger_records import LedgerCheckpoint
from lotmark.client.session import ANSWER_S, FRESH, STREAM_S, LedgerSession
from lotmark.entry import EntryKind, parse_rule_receipt
from lotmark.errors import ProofError
from lotmark.package_change import archive_parts, parse_archive
from lotmark.v1 import contract_queries_pb2, contract_queries_pb2_grpc

PAGES_MAX = 100_000  # of one answer
_ANY_POSTING = StatementQuery()


class ContractReader:
    """Asks the node of a session; for the session's thread.

    Every question may be `fresh`: nothing that any node has acknowledged before is left out then,
    which costs a round of them all. Every method raises ProtocolError, ConnectionError and
    TimeoutError as every call does.
    """

    def __init__(self, session: LedgerSession) -> None:
        self._session = session
        self._place = session.place
        self._stub = contract_queries_pb2_grpc.ContractServiceStub(session.channel)

    def packages(self, name: str = "", *, fresh: bool = False) -> Packages:
        """Return the packages there are, or one of them, and the open proposals.

        Raises:
            NotOnLedgerError: There is no package of that name, and none is proposed.
            ProofError: What the node gave does not fit together.
        """
        request = contract_queries_pb2.ListPackagesRequest(name=name)
        packages: list[PackageStanding] = []
        proposals: list[ChangeStanding] = []
        height = 0
        for page in self._pages(self._stub.ListPackages, request, fresh=fresh):
            height = page.height
            packages += [read_standing(each) for each in page.packages]
            proposals += [self._change(each) for each in page.proposals]
        if name and any(each.name != name for each in packages):
            raise ProofError(f"{self._place} told of other packages than {name}")
        return Packages(height=height, packages=packages, proposals=proposals)

    def proposed(self, proposal: bytes, *, fresh: bool = False) -> ProposedPackage:
        """Return a proposal by its hash, 32 bytes, and the files that it brings.

        Raises:
            NotOnLedgerError: There never was such a proposal.
            ProofError: What the node gave is another one.
        """
        found = self._package(
            contract_queries_pb2.GetPackageRequest(proposal=proposal), fresh=fresh
        )
        if found.standing.proposal != proposal:
            raise ProofError(f"{self._place} gave another proposal than {proposal.hex()}")
        return found

    def version(self, name: str, version: int = 0, *, fresh: bool = False) -> ProposedPackage:
        """Return a version of a package, 0: the newest, with its files.

        Raises:
            NotOnLedgerError: There is none.
            ProofError: What the node gave is another one.
        """
        request = contract_queries_pb2.GetPackageRequest(name=name, version=version)
        found = self._package(request, fresh=fresh)
        activation = found.standing.change.activate
        if activation.name != name or version not in (0, activation.version):
            raise ProofError(f"{self._place} gave another package than {name} version {version}")
        return found

    def _package(
        self, request: contract_queries_pb2.GetPackageRequest, *, fresh: bool
    ) -> ProposedPackage:
        answer = self._call(self._stub.GetPackage, request, fresh=fresh)
        standing = self._change(answer.proposal)
        if not answer.archive:
            return ProposedPackage(standing=standing, files=None)
        parts = [hashlib.sha256(part).digest() for part in archive_parts(answer.archive)]
        if parts != list(standing.change.activate.parts):
            raise ProofError(
                f"{self._place} gave files that are not those of proposal {standing.proposal.hex()}"
            )
        return ProposedPackage(standing=standing, files=parse_archive(answer.archive))

    def _change(self, message: contract_queries_pb2.PackageProposalStanding) -> ChangeStanding:
        return read_change(message, self._session.settings.chain_id)

    def claims(self, package: str, prefix: str = "", *, fresh: bool = False) -> Iterator[Claim]:
        """Return the claims of a package whose names begin with `prefix`.

        Raises:
            NotOnLedgerError: There is no such package.
        """
        request = contract_queries_pb2.ListClaimsRequest(package=package, prefix=prefix)
        for page in self._pages(self._stub.ListClaims, request, fresh=fresh):
            yield from (read_claim(each) for each in page.claims)

    def claim(self, package: str, claim: str, *, fresh: bool = False) -> ClaimHistory:
        """Return a claim with its rule receipts.

        Raises:
            NotOnLedgerError: There is no such package, or no rule of it has named the claim.
            ProofError: The node told of another claim, or of none of its rule receipts.
        """
        request = contract_queries_pb2.GetClaimRequest(package=package, claim=claim)
        receipts: list[FoundReceipt] = []
        found: Claim | None = None
        for page in self._pages(self._stub.GetClaim, request, fresh=fresh):
            found = read_claim(page.claim) if page.HasField("claim") else None
            receipts += [read_receipt(each) for each in page.receipts]
        if not receipts:
            raise ProofError(f"{self._place} told of a claim that no rule receipt is about")
        for each in receipts:
            if (each.document.get("package"), each.document.get("claim")) != (package, claim):
                raise ProofError(f"{self._place} told of entry {each.index}, of another claim")
        return ClaimHistory(claim=found, receipts=receipts)

    def balances(
        self, package: str, *, currency: str = "", prefix: str = "", fresh: bool = False
    ) -> Iterator[Balance]:
        """Return the accounts of a package.

        Args:
            package: Its name.
            currency: The only currency; "": all.
            prefix: What accounts begin with, such as "supplier:"; "": all.
            fresh: See the class.

        Raises:
            NotOnLedgerError: There is no such package.
        """
        request = contract_queries_pb2.GetBalancesRequest(
            package=package, currency=currency, prefix=prefix
        )
        for page in self._pages(self._stub.GetBalances, request, fresh=fresh):
            for each in page.balances:
                yield Balance(each.currency, each.account, each.minor)

    def statement(self, query: StatementQuery = _ANY_POSTING, *, fresh: bool = False) -> Statement:
        """Return the postings that keep all conditions of a query.

        Raises:
            ProofError: The node told one out of order, or one that was not asked for.
        """
        request = contract_queries_pb2.GetStatementRequest(
            **{name: getattr(query, name) for name in StatementQuery.__dataclass_fields__}
        )
        height, postings = 0, []
        for page in self._pages(self._stub.GetStatement, request, fresh=fresh):
            height = page.height
            postings += [read_posting(each) for each in page.postings]
        places = [(each.receipt_index, each.number) for each in postings]
        if places != sorted(set(places)):
            raise ProofError(f"{self._place} told postings out of order, or twice")
        for each in postings:
            names = [account.partition(":")[2] for account in (each.debit, each.credit)]
            if (query.party and query.party not in names) or (
                query.account and query.account not in (each.debit, each.credit)
            ):
                raise ProofError(f"a posting of entry {each.receipt_index} was not asked for")
        return Statement(height=height, postings=postings)

    def receipts(
        self, from_index: int = 0, *, package: str = "", follow: bool = False
    ) -> Iterator[FoundReceipt]:
        """Return rule receipts in the order of the log, up to those there are now, or for ever.

        Args:
            from_index: First entry to look at.
            package: Whose receipts; "": all.
            follow: Go on with new ones as they come.

        Raises:
            ProofError: One came twice.
        """
        request = contract_queries_pb2.StreamRuleReceiptsRequest(
            from_index=from_index, package=package
        )
        end_index = None if follow else self._session.ledger().size
        while end_index is None or request.from_index < end_index:
            began_index = request.from_index
            try:
                with node_errors(self._place, STREAM_S):
                    yield from self._stretch(request, end_index)
            except TimeoutError:
                if not follow and request.from_index == began_index:
                    raise

    def _stretch(
        self, request: contract_queries_pb2.StreamRuleReceiptsRequest, end_index: int | None
    ) -> Iterator[FoundReceipt]:
        """Return rule receipts until the stream's deadline, moving the request on with them."""
        stream = self._stub.StreamRuleReceipts(request, timeout=STREAM_S)
        try:
            for page in stream:
                for message in page.receipts:
                    if end_index is not None and message.index >= end_index:
                        request.from_index = end_index
                        return
                    if message.index < request.from_index:
                        raise ProofError(f"{self._place} sent entry {message.index} twice")
                    request.from_index = message.index + 1
                    yield read_receipt(message)
                request.from_index = max(request.from_index, page.next_index)
                if end_index is not None and request.from_index >= end_index:
                    return
        finally:
            stream.cancel()

    def prove(self, receipt: FoundReceipt, checkpoint: LedgerCheckpoint) -> list[bytes]:
        """Return the path that proves a rule receipt under a checkpoint, verified.

        Raises:
            ProofError: The entry says something else, or is not under the checkpoint.
        """
        entry = self._session.entry(receipt.index)
        if entry.head.kind is not EntryKind.RULE_RECEIPT:
            raise ProofError(f"entry {receipt.index} is no rule receipt")
        placed = parse_rule_receipt(entry.payload)
        said = entry.head.height, entry.head.time_ms, placed.event_index, placed.document
        told = receipt.height, receipt.time_ms, receipt.event_index, receipt.raw
        if said != told:
            raise ProofError(f"{self._place} told of entry {receipt.index} what it does not say")
        return self._session.prove_inclusion(entry, checkpoint)

    def _pages(self, call: Any, request: Any, *, fresh: bool) -> Iterator[Any]:
        """Return the pages of an answer."""
        for _ in range(PAGES_MAX):
            page = self._call(call, request, fresh=fresh)
            yield page
            if not page.resume:
                return
            if page.resume == request.resume:
                raise ProofError(f"{self._place} gives the same page of an answer again")
            request.resume = page.resume
        raise ProofError(f"{self._place} gives an answer of more than {PAGES_MAX:,} pages")

    def _call(self, call: Any, request: Any, *, fresh: bool) -> Any:
        with node_errors(self._place, ANSWER_S):
            return call(request, timeout=ANSWER_S, metadata=FRESH if fresh else None)
