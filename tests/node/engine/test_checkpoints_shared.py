"""What a node answers to a checkpoint it is shown: never a smaller tree, never another one."""

import errno
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.signed_note import Note, NoteSignature, format_note, parse_note
from lotmark_node.engine.gathering import CheckpointTiming
from lotmark_node.engine.known_checkpoints import RECENT_MAX, KnownCheckpoints
from lotmark_node.state_machine.tables import LogHead
from tests.node.engine.checkpoint_network import (
    FOUR,
    LAB,
    OEM,
    QUICK,
    THREE,
    TIER1,
    TIER2,
    checkpoint_at,
    cosigners_of,
    ledger,
    note_at,
    one_node,
    policy_of,
    signature,
    signed,
    size_of,
    until,
)
from tests.proto.sample_genesis import private_key

HONEST = ledger(THREE)
FORKED = ledger(THREE, "b", 5)


def test_a_checkpoint_of_the_own_tree_is_cosigned_and_known(tmp_path: Path) -> None:
    with one_node(tmp_path, FOUR, height=6) as node:
        answer = node.shown(note_at(node.log.whole, 5))

        assert answer is not None
        assert cosigners_of(answer) == {OEM, TIER1}
        newest = node.signer.newest
        assert newest is not None
        assert (newest.note, newest.head, newest.final) == (answer, node.log.head(5), False)
        assert node.signer.signed_size == node.log.head(5).size


