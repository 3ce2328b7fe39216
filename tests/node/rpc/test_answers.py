"""The answers that one stream is owed: never dropped, and bounded though nobody reads them."""

import asyncio

from lotmark.admission import AdmissionAnswer
from lotmark.batch import ZERO_HASH, sign_batch
from lotmark.block_results import BatchResult
from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2
from lotmark_node.engine.stored_block import PlacedBatch
from lotmark_node.rpc.answers import UNANSWERED_MAX, AnswerQueue, oversize
from tests.node.engine.running_engine import run
from tests.proto.sample_genesis import CREATED_MS, private_key

BATCH = sign_batch(
    private_key("author"),
    [b"event"],
    chain_id=bytes(32),
    party="OEM-A",
    lane=0,
    sequence=1,
    created_at_ms=CREATED_MS,
)
PLACED = PlacedBatch(BATCH, 2, 1, CREATED_MS, BatchResult(0, (0,)))


def answer(outcome: Outcome = Outcome.ACCEPTED) -> AdmissionAnswer:
    return AdmissionAnswer(
        batch_id=BATCH.batch_id,
        accepted=not outcome,
        reason=outcome,
        admitted_at_ms=CREATED_MS,
        due_ms=0 if outcome else CREATED_MS + 1,
        checkpoint_size=0,
        checkpoint_root=ZERO_HASH,
        node="OEM-A/n1",
    )


def owe(queue: AnswerQueue, count: int) -> None:
    for _ in range(count):
        queue.expect()


def answer_in_full(queue: AnswerQueue, count: int) -> None:
    for _ in range(count):
        queue.admitted(answer(), "")
        queue.acknowledged(PLACED)


async def has_room(queue: AnswerQueue) -> bool:
    """Tell whether `room` returns without anything else happening."""
    waiting = asyncio.ensure_future(queue.room())
    for _ in range(3):
        await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return done


def test_a_stream_that_does_not_read_its_answers_gets_no_room_for_more() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        taken_in = 0
        while await has_room(queue):
            owe(queue, 1)
            answer_in_full(queue, 1)
            taken_in += 1
            assert taken_in <= UNANSWERED_MAX
        assert taken_in == UNANSWERED_MAX, "read or not, so many are kept and no more"
        assert len(await queue.take()) == 2 * taken_in, "and none was dropped"
        assert await has_room(queue)

    run(scenario())


def test_batches_without_an_answer_count_as_those_with_an_unread_one() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        owe(queue, UNANSWERED_MAX)
        assert not await has_room(queue)
        answer_in_full(queue, 10)
        assert not await has_room(queue)
        await queue.take()
        assert await has_room(queue)
        owe(queue, 10)
        assert not await has_room(queue)

    run(scenario())


def test_an_acceptance_waits_a_moment_for_its_acknowledgement_and_goes_out_alone_after() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        owe(queue, 1)
        queue.admitted(answer(), "")
        alone = await asyncio.wait_for(queue.take(), 5)
        queue.acknowledged(PLACED)
        assert [each.message().WhichOneof("answer") for each in alone] == ["admission"]
        (rest,) = await queue.take()
        assert rest.message().acknowledgement.batch_index == 2

    run(scenario())


def test_a_refusal_goes_out_at_once_and_is_the_last_answer() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        owe(queue, 1)
        queue.admitted(answer(Outcome.KEY_REVOKED), "why")
        queue.finish()
        (refusal,) = await queue.take()
        message = refusal.message().admission
        assert (message.accepted, message.reason, message.detail) == (False, 7, "why")
        assert await queue.take() == []

    run(scenario())


def test_a_finished_stream_waits_for_what_it_is_owed() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        owe(queue, 2)
        answer_in_full(queue, 1)
        queue.finish()
        assert len(await queue.take()) == 2
        waiting = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        answer_in_full(queue, 1)
        assert len(await waiting) == 2
        assert await queue.take() == []

    run(scenario())


def test_a_stream_that_is_broken_off_gets_what_is_ready_and_waits_for_nothing() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        owe(queue, 3)
        queue.admitted(answer(), "")
        queue.break_off()
        assert len(await queue.take()) == 1
        assert await queue.take() == []

    run(scenario())


def test_an_acknowledgement_lists_event_outcomes_only_where_one_is_not_accepted() -> None:
    async def scenario() -> None:
        queue = AnswerQueue()
        mixed = PlacedBatch(BATCH, 2, 1, CREATED_MS, BatchResult(0, (0, 107)))
        refused = PlacedBatch(BATCH, 2, 1, CREATED_MS, BatchResult(25))
        owe(queue, 3)
        for placed in (PLACED, mixed, refused):
            queue.acknowledged(placed)
        messages = [each.message().acknowledgement for each in await queue.take()]
        assert [(each.outcome, list(each.event_outcomes)) for each in messages] == [
            (0, []), (0, [0, 107]), (25, []),
        ]  # fmt: skip

    run(scenario())


def test_a_message_is_oversize_by_count_or_by_bytes_and_says_the_bounds() -> None:
    fits = ledger_pb2.SubmitRequest(batches=[b"xx"] * 3)
    assert oversize(fits, 3, fits.ByteSize()) is None
    for bounds in ((2, 1_000), (3, fits.ByteSize() - 1)):
        said = oversize(fits, *bounds)
        assert said is not None
        assert f"3 batches and {fits.ByteSize()} bytes, at most {bounds[0]} and" in said
