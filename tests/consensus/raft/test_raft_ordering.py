"""Three voters in one process: what the order of a network promises."""

import time

import pytest

from lotmark_consensus.errors import (
    ConsensusError,
    IndexPruned,
    NotLeader,
    OrderingStopped,
    QueueFull,
)
from lotmark_consensus.ordering import Role
from lotmark_consensus.raft import kept_tail, ordering
from lotmark_consensus.raft.ordering import PROPOSALS_MAX
from lotmark_consensus.raft.timing import RaftTiming
from tests.consensus.raft.peer_network import VOTERS, WAIT_MAX_S
from tests.consensus.raft.voter_cluster import (
    Voter,
    VoterCluster,
)


def test_all_voters_hand_out_the_same_order_without_gaps(cluster: VoterCluster) -> None:
    cluster.start_all()
    leader = cluster.leader()
    blocks = [bytes([number]) * (1 + number * 5_000) for number in range(40)]

    futures = [
        leader.ordering.propose(block, time_ms=900 + number, term=leader.leadership.term)
        for number, block in enumerate(blocks)
    ]
    ordered = [future.result(WAIT_MAX_S) for future in futures]

    assert [record.block for record in ordered] == blocks
    assert [record.time_ms for record in ordered] == list(range(900, 940))
    for voter in cluster.voters.values():
        voter.wait_blocks(*blocks)
        assert [record.index for record in voter.records] == list(range(1, ordered[-1].index + 1))
        assert [record for record in voter.records if record.block] == ordered
        assert list(voter.ordering.committed(2)) == voter.records[1:]
        status = voter.ordering.status()
        assert (status.leader, status.committed_index) == (leader.name, ordered[-1].index)
        assert status.network is not None
        assert status.network.voters == frozenset(VOTERS)


