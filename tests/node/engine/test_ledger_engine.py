"""The engine over its life: restarts, lost folders, damage, and how it stops."""

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.genesis import policy_text
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import verify_consistency
from lotmark.outcome import Outcome
from lotmark.signed_note import parse_note
from lotmark.tlog_policy import parse_policy
from lotmark_consensus.errors import ConsensusError, ForeignJournal, JournalLocked
from lotmark_node.engine import applying as applying_module
from lotmark_node.engine.errors import EngineError, ForeignStore, Regression, StoreCorrupt
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.state_machine.transition import BlockInvalid
from tests.node.engine.running_engine import (
    DEADLINE_S,
    GENESIS,
    Clock,
    author,
    check_equals_replay,
    node_keys,
    open_engine,
    put,
    run,
    running_engine,
    submit,
    until,
)
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement, measurements
from tests.node.state_machine.random_history import HOLDERS
from tests.proto.sample_genesis import KEYS_UNTIL_MS, grant

ERP, MES = "OEM-A/erp", "T1-STATOR/mes"


async def grow(engine: LedgerEngine, made: LedgerInMemory, count: int, first: int = 0) -> None:
    """Put `count` batches on the log, most of them in blocks of their own."""
    for number in range(first, first + count):
        holder = HOLDERS[number % 3]
        await put(engine, made.batch(holder, measurements(number * 10, 1 + number % 4)))


def test_a_restarted_engine_is_where_it_was_and_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        for start in range(0, 15, 5):
            async with running_engine(tmp_path) as engine:
                await grow(engine, made, 5, start)
                before = check_equals_replay(engine)
        async with running_engine(tmp_path) as engine:
            after = check_equals_replay(engine)
            assert after.root() == before.root()
            assert engine.state.height == 15

    run(scenario())


def test_a_lost_signed_maximum_is_a_regression(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            await grow(engine, author(), 1)
        (tmp_path / "signed-maximum").unlink()
        engine = open_engine(tmp_path)
        with pytest.raises(Regression, match="signed-maximum is gone"):
            engine.start()
        await engine.stop()

    run(scenario())


def test_a_lost_ledger_folder_is_made_again_from_the_journal(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            await grow(engine, made, 8)
            before = check_equals_replay(engine)
            rows = dict(engine.store.rows(b""))
        shutil.rmtree(tmp_path / "ledger")
        async with running_engine(tmp_path) as engine:
            assert check_equals_replay(engine).root() == before.root()
            assert dict(engine.store.rows(b"")) == rows
            await grow(engine, made, 2, 8)

    run(scenario())


def test_a_journal_behind_the_ledger_is_a_regression(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path / "node") as engine:
            await grow(engine, made, 3)
        shutil.copytree(tmp_path / "node/journal", tmp_path / "old journal")
        async with running_engine(tmp_path / "node") as engine:
            await grow(engine, made, 3, 3)
        shutil.copytree(tmp_path / "node/journal", tmp_path / "new journal")
        for journal in ("old journal", None):
            shutil.rmtree(tmp_path / "node/journal")
            if journal:
                shutil.copytree(tmp_path / journal, tmp_path / "node/journal")
            with pytest.raises(Regression, match="has applied block 6 of the order, but the journ"):
                open_engine(tmp_path / "node")
        shutil.rmtree(tmp_path / "node/journal")
        shutil.copytree(tmp_path / "new journal", tmp_path / "node/journal")
        async with running_engine(tmp_path / "node") as engine:
            check_equals_replay(engine)

    run(scenario())


def test_a_folder_behind_what_was_signed_is_a_regression(tmp_path: Path) -> None:
    """Ledger and journal of an old copy fit together; only the signed maximum tells."""

    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path / "node") as engine:
            await grow(engine, made, 3)
        shutil.copytree(tmp_path / "node", tmp_path / "old")
        async with running_engine(tmp_path / "node") as engine:
            await grow(engine, made, 3, 3)
            size = engine.state.size
        for name in ("journal", "ledger"):
            shutil.rmtree(tmp_path / "node" / name)
            shutil.copytree(tmp_path / "old" / name, tmp_path / "node" / name)
        engine = open_engine(tmp_path / "node")
        with pytest.raises(Regression, match=f"this node has signed size {size}"):
            engine.start()
        engine.ordering.stop()
        engine.signatures.stop()
        engine.store.close()

    run(scenario())


def test_another_ledger_of_the_same_size_is_not_signed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path / "one") as engine:
            await grow(engine, author(), 1)
        async with running_engine(tmp_path / "two") as engine:
            await put(engine, author().batch(ERP, [measurement(77)]))
        (tmp_path / "two/signed-maximum").write_bytes(
            (tmp_path / "one/signed-maximum").read_bytes()
        )
        engine = open_engine(tmp_path / "two")
        with pytest.raises(Regression, match="asked to sign size 5, but size 5"):
            engine.start()
        engine.ordering.stop()
        engine.signatures.stop()
        engine.store.close()

    run(scenario())


