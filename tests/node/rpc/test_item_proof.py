"""Item proofs over the wire: nothing left out, and what is not for a caller keeps its place."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from lotmark.v1 import provenance_pb2
from lotmark.verify.item_history import HistoryFindings, verify_item_proof
from lotmark_node.consortium.found import PARAMETERS
from tests.node.engine.running_engine import run, until
from tests.node.ledger_in_memory import measurement
from tests.node.rpc.asked_provenance import AUTHOR, LAB, LOT, restricted, stub_of
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger, served

BATCHES = 8
EPOCH_ENTRIES = 9


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> FoundedConsortium:
    """Found a consortium whose epochs end after a few entries."""
    parameters = replace(PARAMETERS, item_epoch_entries=EPOCH_ENTRIES)
    return FoundedConsortium(tmp_path_factory.mktemp("chained") / "work", parameters)


@asynccontextmanager
async def filled(consortium: FoundedConsortium, data: Path) -> AsyncIterator[ServedLedger]:
    """Serve a ledger of several epochs; each batch names the lot twice, once not for all."""
    async with served(consortium, data) as ledger:
        author = ledger.author(AUTHOR)
        for at in range(BATCHES):
            events = [
                measurement(10 * at, item=LOT),
                measurement(10 * at + 1, item=f"OTHER-{at}"),
                restricted(measurement(10 * at + 2, item=LOT)),
            ]
            (placed,) = await ledger.put(author.batch(events))
            assert not any(placed.event_outcomes)
        size = ledger.engine.state.size
        await until(lambda: ledger.engine.checkpoint().head.size == size)
        yield ledger


async def proven(ledger: ServedLedger, item: str, party: str = AUTHOR) -> HistoryFindings:
    """Return what an item's proof proves, as it comes over the wire."""
    stub = await stub_of(ledger, party)
    request = provenance_pb2.GetItemProofRequest(item=item)
    raw = b"".join([piece.data async for piece in stub.GetItemProof(request, timeout=CALL_S)])
    return verify_item_proof(
        raw, genesis_json=ledger.genesis.to_json(), chain_id=ledger.consortium.chain_id
    )


def indexes(entries: Iterable[provenance_pb2.FoundEvent]) -> list[int]:
    return [each.entry.index for each in entries]


def test_a_proof_holds_every_event_of_the_history_and_says_up_to_where_there_are_no_others(
    chained: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(chained, tmp_path) as ledger:
            stub = await stub_of(ledger, AUTHOR)
            request = provenance_pb2.ItemHistoryRequest(item=LOT)
            told = [
                index
                async for page in stub.ItemHistory(request, timeout=CALL_S)
                for index in indexes(page.events)
            ]
            for name in (LOT, "CU-7", "lot:4012345000016.CU-7"):
                found = await proven(ledger, name)
                assert found.item == LOT
                assert [shown.index for shown in found.events] == told
            assert len(told) == 2 * BATCHES
            assert found.epoch >= 2
            assert found.complete_size > 2 * EPOCH_ENTRIES
            assert len(found.complete) >= 6

    run(scenario())


def test_that_no_event_names_an_item_is_proven(chained: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with filled(chained, tmp_path) as ledger:
            found = await proven(ledger, "NEVER-SEEN")
            assert (found.item, found.events) == ("NEVER-SEEN", [])
            assert found.complete_size > 2 * EPOCH_ENTRIES
            stub = await stub_of(ledger, AUTHOR)
            request = provenance_pb2.GetItemProofRequest(item="lot:7")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stub.GetItemProof(request, timeout=CALL_S):
                    pass
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    run(scenario())


@pytest.mark.parametrize(("party", "may_read"), [("SITE-1", False), (LAB, True), ("OEM-A", True)])
def test_what_a_caller_may_not_read_keeps_its_place_in_a_proof_without_its_content(
    chained: FoundedConsortium, tmp_path: Path, party: str, may_read: bool
) -> None:
    async def scenario() -> None:
        async with filled(chained, tmp_path) as ledger:
            found = await proven(ledger, LOT, party)
            assert [bool(shown.event) for shown in found.events] == [True, may_read] * BATCHES

    run(scenario())
