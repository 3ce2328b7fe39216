"""Three voters in one process: what the order promises while peers, disks and appliers fail."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from lotmark_consensus.errors import (
    ConsensusError,
    IndexPruned,
    JournalFull,
    NotLeader,
    OrderingFailed,
    OrderingStopped,
    OutcomeUnknown,
    QueueFull,
)
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft import kept_tail
from lotmark_consensus.raft.loop import UNFINISHED_SIZE_HIGH
from lotmark_consensus.raft.ordering import PROPOSALS_MAX
from lotmark_consensus.raft.timing import RaftTiming
from tests.consensus.raft.peer_network import VOTERS, WAIT_MAX_S
from tests.consensus.raft.voter_cluster import (
    DiskInHand,
    GrpcLinks,
    Links,
    MemoryLinks,
    Voter,
    VoterCluster,
)


@pytest.fixture(params=[MemoryLinks, GrpcLinks])
def links(request: pytest.FixtureRequest) -> Links:
    made: Links = request.param()
    return made


@pytest.fixture
def cluster(links: Links) -> Iterator[VoterCluster]:
    """Voters over each kind of wire."""
    made = VoterCluster(links)
    yield made
    made.close()


@pytest.fixture
def in_memory() -> Iterator[VoterCluster]:
    made = VoterCluster(MemoryLinks())
    yield made
    made.close()


@pytest.fixture
def patient() -> Iterator[VoterCluster]:
    """Voters that wait for each other as long as in production."""
    made = VoterCluster(MemoryLinks(), timing=RaftTiming())
    yield made
    made.close()


def hub_of(cluster: VoterCluster) -> MemoryLinks:
    assert isinstance(cluster.links, MemoryLinks)
    return cluster.links


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


def test_only_the_leader_of_the_term_takes_proposals(cluster: VoterCluster) -> None:
    cluster.start_all()
    leader = cluster.leader()
    term = leader.leadership.term

    for voter in cluster.followers(leader):
        voter.wait_role(Role.FOLLOWER)
        with pytest.raises(NotLeader, match=f"a follower in term {term}: propose at the leader"):
            voter.ordering.propose(b"x", time_ms=1, term=term)
        with pytest.raises(NotLeader):
            voter.ordering.read_index()
    with pytest.raises(NotLeader, match=f"for term {term - 1}, but this node leads in term {term}"):
        leader.ordering.propose(b"x", time_ms=1, term=term - 1)

    assert not leader.blocks


def test_when_the_leader_is_cut_off_the_others_go_on_and_it_learns_their_order(
    cluster: VoterCluster,
) -> None:
    cluster.start_all()
    old = cluster.leader()
    old.propose(b"before")
    cluster.links.isolate(old.name)
    lost = old.ordering.propose(b"lost", time_ms=1, term=old.leadership.term)

    new = cluster.leader(other_than=old.name)
    new.propose(b"after")

    assert isinstance(lost.exception(WAIT_MAX_S), OutcomeUnknown)
    assert new.leadership.term > old.leaderships[0].term
    cluster.stop(old.name)
    back = cluster.start(old.name)
    for voter in (*cluster.followers(back), back):
        voter.wait_blocks(b"before", b"after")


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


def test_proposals_are_bounded_by_their_size_too(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    term = leader.leadership.term
    for voter in in_memory.followers(leader):
        voter.disk.runs.clear()
    block = bytes(8 << 20)

    futures = [leader.ordering.propose(block, time_ms=1, term=term) for _ in range(8)]
    with pytest.raises(QueueFull):
        leader.ordering.propose(b"x", time_ms=1, term=term)
    for voter in in_memory.followers(leader):
        voter.disk.runs.set()

    assert [len(future.result(WAIT_MAX_S).block) for future in futures] == [8 << 20] * 8


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


def test_a_leader_that_was_replaced_gives_no_read_index(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    old = in_memory.leader()
    in_memory.links.isolate(old.name)
    read = old.ordering.read_index()

    assert isinstance(read.exception(WAIT_MAX_S), (OutcomeUnknown, NotLeader))


def test_a_full_disk_ends_that_voter_only_and_what_it_holds_can_be_read(
    cluster: VoterCluster,
) -> None:
    cluster.start_all()
    leader = cluster.leader()
    before = leader.propose(b"before")
    full = cluster.followers(leader)[0]
    full.wait_blocks(b"before")

    full.disk.refusal = JournalFull("no room")
    after = [leader.propose(bytes([n])) for n in range(1, 4)]

    full.wait_role(Role.FAILED)
    full.wait_for(lambda: full.failures)
    assert isinstance(full.failures[0], JournalFull)
    assert full.ordering.status().failure == "JournalFull('no room')"
    assert before in list(full.ordering.committed(before.index))
    assert full.blocks == [b"before"]
    with pytest.raises(OrderingFailed, match="no room"):
        full.ordering.propose(b"x", time_ms=1, term=leader.leadership.term)

    full.disk.refusal = None
    cluster.stop(full.name)
    again = cluster.start(full.name, applied=before)
    leader.propose(b"last")
    again.wait_blocks(*[record.block for record in after], b"last")


def test_a_leader_whose_disk_is_full_is_replaced(cluster: VoterCluster) -> None:
    cluster.start_all()
    old = cluster.leader()
    old.propose(b"before")

    old.disk.refusal = JournalFull("no room")
    lost = old.ordering.propose(b"unknown", time_ms=1, term=old.leadership.term)

    assert isinstance(lost.exception(WAIT_MAX_S), (OrderingFailed, OutcomeUnknown))
    new = cluster.leader(other_than=old.name)
    new.propose(b"after")
    assert old.leadership.role is Role.FAILED
    assert isinstance(old.failures[0], JournalFull)
    assert new.blocks[0] == b"before"
    new.wait_for(lambda: new.blocks[-1] == b"after")


@pytest.mark.parametrize("slow", ["leader", "follower"])
def test_a_disk_that_takes_three_seconds_costs_no_election(
    patient: VoterCluster, slow: str
) -> None:
    patient.start_all()
    leader = patient.leader()
    term, elections = leader.leadership.term, patient.elections()
    stalled = leader if slow == "leader" else patient.followers(leader)[0]
    released = threading.Timer(3.0, stalled.disk.runs.set)

    stalled.disk.runs.clear()
    released.start()
    ordered = [leader.propose(bytes([n])) for n in range(1, 4)]
    # Nothing counts as committed before the leader's own disk has it; a follower's is waited for
    # by nobody.
    assert stalled.disk.runs.is_set() == (slow == "leader")
    released.join(WAIT_MAX_S)
    stalled.wait_blocks(b"\1", b"\2", b"\3")

    assert [record.term for record in ordered] == [term] * 3
    assert leader.leadership.term == term
    assert patient.elections() == elections


def test_who_applies_slowly_holds_up_only_what_is_handed_out(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    slow = in_memory.followers(leader)[0]
    elections = in_memory.elections()
    goes_on = threading.Event()
    slow.deliver = lambda _: assert_true(goes_on.wait(WAIT_MAX_S))

    blocks = [bytes([n]) for n in range(1, 101)]
    for block in blocks:
        leader.propose(block)
    slow.wait_for(lambda: slow.ordering.status().last_index >= leader.records[-1].index)
    assert not slow.blocks
    assert slow.ordering.status().role is Role.FOLLOWER
    goes_on.set()

    slow.wait_blocks(*blocks)
    assert in_memory.elections() == elections


def assert_true(value: object) -> None:
    assert value


def test_an_error_in_a_callback_ends_that_voter_only(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    broken, sound = in_memory.followers(leader)

    def refuse(record: Ordered) -> None:
        if record.block == b"poison":
            raise ValueError("cannot apply")

    broken.deliver = refuse
    leader.propose(b"sound")
    leader.propose(b"poison")

    broken.wait_for(lambda: broken.failures)
    assert str(broken.failures[0]) == "cannot apply"
    assert broken.leadership.role is Role.FAILED
    assert broken.blocks == [b"sound"]
    leader.propose(b"on")
    sound.wait_blocks(b"sound", b"poison", b"on")
    late: list[BaseException] = []
    broken.ordering.on_failure(late.append)
    assert late == broken.failures


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
        voter.wait_role(Role.FOLLOWER)
        assert voter.leadership.leader == leader.name
        assert voter.leadership.term_start_index == 0


def test_garbage_from_a_peer_is_counted_and_harms_nothing(in_memory: VoterCluster) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    follower = in_memory.followers(leader)[0]
    listener = hub_of(in_memory).hub.wires[leader.name].listener
    assert listener is not None

    for garbage in (b"", b"\xff" * 100, bytes(1000), follower.name.encode()):
        listener.frame(follower.name, garbage)
    leader.propose(b"as before")

    network = leader.ordering.status().network
    assert network is not None
    assert network.counters["frame refused"] == 4


def test_a_voter_that_forgot_its_log_is_not_heard_by_the_others(cluster: VoterCluster) -> None:
    cluster.start_all()
    leader = cluster.leader()
    leader.propose(b"before")
    forgetful = cluster.followers(leader)[0]
    forgetful.wait_blocks(b"before")
    leader.propose(b"noted")
    cluster.stop(forgetful.name)

    cluster.disks[forgetful.name] = DiskInHand()
    back = cluster.start(forgetful.name)
    for n in range(1, 4):
        leader.propose(bytes([n]))

    assert back.leadership.role is not Role.LEADER
    assert not back.blocks


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
    back.wait_for(lambda: back.blocks[-1:] == [b"behind"])
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


def test_the_wire_is_held_up_while_more_comes_than_the_disk_takes(
    in_memory: VoterCluster,
) -> None:
    in_memory.start_all()
    leader = in_memory.leader()
    follower = in_memory.followers(leader)[0]
    listener = hub_of(in_memory).hub.wires[follower.name].listener
    assert listener is not None
    follower.disk.runs.clear()
    leader.propose(b"to be written")

    frame, held = bytes(1 << 20), list[Future[None]]()
    for _ in range(2 * UNFINISHED_SIZE_HIGH // len(frame)):
        busy = listener.frame(leader.name, frame)
        if busy is not None:
            held.append(busy)
    assert len(held) >= UNFINISHED_SIZE_HIGH // len(frame)
    follower.disk.runs.set()

    for busy in held:
        busy.result(WAIT_MAX_S)
    follower.wait_blocks(b"to be written")


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
