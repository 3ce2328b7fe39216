"""Admission: answers for every batch, held ones in order, and a queue that stays bounded."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lotmark.batch import BATCH_SIZE_MAX, ZERO_HASH, Batch
from lotmark.key_grant import KeyPurpose
from lotmark.outcome import MEANINGS, Outcome
from lotmark_node.engine import admission as admission_module
from lotmark_node.engine import ledger_engine
from tests.node.engine.running_engine import (
    DEADLINE_S,
    NODE,
    Clock,
    Submitted,
    author,
    check_equals_replay,
    open_engine,
    put,
    run,
    running_engine,
    submit,
    told,
    until,
)
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
    rebuilt,
)
from tests.proto.sample_genesis import CREATED_MS, KEYS_UNTIL_MS, private_key

ERP, MES = "OEM-A/erp", "T1-STATOR/mes"


def batches(count: int, **header: Any) -> list[Batch]:
    """Return `count` batches of one lane, in order."""
    made = author()
    return [made.batch(ERP, [measurement(number)], **header) for number in range(count)]


def test_an_accepted_batch_is_answered_with_a_due_time_and_then_acknowledged(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = Clock()
        async with running_engine(tmp_path, clock=clock) as engine:
            submitted = submit(engine, batches(1)[0])
            placed = await submitted.acknowledged()
            (answer,) = submitted.answers
            assert (answer.accepted, answer.reason, answer.node) == (True, 0, NODE)
            assert answer.admitted_at_ms == clock.now_ms
            assert answer.due_ms == clock.now_ms + admission_module.DUE_MS
            assert answer.checkpoint_size == 2
            assert answer.checkpoint_root == author().root()
            assert (placed.index, placed.height, placed.time_ms) == (2, 1, clock.now_ms)
            assert list(placed.result.event_outcomes) == [0]
            check_equals_replay(engine)

    run(scenario())


def refusals(made: LedgerInMemory) -> dict[str, tuple[bytes, Outcome]]:
    """Return what admission refuses by itself, without history, and why."""
    batch = made.batch(ERP, [measurement(1)])
    return {
        "no bytes": (b"", Outcome.BATCH_MALFORMED),
        "a byte too many": (batch.raw + b"\0", Outcome.BATCH_MALFORMED),
        "cut off": (batch.raw[:-1], Outcome.BATCH_MALFORMED),
        "too many bytes": (bytes(BATCH_SIZE_MAX + 1), Outcome.BATCH_OVERSIZE),
        "another chain": (
            made.batch(ERP, [b""], chain_id=bytes(32)).raw, Outcome.CHAIN_UNKNOWN,
        ),
        "an unknown key": (
            made.batch(ERP, [b""], key=private_key("nobody")).raw, Outcome.KEY_UNKNOWN,
        ),
        "another party's key": (
            made.batch(ERP, [b""], party="T1-STATOR").raw, Outcome.KEY_PARTY_MISMATCH,
        ),
        "a node's key": (
            made.batch(ERP, [b""], key=private_key(f"{NODE} ADMIT")).raw,
            Outcome.KEY_PURPOSE_WRONG,
        ),
        "no signature": (rebuilt(batch, signature=bytes(64)).raw, Outcome.SIGNATURE_INVALID),
        "ahead without a signature": (
            rebuilt(
                made.batch(ERP, [b""], sequence=9), signature=bytes(64)
            ).raw,
            Outcome.SIGNATURE_INVALID,
        ),
        "far ahead": (made.batch(ERP, [b""], sequence=67).raw, Outcome.SEQUENCE_AHEAD),
        "number 0": (made.batch(ERP, [b""], sequence=0).raw, Outcome.SEQUENCE_REUSED),
    }  # fmt: skip


@pytest.mark.parametrize("name", refusals(author()))
def test_a_bad_batch_is_refused_with_its_reason_and_never_reaches_the_log(
    tmp_path: Path, name: str
) -> None:
    raw, outcome = refusals(author())[name]

    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            submitted = Submitted()
            parsed = engine.admission.parse(raw, submitted.answer)
            if parsed is not None:
                submitted = submit(engine, parsed)
            (answer,), (detail,) = submitted.answers, submitted.details
            assert (answer.accepted, answer.reason, answer.due_ms) == (False, outcome, 0)
            assert answer.batch_id == (ZERO_HASH if parsed is None else parsed.batch_id)
            assert detail.startswith(f"{outcome.name}: {MEANINGS[outcome].text}")
            assert detail.endswith(MEANINGS[outcome].remedy)
            await put(engine, *batches(1))
            assert engine.state.height == 1, "the lane goes on as if nothing had come"

    run(scenario())


def test_a_key_that_was_revoked_rotated_or_is_not_in_force_yet_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        made, clock = author(), Clock()
        revoked = private_key(f"{MES} BATCH").public
        async with running_engine(tmp_path, clock=clock) as engine:
            await put(engine, made.batch(ERP, [made.revocation("T1-STATOR", revoked)]))
            assert submit(engine, made.batch(MES, [b""])).reason == Outcome.KEY_REVOKED
            new = made.registration("OEM-A", KeyPurpose.BATCH, "press-2")
            late = made.batch("OEM-A/press-2", [measurement(5)])
            assert submit(engine, late).reason == Outcome.KEY_UNKNOWN
            await put(engine, made.batch(ERP, [new]))
            await put(engine, late)
            clock.now_ms = KEYS_UNTIL_MS
            assert submit(engine, made.batch(ERP, [b""])).reason == Outcome.KEY_EXPIRED

    run(scenario())


def test_a_batch_that_the_log_refuses_with_its_number_is_taken_and_refused_there(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            (placed,) = await put(engine, made.batch(ERP, [measurement(1)], schema=9))
            assert placed.result.outcome == Outcome.SCHEMA_UNKNOWN
            check_equals_replay(engine)

    run(scenario())


@pytest.mark.parametrize("order", [[1, 2, 3, 4, 0], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_batches_that_come_before_their_turn_are_held_and_put_in_order(
    tmp_path: Path, order: list[int]
) -> None:
    async def scenario() -> None:
        made = batches(5)
        async with running_engine(tmp_path) as engine:
            submitted = {at: submit(engine, made[at]) for at in order}
            for each in submitted.values():
                assert await each.answered() == Outcome.ACCEPTED
            indexes = [(await submitted[at].acknowledged()).index for at in range(5)]
            assert indexes == sorted(indexes)
            ledger = check_equals_replay(engine)
            lanes = [each.result.outcome for each in engine.reader.placed_batches(1)]
            assert set(lanes) == {0}
            assert ledger.height == engine.state.height

    run(scenario())


def test_a_held_batch_is_not_answered_before_its_predecessor_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = batches(2)
        async with running_engine(tmp_path) as engine:
            held = submit(engine, second)
            await put(engine, author().batch(MES, [measurement(50)]))
            assert held.reason is None
            await put(engine, first)
            assert await held.answered() == Outcome.ACCEPTED
            await held.acknowledged()

    run(scenario())


def test_a_batch_whose_predecessor_does_not_come_in_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        first, second, third = batches(3)
        async with running_engine(tmp_path) as engine:
            monkeypatch.setattr(admission_module, "HELD_S", 0.01)
            held = [submit(engine, third), submit(engine, second)]
            for each in held:
                assert await each.answered() == Outcome.WAITING_FOR_PREDECESSOR
                assert "waited 0.01 s for 1" in each.details[0]
            monkeypatch.setattr(admission_module, "HELD_S", DEADLINE_S)
            await put(engine, first, second, third)

    run(scenario())


def test_sixty_four_numbers_ahead_are_held_and_the_next_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = batches(67)
        async with running_engine(tmp_path) as engine:
            held = [submit(engine, batch) for batch in made[1:65]]
            assert {each.reason for each in held} == {None}
            refused = submit(engine, made[65])
            assert refused.reason == Outcome.SEQUENCE_AHEAD
            assert "sequence 66, the lane stands at 0" in refused.details[0]
            assert submit(engine, made[10]).reason == Outcome.SEQUENCE_AHEAD, "held already"
            await put(engine, made[0])
            for each in held:
                await each.acknowledged()
            await put(engine, *made[65:])

    run(scenario())


def test_held_batches_are_bounded_by_number_and_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        made = author()
        lanes = [
            [made.batch(ERP, [measurement(number * 2 + at)], lane=number) for at in range(2)]
            for number in range(4)
        ]
        async with running_engine(tmp_path) as engine:
            monkeypatch.setattr(admission_module, "HELD_BATCHES_MAX", 2)
            held = [submit(engine, second) for _, second in lanes[:3]]
            assert [each.reason for each in held] == [None, None, Outcome.SEQUENCE_AHEAD]
            await put(engine, lanes[0][0])
            await held[0].acknowledged()
            size = len(lanes[1][1].raw)
            monkeypatch.setattr(admission_module, "HELD_SIZE_MAX", 2 * size)
            monkeypatch.setattr(admission_module, "HELD_BATCHES_MAX", 100)
            more = [submit(engine, second) for _, second in lanes[2:]]
            assert [each.reason for each in more] == [None, Outcome.SEQUENCE_AHEAD]

    run(scenario())


def test_a_stranger_cannot_keep_a_number_from_its_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = batches(2)
        forged = rebuilt(second, signature=bytes(64))
        async with running_engine(tmp_path) as engine:
            assert submit(engine, forged).reason == Outcome.SIGNATURE_INVALID
            held = submit(engine, second)
            assert held.reason is None
            await put(engine, first)
            await held.acknowledged()

    run(scenario())


def test_the_same_batch_again_gets_the_first_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        batch = made.batch(ERP, measurements(1, 3))
        refused = made.batch(ERP, [measurement(9)], schema=9)
        async with running_engine(tmp_path) as engine:
            in_flight = [submit(engine, batch) for _ in range(3)]
            placed = [await each.acknowledged() for each in in_flight]
            placed += await put(engine, batch, refused, refused)
            first, second = placed[0], placed[-1]
            assert {str(told(each)) for each in placed[:4]} == {str(told(first))}
            assert told(placed[4]) == told(second)
            assert second.result.outcome == Outcome.SCHEMA_UNKNOWN
            ledger = check_equals_replay(engine)
            assert sum(len(entry) > 0 for entry in ledger.leaf_data) == 2 + 4 + 1 + 2

    run(scenario())


def test_after_a_restart_the_same_batch_still_gets_the_first_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        sent = [made.batch(ERP, measurements(1, 3)), made.batch(ERP, [b""], schema=9)]
        async with running_engine(tmp_path) as engine:
            before = await put(engine, *sent)
            height = engine.state.height
        async with running_engine(tmp_path) as engine:
            after = await put(engine, *sent)
            assert list(map(told, after)) == list(map(told, before))
            assert engine.state.height == height, "nothing new is on the log"

    run(scenario())


def test_another_batch_under_a_used_number_goes_on_record(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        first = made.batch(ERP, [measurement(1)])
        other = made.batch(ERP, [measurement(2)], sequence=1, previous=ZERO_HASH)
        in_flight = made.batch(MES, [measurement(3)])
        twin = made.batch(MES, [measurement(4)], sequence=1, previous=ZERO_HASH)
        async with running_engine(tmp_path) as engine:
            await put(engine, first)
            placed = [*await put(engine, other), *(await put(engine, in_flight, twin))[1:]]
            for each in placed:
                assert each.result.outcome == Outcome.SEQUENCE_REUSED
                assert each.result.evidence
            check_equals_replay(engine)

    run(scenario())


def test_what_is_on_record_is_acknowledged_again_after_its_lane_and_its_key_have_ended(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = author()
        key = private_key(f"{MES} BATCH").public
        taken = made.batch(MES, [measurement(1)])
        following = made.batch(MES, [measurement(2)])
        closure = made.lane_closure("T1-STATOR", key, taken.header.lane)
        revocation = made.revocation("T1-STATOR", key)
        async with running_engine(tmp_path) as engine:
            (first,) = await put(engine, taken)
            for ending, outcome in (
                (closure, Outcome.LANE_CLOSED),
                (revocation, Outcome.KEY_REVOKED),
            ):
                await put(engine, made.batch(ERP, [ending]))
                height = engine.state.height
                again = await submit(engine, taken).acknowledged()
                assert told(again) == told(first)
                assert submit(engine, following).reason == outcome
                assert engine.state.height == height
            check_equals_replay(engine)

    run(scenario())


def test_a_used_number_without_evidence_is_refused_and_fills_no_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        genesis = consortium(voters=(NODE,), witnesses=(), duplicate_window_events=2)
        made = LedgerInMemory(genesis)
        first = [made.batch(ERP, measurements(number * 5, 5)) for number in range(3)]
        other = made.batch(ERP, [measurement(99)], sequence=1, previous=ZERO_HASH)
        async with running_engine(tmp_path, genesis=genesis) as engine:
            for batch in first:
                await put(engine, batch)
            height = engine.state.height
            refused = submit(engine, other)
            assert refused.reason == Outcome.SEQUENCE_REUSED
            assert engine.state.height == height
            check_equals_replay(engine, genesis=genesis)

    run(scenario())


def test_the_queue_is_empty_again_whatever_was_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event that is counted in must be counted out, or the node stops taking any."""
    monkeypatch.setattr(admission_module, "WAITING_EVENTS_MAX", 200)

    async def scenario() -> None:
        made = author()
        await_all = []
        async with running_engine(tmp_path) as engine:
            first = made.batch(ERP, measurements(0, 20))
            await put(engine, first)
            for number in range(1, 12):
                other = made.batch(
                    ERP, measurements(number * 20, 20), sequence=1, previous=ZERO_HASH
                )
                for batch in (other, first, other, other):
                    async with asyncio.timeout(DEADLINE_S):
                        await engine.admission.room()
                    await_all.append(submit(engine, batch))
            for each in await_all:
                await each.acknowledged()
            async with asyncio.timeout(DEADLINE_S):
                await engine.admission.room()
            assert engine.admission._waiting_events == engine.admission._waiting_size == 0
            assert not engine.admission._acknowledge
            assert not engine.admission._lanes

    run(scenario())