def test_folders_of_another_chain_are_refused(tmp_path: Path) -> None:
    other = consortium(voters=("OEM-A/n1",), witnesses=(), quota_events=7)

    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            await grow(engine, author(), 1)
        with pytest.raises(ForeignJournal):
            open_engine(tmp_path, genesis=other)
        shutil.rmtree(tmp_path / "journal")
        with pytest.raises(ForeignStore):
            open_engine(tmp_path, genesis=other)
        shutil.rmtree(tmp_path / "ledger")
        (tmp_path / "signed-maximum").unlink()
        async with running_engine(tmp_path, genesis=other) as engine:
            assert engine.state.height == 0

    run(scenario())


def test_two_engines_do_not_open_one_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            with pytest.raises(JournalLocked):
                open_engine(tmp_path)
            await put(engine, author().batch(ERP, [measurement(1)]))

    run(scenario())


def test_an_engine_that_could_not_open_leaves_the_folder_free(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            await grow(engine, author(), 3)
        journal = tmp_path / "journal"
        journal.rename(tmp_path / "away")
        for _ in range(2):
            with pytest.raises(Regression):
                open_engine(tmp_path)
        shutil.rmtree(journal)
        (tmp_path / "away").rename(journal)
        async with running_engine(tmp_path) as engine:
            check_equals_replay(engine)

    run(scenario())


def test_a_damaged_store_stops_the_start_and_is_rebuilt_from_the_journal(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            await grow(engine, made, 5)
            root = engine.state.frontier.root()
        (state_file,) = [
            path
            for path in (tmp_path / "ledger").glob("*.sst")
            if b"duplicate_window_events" in path.read_bytes()
        ]
        raw = bytearray(state_file.read_bytes())
        at = raw.index(b"duplicate_window_events")
        raw[at] ^= 1
        state_file.write_bytes(raw)
        with pytest.raises(StoreCorrupt, match="the node makes it again"):
            open_engine(tmp_path)
        shutil.rmtree(tmp_path / "ledger")
        async with running_engine(tmp_path) as engine:
            assert check_equals_replay(engine).root() == root

    run(scenario())


def test_a_damaged_journal_stops_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            await grow(engine, author(), 5)
        shutil.rmtree(tmp_path / "ledger")
        (segment,) = (tmp_path / "journal").glob("*.segment")
        raw = bytearray(segment.read_bytes())
        raw[len(raw) // 2] ^= 1
        segment.write_bytes(raw)
        with pytest.raises(ConsensusError):
            open_engine(tmp_path)

    run(scenario())


def test_pruned_blocks_are_not_missed_unless_the_ledger_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying_module, "BLOCKS_PER_SYNC", 4)

    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            await grow(engine, made, 9)
        async with running_engine(tmp_path) as engine:
            await grow(engine, made, 3, 9)
            check_equals_replay(engine)

    run(scenario())


def test_checkpoints_follow_the_log_verify_by_the_policy_and_stay_consistent(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made = author()
        chain = made.chain_id
        policy = parse_policy(policy_text(GENESIS, chain))
        seen = []
        async with running_engine(tmp_path) as engine:
            for start in range(0, 12, 3):
                await grow(engine, made, 3, start)
                size = engine.state.size
                await until(lambda size=size: engine.checkpoint().head.size == size)  # type: ignore[misc]
                checkpoint = engine.checkpoint()
                assert checkpoint.final
                policy.check(parse_note(checkpoint.note))
                seen.append(checkpoint.head)
            tree = engine.store.tree
            for first, second in itertools.pairwise(seen):
                path = tree.consistency_path(first.size, second.size)
                verify_consistency(first.size, second.size, first.root, second.root, path)

    run(scenario())


async def failed(engine: LedgerEngine) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await engine.failed.wait()


async def stopped(stop: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await stop()


def test_an_engine_whose_blocks_are_invalid_fails_refuses_serves_and_stops(
    tmp_path: Path,
) -> None:
    """As with a proposal key that the ledger does not know."""

    async def scenario() -> None:
        made = author()
        engine = open_engine(tmp_path, keys=node_keys(proposal="OEM-A/n1 LOG"))
        engine.start()
        sent = [submit(engine, made.batch(ERP, measurements(n * 50, 50))) for n in range(8)]
        await failed(engine)
        assert isinstance(engine.failure, BlockInvalid)
        assert [each.placed for each in sent] == [[]] * 8
        assert submit(engine, made.batch(ERP, [b""])).reason == Outcome.STOPPING
        assert len(list(engine.reader.entries(0, 2))) == 2
        assert engine.checkpoint().head.size == 2
        await stopped(engine.stop)

    run(scenario())


def test_an_engine_that_fails_while_batches_wait_still_stops(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        engine = open_engine(tmp_path, keys=node_keys(proposal="OEM-A/n1 LOG"))
        engine.start()
        submit(engine, made.batch(ERP, [measurement(0)]))
        await failed(engine)
        assert isinstance(engine.failure, BlockInvalid)  # so the apply loop ended, not the cutter
        for number in range(1, 4):  # as a batch that was admitted a moment before
            engine.admission.closed = None
            submit(engine, made.batch(ERP, [measurement(number)]))
        await stopped(engine.stop)

    run(scenario())


def test_killing_the_signature_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            engine.signatures._process.kill()
            engine.signatures._process.wait()
            message = b"message"
            signed = [(GENESIS.parties[0].roots[0], message, bytes(64))] * 9
            assert await engine.signatures.verify_many(signed) == [False] * 9
            signatures = await engine.signatures.sign_many([message] * 9)
            assert len(set(signatures)) == 1
            await grow(engine, made, 3)

    run(scenario())


def test_the_engine_leaves_no_process_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_engine(tmp_path) as engine:
            await grow(engine, author(), 1)
            process = engine.signatures._process
            assert process.poll() is None
        assert process.poll() == 0

    run(scenario())


def test_time_never_goes_back_though_the_clock_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        made, clock = author(), Clock()
        async with running_engine(tmp_path, clock=clock) as engine:
            times: list[int] = []
            for step_ms in (0, 5_000, -60_000, 1, -(10**9)):
                clock.now_ms += step_ms
                (placed,) = await put(engine, made.batch(ERP, [measurement(len(times))]))
                times.append(placed.time_ms)
            assert times == sorted(times)
            check_equals_replay(engine)

    run(scenario())


def test_an_engine_error_is_told_apart_from_a_programmer_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = open_engine(tmp_path)
        with pytest.raises(EngineError, match="no checkpoint is signed"):
            engine.checkpoint()
        engine.start()
        assert engine.checkpoint().head.size == 2
        await engine.stop()

    run(scenario())


def test_a_node_whose_proposal_key_has_expired_takes_nothing_and_still_opens(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        made, clock = author(), Clock()
        granted, key = grant("OEM-A", KeyPurpose.BATCH, "later")
        longer = replace(granted, not_after_ms=KEYS_UNTIL_MS + 10**9)
        async with running_engine(tmp_path, clock=clock) as engine:
            await put(engine, made.batch(ERP, [made.registration_of(longer, key)]))
            clock.now_ms = KEYS_UNTIL_MS + 1
            submit(engine, made.batch("OEM-A/later", [measurement(1)]))
            await asyncio.wait_for(engine.failed.wait(), DEADLINE_S)
            assert "the key's validity has ended" in str(engine.failure)
        async with running_engine(tmp_path, clock=clock) as engine:
            assert engine.state.height == 1

    run(scenario())


def test_a_batch_that_reuses_a_number_goes_on_record_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        made = author()
        async with running_engine(tmp_path) as engine:
            first = made.batch(ERP, [measurement(1)])
            await put(engine, first)
            header = first.header
            second = made.batch(
                ERP, [measurement(2)], sequence=header.sequence, previous=header.previous
            )
            (recorded,) = await put(engine, second)
            size = engine.state.size
            (again,) = await put(engine, second)
            assert engine.state.size == size
            assert recorded.result.outcome == Outcome.SEQUENCE_REUSED
            assert (again.index, again.result.outcome) == (recorded.index, Outcome.SEQUENCE_REUSED)

    run(scenario())
