"""Questions about rule packages over the wire, to a node that has one in force."""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.governing_events import GoverningEvents
from lotmark.key_file import read_key_file
from lotmark.package_change import (
    archive_parts,
    change_bytes,
    change_hash,
    encode_archive,
    parse_archive,
)
from lotmark.v1 import contract_queries_pb2, contract_queries_pb2_grpc, contracts_pb2
from lotmark_contracts.package.package_hash import package_hash
from lotmark_node.rpc import claim_answers, placed_receipts, statement_answers
from tests.node.engine.running_engine import run
from tests.node.package_events import contract_event
from tests.node.rpc.served_ledger import (
    CALL_S,
    PARTIES,
    Author,
    FoundedConsortium,
    ServedLedger,
    served,
)
from tests.node.ruled_ledger import POST, package_files

OEM, SUPPLIER, REGULATOR = "OEM-A", "T1-STATOR", "REG-EU"
MEMBERS = [each.partition(":")[0] for each in PARTIES]
FILES = package_files(post={**POST, "claim": "event.number"})
DAY_MS = 86_400_000


class Governed:
    """Puts a package on a ledger, step by step, as its consortium's parties."""

    def __init__(self, ledger: ServedLedger) -> None:
        self.ledger = ledger
        self.events = GoverningEvents(ledger.engine.chain_id, now_ms=ledger.engine.now_ms())
        self.author = ledger.author(OEM)

    async def put(self, events: Sequence[bytes], author: Author | None = None) -> list[int]:
        by = author or self.author
        (placed,) = await self.ledger.put(by.batch(events), party=by.party)
        return list(placed.event_outcomes)

    def roots(self, party: str) -> list[Any]:
        return [read_key_file(self.ledger.consortium.folder / party / "roots" / "root-1.key")]

    def change(self, files: dict[str, bytes]) -> contracts_pb2.PackageChange:
        manifest = json.loads(files["manifest.json"])
        return contracts_pb2.PackageChange(
            expires_ms=self.ledger.engine.now_ms() + DAY_MS,
            activate=contracts_pb2.PackageActivation(
                name=manifest["name"],
                version=manifest["version"],
                package=package_hash(files),
                parts=[hashlib.sha256(each).digest() for each in self.parts(files)],
            ),
        )

    def parts(self, files: dict[str, bytes]) -> list[bytes]:
        return list(archive_parts(encode_archive(files)))

    async def propose(self, files: dict[str, bytes], *, bring: bool = True) -> bytes:
        change = self.change(files)
        events = [self.events.propose_package(change, OEM, self.roots(OEM))]
        if bring:
            events += [self.events.bring_package_part(each) for each in self.parts(files)]
        assert not any(await self.put(events))
        return change_hash(self.ledger.engine.chain_id, change_bytes(change))

    async def approve(self, proposal: bytes) -> None:
        others = [party for party in MEMBERS if party != OEM]
        events = [self.events.approve_package(proposal, each, self.roots(each)) for each in others]
        assert not any(await self.put(events))

    async def bill(self, *numbers: str, amount: int = 12_050, to: str = SUPPLIER) -> None:
        events = [contract_event("bill", number=each, to=to, amount=amount) for each in numbers]
        assert not any(await self.put(events))


@asynccontextmanager
async def governed(
    consortium: FoundedConsortium, data: Path, *, active: bool = True
) -> AsyncIterator[Governed]:
    async with served(consortium, data) as ledger:
        made = Governed(ledger)
        if active:
            await made.approve(await made.propose(FILES))
        yield made


async def stub_of(ledger: ServedLedger, party: str = REGULATOR) -> Any:
    return contract_queries_pb2_grpc.ContractServiceStub(await ledger.channel_of(party))


async def ask(ledger: ServedLedger, call: str, **fields: Any) -> Any:
    request = getattr(contract_queries_pb2, f"{call}Request")(**fields)
    return await getattr(await stub_of(ledger), call)(request, timeout=CALL_S)


