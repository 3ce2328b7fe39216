"""Blocks too far ahead of a voter's clock are not taken, and their leader gives up."""

import pytest

from tests.consensus.raft.direct_voters import (
    NOW_MS,
    TIMING,
    B,
    C,
    Clock,
    D,
    Voter,
    acknowledgement,
    append,
    frame,
    kinds,
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


def test_a_block_too_far_ahead_is_refused_and_what_comes_before_it_is_kept(voter: Voter) -> None:
    request = append(1, (1, 0), (1, b"x"), (1, b"early"), (1, b"y"))
    request.append_request.entries[1].time_ms = NOW_MS + TIMING.clock_ahead_max_ms + 1

    answers = [made for _, made in voter.hear(B, request)]

    assert voter.status.last_index == 2
    assert [made.time_refusal.index for made in answers if made.HasField("time_refusal")] == [3]
    assert [made.append_response.next_index for made in answers][-1] == 3


def test_a_block_at_the_bound_or_committed_by_others_is_taken(voter: Voter) -> None:
    request = append(1, (1, 0), (1, b"x"), (1, b"y"), commit_index=3)
    request.append_request.entries[0].time_ms = NOW_MS + TIMING.clock_ahead_max_ms
    request.append_request.entries[1].time_ms = NOW_MS + 10 * TIMING.clock_ahead_max_ms

    voter.hear(B, request)

    assert voter.status.last_index == 3


def test_a_leader_whose_time_a_majority_refuses_gives_up_and_abstains(
    voter: Voter, clock: Clock
) -> None:
    term = lead(voter, clock)
    voter.engine.propose(b"x", time_ms=NOW_MS, term=term, done=lambda _: None)
    refusal = frame(term)
    refusal.time_refusal.index = voter.status.last_index
    for peer in (B, B, C, "Z/1"):
        voter.hear(peer, refusal)
    assert voter.leads  # A, D and E may still take it

    voter.hear(D, refusal)
    assert not voter.leads

    for _ in range(int(TIMING.abstain_s) - 1):
        clock.now_s += 1
        assert voter.said() == []
    clock.now_s += 1.5
    assert set(kinds(voter.said())) == {"vote_request"}


def test_a_refused_time_that_is_over_ends_no_leadership(voter: Voter, clock: Clock) -> None:
    term = lead(voter, clock)
    voter.engine.propose(b"x", time_ms=NOW_MS, term=term, done=lambda _: None)
    refusal = frame(term)
    refusal.time_refusal.index = voter.status.last_index
    for peer in (B, C):
        voter.hear(peer, refusal)
    voter.hear(C, acknowledgement(term, voter.status.last_index))  # its clock went on

    voter.hear(D, refusal)

    assert voter.leads