def test_what_a_future_tells_can_be_read_at_once(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()

    for n in range(1, 100):
        ordered = leader.propose(bytes([n]))
        assert leader.ordering.status().committed_index >= ordered.index
        assert next(leader.ordering.committed(ordered.index)) == ordered


def test_only_the_leader_of_the_term_takes_proposals(cluster: VoterCluster) -> None:
    cluster.start_all()
    leader = cluster.leader()
    term = leader.leadership.term

    for voter in cluster.followers(leader):
        voter.wait_leader(leader.name)  # a follower before that may not know the term yet
        with pytest.raises(NotLeader, match=f"a follower in term {term}: propose at the leader"):
            voter.ordering.propose(b"x", time_ms=1, term=term)
        with pytest.raises(NotLeader):
            voter.ordering.read_index()
    with pytest.raises(NotLeader, match=f"for term {term - 1}, but this node leads in term {term}"):
        leader.ordering.propose(b"x", time_ms=1, term=term - 1)

    assert not leader.blocks


def test_a_leader_that_stops_commits_what_waits_and_hands_over(cluster: VoterCluster) -> None:
    cluster.start_all()
    old = cluster.leader()
    elections = cluster.elections()
    term = old.leadership.term
    futures = [old.ordering.propose(bytes([n]), time_ms=1, term=term) for n in range(1, 9)]

    cluster.stop(old.name)

    assert [future.result(0).block for future in futures] == [bytes([n]) for n in range(1, 9)]
    assert [told.role for told in old.leaderships][-1] is Role.STOPPED
    new = cluster.leader()
    assert new.leadership.term == term + 1, "nobody had to run twice"
    assert cluster.elections() == elections + 1 - old_elections(old)
    new.wait_blocks(*[bytes([n]) for n in range(1, 9)])
    with pytest.raises(OrderingStopped):
        old.ordering.propose(b"x", time_ms=1, term=term)
    with pytest.raises(OrderingStopped):
        old.ordering.committed(1)


def old_elections(voter: Voter) -> int:
    network = voter.ordering.status().network
    assert network is not None
    return network.elections


def test_a_hand_over_on_request_costs_no_wait_for_an_election(patient: VoterCluster) -> None:
    patient.start_all()
    old = patient.leader()
    old.propose(b"before")

    began_s = time.monotonic()
    old.ordering.transfer_leadership()
    new = patient.leader(other_than=old.name)

    assert time.monotonic() - began_s < RaftTiming().election_min_s
    old.wait_role(Role.FOLLOWER)
    new.propose(b"after")
    old.wait_blocks(b"before", b"after")


def test_proposals_beyond_the_bound_are_refused_until_others_are_committed(
    in_memory: VoterCluster,
) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    term = leader.leadership.term
    for voter in in_memory.followers(leader):
        voter.disk.runs.clear()

    futures = [
        leader.ordering.propose(bytes([n + 1]), time_ms=1, term=term) for n in range(PROPOSALS_MAX)
    ]
    with pytest.raises(QueueFull, match=f"{PROPOSALS_MAX} proposals of {PROPOSALS_MAX} bytes"):
        leader.ordering.propose(b"too many", time_ms=1, term=term)
    assert not any(future.done() for future in futures)
    for voter in in_memory.followers(leader):
        voter.disk.runs.set()

    assert [future.result(WAIT_MAX_S).block[0] for future in futures] == list(
        range(1, PROPOSALS_MAX + 1)
    )
    assert leader.propose(b"fits").block == b"fits"


def test_proposals_are_bounded_by_their_size_too(
    in_memory: VoterCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small, as whole 64 MiB take so long to copy that quick voters hold an election meanwhile.
    monkeypatch.setattr(ordering, "PROPOSALS_SIZE_MAX", 64 << 10)
    in_memory.start_all()
    leader = in_memory.leader()
    term = leader.leadership.term
    for voter in in_memory.followers(leader):
        voter.disk.runs.clear()
    block = bytes(8 << 10)

    futures = [leader.ordering.propose(block, time_ms=1, term=term) for _ in range(8)]
    with pytest.raises(QueueFull):
        leader.ordering.propose(b"x", time_ms=1, term=term)
    for voter in in_memory.followers(leader):
        voter.disk.runs.set()

    assert [len(future.result(WAIT_MAX_S).block) for future in futures] == [8 << 10] * 8


def test_a_withdrawn_proposal_is_counted_no_more(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    for n in range(3 * PROPOSALS_MAX):
        future = leader.ordering.propose(b"x", time_ms=n, term=leader.leadership.term)
        if not future.cancel():
            future.result(WAIT_MAX_S)

    assert leader.propose(b"last").block == b"last"


def test_a_read_index_covers_all_that_was_committed_before(cluster: VoterCluster) -> None:
    cluster.start_all()
    leader = cluster.leader()
    for n in range(1, 6):
        ordered = leader.propose(bytes([n]))
        reads = [leader.ordering.read_index() for _ in range(20)]
        indexes = [read.result(WAIT_MAX_S) for read in reads]

        assert min(indexes) > ordered.index
        assert len(set(indexes)) <= 3, "calls that wait together share a round"


def test_a_restart_of_all_hands_out_only_what_the_ledger_had_not_applied(
    cluster: VoterCluster,
) -> None:
    cluster.start_all()
    leader = cluster.leader()
    ordered = [leader.propose(bytes([n])) for n in range(1, 6)]
    for voter in cluster.voters.values():
        voter.wait_blocks(*[record.block for record in ordered])
    for name in VOTERS:
        cluster.stop(name)

    for name in VOTERS:
        cluster.start(name, applied=ordered[2])
    leader = cluster.leader()
    leader.propose(b"new")

    for voter in cluster.voters.values():
        voter.wait_blocks(b"\4", b"\5", b"new")
        indexes = [record.index for record in voter.records]
        assert indexes == list(range(ordered[2].index + 1, indexes[-1] + 1))


def test_roles_are_told_at_once_and_at_every_change(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    told: list[Role] = []

    leader.ordering.on_role(lambda leadership: told.append(leadership.role))

    assert told == [Role.LEADER]
    assert leader.leadership.term_start_index >= 1
    assert leader.leaderships[0].role is Role.FOLLOWER
    for voter in in_memory.followers(leader):
        voter.wait_leader(leader.name)
        assert voter.leadership.role is Role.FOLLOWER
        assert voter.leadership.term_start_index == 0


def test_a_pruned_leader_points_to_its_ledger_and_the_follower_goes_on_behind_it(
    in_memory: VoterCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_tail, "KEPT_ENTRIES", 10)
    in_memory.start_all()
    leader = in_memory.leader()
    away = in_memory.followers(leader)[0]
    away.wait_for(lambda: away.records)
    seen = away.records[-1]
    in_memory.stop(away.name)
    ordered = [leader.propose(bytes([n])) for n in range(1, 51)]
    leader.wait_for(lambda: leader.records[-1] == ordered[-1])
    for voter in in_memory.voters.values():
        voter.ordering.prune(ordered[-1].index)
    leader.propose(b"pruned")
    first_index = leader.ordering.status().first_index
    assert ordered[-1].index - 12 <= first_index <= ordered[-1].index
    with pytest.raises(IndexPruned, match=f"{first_index} is the first kept"):
        leader.ordering.committed(first_index - 1)

    back = in_memory.start(away.name, applied=seen)
    back.wait_for(lambda: back.pointers)
    peer, index, term = back.pointers[-1]
    assert (peer, index < first_index) == (leader.name, True)
    assert not back.blocks
    back.ordering.installed(index, term)

    leader.propose(b"behind")
    back.wait_for(lambda: back.blocks[-1:] == leader.blocks[-1:] == [b"behind"])
    assert back.records[0].index == index + 1
    assert back.records == [record for record in leader.records if record.index > index]


def test_a_voter_is_removed_and_another_added(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    leader.propose(b"three")
    removed = in_memory.followers(leader)[0]

    leader.ordering.change_members(remove=removed.name).result(WAIT_MAX_S)
    in_memory.stop(removed.name)
    leader.propose(b"two")
    leader.ordering.change_members(add="T1-STATOR/n2").result(WAIT_MAX_S)
    joined = in_memory.start("T1-STATOR/n2")

    joined.wait_blocks(b"three", b"two")
    status = leader.ordering.status().network
    assert status is not None
    assert status.voters == frozenset(VOTERS) - {removed.name} | {"T1-STATOR/n2"}
    refused = leader.ordering.change_members(add="T1-STATOR/n2").exception(WAIT_MAX_S)
    assert isinstance(refused, ConsensusError)


def test_a_stopped_voter_gives_its_log_back_and_stopping_again_has_no_effect(
    in_memory: VoterCluster,
) -> None:
    voter = in_memory.start(VOTERS[0])

    voter.ordering.stop()
    voter.ordering.stop()

    assert voter.leadership.role is Role.STOPPED
    with pytest.raises(OrderingStopped):
        voter.ordering.prune(1)
    with pytest.raises(OrderingStopped):
        voter.ordering.installed(1, 1)
