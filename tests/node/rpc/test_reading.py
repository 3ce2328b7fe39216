"""Reading over the wire: entries, proofs, subscriptions, and what a caller does not get to see."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lotmark.checkpoint import parse_checkpoint
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.genesis import chain_id, policy_text
from lotmark.merkle import leaf_hash, verify_consistency, verify_inclusion
from lotmark.outcome import Outcome
from lotmark.signed_note import parse_note
from lotmark.tlog_policy import parse_policy
from lotmark.v1 import event_pb2, ledger_pb2
from lotmark_node.rpc.ledger_service import RECEIPTS_MAX
from lotmark_node.rpc.server import PROVENANCE, SERVICE
from tests.node.engine.running_engine import run, until
from tests.node.ledger_in_memory import measurement, measurements, transformation
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger, served


def secret(number: int, *audience: str) -> bytes:
    """Return a measurement of item SECRET that only some parties may read."""
    message = event_pb2.Event.FromString(measurement(number, item="SECRET"))
    message.audience.extend(audience)
    return message.SerializeToString(deterministic=True)


FOR_LAB = secret(50, "LAB-17025")
EVENTS = [
    *measurements(0, 3),
    FOR_LAB,
    transformation("wind", ["W1"], ["S1"]),
    b"\xff no event",
    measurement(60, item="S1"),
]


@asynccontextmanager
async def filled(consortium: FoundedConsortium, data: Path) -> AsyncIterator[ServedLedger]:
    """Serve a ledger on which T1-STATOR and LAB-17025 have each put a batch."""
    async with served(consortium, data) as ledger:
        await ledger.put(ledger.author().batch(EVENTS))
        await ledger.put(ledger.author("LAB-17025").batch([measurement(70)]), party="LAB-17025")
        size = ledger.engine.state.size
        await until(lambda: ledger.engine.checkpoint().head.size == size)
        yield ledger


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def test_every_entry_is_given_with_its_leaf_and_event(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            entries = [
                await stub.GetEntry(ledger_pb2.GetEntryRequest(index=index), timeout=CALL_S)
                for index in range(ledger.engine.state.size)
            ]
            events = [entry.event for entry in entries if entry.event]
            assert events == [*EVENTS, measurement(70)]
            assert [entry.index for entry in entries] == list(range(len(entries)))
            assert [entry.withheld for entry in entries].count(True) == 0
            for event in EVENTS:
                request = ledger_pb2.GetEntryRequest(event_id=leaf_hash(event))
                assert (await stub.GetEntry(request, timeout=CALL_S)).event == event

    run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        ledger_pb2.GetEntryRequest(index=14),
        ledger_pb2.GetEntryRequest(index=2**64 - 1),
        ledger_pb2.GetEntryRequest(event_id=bytes(32)),
    ],
    ids=["the next", "the last possible", "no such id"],
)
def test_an_entry_that_is_not_there_is_not_found_and_the_node_goes_on(
    consortium: FoundedConsortium, tmp_path: Path, request_: ledger_pb2.GetEntryRequest
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            assert ledger.engine.state.size == 14
            stub = await ledger.stub("T1-STATOR")
            error = await refused(stub.GetEntry(request_, timeout=CALL_S))
            assert error.code() == grpc.StatusCode.NOT_FOUND
            await stub.GetEntry(ledger_pb2.GetEntryRequest(index=13), timeout=CALL_S)

    run(scenario())


READERS = {"T1-STATOR": True, "LAB-17025": True, "OEM-A": True, "SITE-1": False, "REG-EU": False}


@pytest.mark.parametrize("party", READERS)
def test_an_event_is_withheld_from_parties_outside_its_audience_everywhere(
    consortium: FoundedConsortium, tmp_path: Path, party: str
) -> None:
    """Its author and the party that runs the node read it besides the audience."""
    may_read = READERS[party]

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub(party)
            by_id = await stub.GetEntry(
                ledger_pb2.GetEntryRequest(event_id=leaf_hash(FOR_LAB)), timeout=CALL_S
            )
            assert (by_id.event == FOR_LAB, by_id.withheld) == (may_read, not may_read)
            assert by_id.leaf_data[-32:] == leaf_hash(FOR_LAB), "that it exists is no secret"
            entries = await subscribed(stub, end=14)
            (followed,) = [entry for entry in entries if entry.index == by_id.index]
            assert followed == by_id
            receipts = [
                receipt.index
                async for receipt in stub.GetReceipts(
                    ledger_pb2.GetReceiptsRequest(first_index=0, entry_count=100), timeout=CALL_S
                )
            ]
            assert (by_id.index in receipts) == may_read
            by_item = await subscribed(stub, end=14, item="SECRET")
            assert [entry.index for entry in by_item] == [by_id.index] * may_read
            by_type = await subscribed(stub, end=14, event_types=[19])
            assert (by_id.index in [entry.index for entry in by_type]) == may_read

    run(scenario())


async def subscribed(
    stub: Any, *, end: int, start: int = 0, **filters: Any
) -> list[ledger_pb2.Entry]:
    """Return what a subscription gives up to before entry `end`."""
    request = ledger_pb2.SubscribeRequest(from_index=start, **filters)
    call = stub.Subscribe(request, timeout=CALL_S)
    entries: list[ledger_pb2.Entry] = []
    async for response in call:
        entries.extend(response.entries)
        if response.next_index >= end:
            break
    call.cancel()
    return entries


FILTERS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "nothing": ({}, [*EVENTS, measurement(70)]),
    "an event type": ({"event_types": [21]}, [EVENTS[4]]),
    "two event types": ({"event_types": [21, 19]}, [*EVENTS[:5], EVENTS[6], measurement(70)]),
    "a type that does not occur": ({"event_types": [24]}, []),
    "a party": ({"parties": ["LAB-17025"]}, [measurement(70)]),
    "an item": ({"item": "S1"}, [EVENTS[4], EVENTS[6]]),
    "an item and a type": ({"item": "S1", "event_types": [19]}, [EVENTS[6]]),
    "an item that nobody named": ({"item": "X"}, []),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_subscription_gives_what_its_filters_ask_for(
    consortium: FoundedConsortium, tmp_path: Path, name: str
) -> None:
    filters, expected = FILTERS[name]

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            entries = await subscribed(stub, end=14, **filters)
            assert [entry.event for entry in entries] == expected
            kinds = {parse_leaf_data(entry.leaf_data)[0].kind for entry in entries}
            assert kinds <= {EntryKind.EVENT}
            every = await subscribed(stub, end=14, all_kinds=True, **filters)
            others = [entry for entry in every if not entry.event]
            assert [entry.index for entry in others] == [0, 1, 2, 10, 11, 13]
            assert [entry.event for entry in every if entry.event] == expected

    run(scenario())


@pytest.mark.parametrize("start", [0, 1, 2, 3, 9, 13, 14])
def test_a_subscription_goes_on_from_any_index_and_follows_new_blocks(
    consortium: FoundedConsortium, tmp_path: Path, start: int
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            request = ledger_pb2.SubscribeRequest(from_index=start, all_kinds=True)
            call = stub.Subscribe(request, timeout=CALL_S)
            following = asyncio.ensure_future(read_until(call, 26))
            author = ledger.author(lane=1)
            for number in range(4):
                await ledger.put(author.batch([measurement(100 + number)]))
            entries = await following
            assert [entry.index for entry in entries] == list(range(start, 26))
            call.cancel()

    run(scenario())


async def read_until(call: Any, end: int) -> list[ledger_pb2.Entry]:
    entries: list[ledger_pb2.Entry] = []
    async for response in call:
        entries.extend(response.entries)
        if response.next_index >= end:
            break
    return entries


def test_a_subscription_from_beyond_the_end_waits_and_gives_nothing_before_its_index(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            request = ledger_pb2.SubscribeRequest(from_index=18, all_kinds=True)
            call = stub.Subscribe(request, timeout=CALL_S)
            following = asyncio.ensure_future(read_until(call, 20))
            author = ledger.author(lane=1)
            for number in range(2):
                await ledger.put(author.batch([measurement(100 + number)]))
            assert [entry.index for entry in await following] == [18, 19]
            call.cancel()

    run(scenario())


def test_proofs_verify_under_the_checkpoint_that_the_policy_finds_final(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("LAB-17025")
            newest = await stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=CALL_S)
            note = parse_note(newest.note)
            checkpoint = parse_checkpoint(note.text)
            parse_policy(policy_text(consortium.genesis, consortium.chain_id)).check(note)
            assert (newest.final, checkpoint.size) == (True, 14)
            for index in range(14):
                entry = await stub.GetEntry(ledger_pb2.GetEntryRequest(index=index), timeout=CALL_S)
                for size in (0, 14, index + 1):
                    proof = await stub.GetInclusionProof(
                        ledger_pb2.GetInclusionProofRequest(index=index, size=size),
                        timeout=CALL_S,
                    )
                    hashed = leaf_hash(entry.leaf_data)
                    verify_inclusion(hashed, index, proof.size, list(proof.path), proof.root)
                    assert size not in {0, 14} or proof.root == checkpoint.root
            for first in range(1, 15):
                shown = await stub.GetConsistencyProof(
                    ledger_pb2.GetConsistencyProofRequest(first_size=first), timeout=CALL_S
                )
                verify_consistency(first, 14, shown.first_root, shown.second_root, list(shown.path))
                assert shown.second_root == checkpoint.root

    run(scenario())


Ask = Callable[[Any], Any]
WRONG: dict[str, tuple[Ask, grpc.StatusCode]] = {
    "an event without an id": (
        lambda stub: stub.GetEntry(ledger_pb2.GetEntryRequest(event_id=b""), timeout=CALL_S),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "an event by a very long id": (
        lambda stub: stub.GetEntry(
            ledger_pb2.GetEntryRequest(event_id=bytes(100_000)), timeout=CALL_S
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "a proof under a size that is not signed": (
        lambda stub: stub.GetInclusionProof(
            ledger_pb2.GetInclusionProofRequest(index=0, size=15), timeout=CALL_S
        ),
        grpc.StatusCode.UNAVAILABLE,
    ),
    "a proof of an entry beyond the size": (
        lambda stub: stub.GetInclusionProof(
            ledger_pb2.GetInclusionProofRequest(index=5, size=5), timeout=CALL_S
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "consistency from nothing": (
        lambda stub: stub.GetConsistencyProof(
            ledger_pb2.GetConsistencyProofRequest(first_size=0), timeout=CALL_S
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "consistency backwards": (
        lambda stub: stub.GetConsistencyProof(
            ledger_pb2.GetConsistencyProofRequest(first_size=9, second_size=8), timeout=CALL_S
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "consistency to a size that is not signed": (
        lambda stub: stub.GetConsistencyProof(
            ledger_pb2.GetConsistencyProofRequest(first_size=9, second_size=2**64 - 1),
            timeout=CALL_S,
        ),
        grpc.StatusCode.UNAVAILABLE,
    ),
    "no receipts": (
        lambda stub: stub.GetReceipts(
            ledger_pb2.GetReceiptsRequest(entry_count=0), timeout=CALL_S
        ).read(),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "too many receipts": (
        lambda stub: stub.GetReceipts(
            ledger_pb2.GetReceiptsRequest(entry_count=RECEIPTS_MAX + 1), timeout=CALL_S
        ).read(),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "a lane of no key": (
        lambda stub: stub.GetLaneState(ledger_pb2.GetLaneStateRequest(), timeout=CALL_S),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "a lane of a very long key": (
        lambda stub: stub.GetLaneState(
            ledger_pb2.GetLaneStateRequest(key=bytes(70_000)), timeout=CALL_S
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
}


def test_a_question_that_has_no_answer_is_refused_with_its_status(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            for name, (ask, status) in WRONG.items():
                error = await refused(ask(stub))
                assert error.code() == status, f"{name}: {error.details()}"
                assert error.details(), name

    run(scenario())


def test_a_range_beyond_the_end_has_no_receipts(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            for first in (14, 15, 2**64 - 1):
                request = ledger_pb2.GetReceiptsRequest(first_index=first, entry_count=1_000)
                call = stub.GetReceipts(request, timeout=CALL_S)
                assert [receipt async for receipt in call] == []

    run(scenario())


def test_a_lane_tells_where_it_stands(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            key = consortium.batch_key("T1-STATOR").public
            author = ledger.author(lane=7)
            request = ledger_pb2.GetLaneStateRequest(key=key, lane=7)
            before = await stub.GetLaneState(request, timeout=CALL_S)
            assert before == ledger_pb2.GetLaneStateResponse()
            await ledger.put(author.batch([measurement(1)]), author.batch([measurement(2)]))
            after = await stub.GetLaneState(request, timeout=CALL_S)
            assert (after.sequence, after.batch_id) == (2, author.previous)
            assert (after.batch_index, after.closed) == (ledger.engine.state.size - 3, False)

    run(scenario())


def test_the_ledger_names_its_chain_and_founding_documents(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("REG-EU")
            found = await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S)
            assert found.chain_id == chain_id(found.genesis) == consortium.chain_id
            assert found.acceptances == consortium.settings.acceptances.read_bytes()
            assert (found.node, found.height, found.size) == ("OEM-A/n1", 2, 14)

    run(scenario())


def test_health_and_reflection_answer(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            channel = await ledger.channel_of("T1-STATOR")
            health: Any = health_pb2_grpc.HealthStub(channel)
            for name in (SERVICE, PROVENANCE, ""):
                request = health_pb2.HealthCheckRequest(service=name)
                found = await health.Check(request, timeout=CALL_S)
                assert found.status == health_pb2.HealthCheckResponse.SERVING
            reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]  # takes both
            call = reflection.ServerReflectionInfo(timeout=CALL_S)
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            listed = await call.read()
            names = {service.name for service in listed.list_services_response.service}
            assert {SERVICE, PROVENANCE, "grpc.health.v1.Health"} <= names
            call.cancel()

    run(scenario())


def test_the_outcome_of_a_refused_event_stands_in_its_leaf(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            request = ledger_pb2.GetEntryRequest(event_id=leaf_hash(EVENTS[5]))
            entry = await stub.GetEntry(request, timeout=CALL_S)
            head, _ = parse_leaf_data(entry.leaf_data)
            assert head.outcome == Outcome.EVENT_MALFORMED
            other = await (await ledger.stub("LAB-17025")).GetEntry(request, timeout=CALL_S)
            assert (other.event, other.withheld) == (b"", True), "nobody can tell its audience"

    run(scenario())
