"""A network's checkpoints become final by the quorum, on every node, and wait for nobody else."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from lotmark.signed_note import Note, format_note, parse_note
from lotmark_node.engine.gathering import CheckpointTiming
from tests.node.engine.checkpoint_network import (
    FOUR,
    LAB,
    OEM,
    THREE,
    TIER1,
    TIER2,
    Node,
    Peer,
    checkpoint_at,
    cosigners_of,
    ledger,
    network,
    note_at,
    policy_of,
    signature,
    size_of,
    until,
)
from tests.node.ledger_in_memory import consortium

QUICK_BUT_NEVER_TWICE = CheckpointTiming(
    interval_s=0.005, wait_max_s=5.0, retry_min_s=600.0, retry_max_s=600.0
)


def grow(nodes: Iterable[Node], height: int) -> int:
    """Let nodes apply the blocks up to a height, and return the tree's size there."""
    heads = [node.grow(height) for node in nodes]
    return heads[0].size


def way(nodes: dict[str, Node], asking: str, answering: str) -> Peer:
    return next(peer for peer in nodes[asking].peers if peer.name == answering)


def all_final(nodes: Iterable[Node], size: int) -> bool:
    return all(node.final_size >= size for node in nodes if node.is_voter)


def test_three_of_three_make_a_checkpoint_final_that_every_node_then_has(tmp_path: Path) -> None:
    with network(tmp_path, THREE) as nodes:
        nodes[OEM].signer.lead()
        for height in range(1, 8):
            size = grow(nodes.values(), height)
            until(lambda size=size: all_final(nodes.values(), size))  # type: ignore[misc]
        for node in nodes.values():
            final = node.signer.newest_final
            assert final is not None
            assert final.head == node.log.head(7)
            verdict = policy_of(THREE).check(parse_note(final.note))
            assert {name for name, _ in verdict.cosigned} == {OEM, TIER1, LAB}
            assert node.signer.newest == final
            assert not node.failures
            assert not node.evidence()


def test_what_the_ledger_had_before_this_node_led_becomes_final_too(tmp_path: Path) -> None:
    with network(tmp_path, THREE) as nodes:
        size = grow(nodes.values(), 4)
        nodes[TIER1].signer.lead()
        until(lambda: all_final(nodes.values(), size))


