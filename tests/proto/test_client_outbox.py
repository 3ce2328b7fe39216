"""The outbox file: what was written is there after any end of the process, in order, and whole."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.batch import Batch, sign_batch
from lotmark.client.errors import OutboxBusy, OutboxUnusable
from lotmark.client.outbox import Lane, Outbox
from lotmark.ed25519 import PrivateKey

CHAIN = bytes(range(32))
KEY = PrivateKey.from_seed(bytes([9]) * 32)


def signed(sequence: int, *events: bytes, lane: int = 3) -> Batch:
    return sign_batch(
        KEY,
        events or [b"event %d" % sequence],
        chain_id=CHAIN,
        lane=lane,
        sequence=sequence,
        created_at_ms=1_700_000_000_000,
        party="T1-STATOR",
    )


def raws(outbox: Outbox) -> list[bytes]:
    return [each.batch.raw for each in outbox.all_batches()]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans()),
        max_size=12,
    )
)
def test_whatever_is_written_is_there_in_order_also_after_it_was_opened_anew(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("outbox") / "outbox.db"
    events: list[bytes] = []
    batches: list[bytes] = []
    count = 0
    outbox = Outbox(path, chain_id=CHAIN)
    try:
        for event_count, batched_count, settled_count, opened_anew in steps:
            new = [b"%d" % (count := count + 1) for _ in range(event_count)]
            stored = outbox.events(count_max=batched_count)
            batch = [signed(count := count + 1, *(each.raw for each in stored))] if stored else []
            gone = outbox.batches(count_max=settled_count)
            outbox.write(
                events=new,
                batches=batch,
                batched_up_to=stored[-1].place if stored else 0,
                settled=[each.place for each in gone],
            )
            events = events[len(stored) :] + new
            batches = batches[len(gone) :] + [each.raw for each in batch]
            if opened_anew:
                outbox.close()
                outbox = Outbox(path, chain_id=CHAIN)
            assert [each.raw for each in outbox.all_events()] == events
            assert raws(outbox) == batches
    finally:
        outbox.close()


def test_the_newest_lane_of_a_key_is_the_one_that_was_begun_last(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)
    first, second = Lane(KEY.public, 8), Lane(KEY.public, 2)
    assert outbox.lane(KEY.public) is None
    for lane in (first, second, Lane(KEY.public, 8, 1, CHAIN), Lane(CHAIN, 5, 3, CHAIN)):
        outbox.write(lane=lane)
    assert outbox.lane(KEY.public) == second
    outbox.write(lane=Lane(KEY.public, 2, 6, CHAIN))
    outbox.close()
    again = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)

    assert again.lane(KEY.public) == Lane(KEY.public, 2, 6, CHAIN)
    assert again.lane(CHAIN) == Lane(CHAIN, 5, 3, CHAIN)
    again.close()


def test_a_change_that_the_disk_refuses_is_not_there_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*arguments: object, **options: object) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))  # type: ignore[call-overload]  # handed on
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", remembered)
    outbox = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)
    outbox.write(events=[b"first"], batches=[signed(1)], lane=Lane(KEY.public, 3, 1, CHAIN))
    opened[0].execute("PRAGMA max_page_count = 20")
    (first,) = outbox.all_batches()
    with pytest.raises(OutboxUnusable, match="its disk is full; make room there"):
        outbox.write(
            events=[bytes(1_000)] * 200,
            settled=[first.place],
            lane=Lane(KEY.public, 3, 2, CHAIN),
        )
    opened[0].execute("PRAGMA max_page_count = 100000")
    outbox.write(events=[b"second"], batches=[signed(2)])

    assert [each.raw for each in outbox.all_events()] == [b"first", b"second"]
    assert raws(outbox) == [signed(1).raw, signed(2).raw]
    assert outbox.lane(KEY.public) == Lane(KEY.public, 3, 1, CHAIN)
    outbox.close()


def test_what_was_refused_for_good_is_kept_with_its_reason(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)
    outbox.write(batches=[signed(1)])
    (stored,) = outbox.all_batches()
    outbox.write(settled=[stored.place], refused=[(stored.batch, "TIME_ABSURD: why")])

    assert raws(outbox) == []
    assert [(batch.raw, why) for batch, why in outbox.refused()] == [
        (signed(1).raw, "TIME_ABSURD: why")
    ]
    outbox.close()


def test_a_batch_that_was_changed_in_the_file_is_not_sent(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)
    outbox.write(batches=[signed(1)])
    outbox.close()
    database = sqlite3.connect(tmp_path / "outbox.db")
    raw = bytearray(signed(1).raw)
    raw[-1] ^= 1
    with database:
        database.execute("UPDATE batch SET raw = ?", (bytes(raw),))
    database.close()
    again = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)

    with pytest.raises(OutboxUnusable, match=r"is damaged: the events of a batch are not those"):
        list(again.all_batches())
    again.close()


def test_a_format_of_a_later_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox.db", chain_id=CHAIN).close()
    database = sqlite3.connect(tmp_path / "outbox.db")
    database.execute("PRAGMA user_version = 2")
    database.close()

    with pytest.raises(OutboxUnusable, match="has format 2; this release knows 1: update it"):
        Outbox(tmp_path / "outbox.db", chain_id=CHAIN)


def test_a_second_one_on_the_file_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db", chain_id=CHAIN)
    with pytest.raises(OutboxBusy, match="is in use by another process"):
        Outbox(tmp_path / "outbox.db", chain_id=CHAIN)
    first.close()
    Outbox(tmp_path / "outbox.db", chain_id=CHAIN).close()
