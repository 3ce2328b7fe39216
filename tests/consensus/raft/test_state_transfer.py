"""A voter behind a pruned log goes on where a pointer led, with the voters of that place."""

import pytest

from lotmark_consensus.ordering import Ordered
from tests.consensus.raft.direct_voters import (
    TIMING,
    A,
    B,
    C,
    Clock,
    D,
    Voter,
    Voters,
    assert_whole,
    blocks_of,
    frame,
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


def prune_beyond(voters: Voters, absent: str) -> None:
    """Let a voter be away while the others order and prune."""
    voters.cut.add(absent)
    leader = next(name for name in (A, B, C) if name in voters.by_name and voters[name].leads)
    for _ in range(3):
        voters.propose(leader, *[b"x"] * 8)
        voters.advance(0.2)
    for name, voter in voters.by_name.items():
        if name != absent:
            voter.engine.prune(voter.status.committed_index - 2)
    voters.settle()


def fetch(voters: Voters, name: str) -> tuple[int, int]:
    """Follow a pointer as the ledger does; returns (index, term)."""
    voter = voters[name]
    assert voter.engine.pointer is not None
    peer, index, term = voter.engine.pointer
    blocks = voters[peer].delivered[:index]
    assert blocks[-1].index == index
    voter.delivered = list(blocks)
    return index, term


def test_a_voter_behind_a_pruned_log_goes_on_where_a_pointer_led(voters: Voters) -> None:
    prune_beyond(voters, C)
    voters.cut.clear()
    voters.advance(0.5)
    place = fetch(voters, C)
    voters[C].engine.install(*place)
    assert voters[C].status.committed_index < place[0]  # not before its disk has the new log
    voters.advance(0.5)

    assert voters[C].engine.pointer is None
    assert voters[C].status.first_index == place[0]
    assert voters[C].delivered == voters[A].delivered
    voters.cut.add(B)
    outcomes = voters.propose(A, b"y")
    voters.advance(0.2)
    assert isinstance(outcomes[0], Ordered)  # C counts again


def test_a_pointer_is_repeated_once_a_heartbeat_however_much_is_proposed(voters: Voters) -> None:
    prune_beyond(voters, C)
    voters.cut.clear()
    voters.advance(0.5)
    heard = voters[C].status.counters["pointer"]
    for _ in range(30):
        voters.propose(A, b"x")
        voters.clock.now_s += TIMING.heartbeat_s / 10
        voters.settle()

    assert 1 <= voters[C].status.counters["pointer"] - heard <= 4


def test_a_ledger_that_leapt_before_a_crash_is_not_fetched_for_again(voters: Voters) -> None:
    prune_beyond(voters, C)
    voters.cut.clear()
    voters.advance(0.5)
    place = fetch(voters, C)
    old_last_index = voters[C].status.last_index
    voters.restart(C, leapt_to=place)  # before the log was told
    assert voters[C].status.last_index == old_last_index
    assert voters[C].status.committed_index < place[0]
    voters.advance(1)

    assert voters[C].engine.pointer is None
    assert_whole(voters[C])
    assert voters[C].delivered == voters[A].delivered


def test_a_divergent_tail_is_not_committed_because_the_ledger_leapt_past_it(
    voters: Voters,
) -> None:
    voters.cut.add(A)
    voters.propose(A, *[b"stale"] * 40)  # A's log is the longest, and wrong
    voters.advance(6)
    prune_beyond(voters, A)
    leader = B if voters[B].leads else C
    index = voters[leader].status.first_index
    place = (index, voters[leader].delivered[index - 1].term)
    assert voters[A].status.last_index > index
    voters[A].delivered = voters[leader].delivered[:index]
    voters.restart(A, leapt_to=place)

    assert voters[A].status.committed_index == 1
    voters.cut.clear()
    voters.advance(2)
    assert voters[A].delivered == voters[leader].delivered
    assert b"stale" not in blocks_of(voters[A])


def test_a_voter_learns_by_a_pointer_who_votes(clock: Clock) -> None:
    voters = Voters(clock, (A, B, C, D), strangers=1)
    leader = voters.elect(A)
    voters.cut.add(C)
    outcomes: list[object] = []
    leader.engine.change_members(D, None, outcomes.append)
    voters.advance(1)
    prune_beyond(voters, C)
    voters.cut.clear()
    voters.advance(0.5)
    place = fetch(voters, C)
    voters.restart(C, leapt_to=place)
    assert voters[C].status.voters == {A, B, C}  # as it knew, and it stands where it stood
    voters.advance(1)

    assert voters[C].status.voters == {A, B, C, D}
    voters.restart(C)
    assert voters[C].status.voters == {A, B, C, D}


def test_a_transfer_that_a_further_pointer_overtook_brings_its_voters(clock: Clock) -> None:
    voter = Voter(C, frozenset((A, B, C)))
    for index, rows in ((40, [(30, b"+D/1")]), (90, [(30, b"+D/1"), (60, b"-B/1")])):
        pointer = frame(5)
        pointer.snapshot_pointer.index = index
        pointer.snapshot_pointer.entry_term = 4
        for changed_index, payload in rows:
            pointer.snapshot_pointer.changes.add(index=changed_index, payload=payload)
        voter.hear(A, pointer)

    voter.engine.install(40, 4)
    voter.turn()

    assert voter.status.voters == {A, B, C, D}
    assert list(voter.store.load().memberships) == [(30, b"+D/1")]
