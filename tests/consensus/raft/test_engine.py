"""Whole engines over each other: what they commit, hand out, lose and take up again."""

import pytest

from lotmark_consensus.errors import (
    LedgerBehind,
    NotLeader,
    OutcomeUnknown,
    QueueFull,
    RaftHalted,
)
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.engine import PROPOSALS_MAX
from lotmark_consensus.raft.outbox import WINDOW_SIZE_MAX
from tests.consensus.raft.direct_voters import (
    NOW_MS,
    TIMING,
    A,
    B,
    C,
    Clock,
    D,
    Voter,
    Voters,
    acknowledgement,
    append,
    assert_whole,
    blocks_of,
    frame,
    kinds,
    moved_clock,
    vote,
)

TICK_OF_A_LOOP_S = 0.02


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return moved_clock(monkeypatch)


@pytest.fixture
def voters(clock: Clock) -> Voters:
    """Three voters, led by A."""
    voters = Voters(clock)
    voters.elect(A)
    return voters


# Order


def test_every_voter_hands_out_the_same_order_from_index_1(voters: Voters) -> None:
    outcomes = voters.propose(A, b"x", b"", b"y")
    voters.advance(0.2)

    assert [type(outcome) for outcome in outcomes] == [Ordered] * 3
    for voter in voters.by_name.values():
        assert_whole(voter)
        assert blocks_of(voter) == [b"x", b"y"]
        assert voter.delivered == voters[A].delivered


def test_a_failover_keeps_what_was_acknowledged(voters: Voters, clock: Clock) -> None:
    outcomes = voters.propose(A, b"x")
    voters.settle()
    assert isinstance(outcomes[0], Ordered)
    voters.cut.add(A)
    began_s = clock.now_s
    while not (voters[B].leads or voters[C].leads):
        voters.advance(0.05)
    assert clock.now_s - began_s < 4

    voters.cut.clear()
    voters.advance(1)
    assert not voters[A].leads
    assert all(blocks_of(voter) == [b"x"] for voter in voters.by_name.values())


def test_a_minority_orders_nothing_and_its_proposer_learns_that_nobody_knows(
    voters: Voters,
) -> None:
    voters.cut.add(A)
    outcomes = voters.propose(A, b"lost")
    voters.advance(TIMING.leader_fallback_s + 0.2)

    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown]
    voters.advance(3)
    leader = B if voters[B].leads else C
    assert voters.propose(leader, b"kept") == []
    voters.advance(0.5)
    voters.cut.clear()
    voters.advance(1)
    assert all(blocks_of(voter) == [b"kept"] for voter in voters.by_name.values())


def test_proposals_are_refused_where_they_cannot_be_ordered(voters: Voters) -> None:
    outcomes: list[object] = []
    term = voters[A].status.term
    voters[B].engine.propose(b"x", time_ms=NOW_MS, term=term, done=outcomes.append)
    voters[A].engine.propose(b"x", time_ms=NOW_MS, term=term + 1, done=outcomes.append)

    assert [type(outcome) for outcome in outcomes] == [NotLeader, NotLeader]
    assert voters[A].status.last_index == voters[A].status.committed_index


def test_proposals_beyond_the_bound_are_refused_until_some_are_committed(voters: Voters) -> None:
    outcomes = voters.propose(A, *[b"x"] * (PROPOSALS_MAX + 1))
    assert [type(outcome) for outcome in outcomes] == [QueueFull]
    assert voters[A].status.proposals == PROPOSALS_MAX

    voters.settle()
    assert voters[A].status.proposals == 0
    assert len(outcomes) == PROPOSALS_MAX + 1


# Disks


def test_a_follower_calls_nothing_committed_before_its_own_disk_has_it(voters: Voters) -> None:
    before = voters[B].status.committed_index
    voters[B].disk_is_held = True
    outcomes = voters.propose(A, b"x")
    voters.advance(1)

    assert isinstance(outcomes[0], Ordered)
    assert voters[B].status.last_index == before + 1
    assert voters[B].status.committed_index == before
    assert blocks_of(voters[B]) == []

    voters[B].disk_is_held = False
    voters.settle()
    assert blocks_of(voters[B]) == [b"x"]


