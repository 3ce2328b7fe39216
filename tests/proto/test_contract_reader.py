"""A reader of rule packages with a node that lies: what can be checked is, and pages end."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lotmark.client.contract_records import FoundReceipt, StatementQuery
from lotmark.client.contracts import ContractReader
from lotmark.client.session import LedgerSession
from lotmark.errors import MalformedError, ProofError
from lotmark.package_change import archive_parts, change_bytes, change_hash, encode_archive
from lotmark.v1 import contract_queries_pb2 as queries
from lotmark.v1 import contract_queries_pb2_grpc, contracts_pb2
from tests.proto.scripted_node import ScriptedNode

FILES = {"manifest.json": b"{}", "rules/post.json": b'{"title": "x"}'}
ARCHIVE = encode_archive(FILES)
CHANGE = contracts_pb2.PackageChange(
    expires_ms=9,
    activate=contracts_pb2.PackageActivation(
        name="bills",
        version=1,
        package=bytes(32),
        parts=[hashlib.sha256(part).digest() for part in archive_parts(ARCHIVE)],
    ),
)
Script = Callable[[Any], Any]


class TellingNode(ScriptedNode, contract_queries_pb2_grpc.ContractServiceServicer):
    """Answers every question about rule packages as a test has it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers: Script = lambda _request: None
        self.asked: list[Any] = []

    def add_services(self, server: grpc.Server) -> None:
        contract_queries_pb2_grpc.add_ContractServiceServicer_to_server(self, server)

    def _answer(self, request: Any, context: Any) -> Any:
        self.asked.append(type(request).FromString(request.SerializeToString()))
        return self.answers(request)

    ListPackages = GetPackage = ListClaims = GetClaim = GetBalances = GetStatement = _answer
    StreamRuleReceipts = _answer


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TellingNode]:
    folder = tmp_path_factory.mktemp("telling")
    made = TellingNode(folder / "consortium")  # type: ignore[abstract]  # no other calls
    with made.serving():
        yield made


@pytest.fixture
def reader(node: TellingNode) -> Iterator[ContractReader]:
    with LedgerSession(node.settings()) as session:
        node.asked.clear()
        yield ContractReader(session)


def standing(node: TellingNode, **fields: Any) -> queries.PackageProposalStanding:
    change = fields.pop("change", CHANGE)
    hashed = change_hash(node.chain_id, change_bytes(CHANGE))
    told: dict[str, Any] = {"proposal": hashed, "change": change, "status": 1}
    return queries.PackageProposalStanding(**{**told, **fields})


def receipt(index: int, document: bytes) -> queries.RuleReceiptEntry:
    return queries.RuleReceiptEntry(index=index, document=document)


def posting(index: int, debit: str = "party:A", credit: str = "party:B") -> queries.PostingEntry:
    made = queries.PostingEntry(receipt_index=index, minor=1, to=credit)
    setattr(made, "from", debit)  # a word of Python's
    return made


def test_files_are_those_that_the_proposal_names(node: TellingNode, reader: ContractReader) -> None:
    node.answers = lambda _: queries.GetPackageResponse(proposal=standing(node), archive=ARCHIVE)

    found = reader.version("bills")

    assert found.files == FILES
    assert reader.proposed(found.standing.proposal).files == FILES


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"archive": encode_archive({**FILES, "a": b""})}, "files that are not those"),
        ({"proposal": {"proposal": bytes(32)}}, "a change that is not its"),
        ({"proposal": {"change": contracts_pb2.PackageChange()}}, "a change that is not its"),
        ({"proposal": {"status": 9}}, "stands as 9"),
    ],
)
def test_a_package_that_does_not_fit_together_is_refused(
    node: TellingNode, reader: ContractReader, changed: dict[str, Any], message: str
) -> None:
    told = standing(node, **changed.get("proposal", {}))
    archive = changed.get("archive", ARCHIVE)
    node.answers = lambda _: queries.GetPackageResponse(proposal=told, archive=archive)

    with pytest.raises(ProofError, match=message):
        reader.version("bills")


def test_another_package_than_was_asked_for_is_refused(
    node: TellingNode, reader: ContractReader
) -> None:
    node.answers = lambda _: queries.GetPackageResponse(proposal=standing(node), archive=ARCHIVE)

    with pytest.raises(ProofError, match="gave another"):
        reader.version("other")
    with pytest.raises(ProofError, match="gave another"):
        reader.version("bills", 2)
    with pytest.raises(ProofError, match="gave another"):
        reader.proposed(bytes(32))


def test_pages_are_put_together_and_asked_for_in_turn(
    node: TellingNode, reader: ContractReader
) -> None:
    pages = iter(
        [
            queries.ListClaimsResponse(claims=[queries.ClaimStanding(claim="a")], resume=b"1"),
            queries.ListClaimsResponse(resume=b"2"),
            queries.ListClaimsResponse(claims=[queries.ClaimStanding(claim="b")]),
        ]
    )
    node.answers = lambda _: next(pages)

    assert [each.claim for each in reader.claims("bills", "x")] == ["a", "b"]
    assert [(each.prefix, each.resume) for each in node.asked] == [
        ("x", b""), ("x", b"1"), ("x", b"2"),
    ]  # fmt: skip


def test_a_node_that_turns_in_circles_is_left(node: TellingNode, reader: ContractReader) -> None:
    node.answers = lambda _: queries.GetBalancesResponse(resume=b"1")

    with pytest.raises(ProofError, match="the same page of an answer again"):
        list(reader.balances("bills"))


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b'{"package":"bills","claim":"other"}', ProofError),
        (b'{"package":"other","claim":"B-1"}', ProofError),
        (b"{}", ProofError),
        (b"[]", MalformedError),
        (b"{", MalformedError),
        (b"\xff", MalformedError),
    ],
)
def test_a_rule_receipt_of_another_claim_is_refused(
    node: TellingNode, reader: ContractReader, document: bytes, error: type[Exception]
) -> None:
    node.answers = lambda _: queries.GetClaimResponse(receipts=[receipt(7, document)])

    with pytest.raises(error, match="entry 7"):
        reader.claim("bills", "B-1")


@pytest.mark.parametrize(
    "postings",
    [
        [posting(8), posting(7)],
        [posting(8), posting(8)],
        [posting(8, "party:C", "party:D")],
        [posting(8, "A", "B")],
    ],
    ids=["order", "twice", "another party's", "no account"],
)
def test_a_statement_that_does_not_fit_together_is_refused(
    node: TellingNode, reader: ContractReader, postings: list[queries.PostingEntry]
) -> None:
    node.answers = lambda _: queries.GetStatementResponse(postings=postings)

    with pytest.raises(ProofError):
        reader.statement(StatementQuery(party="A"))


def test_followed_receipts_come_in_order(node: TellingNode, reader: ContractReader) -> None:
    def pages(*indexes: int) -> Script:
        told = [receipt(index, b'{"package":"bills"}') for index in indexes]
        page = queries.StreamRuleReceiptsResponse(receipts=told, next_index=indexes[-1] + 1)
        return lambda _request: iter([page])

    node.answers = pages(3, 5)
    following = reader.receipts(follow=True)
    first: list[FoundReceipt] = [next(following), next(following)]
    following.close()  # type: ignore[attr-defined]  # a generator
    node.answers = pages(5, 3)
    again = reader.receipts(follow=True)
    next(again)

    assert [each.index for each in first] == [3, 5]
    with pytest.raises(ProofError, match="entry 3 twice"):
        next(again)