def test_a_full_queue_has_no_room_until_blocks_are_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "WAITING_EVENTS_MAX", 4)

    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            submitted = [submit(engine, batch) for batch in batches(4)]
            waiting = asyncio.ensure_future(engine.admission.room())
            assert not waiting.done()
            assert not engine.admission._room.is_set()
            for each in submitted:
                await each.acknowledged()
            async with asyncio.timeout(DEADLINE_S):
                await waiting

    run(scenario())


def test_a_large_batch_fills_the_queue_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = author().batch(ERP, measurements(0, 50))
    monkeypatch.setattr(admission_module, "WAITING_SIZE_MAX", len(batch.raw))

    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            submitted = submit(engine, batch)
            assert not engine.admission._room.is_set()
            await submitted.acknowledged()
            assert engine.admission._room.is_set()

    run(scenario())


def test_a_party_over_its_quota_is_refused_until_the_next_minute(tmp_path: Path) -> None:
    async def scenario() -> None:
        genesis = consortium(voters=(NODE,), witnesses=(), quota_events=5)
        made, clock = LedgerInMemory(genesis), Clock()
        sent = [made.batch(ERP, measurements(number * 3, 3)) for number in range(2)]
        async with running_engine(tmp_path, genesis=genesis, clock=clock) as engine:
            await put(engine, sent[0])
            assert submit(engine, sent[1]).reason == Outcome.QUOTA_EXCEEDED
            clock.now_ms -= 500_000  # a clock that goes back opens no new minute
            assert submit(engine, sent[1]).reason == Outcome.QUOTA_EXCEEDED
            clock.now_ms = CREATED_MS + 61_000
            (placed,) = await put(engine, sent[1])
            assert placed.result.outcome == 0, "the number was not taken by the refusal"

    run(scenario())