def test_a_leader_counts_itself_only_once_its_disk_has_the_entry(voters: Voters) -> None:
    voters[A].disk_is_held = voters[C].disk_is_held = True
    outcomes = voters.propose(A, b"x")
    voters.advance(0.5)
    assert voters[B].status.last_index == voters[A].status.last_index  # sent before A's own disk
    assert outcomes == []

    voters[A].disk_is_held = False
    voters.settle()
    assert isinstance(outcomes[0], Ordered)


def test_a_leader_calls_nothing_committed_before_its_own_disk_has_it(voters: Voters) -> None:
    before = voters[A].status.committed_index
    voters[A].disk_is_held = True
    outcomes = voters.propose(A, b"x")
    voters.advance(1)

    assert min(voters[B].status.durable_index, voters[C].status.durable_index) == before + 1
    assert voters[A].status.committed_index == before
    assert outcomes == []


def test_a_single_voter_waits_for_its_disk_too(clock: Clock) -> None:
    voters = Voters(clock, (A,))
    voters.elect(A)
    voters[A].disk_is_held = True
    outcomes = voters.propose(A, b"x")
    voters.advance(1)
    assert outcomes == []

    voters[A].disk_is_held = False
    voters.settle()
    assert isinstance(outcomes[0], Ordered)


def test_an_entry_of_an_older_term_is_not_committed_by_what_protects_it_in_memory(
    clock: Clock,
) -> None:
    # Ongaro's thesis, figure 3.7: while the leader's own no-op is not durable, the entry of the
    # older term before it may still be replaced, though a quorum holds that entry.
    voter = Voter(A, frozenset((A, B, C, D, "E/1")))
    for peer in (B, C, D, "E/1"):
        voter.engine.peer_up(peer)
    voter.hear(B, append(1, (1, 0), (1, b"old")))
    clock.now_s += TIMING.election_max_s
    voter.turn()
    for peer in (C, D):
        promise = frame(1)
        promise.vote_response.pre_vote_term = 2
        voter.hear(peer, promise)
    voter.disk_is_held = True  # after the vote for itself became durable
    for peer in (C, D):
        voter.hear(peer, vote(2))
    assert voter.leads

    for peer in (C, D):
        voter.hear(peer, acknowledgement(2, 3))
    assert (voter.status.durable_index, voter.status.committed_index) == (2, 0)

    voter.disk_is_held = False
    voter.said()
    assert voter.status.committed_index == 3


def test_a_slow_disk_costs_no_election(voters: Voters) -> None:
    terms = {voter.status.term for voter in voters.by_name.values()}
    for name in (A, B, C):
        voters[name].disk_is_held = True
    outcomes = voters.propose(A, b"x")
    voters.advance(20)

    assert {voter.status.term for voter in voters.by_name.values()} == terms
    assert voters[A].leads
    assert outcomes == []


def test_a_term_that_is_not_durable_is_not_spoken_of(clock: Clock) -> None:
    voter = Voter(A, frozenset((A, B, C)))
    voter.disk_is_held = True
    assert voter.hear(B, append(1, (1, 0))) == []

    voter.disk_is_held = False
    clock.now_s += TIMING.heartbeat_s
    assert kinds(voter.said() + voter.hear(B, append(1, (1, 0)))) == ["append_response"] * 2


# Restarts


def test_all_voters_may_restart_at_once(voters: Voters) -> None:
    outcomes = voters.propose(A, b"x", b"y")
    voters.settle()
    for name in (A, B, C):
        voters.restart(name)
    voters.elect(B)
    voters.propose(B, b"z")
    voters.advance(0.5)

    assert len(outcomes) == 2
    for voter in voters.by_name.values():
        assert_whole(voter)
        assert blocks_of(voter) == [b"x", b"y", b"z"]


def test_what_a_crash_took_from_one_disk_is_sent_again(voters: Voters) -> None:
    voters[B].disk_is_held = True
    voters.propose(A, b"x", b"y")
    voters.advance(0.3)
    voters.restart(B)
    voters[B].disk_is_held = False
    assert voters[B].status.last_index < voters[A].status.last_index
    voters.advance(1)

    assert blocks_of(voters[B]) == [b"x", b"y"]
    assert voters[A].leads


