"""Peers that were restored from an older copy of their disk are not heard; honest ones are."""

import pytest

from lotmark_consensus.errors import PeerRegressed
from lotmark_consensus.raft.peer_memory import Standing
from tests.consensus.raft.direct_voters import (
    NOW_MS,
    B,
    C,
    Clock,
    Voter,
    acknowledgement,
    append,
    follow,
    lead,
    moved_clock,
    voter_of_five,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return moved_clock(monkeypatch)


@pytest.fixture
def voter(clock: Clock) -> Voter:
    """One voter of five, whose peers a test plays."""
    return voter_of_five()


def standing(term: int, last_index: int, signed_size: int = 0) -> Standing:
    return Standing(term=term, last_index=last_index, signed_size=signed_size)


def test_a_peer_that_shows_less_than_it_acknowledged_is_not_heard(
    voter: Voter, clock: Clock
) -> None:
    term = lead(voter, clock)
    voter.hear(B, acknowledgement(term, 2))
    with pytest.raises(PeerRegressed, match="its disk is an older copy"):
        voter.engine.admit(B, standing(term, 1))
    for peer in (B, C):
        voter.hear(peer, acknowledgement(term, 2))
    assert voter.status.committed_index == 2  # it had counted before

    voter.engine.propose(b"x", time_ms=NOW_MS, term=term, done=lambda _: None)
    for peer in (B, C):
        voter.hear(peer, acknowledgement(term, 3))
    assert voter.status.committed_index == 2

    voter.engine.admit(B, standing(term, 3))
    voter.hear(B, acknowledgement(term, 3))
    assert voter.status.committed_index == 3


def test_a_peer_that_forgot_the_term_of_its_vote_is_not_heard(voter: Voter, clock: Clock) -> None:
    term = lead(voter, clock)

    with pytest.raises(PeerRegressed):
        voter.engine.admit(B, standing(term - 1, 50))


def test_a_peer_whose_log_a_later_leader_cut_is_admitted(voter: Voter, clock: Clock) -> None:
    term = lead(voter, clock)
    voter.hear(B, acknowledgement(term, 2))

    voter.engine.admit(B, standing(term + 1, 1))


def test_a_log_that_is_being_cut_shows_the_old_log_or_the_new_term(voter: Voter) -> None:
    follow(voter, 4, b"x", b"y", b"z")
    assert voter.engine.standing() == standing(4, 4)
    voter.disk_is_held = True
    voter.hear(C, append(5, (2, 4), (5, b"new")))
    assert voter.engine.standing() == standing(4, 4)

    voter.disk_is_held = False
    voter.said()
    assert voter.engine.standing() == standing(5, 3)
    voter.restart()
    assert voter.engine.standing() == standing(5, 3)


def test_a_tail_that_a_peer_showed_may_be_cut_in_the_same_term(voter: Voter) -> None:
    voter.engine.admit(B, standing(5, 20))

    voter.engine.admit(B, standing(5, 15))


def test_a_peer_that_signed_more_than_it_shows_is_not_heard(voter: Voter) -> None:
    voter.engine.admit(B, standing(5, 20, signed_size=900))

    with pytest.raises(PeerRegressed, match="900"):
        voter.engine.admit(B, standing(6, 30, signed_size=899))


def test_what_peers_showed_is_remembered_over_a_restart(voter: Voter, clock: Clock) -> None:
    term = lead(voter, clock)
    voter.hear(B, acknowledgement(term, 2))
    voter.engine.propose(b"x", time_ms=NOW_MS, term=term, done=lambda _: None)
    voter.turn()  # what peers showed rides along with the next write
    voter.restart()

    with pytest.raises(PeerRegressed):
        voter.engine.admit(B, standing(term, 1))