def test_a_full_disk_refuses_and_reading_goes_on_and_it_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_engine, "FITNESS_CHECK_S", 0.01)

    async def scenario() -> None:
        first, second = batches(2)
        async with running_engine(tmp_path) as engine:
            await put(engine, first)
            engine._fitness.free_size_min = 1 << 62
            await until(lambda: engine.admission.closed == Outcome.STORAGE_FULL)
            refused = submit(engine, second)
            assert refused.reason == Outcome.STORAGE_FULL
            assert "make room on the disk" in refused.details[0]
            assert engine.reader.entry(3).leaf_data == check_equals_replay(engine).leaf_data[3]
            assert engine.checkpoint().head.size > 2
            engine._fitness.free_size_min = 0
            await until(lambda: engine.admission.closed is None)
            await put(engine, second)

    run(scenario())


def test_a_journal_without_room_keeps_admission_closed_though_the_disk_shows_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a quota or a file size limit: only the order finds out."""
    monkeypatch.setattr(ledger_engine, "FITNESS_CHECK_S", 0.001)

    async def scenario() -> None:
        first, second = batches(2)
        async with running_engine(tmp_path) as engine:
            await put(engine, first)
            engine._storage_full(True)
            await until(lambda: engine.admission.closed == Outcome.STORAGE_FULL)
            for _ in range(20):
                await asyncio.sleep(0.001)
                assert submit(engine, second).reason == Outcome.STORAGE_FULL
            engine._storage_full(False)
            await until(lambda: engine.admission.closed is None)
            await put(engine, second)

    run(scenario())


def test_a_node_on_a_full_disk_starts_and_serves_reads(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            await put(engine, *batches(1))
        async with running_engine(tmp_path, free_size_min=1 << 62) as engine:
            assert submit(engine, batches(2)[1]).reason == Outcome.STORAGE_FULL
            check_equals_replay(engine)

    run(scenario())


def test_a_stopping_node_refuses_and_finishes_what_it_admitted(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = batches(3)
        engine = open_engine(tmp_path)
        engine.start()
        submitted = [submit(engine, batch) for batch in made[:2]]
        stopping = asyncio.ensure_future(engine.stop())
        await asyncio.sleep(0)
        assert submit(engine, made[2]).reason == Outcome.STOPPING
        await stopping
        for each in submitted:
            await each.acknowledged()
        async with running_engine(tmp_path) as reopened:
            assert reopened.state.size == engine.state.size
            await put(reopened, *made)

    run(scenario())


def test_lanes_that_are_idle_are_forgotten(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            for number in range(30):
                await put(engine, made.batch(ERP, [measurement(number)], lane=number))
                submit(engine, made.batch(ERP, [b""], lane=1_000 + number, sequence=99))
            assert not engine.admission._lanes

    run(scenario())