def test_a_log_older_than_its_ledger_is_refused(voters: Voters) -> None:
    voter = voters[B]
    voter.delivered.append(Ordered(index=50, term=3, time_ms=NOW_MS, block=b"x"))

    with pytest.raises(RaftHalted, match=r"index 50 of term 3.* an older copy"):
        voter.restart()


def test_a_log_with_another_entry_than_the_ledger_applied_is_refused(voters: Voters) -> None:
    voter = voters[B]
    last = voter.delivered[-1]
    voter.delivered.append(Ordered(index=last.index, term=last.term + 1, time_ms=0, block=b""))

    with pytest.raises(RaftHalted, match=f"the log has term {last.term} there"):
        voter.restart()


def test_a_ledger_older_than_its_log_is_refused(voters: Voters) -> None:
    voters.propose(A, *[b"x"] * 10)
    voters.advance(0.3)
    voters[B].engine.prune(8)
    voters.settle()
    del voters[B].delivered[3:]

    with pytest.raises(LedgerBehind, match=r"applied index 3 .* begins behind 8"):
        voters[B].restart()


def test_nothing_that_was_not_handed_out_is_pruned(voters: Voters) -> None:
    voters[B].engine.take_committed = lambda count_max: []  # type: ignore[method-assign]
    voters.propose(A, *[b"x"] * 10)
    voters.advance(0.3)
    before = len(voters[B].delivered)
    voters[B].engine.prune(100)

    assert voters[B].status.committed_index > before
    assert voters[B].status.first_index == before


# Operation


def test_leadership_moves_to_the_voter_that_is_named_or_to_the_most_advanced(
    voters: Voters,
) -> None:
    voters[A].engine.transfer_leadership(C)
    voters.advance(0.3)
    assert voters[C].leads

    voters.cut.add(A)
    voters.propose(C, b"x")
    voters.advance(0.2)
    voters[C].engine.transfer_leadership()
    voters.advance(0.3)
    assert voters[B].leads


def test_the_status_says_what_an_operator_wants_to_know(voters: Voters) -> None:
    voters.cut.add(C)
    voters.propose(A, b"x", b"y")
    voters.advance(1)
    status = voters[A].status

    assert status.lag_entries == {B: 0, C: 2}
    assert status.match_index[B] == status.last_index == status.committed_index
    assert status.silent_s[C] >= 1 > status.silent_s[B]
    assert status.term_start_index <= status.last_index
    assert status.elections == 1
    assert voters[B].status.lag_entries == {}


def test_a_leader_with_much_to_send_sends_it_in_bounded_portions(
    voters: Voters, clock: Clock
) -> None:
    voters.cut.add(C)
    for _ in range(12):
        voters.propose(A, bytes(2 << 20))
        voters.advance(0.1)
    voters.cut.clear()
    sizes = []
    for _ in range(100):
        clock.now_s += TICK_OF_A_LOOP_S
        left = voters[A].turn()
        sizes.append(sum(len(raw) for peer, raw in left if peer == C))
        for peer, raw in left:
            voters[peer].inbox.append((A, raw))
        for name in (B, C):
            for peer, raw in voters[name].turn():
                voters[peer].inbox.append((name, raw))

    assert max(sizes) <= WINDOW_SIZE_MAX + (4 << 20) + (2 << 20)
    assert len(blocks_of(voters[C])) == 12


def test_acknowledged_entries_are_not_sent_again_while_later_ones_are_under_way(
    voters: Voters,
) -> None:
    sent: list[int] = []
    for block in (b"x", b"y", b"z"):
        voters.propose(A, block)
        for peer, made in voters[A].said():
            if peer == B and made.HasField("append_request"):
                sent += [
                    made.append_request.previous_index + 1 + at
                    for at in range(len(made.append_request.entries))
                ]
        voters[A].hear(B, acknowledgement(voters[A].status.term, min(sent)))

    assert len(sent) == len(set(sent)) == 3
