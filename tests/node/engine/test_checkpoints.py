"""A node signs what it leads, and knows what is newest and what is final, also after a restart."""

from pathlib import Path

import pytest

from lotmark.genesis import Genesis
from lotmark.signed_note import parse_note
from lotmark_node.engine.errors import EngineError, HistoryConflict, Regression
from lotmark_node.engine.gathering import CheckpointTiming
from tests.node.engine.checkpoint_network import (
    ALONE,
    LAB,
    OEM,
    THREE,
    TIER1,
    cosigners_of,
    ledger,
    note_at,
    one_node,
    policy_of,
    until,
)

EVERYBODY = (OEM, TIER1, LAB)


def test_the_only_voter_signs_at_its_start_and_all_is_final_at_once(tmp_path: Path) -> None:
    with one_node(tmp_path, ALONE, OEM, height=0) as node:
        first = node.signer.newest
        assert first is not None
        assert first.final
        assert first == node.signer.newest_final

        head = node.grow(5)
        until(lambda: node.final_size == head.size)

        newest = node.signer.newest
        assert newest is not None
        assert newest.head == head
        policy_of(ALONE).check(parse_note(newest.note))
        assert node.signer.signed_size == head.size


def test_the_only_voter_signs_whatever_it_is_told_of_leading(tmp_path: Path) -> None:
    with one_node(tmp_path, ALONE, OEM, height=0) as node:
        node.signer.follow()
        head = node.grow(3)
        until(lambda: node.final_size == head.size)


def test_the_last_head_is_signed_before_a_stop_returns(tmp_path: Path) -> None:
    slow = CheckpointTiming(interval_s=60.0)
    with one_node(tmp_path, ALONE, OEM, height=0, timing=slow) as node:
        node.grow(1)
        until(lambda: node.final_size == node.log.head(1).size)
        head = node.grow(9)
        assert node.final_size < head.size
    assert node.final_size == head.size


def test_a_node_that_does_not_lead_signs_nothing_by_itself(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=0) as node:
        node.signer.lead()
        head = node.grow(1)
        until(lambda: node.signer.newest is not None and node.signer.newest.head == head)
        node.signer.follow()
        node.grow(9)
    assert node.signer.signed_size == head.size


def test_who_leads_is_not_final_alone(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, OEM, height=3) as node:
        node.signer.lead()
        until(lambda: node.signer.newest is not None)
        newest = node.signer.newest
        assert newest is not None
        assert cosigners_of(newest.note) == {OEM}
        assert not newest.final
        assert node.signer.newest_final is None


def test_an_entry_is_covered_by_the_newest_final_checkpoint_else_by_the_newest(
    tmp_path: Path,
) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        with pytest.raises(EngineError, match="no checkpoint yet"):
            node.signer.covering(0)
        node.shown(note_at(node.log.whole, 2, EVERYBODY))
        node.shown(note_at(node.log.whole, 4))
        final, newest = node.signer.newest_final, node.signer.newest
        assert final is not None
        assert newest is not None
        assert (final.head.height, newest.head.height) == (2, 4)

        assert node.signer.covering(final.head.size - 1) == final
        assert node.signer.covering(final.head.size) == newest
        assert node.signer.covering(10**9) == newest


def test_a_size_that_became_final_is_newest_too(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        node.shown(note_at(node.log.whole, 4))
        node.shown(note_at(node.log.whole, 4, EVERYBODY))
        assert node.signer.newest == node.signer.newest_final
        node.shown(note_at(node.log.whole, 2, EVERYBODY))
        assert node.signer.newest == node.signer.newest_final
        assert node.final_size == node.log.whole.sizes[4], "a smaller one comes too late"


def test_the_newest_final_checkpoint_is_known_after_a_restart(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        node.shown(note_at(node.log.whole, 4, EVERYBODY))
        before = node.signer.newest_final
        node.restart()
        assert node.signer.newest_final == before
        assert node.signer.newest == before


def test_a_ledger_that_comes_back_behind_a_final_checkpoint_knows_it_once_it_is_there(
    tmp_path: Path,
) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        node.shown(note_at(node.log.whole, 6, EVERYBODY))
        node.restart(height=1)
        assert node.signer.newest_final is None
        node.grow(5)
        assert node.signer.newest_final is None
        head = node.grow(6)
        assert node.final_size == head.size


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", None])
def test_a_kept_checkpoint_that_is_none_is_passed_over(
    tmp_path: Path, damage: bytes | None
) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        node.shown(note_at(node.log.whole, 4, EVERYBODY))
        unfinal = note_at(node.log.whole, 4)
        (node.folder / "final-checkpoint").write_bytes(unfinal if damage is None else damage)
        node.restart()
        assert node.signer.newest_final is None
        assert node.shown(note_at(node.log.whole, 4, EVERYBODY)) is not None
        assert node.final_size == node.log.whole.sizes[4]


def test_a_ledger_that_contradicts_what_was_final_does_not_start(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        node.shown(note_at(node.log.whole, 6, EVERYBODY))
        node.log.whole = ledger(THREE, "b", 3)
        with pytest.raises(HistoryConflict, match="OEM-A"):
            node.restart()


def test_a_restart_signs_the_same_tree_again_and_nothing_smaller(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, OEM, height=4) as node:
        node.signer.lead()
        until(lambda: node.signer.newest is not None)
        node.restart()
        assert node.signer.newest is None
        node.signer.lead()
        until(lambda: node.signer.newest is not None)
        newest = node.signer.newest
        assert newest is not None
        assert newest.head == node.log.head(4)


def test_a_follower_that_never_signed_may_be_restarted(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=4) as node:
        assert node.signer.newest is None
        node.restart()
        assert node.shown(note_at(node.log.whole, 4)) is not None


@pytest.mark.parametrize("genesis", [ALONE, THREE], ids=["alone", "three"])
def test_a_node_that_lost_its_signed_maximum_does_not_start(
    tmp_path: Path, genesis: Genesis
) -> None:
    with one_node(tmp_path, genesis, OEM, height=4) as node:
        node.stop()
        (node.folder / "signed-maximum").unlink()
        with pytest.raises(Regression, match="signed-maximum is gone"):
            node.start()


def test_the_only_voter_does_not_start_with_less_than_it_has_signed(tmp_path: Path) -> None:
    with one_node(tmp_path, ALONE, OEM, height=4) as node:
        size = node.log.head(4).size
        until(lambda: node.signer.signed_size == size)
        with pytest.raises(Regression, match=f"has signed size {size}"):
            node.restart(height=3)


def test_one_of_several_voters_waits_until_the_order_has_brought_it_back(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=5) as node:
        assert node.shown(note_at(node.log.whole, 5)) is not None
        node.restart(height=2)
        node.signer.lead()
        assert node.shown(note_at(node.log.whole, 2)) is None
        node.grow(4)
        assert node.signer.newest is None, "nothing smaller is signed"
        head = node.grow(6)
        until(lambda: node.signer.newest is not None)
        assert node.signer.signed_size == head.size


@pytest.mark.parametrize("height", [6, 2])
def test_a_ledger_of_another_history_than_was_signed_signs_nothing(
    tmp_path: Path, height: int
) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        assert node.shown(note_at(node.log.whole, 6)) is not None
        node.log.whole = ledger(THREE, "b", 3)
        if height == 6:
            with pytest.raises(Regression, match="has signed root"):
                node.restart(height=height)
            return
        node.restart(height=height)
        node.grow(8)
        assert node.shown(note_at(node.log.whole, 8)) is None
        assert isinstance(node.failures[0], Regression)
        assert "has signed root" in (node.signer.failure or "")