def test_with_a_witness_one_voter_down_holds_up_nothing(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        way(nodes, OEM, TIER2).broken = True
        nodes[OEM].signer.lead()
        size = grow(nodes.values(), 5)
        until(lambda: all_final([nodes[OEM], nodes[TIER1]], size))
        final = nodes[OEM].signer.newest_final
        assert final is not None
        assert cosigners_of(final.note) == {OEM, TIER1, LAB}
        assert nodes[TIER2].final_size == 0


def test_a_voter_that_hangs_holds_up_nothing_and_is_asked_one_thing_only(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        hanging = way(nodes, OEM, TIER2)
        hanging.answers.clear()
        nodes[OEM].signer.lead()
        for height in range(1, 10):
            size = grow(nodes.values(), height)
            until(lambda size=size: all_final([nodes[OEM], nodes[TIER1]], size))  # type: ignore[misc]
        assert len(hanging.asked) == 1

        hanging.answers.set()
        until(lambda: nodes[TIER2].final_size == size)
        assert len(hanging.asked) <= 3, "what it missed meanwhile is not made up for one by one"


def test_without_a_quorum_the_newest_goes_on_and_all_is_final_once_it_is_back(
    tmp_path: Path,
) -> None:
    with network(tmp_path, THREE) as nodes:
        way(nodes, OEM, LAB).broken = True
        leader = nodes[OEM].signer
        leader.lead()
        for height in range(1, 6):
            size = grow(nodes.values(), height)
            until(lambda size=size: leader.signed_size == size)  # type: ignore[misc]
        assert leader.newest_final is None
        until(lambda: nodes[TIER1].signer.signed_size == size)

        way(nodes, OEM, LAB).broken = False
        until(lambda: all_final(nodes.values(), size))


def test_a_follower_that_is_behind_cosigns_once_it_is_there(tmp_path: Path) -> None:
    with network(tmp_path, THREE) as nodes:
        nodes[OEM].signer.lead()
        size = grow([nodes[OEM], nodes[TIER1]], 6)
        until(lambda: bool(way(nodes, OEM, LAB).asked))
        grow([nodes[LAB]], 5)
        assert nodes[OEM].final_size < size
        grow([nodes[LAB]], 6)
        until(lambda: all_final(nodes.values(), size))


def test_peers_that_are_slow_in_turn_still_meet_in_one_round(tmp_path: Path) -> None:
    with network(tmp_path, THREE) as nodes:
        quick, slow = way(nodes, OEM, TIER1), way(nodes, OEM, LAB)
        slow.answers.clear()
        nodes[OEM].signer.lead()
        first = grow(nodes.values(), 1)
        until(lambda: bool(slow.asked and quick.asked))
        begun = size_of(slow.asked[0])
        for height in range(2, 7):
            size = grow(nodes.values(), height)
            until(lambda size=size: nodes[OEM].signer.signed_size == size)  # type: ignore[misc]
        assert begun <= first
        assert {size_of(note) for note in quick.asked} == {begun}, "the round waits for the slow"

        slow.answers.set()
        until(lambda: all_final(nodes.values(), size))
        assert {size_of(note) for note in slow.asked} == {begun, size}


def test_a_peer_that_failed_is_asked_last_and_sees_who_stands_behind_the_note(
    tmp_path: Path,
) -> None:
    with network(tmp_path, THREE) as nodes:
        failing, waiting = way(nodes, OEM, TIER1), way(nodes, OEM, LAB)
        failing.broken = True
        waiting.answers.clear()
        size = grow(nodes.values(), 1)
        nodes[OEM].signer.lead()
        until(lambda: bool(failing.asked and waiting.asked))
        for height in range(2, 7):  # while the pause after its failure passes
            until(lambda size=size: nodes[OEM].signer.signed_size == size)  # type: ignore[misc]
            size = grow(nodes.values(), height)
        failing.broken = False
        waiting.answers.set()
        until(lambda: all_final(nodes.values(), size))
        assert cosigners_of(failing.asked[0]) == {OEM}
        assert cosigners_of(failing.asked[1]) == {OEM, LAB}


def test_who_leads_no_more_asks_nobody_any_more(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        old, new = nodes[OEM].signer, nodes[TIER1].signer
        for name in (TIER1, TIER2, LAB):
            way(nodes, OEM, name).broken = True
        grow(nodes.values(), 2)
        old.lead()
        until(lambda: all(peer.asked for peer in nodes[OEM].peers))
        old.follow()
        asked = [len(peer.asked) for peer in nodes[OEM].peers]

        new.lead()
        for height in range(3, 9):
            size = grow(nodes.values(), height)
            until(lambda size=size: all_final(nodes.values(), size))  # type: ignore[misc]
        for before, peer in zip(asked, nodes[OEM].peers, strict=True):
            assert len(peer.asked) <= before + 1, "but for a question that was under way"


def test_a_dead_peer_is_left_alone_for_a_while(tmp_path: Path) -> None:
    with network(tmp_path, FOUR, timing=QUICK_BUT_NEVER_TWICE) as nodes:
        dead = way(nodes, OEM, TIER2)
        dead.broken = True
        nodes[OEM].signer.lead()
        for height in range(1, 10):
            size = grow(nodes.values(), height)
            until(lambda size=size: nodes[OEM].final_size == size)  # type: ignore[misc]
        assert len(dead.asked) == 1


def test_an_idle_network_asks_nobody_anything(tmp_path: Path) -> None:
    with network(tmp_path, THREE) as nodes:
        nodes[OEM].signer.lead()
        size = grow(nodes.values(), 3)
        until(lambda: all_final(nodes.values(), size))
        for peer in nodes[OEM].peers:
            shown = [note for note in peer.asked if size_of(note) == size]
            assert 1 <= len(shown) <= 2, "the checkpoint, and that it is final"
        nodes[OEM].signer.advance(nodes[OEM].log.head(3))
        assert all(peer.asked == [] for name in (TIER1, LAB) for peer in nodes[name].peers)


def test_voters_are_told_what_became_final_and_a_witness_is_not(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        nodes[OEM].signer.lead()
        size = grow(nodes.values(), 3)
        until(lambda: all_final(nodes.values(), size))
        asked = way(nodes, OEM, LAB).asked
        assert not any(len(cosigners_of(note)) >= 3 for note in asked)


def test_a_new_leader_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        nodes[OEM].signer.lead()
        first = grow(nodes.values(), 3)
        until(lambda: all_final(nodes.values(), first))

        nodes[OEM].signer.follow()
        for name in (TIER1, TIER2):
            way(nodes, name, OEM).broken = True
        nodes[TIER1].signer.lead()
        alive = [nodes[TIER1], nodes[TIER2], nodes[LAB]]
        second = grow(alive, 6)
        until(lambda: all_final(alive, second))
        final = nodes[TIER2].signer.newest_final
        assert final is not None
        assert cosigners_of(final.note) == {TIER1, TIER2, LAB}

        way(nodes, TIER1, OEM).broken = False
        grow([nodes[OEM]], 6)
        until(lambda: all_final(nodes.values(), second))


def test_a_new_leader_tells_what_the_last_one_had_no_time_to_tell(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        way(nodes, OEM, TIER2).broken = True
        nodes[OEM].signer.lead()
        size = grow(nodes.values(), 3)
        until(lambda: all_final([nodes[OEM], nodes[TIER1]], size))
        nodes[OEM].signer.follow()

        nodes[TIER1].signer.lead()
        until(lambda: nodes[TIER2].final_size == size)
        assert nodes[TIER1].signer.newest == nodes[TIER1].signer.newest_final


def test_a_restarted_follower_is_in_the_next_round_again(tmp_path: Path) -> None:
    with network(tmp_path, THREE) as nodes:
        nodes[OEM].signer.lead()
        size = grow(nodes.values(), 3)
        until(lambda: all_final(nodes.values(), size))
        nodes[LAB].restart()
        assert nodes[LAB].final_size == size
        size = grow(nodes.values(), 6)
        until(lambda: all_final(nodes.values(), size))


def test_leadership_that_moves_about_leaves_one_final_history(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        voters = [nodes[name] for name in (OEM, TIER1, TIER2)]
        for height in range(1, 13):
            for at, voter in enumerate(voters):
                if at == height % 3:
                    voter.signer.lead()
                else:
                    voter.signer.follow()
            size = grow(nodes.values(), height)
        until(lambda: all_final(nodes.values(), size))
        finals = {bytes(final.head.root) for node in voters if (final := node.signer.newest_final)}
        assert finals == {ledger(FOUR).root(size)}
        assert not any(node.failures or node.evidence() for node in nodes.values())


def test_voters_of_one_party_are_told_of_what_that_party_alone_makes_final(tmp_path: Path) -> None:
    genesis = consortium(voters=(OEM, "OEM-A/n2"), witnesses=())
    with network(tmp_path, genesis) as nodes:
        nodes[OEM].signer.lead()
        size = grow(nodes.values(), 4)
        until(lambda: all_final(nodes.values(), size))


class Scripted:
    """A peer that answers as a test says, and counts."""

    is_voter = True

    def __init__(self, name: str, answer: bytes | BaseException | None) -> None:
        self.name = name
        self.answer = answer
        self.count = 0
        self.was_asked = threading.Event()

    def share(self, note: bytes) -> bytes | None:
        self.count += 1
        if self.count >= 2:
            self.was_asked.set()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def _forged() -> bytes:
    """Return the right text under a cosignature of another one."""
    note = parse_note(note_at(ledger(FOUR), 3, ()))
    made = signature(FOUR, checkpoint_at(ledger(FOUR), 4).text(), TIER2)
    return format_note(Note(note.text, (*note.signatures, made)))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff" * 200_000,
        note_at(ledger(FOUR), 3, ()),  # nothing of its own added
        note_at(ledger(FOUR), 2, (TIER2,)),  # of another size
        note_at(ledger(FOUR), 12, (TIER2,)),  # of one that this node does not have
        _forged(),
        None,
    ],
)
def test_an_answer_that_is_of_no_use_is_as_good_as_none(
    tmp_path: Path, answer: bytes | None
) -> None:
    with network(tmp_path, FOUR) as nodes:
        odd = Scripted(TIER2, answer)
        leader = nodes[OEM]
        leader.stop()
        leader.peers[:] = [each for each in leader.peers if each.name != TIER2]
        leader.extra = [odd]
        leader.start()
        leader.signer.lead()
        # Where the quorum is faster than the odd one's thread, that is asked once a checkpoint.
        for height in range(3, 12):
            size = grow(nodes.values(), height)
            until(lambda size=size: leader.final_size == size)  # type: ignore[misc]
            if odd.was_asked.wait(2):
                break
        assert odd.was_asked.is_set()
        final = leader.signer.newest_final
        assert final is not None
        assert cosigners_of(final.note) == {OEM, TIER1, LAB}
        assert not leader.failures
        assert not leader.evidence()


def test_a_programmers_error_on_the_way_to_a_peer_is_not_hidden(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        leader = nodes[OEM]
        leader.stop()
        leader.extra = [Scripted("X/n1", ZeroDivisionError("a mistake"))]
        leader.start()
        leader.signer.lead()
        until(lambda: bool(leader.failures))
        assert leader.signer.failure == "a mistake"
        assert [type(each) for each in leader.failures] == [ZeroDivisionError]


def test_the_interval_bounds_how_often_a_leader_signs(tmp_path: Path) -> None:
    with network(tmp_path, THREE, timing=CheckpointTiming(interval_s=0.1)) as nodes:
        leader = nodes[OEM].signer
        leader.lead()
        until(lambda: leader.newest is not None)
        begun_s = time.monotonic()
        for height in range(1, 5):
            size = grow(nodes.values(), height)
            until(lambda size=size: leader.signed_size == size)  # type: ignore[misc]
        assert time.monotonic() - begun_s >= 3 * 0.1


def test_a_leader_alone_with_its_witness_still_asks_it(tmp_path: Path) -> None:
    with network(tmp_path, FOUR) as nodes:
        leader = nodes[OEM]
        for peer in leader.peers:
            peer.broken = peer.name != LAB
        (to_witness,) = (peer for peer in leader.peers if peer.name == LAB)
        for node in nodes.values():
            node.grow(4)
        leader.signer.lead()

        until(lambda: bool(to_witness.asked))


def test_finality_goes_on_after_all_others_have_failed_for_a_while(tmp_path: Path) -> None:
    """Voters that failed wait for who did not, and witnesses for voters: nobody for each other."""
    with network(tmp_path, FOUR) as nodes:
        leader = nodes[OEM]
        for peer in leader.peers:
            peer.broken = True
        for node in nodes.values():
            node.grow(4)
        leader.signer.lead()
        until(lambda: all(peer.asked for peer in leader.peers))
        for peer in leader.peers:
            peer.broken = False

        until(lambda: leader.final_size == ledger(FOUR).sizes[4])
