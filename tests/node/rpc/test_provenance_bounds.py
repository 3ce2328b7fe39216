"""Answers about provenance end with their callers, at deadlines, and are never too many."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from lotmark.v1 import provenance_pb2
from lotmark_node.provenance import finding
from lotmark_node.rpc import paged_answers
from tests.node.engine.running_engine import run, until
from tests.node.ledger_in_memory import transformation
from tests.node.rpc.asked_provenance import (
    LOT,
    filled,
    joined,
    refused,
    stub_of,
    trace,
)
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium

WIDE = [
    transformation(f"cut-{at}", [LOT], [f"PIECE-{at}-{piece}" for piece in range(60)])
    for at in range(60)
]


def test_a_client_that_goes_away_in_the_middle_ends_the_work(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path, WIDE) as ledger:
            answers = ledger.provenance.answers
            stub = await stub_of(ledger)
            request = provenance_pb2.TraceRequest(item=LOT)
            for _ in range(20):
                call = stub.TraceForward(request, timeout=CALL_S)
                assert (await call.read()).head.item == LOT
                call.cancel()
            await until(lambda: answers.answer_count == 0)
            assert answers.wide_count == 0
            whole = joined(await trace(ledger, "TraceForward", item=LOT))
            assert len(whole.nodes) == 1 + 60 * 60

    run(scenario())


def test_only_so_many_wide_traces_go_on_at_once(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged_answers, "WIDE_ANSWERS_MAX", 0)

    async def scenario() -> None:
        async with filled(consortium, tmp_path, WIDE) as ledger:
            stub = await stub_of(ledger)
            call = stub.TraceForward(provenance_pb2.TraceRequest(item=LOT), timeout=CALL_S)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call:
                    pass
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "ask for less at once" in (caught.value.details() or "")
            narrow = await trace(ledger, "TraceForward", item=LOT, nodes_max=50)
            assert joined(narrow).cut_short == "nodes_max 50"

    run(scenario())


def test_a_call_ends_at_its_deadline_and_so_does_its_work(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path, WIDE) as ledger:
            stub = await stub_of(ledger)
            request = provenance_pb2.TraceRequest(item=LOT)
            statuses = set()
            for timeout_s in (0.000_1, 0.002, 0.005, 0.01):
                try:
                    async for _ in stub.TraceForward(request, timeout=timeout_s):
                        pass
                except grpc.aio.AioRpcError as error:
                    statuses.add(error.code())
            assert statuses == {grpc.StatusCode.DEADLINE_EXCEEDED}
            await until(lambda: ledger.provenance.answers.answer_count == 0)

    run(scenario())


def test_the_event_loop_is_held_for_no_more_than_some_milliseconds(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path, WIDE) as ledger:
            loop = asyncio.get_running_loop()
            tracing = asyncio.create_task(trace(ledger, "TraceForward", item=LOT))
            longest_s, before_s = 0.0, loop.time()
            while not tracing.done():
                await asyncio.sleep(0)
                longest_s, before_s = max(longest_s, loop.time() - before_s), loop.time()
            assert len(joined(await tracing).nodes) == 1 + 60 * 60
            assert longest_s < 0.5, "the client's own work is on this loop too"

    run(scenario())


def test_an_answer_is_as_fresh_as_was_wished(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await stub_of(ledger)
            request = provenance_pb2.TraceRequest(item=LOT)
            wish = (("lotmark-read", "linearizable"),)
            call = stub.TraceBack(request, timeout=CALL_S, metadata=wish)
            assert [page async for page in call]
            told = dict(await call.trailing_metadata())
            assert told["lotmark-read"] == "linearizable"
            assert int(told["lotmark-size"]) == ledger.engine.state.size
            wish = (("lotmark-read", "tomorrow"),)
            error = await refused(stub.TraceBack(request, timeout=CALL_S, metadata=wish))
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT

    run(scenario())


def test_a_time_with_too_many_events_is_refused_with_the_remedy(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "ENTRIES_MAX", 10)

    async def scenario() -> None:
        async with filled(consortium, tmp_path, WIDE) as ledger:
            stub = await stub_of(ledger)
            request = provenance_pb2.FindEventsRequest(from_ms=1)
            error = await refused(stub.FindEvents(request, timeout=CALL_S))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "name a shorter time" in (error.details() or "")

    run(scenario())
