"""Submitting over the wire: every refusal arrives with its reason, in words, and signed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.batch import BATCH_SIZE_MAX, ZERO_HASH, Batch
from lotmark.outcome import MEANINGS, Outcome
from lotmark.v1 import ledger_pb2
from lotmark_node.engine import admission as admission_module
from lotmark_node.rpc.ledger_service import BATCHES_PER_MESSAGE_MAX, MESSAGE_SIZE_MAX
from tests.node.engine.running_engine import run, until
from tests.node.ledger_in_memory import measurement, measurements, rebuilt
from tests.node.rpc.served_ledger import (
    CALL_S,
    Author,
    FoundedConsortium,
    ServedLedger,
    answers_of,
    served,
)
from tests.proto.sample_genesis import private_key


def test_accepted_batches_are_admitted_with_a_signature_and_acknowledged(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            author = ledger.author()
            batches = [author.batch(measurements(number * 5, 5)) for number in range(12)]
            messages = [[batch.raw for batch in part] for part in (batches[:1], batches[1:])]
            answers = await answers_of(ledger, messages, answer_count=24)

            admissions = [each.admission for each in answers if each.HasField("admission")]
            assert {each.batch_id for each in admissions} == {each.batch_id for each in batches}
            for each in admissions:
                assert (each.accepted, each.reason, each.detail) == (True, 0, "")
                assert each.due_ms > each.admitted_at_ms
                ledger.check_signature(each)
            found = [each.acknowledgement for each in answers if not each.HasField("admission")]
            by_id = {each.batch_id: each for each in found}
            indexes = [by_id[batch.batch_id].batch_index for batch in batches]
            assert indexes == sorted(set(indexes))
            assert {each.outcome for each in found} == {0}
            assert {tuple(each.event_outcomes) for each in found} == {()}

    run(scenario())


Make = Callable[[Author], bytes]
REFUSED: dict[str, tuple[Make, Outcome]] = {
    "no batch": (lambda _: b"nonsense", Outcome.BATCH_MALFORMED),
    "too large": (lambda _: bytes(BATCH_SIZE_MAX + 1), Outcome.BATCH_OVERSIZE),
    "another chain": (
        lambda author: author.batch([b"x"], chain_id=bytes(32)).raw, Outcome.CHAIN_UNKNOWN,
    ),
    "an unknown key": (
        lambda author: author.batch([b"x"], key=private_key("nobody")).raw, Outcome.KEY_UNKNOWN,
    ),
    "another party's name": (
        lambda author: author.batch([b"x"], party="LAB-17025").raw, Outcome.KEY_PARTY_MISMATCH,
    ),
    "no signature": (
        lambda author: rebuilt(author.batch([b"x"], lane=1), signature=bytes(64)).raw,
        Outcome.SIGNATURE_INVALID,
    ),
    "far ahead": (lambda author: author.batch([b"x"], sequence=999).raw, Outcome.SEQUENCE_AHEAD),
    "a number that nobody used": (
        lambda author: author.batch([b"x"], sequence=0).raw, Outcome.SEQUENCE_REUSED,
    ),
}  # fmt: skip


def check_refusal(ledger: ServedLedger, admission: ledger_pb2.Admission, outcome: Outcome) -> None:
    assert (admission.accepted, admission.reason, admission.due_ms) == (False, outcome, 0)
    assert admission.detail.startswith(f"{outcome.name}: {MEANINGS[outcome].text}")
    assert admission.detail.endswith(MEANINGS[outcome].remedy)
    ledger.check_signature(admission)


def test_each_refusal_arrives_by_stream_with_reason_detail_and_signature(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            raws = [make(ledger.author()) for make, _ in REFUSED.values()]
            one_by_one = await answers_of(ledger, [[raw] for raw in raws], answer_count=len(raws))
            together = await answers_of(ledger, [raws], answer_count=len(raws))
            for answers in (one_by_one, together):
                reasons = sorted(each.admission.reason for each in answers)
                assert reasons == sorted(outcome for _, outcome in REFUSED.values())
                for each in answers:
                    check_refusal(ledger, each.admission, Outcome(each.admission.reason))
            assert ledger.engine.state.height == 0

    run(scenario())


def test_each_refusal_of_a_call_has_its_status_and_the_signed_answer(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            for name, (make, outcome) in REFUSED.items():
                request = ledger_pb2.SubmitRequest(batches=[make(ledger.author())])
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Submit(request, timeout=CALL_S)
                error = caught.value
                assert error.code().name == MEANINGS[outcome].status, name
                trailing = dict(error.trailing_metadata() or ())
                signed = ledger_pb2.Admission.FromString(trailing["lotmark-admission-bin"])
                check_refusal(ledger, signed, outcome)
                assert error.details() == signed.detail

    run(scenario())


def test_a_call_that_is_taken_in_part_tells_of_each_batch(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            author = ledger.author()
            good = author.batch([measurement(1), b"\xff"])
            bad = rebuilt(author.batch([b"x"], lane=1), signature=bytes(64))
            stub = await ledger.stub("T1-STATOR")
            request = ledger_pb2.SubmitRequest(batches=[good.raw, bad.raw])
            response = await stub.Submit(request, timeout=CALL_S)
            admissions = {
                each.admission.batch_id: each.admission
                for each in response.answers
                if each.HasField("admission")
            }
            assert admissions[good.batch_id].accepted
            check_refusal(ledger, admissions[bad.batch_id], Outcome.SIGNATURE_INVALID)
            (acknowledged,) = [
                each.acknowledgement
                for each in response.answers
                if each.HasField("acknowledgement")
            ]
            assert list(acknowledged.event_outcomes) == [0, Outcome.EVENT_MALFORMED]

    run(scenario())


def test_an_empty_call_is_answered_with_nothing(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            response = await stub.Submit(ledger_pb2.SubmitRequest(), timeout=CALL_S)
            assert list(response.answers) == []
            call = stub.SubmitStream(timeout=CALL_S)
            await call.write(ledger_pb2.SubmitRequest())
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() == grpc.StatusCode.OK

    run(scenario())


OVERSIZE: dict[str, list[bytes]] = {
    "too many batches": [b""] * (BATCHES_PER_MESSAGE_MAX + 1),
    "too many bytes": [bytes(1_000_000)] * 4 + [bytes(MESSAGE_SIZE_MAX - 4_000_000)],
}


@pytest.mark.parametrize("name", OVERSIZE)
def test_an_oversize_message_ends_its_stream_after_the_answers_before_it(
    consortium: FoundedConsortium, tmp_path: Path, name: str
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            batch = ledger.author().batch([measurement(1)])
            call = stub.SubmitStream(timeout=CALL_S)
            await call.write(ledger_pb2.SubmitRequest(batches=[batch.raw]))
            await call.write(ledger_pb2.SubmitRequest(batches=OVERSIZE[name]))
            answers: list[ledger_pb2.SubmitAnswer] = []

            async def read_on() -> None:
                async for response in call:
                    answers.extend(response.answers)

            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read_on()
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            details = caught.value.details() or ""
            assert details.startswith("MESSAGE_OVERSIZE: ")
            assert "at most 256 and 4194304 are taken; split the message" in details
            assert [each.WhichOneof("answer") for each in answers] == [
                "admission", "acknowledgement",
            ]  # fmt: skip
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Submit(ledger_pb2.SubmitRequest(batches=OVERSIZE[name]), timeout=CALL_S)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    run(scenario())


def test_a_message_beyond_what_the_transport_takes_harms_only_its_call(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Submit(
                    ledger_pb2.SubmitRequest(batches=[bytes(14 << 20)]), timeout=CALL_S
                )
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            await ledger.put(ledger.author().batch([measurement(1)]))

    run(scenario())


def test_the_largest_message_is_taken(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            author = ledger.author()
            batches = [author.batch([measurement(number)]) for number in range(256)]
            found = await ledger.put(*batches)
            assert len(found) == 256

    run(scenario())


def test_a_held_batch_is_refused_in_time_and_a_closed_disk_or_stop_says_why(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "HELD_S", 0.01)

    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            author = ledger.author()
            ahead = author.batch([b"x"], sequence=2)
            next_one = author.batch([b"x"])
            cases: list[tuple[Outcome | None, Batch, Outcome]] = [
                (None, ahead, Outcome.WAITING_FOR_PREDECESSOR),
                (Outcome.STORAGE_FULL, next_one, Outcome.STORAGE_FULL),
                (Outcome.STOPPING, next_one, Outcome.STOPPING),
            ]
            for closed, batch, outcome in cases:
                assert ledger.engine._fitness_timer is not None
                ledger.engine._fitness_timer.cancel()
                ledger.engine.admission.closed = closed
                (answer,) = await answers_of(ledger, [[batch.raw]], answer_count=1)
                check_refusal(ledger, answer.admission, outcome)

    run(scenario())


def test_the_same_batch_from_two_streams_is_answered_on_both(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            batch = ledger.author().batch([measurement(1)])
            both = await asyncio.gather(
                *[answers_of(ledger, [[batch.raw]], answer_count=2) for _ in range(2)]
            )
            acknowledged = [answers[-1].acknowledgement for answers in both]
            assert acknowledged[0] == acknowledged[1]
            assert ledger.engine.state.height == 1

    run(scenario())


def test_a_client_that_goes_away_leaves_its_batches_to_the_log_and_the_node_to_others(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            author = ledger.author()
            batches = [author.batch(measurements(number * 9, 9)) for number in range(200)]
            for cut in range(0, 200, 20):
                call = stub.SubmitStream(timeout=CALL_S)
                part = [batch.raw for batch in batches[cut : cut + 20]]
                await call.write(ledger_pb2.SubmitRequest(batches=part))
                call.cancel()
            found = await ledger.put(*batches)
            assert {each.outcome for each in found} == {0}
            await until(lambda: not ledger.engine.admission._acknowledge)

    run(scenario())


def test_a_ledger_that_fails_ends_the_streams_that_wait_for_it(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            ahead = [ledger.author().batch([b"x"], sequence=number) for number in (2, 3)]
            requests = [ledger_pb2.SubmitRequest(batches=[batch.raw]) for batch in ahead]
            call = stub.SubmitStream(timeout=CALL_S)
            await call.write(requests[0])
            unary = asyncio.ensure_future(_submit(stub, requests[1]))
            await until(lambda: ledger.engine.admission._held_count == 2)
            ledger.engine._fail(RuntimeError("the disk is gone"))
            for waiting in (call.read(), unary):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await waiting
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            reading = await stub.GetEntry(ledger_pb2.GetEntryRequest(index=0), timeout=CALL_S)
            assert reading.index == 0

    run(scenario())


async def _submit(stub: Any, request: ledger_pb2.SubmitRequest) -> object:
    return await stub.Submit(request, timeout=CALL_S)


def test_a_damaged_lane_ends_the_call_with_data_loss_and_nothing_else(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            authors = [ledger.author(lane=lane) for lane in range(400)]
            for start in range(0, 400, 100):
                some = authors[start : start + 100]
                await ledger.put(*[author.batch([measurement(author.lane)]) for author in some])
        damage(tmp_path / "ledger", authors[200].previous)
        async with served(consortium, tmp_path) as ledger:
            stub = await ledger.stub("T1-STATOR")
            request = ledger_pb2.SubmitRequest(batches=[authors[200].batch([b"x"]).raw])
            call = stub.SubmitStream(timeout=CALL_S)
            await call.write(request)
            key = consortium.batch_key("T1-STATOR").public
            lane_state = ledger_pb2.GetLaneStateRequest(key=key, lane=200)
            for waiting in (
                call.read(),
                stub.Submit(request, timeout=CALL_S),
                stub.GetLaneState(lane_state, timeout=CALL_S),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match="checksum mismatch") as caught:
                    await waiting
                assert caught.value.code() == grpc.StatusCode.DATA_LOSS
            await ledger.put(authors[399].batch([measurement(999)]))

    run(scenario())


def damage(store: Path, needle: bytes) -> None:
    """Flip a bit in the state file where `needle` stands."""
    files = [path for path in store.glob("*.sst") if b"duplicate_window" in path.read_bytes()]
    (state_file,) = [path for path in files if needle in path.read_bytes()]
    raw = bytearray(state_file.read_bytes())
    assert raw.count(needle) == 1
    raw[raw.index(needle)] ^= 1
    state_file.write_bytes(raw)


def test_a_batch_under_a_used_number_is_told_so_with_its_evidence_on_the_log(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            author = ledger.author()
            await ledger.put(author.batch([measurement(1)]))
            twin = author.batch([measurement(2)], sequence=1, previous=ZERO_HASH)
            (found,) = await ledger.put(twin)
            assert found.outcome == Outcome.SEQUENCE_REUSED

    run(scenario())