async def refused(ledger: ServedLedger, call: str, **fields: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(ledger, call, **fields)
    return caught.value


async def paged(ledger: ServedLedger, call: str, field: str, **fields: Any) -> list[list[Any]]:
    """Return what each page has, until there is no other one."""
    pages, resume = [], b""
    while True:
        answer = await ask(ledger, call, resume=resume, **fields)
        pages.append(list(getattr(answer, field)))
        resume = answer.resume
        if not resume:
            return pages
        assert len(pages) < 100, "an answer goes on for ever"


def test_a_package_is_told_from_its_proposal_until_it_is_in_force(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with governed(consortium, tmp_path, active=False) as made:
            ledger = made.ledger
            hashed = await made.propose(FILES, bring=False)
            (waiting,) = (await ask(ledger, "ListPackages")).proposals
            assert (waiting.proposal, waiting.change.activate.name) == (hashed, "bills")
            assert list(waiting.approvals) == [OEM]
            assert list(waiting.missing_parties) == sorted(set(MEMBERS) - {OEM})
            assert (waiting.rule, list(waiting.missing_parts)) == ("all", [0])
            nothing_yet = await ask(ledger, "GetPackage", proposal=hashed)
            assert nothing_yet.archive == b""

            parts = [made.events.bring_package_part(each) for each in made.parts(FILES)]
            assert not any(await made.put(parts))
            proposed = await ask(ledger, "GetPackage", proposal=hashed)
            assert parse_archive(proposed.archive) == FILES
            await made.approve(hashed)

            told = await ask(ledger, "ListPackages", name="bills")
            (package,) = told.packages
            (version,) = package.versions
            assert not told.proposals
            assert (package.name, package.in_force, package.suspended) == ("bills", 1, False)
            assert (version.version, version.package) == (1, package_hash(FILES))
            assert sorted(version.approvals) == sorted(MEMBERS)
            assert version.from_height <= told.height + 1
            by_name = await ask(ledger, "GetPackage", name="bills", version=1)
            assert parse_archive(by_name.archive) == FILES
            status = contract_queries_pb2.PACKAGE_PROPOSAL_STATUS_ACTIVATED
            assert (by_name.proposal.status, by_name.proposal.proposal) == (status, hashed)

    run(scenario())


def test_claims_balances_and_statements_tell_what_rules_did(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with governed(consortium, tmp_path) as made:
            ledger = made.ledger
            await made.bill("B-1", "B-2")
            await made.bill("B-1", amount=7)  # a duplicate
            claims = (await ask(ledger, "ListClaims", package="bills", prefix="B-")).claims
            assert [(each.claim, each.version, each.receipt_count) for each in claims] == [
                ("B-1", 1, 2), ("B-2", 1, 1),
            ]  # fmt: skip
            told = await ask(ledger, "GetClaim", package="bills", claim="B-1")
            documents = [json.loads(each.document) for each in told.receipts]
            assert [each["status"] for each in documents] == ["done", "duplicate"]
            first = told.receipts[0]
            assert (first.event_index, documents[0]["event"]) == (
                claims[0].opened_by, str(claims[0].opened_by),
            )  # fmt: skip
            entry = ledger.engine.reader.entry(first.index)
            assert entry.leaf_data.endswith(first.document)

            balances = (await ask(ledger, "GetBalances", package="bills", currency="EUR")).balances
            assert {each.account: each.minor for each in balances} == {
                f"party:{SUPPLIER}": -24_100, f"party:{OEM}": 24_100,
            }  # fmt: skip
            postings = (await ask(ledger, "GetStatement", party=SUPPLIER)).postings
            assert [(each.claim, each.minor, each.currency) for each in postings] == [
                ("B-1", 12_050, "EUR"), ("B-2", 12_050, "EUR"),
            ]  # fmt: skip
            assert {(getattr(each, "from"), each.to) for each in postings} == {
                (f"party:{SUPPLIER}", f"party:{OEM}")
            }
            nobody = await ask(ledger, "GetStatement", party="LAB-17025")
            assert (len(nobody.postings), nobody.resume) == (0, b"")

    run(scenario())


def test_a_statement_keeps_to_heights_times_accounts_and_packages(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with governed(consortium, tmp_path) as made:
            ledger = made.ledger
            await made.bill("B-1")
            await made.bill("B-2")
            first, second = (await ask(ledger, "GetStatement")).postings
            account = f"party:{OEM}"
            kept = {
                "from_height": {"from_height": second.height},
                "from_ms": {"from_ms": second.time_ms},
                "both": {"from_height": second.height, "to_height": second.height},
            }
            for name, fields in kept.items():
                told = (await ask(ledger, "GetStatement", account=account, **fields)).postings
                assert [each.claim for each in told] == ["B-2"], name
            before = (await ask(ledger, "GetStatement", to_height=first.height)).postings
            until = (await ask(ledger, "GetStatement", to_ms=second.time_ms)).postings
            assert [each.claim for each in before] == [each.claim for each in until] == ["B-1"]
            for fields in (
                {"package": "other"}, {"account": "party"}, {"party": account},
                {"from_height": second.height + 1_000}, {"from_ms": second.time_ms + DAY_MS},
            ):  # fmt: skip
                assert not (await ask(ledger, "GetStatement", **fields)).postings, fields

    run(scenario())


def test_pages_that_are_small_tell_the_same_as_one_that_is_large(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("ListClaims", "claims", {"package": "bills"}),
        ("GetClaim", "receipts", {"package": "bills", "claim": "B-1"}),
        ("GetBalances", "balances", {"package": "bills"}),
        ("GetStatement", "postings", {}),
    )

    async def scenario() -> None:
        async with governed(consortium, tmp_path) as made:
            for number in range(1, 8):
                await made.bill(f"B-{number}", to="LAB-17025" if number % 2 else SUPPLIER)
            await made.bill("B-1", amount=1)
            await made.bill("B-1", amount=2)
            whole = {
                call: [each async for each in _flat(made, call, field, fields)]
                for call, field, fields in questions
            }
            for module, name in (
                (claim_answers, "CLAIMS_MAX"), (claim_answers, "RECEIPTS_MAX"),
                (claim_answers, "BALANCES_MAX"), (statement_answers, "POSTINGS_MAX"),
                (placed_receipts, "BLOCKS_MAX"),
            ):  # fmt: skip
                monkeypatch.setattr(module, name, 2)
            for call, field, fields in questions:
                pages = await paged(made.ledger, call, field, **fields)
                assert len(pages) > 1, call
                assert [each for page in pages for each in page] == whole[call], call
                assert max(map(len, pages)) <= 2, call
            assert len(whole["GetClaim"]) == 3

    run(scenario())


async def _flat(made: Governed, call: str, field: str, fields: Any) -> AsyncIterator[Any]:
    for page in await paged(made.ledger, call, field, **fields):
        for each in page:
            yield each


def test_rule_receipts_are_followed_as_they_come(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with governed(consortium, tmp_path) as made:
            await made.bill("B-1")
            stub = await stub_of(made.ledger)
            call = stub.StreamRuleReceipts(
                contract_queries_pb2.StreamRuleReceiptsRequest(package="bills"), timeout=CALL_S
            )
            other = stub.StreamRuleReceipts(
                contract_queries_pb2.StreamRuleReceiptsRequest(package="other"), timeout=CALL_S
            )
            first = await _next_receipt(call)
            await made.bill("B-2")
            second = await _next_receipt(call)
            assert json.loads(first.document)["claim"] == "B-1"
            assert json.loads(second.document)["claim"] == "B-2"
            assert first.index < second.index
            passed = 0
            while passed <= second.index:
                page = await other.read()
                assert not page.receipts
                passed = page.next_index
            from_second = stub.StreamRuleReceipts(
                contract_queries_pb2.StreamRuleReceiptsRequest(from_index=second.index),
                timeout=CALL_S,
            )
            assert await _next_receipt(from_second) == second
            for each in (call, other, from_second):
                each.cancel()

    run(scenario())


async def _next_receipt(call: Any) -> Any:
    while True:
        page = await call.read()
        if page.receipts:
            (receipt,) = page.receipts
            return receipt


def test_what_does_not_exist_is_not_found_and_what_is_no_question_is_refused(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    not_found, invalid = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    cases: list[tuple[str, dict[str, Any], grpc.StatusCode]] = [
        ("ListPackages", {"name": "other"}, not_found),
        ("ListPackages", {"name": "ü"}, not_found),
        ("ListPackages", {"name": "x" * 41}, invalid),
        ("ListPackages", {"resume": b"\x02"}, invalid),
        ("GetPackage", {"proposal": bytes(32)}, not_found),
        ("GetPackage", {"proposal": bytes(31)}, invalid),
        ("GetPackage", {"name": "bills", "version": 2}, not_found),
        ("GetPackage", {"name": "other"}, not_found),
        ("GetPackage", {}, not_found),
        ("ListClaims", {"package": "other"}, not_found),
        ("ListClaims", {"package": ""}, invalid),
        ("ListClaims", {"package": "bills", "prefix": "x" * 1_025}, invalid),
        ("ListClaims", {"package": "bills", "resume": b"\x1a"}, invalid),
        ("GetClaim", {"package": "bills", "claim": "B-9"}, not_found),
        ("GetClaim", {"package": "bills", "claim": "B-1", "resume": b"1"}, invalid),
        ("GetBalances", {"package": "ü"}, not_found),
        ("GetBalances", {"package": "bills", "resume": bytes(9)}, invalid),
        ("GetStatement", {"from_height": 9, "to_height": 8}, invalid),
        ("GetStatement", {"from_ms": 9, "to_ms": 9}, invalid),
        ("GetStatement", {"party": "x" * 1_025}, invalid),
        ("GetStatement", {"resume": bytes(7)}, invalid),
    ]

    async def scenario() -> None:
        async with governed(consortium, tmp_path) as made:
            await made.bill("B-1")
            for call, fields, status in cases:
                error = await refused(made.ledger, call, **fields)
                assert error.code() == status, (call, fields, error.details())
                assert error.details(), (call, fields)
            beyond = await ask(made.ledger, "GetStatement", resume=(2**40).to_bytes(8))
            assert (list(beyond.postings), beyond.resume) == ([], b"")

    run(scenario())


def test_of_a_proposal_that_came_to_nothing_its_end_is_told(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with governed(consortium, tmp_path, active=False) as made:
            files = {**FILES, "rules/post.json": b"{}"}
            hashed = await made.propose(files, bring=False)
            parts = [made.events.bring_package_part(each) for each in made.parts(files)]
            assert all(await made.put(parts)), "it is no sound package"
            told = await ask(made.ledger, "GetPackage", proposal=hashed)
            assert told.proposal.status == contract_queries_pb2.PACKAGE_PROPOSAL_STATUS_VOID
            assert (told.archive, bool(told.proposal.decided_height)) == (b"", True)
            assert not (await ask(made.ledger, "ListPackages")).proposals

    run(scenario())


def test_a_suspended_package_and_two_versions_are_told(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    second = package_files({"version": 2}, post=json.loads(FILES["rules/post.json"]))

    async def scenario() -> None:
        async with governed(consortium, tmp_path) as made:
            change = contracts_pb2.PackageChange(
                expires_ms=made.ledger.engine.now_ms() + DAY_MS,
                suspend=contracts_pb2.PackageName(name="bills"),
            )
            propose = made.events.propose_package(change, OEM, made.roots(OEM))
            assert not any(await made.put([propose]))
            (asked,) = (await ask(made.ledger, "ListPackages")).proposals
            assert (asked.rule, list(asked.missing_parts)) == ("majority", [])
            others = [
                made.events.approve_package(asked.proposal, each, made.roots(each))
                for each in MEMBERS[1:4]
            ]
            assert not any(await made.put(others))
            (package,) = (await ask(made.ledger, "ListPackages")).packages
            assert package.suspended

            await made.approve(await made.propose(second))
            (package,) = (await ask(made.ledger, "ListPackages")).packages
            assert (package.in_force, package.suspended) == (2, False)
            assert [each.version for each in package.versions] == [1, 2]

    run(scenario())
