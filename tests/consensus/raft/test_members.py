"""Voters are added and removed one at a time; what was cut off is undone."""

import pytest

from lotmark_consensus.errors import (
    MembershipRefused,
    NotLeader,
    OutcomeUnknown,
)
from lotmark_consensus.ordering import Ordered
from tests.consensus.raft.direct_voters import (
    A,
    B,
    C,
    Clock,
    D,
    Voters,
    moved_clock,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return moved_clock(monkeypatch)


@pytest.fixture
def voters(clock: Clock) -> Voters:
    """Three voters, led by A."""
    voters = Voters(clock)
    voters.elect(A)
    return voters


def test_a_voter_is_added_and_another_removed_and_neither_disturbs(clock: Clock) -> None:
    voters = Voters(clock, (A, B, C, D), strangers=1)
    leader = voters.elect(A)
    term = leader.status.term
    outcomes: list[object] = []
    leader.engine.change_members(D, None, outcomes.append)
    leader.engine.change_members(None, C, outcomes.append)
    assert isinstance(outcomes[0], MembershipRefused)  # one at a time
    voters.advance(0.5)
    leader.engine.change_members(None, C, outcomes.append)
    voters.advance(0.5)

    assert [type(outcome) for outcome in outcomes[1:]] == [Ordered, Ordered]
    assert {voters[name].status.voters for name in (A, B, D)} == {frozenset((A, B, D))}
    voters.advance(20)
    assert (leader.leads, leader.status.term) == (True, term)
    for name in (A, B, D):
        voters.restart(name)
        assert voters[name].status.voters == {A, B, D}


def test_a_change_that_a_new_leader_cut_off_is_undone(voters: Voters) -> None:
    voters.cut.add(A)
    outcomes: list[object] = []
    voters[A].engine.change_members(None, C, outcomes.append)
    assert voters[A].status.voters == {A, B}
    voters.advance(6)
    voters.cut.clear()
    voters.advance(2)

    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown]
    assert voters[A].status.voters == {A, B, C}
    voters.elect(A)
    voters.cut.add(B)
    kept = voters.propose(A, b"x")
    voters.advance(0.5)
    assert isinstance(kept[0], Ordered)  # C counts for A again


@pytest.mark.parametrize(
    ("add", "remove", "why"),
    [
        (B, None, "a voter already"),
        (None, D, "no voter already"),
        (D, C, "one voter is added or removed at a time"),
        ("nobody", None, "no voter's name"),
        (None, A, "transfer leadership first"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    voters: Voters, add: str | None, remove: str | None, why: str
) -> None:
    outcomes: list[object] = []
    voters[A].engine.change_members(add, remove, outcomes.append)

    assert isinstance(outcomes[0], MembershipRefused)
    assert why in str(outcomes[0])
    assert voters[A].status.voters == {A, B, C}


def test_only_a_leader_whose_term_has_begun_changes_the_voters(voters: Voters) -> None:
    outcomes: list[object] = []
    voters[B].engine.change_members(D, None, outcomes.append)
    assert isinstance(outcomes[0], NotLeader)

    voters[A].engine.transfer_leadership(B)
    voters[B].disk_is_held = False
    while not voters[B].leads:
        voters.clock.now_s += 0.01
        for name, voter in voters.by_name.items():
            for peer, raw in voter.turn():
                voters[peer].inbox.append((name, raw))
    voters[B].engine.change_members(D, None, outcomes.append)
    assert isinstance(outcomes[1], MembershipRefused)
    assert "has just begun" in str(outcomes[1])
