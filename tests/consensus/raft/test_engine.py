"""Whole engines over each other: what they commit, hand out, lose and take up again."""

import pytest

from lotmark_consensus.errors import (
    LedgerBehind,
    MembershipRefused,
    NotLeader,
    OutcomeUnknown,
    QueueFull,
    RaftHalted,
)
from lotmark_consensus.ordering import Ordered
from lotmark_consensus.raft.engine import PROPOSALS_MAX
from lotmark_consensus.raft.outbox import WINDOW_SIZE_MAX
from lotmark_consensus.raft.timing import RaftTiming
from tests.consensus.raft.direct_voters import (
    NOW_MS,
    A,
    B,
    C,
    Clock,
    D,
    Voter,
    Voters,
    acknowledgement,
    append,
    frame,
    kinds,
    moved_clock,
    vote,
)

TIMING = RaftTiming()
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


def blocks_of(voter: Voter) -> list[bytes]:
    return [ordered.block for ordered in voter.delivered if ordered.block]


def assert_whole(voter: Voter) -> None:
    """Check that a voter was handed each index once, from the first."""
    assert [o.index for o in voter.delivered] == list(range(1, len(voter.delivered) + 1))


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


# State transfer


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


# Members


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