def test_the_cosignature_that_completes_the_quorum_makes_it_final(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        answer = node.shown(note_at(HONEST, 5, (OEM, LAB)))

        assert answer is not None
        policy_of(THREE).check(parse_note(answer))
        assert node.final_size == HONEST.sizes[5]


def test_a_final_checkpoint_is_taken_over_and_not_signed_once_more(tmp_path: Path) -> None:
    final = note_at(ledger(FOUR), 5, (OEM, TIER2, LAB))
    with one_node(tmp_path, FOUR, height=6) as node:
        size = node.signer.signed_size
        assert node.shown(final) == final
        assert node.final_size == ledger(FOUR).sizes[5]
        assert node.signer.signed_size == size


def test_a_follower_that_is_behind_waits_for_its_ledger_and_then_cosigns(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=2, timing=QUICK) as node, ThreadPoolExecutor() as pool:
        answer = pool.submit(node.shown, note_at(HONEST, 5))
        node.grow(4)
        assert not answer.done()
        node.grow(7)
        assert cosigners_of(answer.result()) == {OEM, TIER1}


def test_a_follower_far_behind_answers_nothing_and_cosigns_when_asked_again(
    tmp_path: Path,
) -> None:
    with one_node(tmp_path, THREE, height=2) as node:
        assert node.shown(note_at(HONEST, 5)) is None
        node.grow(5)
        assert node.shown(note_at(HONEST, 5)) is not None


def test_a_peer_that_asks_a_second_thing_meanwhile_gets_no_answer(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=2, timing=QUICK) as node, ThreadPoolExecutor() as pool:
        first = pool.submit(node.shown, note_at(HONEST, 6))
        until(lambda: bool(node.signer._answering and node.signer._answering._asking))
        assert node.shown(note_at(HONEST, 1)) is None
        assert node.shown(note_at(HONEST, 1), by=LAB) is not None, "another peer has its own turn"
        node.grow(6)
        assert first.result() is not None


def test_a_stop_ends_what_waits(tmp_path: Path) -> None:
    patient = CheckpointTiming(wait_max_s=600.0)
    with ThreadPoolExecutor() as pool:
        with one_node(tmp_path, THREE, height=2, timing=patient) as node:
            answer = pool.submit(node.shown, note_at(HONEST, 5))
            until(lambda: bool(node.signer._answering and node.signer._answering._asking))
        assert answer.result(timeout=20) is None


def test_a_size_at_which_no_block_ends_is_not_cosigned(tmp_path: Path) -> None:
    size = HONEST.sizes[5] - 1
    origin = checkpoint_at(HONEST, 5).origin
    with one_node(tmp_path, THREE, height=6) as node:
        assert node.shown(signed(THREE, Checkpoint(origin, size, HONEST.root(size)))) is None
        assert not node.evidence()
        assert not node.failures


def _with(note: bytes, *signatures: NoteSignature) -> bytes:
    parsed = parse_note(note)
    return format_note(Note(parsed.text, (*parsed.signatures, *signatures)))


def _of_another_log() -> bytes:
    true = checkpoint_at(HONEST, 5)
    return signed(THREE, Checkpoint("lotmark.invalid/another", true.size, true.root))


def _with_an_extension() -> bytes:
    true = checkpoint_at(HONEST, 5)
    return signed(THREE, Checkpoint(true.origin, true.size, true.root, ("more",)))


def _without_a_voters_signature() -> bytes:
    parsed = parse_note(note_at(HONEST, 5))
    return format_note(Note(parsed.text, parsed.signatures[1:]))


def _with_a_forged_cosignature() -> bytes:
    foreign = signature(THREE, checkpoint_at(HONEST, 4).text(), LAB)
    return _with(note_at(HONEST, 5), foreign)


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"\xff" * 100,
        lambda: note_at(HONEST, 5) + b" " * (65 << 10),
        _of_another_log,
        _with_an_extension,
        _without_a_voters_signature,
        _with_a_forged_cosignature,
        lambda: note_at(HONEST, 5, leader=TIER2),  # no voter of three
    ],
)
def test_what_is_no_checkpoint_of_this_log_is_refused_and_leaves_nothing(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        signed_size = node.signer.signed_size
        assert node.shown(make()) is None
        assert node.signer.newest is None
        assert node.signer.signed_size == signed_size
        assert not node.evidence()
        assert not node.failures
        assert node.shown(note_at(HONEST, 5)) is not None, "and the node goes on"


def test_signatures_of_unknown_keys_are_not_handed_on(tmp_path: Path) -> None:
    text = checkpoint_at(HONEST, 5).text()
    stranger = cosign(text, name="w.example", private_key=private_key("stranger"), time_s=1)
    with one_node(tmp_path, THREE, height=6) as node:
        answer = node.shown(_with(note_at(HONEST, 5), stranger))
        assert answer is not None
        assert "w.example" not in answer.decode()


def test_being_asked_again_gives_the_same_tree_with_one_own_signature(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, height=6) as node:
        first = node.shown(note_at(HONEST, 5))
        assert first is not None
        assert node.shown(first) == first
        other_leader = node.shown(note_at(HONEST, 5, (LAB,), leader=LAB))
        assert cosigners_of(other_leader) == {LAB, TIER1}


def test_no_signature_leaves_before_its_size_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    with one_node(tmp_path, THREE, height=6) as node:
        monkeypatch.setattr(os, "fdatasync", fail)
        assert node.shown(note_at(HONEST, 5)) is None
        assert node.signer.newest is None
        assert [type(each) for each in node.failures] == [OSError]
        monkeypatch.undo()
        assert node.shown(note_at(HONEST, 6)) is None, "it signs nothing until a restart"


def test_nobodys_demands_make_a_node_sign_more_often_than_its_interval(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE, timing=CheckpointTiming(interval_s=0.1)) as node:
        begun_s = time.monotonic()
        for height in range(1, 5):
            assert node.shown(note_at(HONEST, height)) is not None
        assert time.monotonic() - begun_s >= 3 * 0.1


def test_only_the_last_few_notes_are_remembered() -> None:
    known = KnownCheckpoints(None)
    for size in range(1, 2 * RECENT_MAX):
        text = Checkpoint("lotmark.invalid/any", size, bytes(32)).text()
        note = Note(text, (signature(THREE, text, OEM),))
        known.adopt(LogHead(size, size, bytes(32)), note, final=False)
    assert len(known.recent()) == RECENT_MAX
    assert known.note_of(2 * RECENT_MAX - 1) is not None
    assert known.note_of(1) is None


_SHOWN = st.tuples(
    st.just("show"),
    st.integers(1, 12),
    st.sampled_from([HONEST, FORKED]),
    st.sampled_from([(OEM,), (OEM, LAB), (), (OEM, TIER1, LAB)]),
)
_STEPS = st.lists(
    st.one_of(
        _SHOWN,
        st.tuples(st.just("grow"), st.integers(1, 12)),
        st.tuples(st.just("restart"), st.integers(0, 12)),
    ),
    max_size=25,
)


@given(steps=_STEPS)
def test_whatever_is_shown_one_root_is_signed_a_size_and_sizes_only_grow(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    own: list[tuple[int, bytes]] = []
    with one_node(tmp_path_factory.mktemp("node"), THREE, height=0) as node:
        for step in steps:
            match step:
                case ("show", int(height), whole, cosigners):
                    shown = note_at(whole, height, cosigners)  # type: ignore[arg-type]  # as drawn
                    answer = node.shown(shown)
                    gained = cosigners_of(answer) - cosigners_of(shown)
                    if answer is not None and TIER1 in gained:
                        own.append((size_of(answer), answer))
                case ("grow", int(height)):
                    node.grow(max(node.height, height))
                case ("restart", int(height)):
                    node.restart(height=min(height, node.height))
        sizes = [size for size, _ in own]
        assert sizes == sorted(sizes)
        for size, answer in own:
            assert (
                parse_note(answer).text == checkpoint_at(HONEST, HONEST.sizes.index(size)).text()
            ), "nothing but the own ledger's tree"
        assert node.signer.signed_size >= max(sizes, default=0)
