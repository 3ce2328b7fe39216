"""What the order promises while peers, disks and appliers fail."""

import threading
from concurrent.futures import Future

import pytest

from lotmark_consensus.errors import (
    JournalFull,
    NotLeader,
    OrderingFailed,
    OutcomeUnknown,
)
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.raft.loop import UNFINISHED_SIZE_HIGH
from tests.consensus.raft.peer_network import VOTERS, WAIT_MAX_S
from tests.consensus.raft.voter_cluster import (
    DiskInHand,
    MemoryLinks,
    VoterCluster,
)


def hub_of(cluster: VoterCluster) -> MemoryLinks:
    assert isinstance(cluster.links, MemoryLinks)
    return cluster.links


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


def test_a_follower_that_is_cut_off_says_that_it_knows_no_leader(cluster: VoterCluster) -> None:
    cluster.start_all()
    leader = cluster.leader()
    alone = cluster.followers(leader)[0]
    alone.wait_leader(leader.name)
    term = alone.leadership.term

    cluster.links.isolate(alone.name)
    alone.wait_for(lambda: alone.leadership.leader is None)

    assert (alone.leadership.role, alone.leadership.term) == (Role.FOLLOWER, term)
    assert alone.ordering.status().leader is None
    leader.propose(b"by the others")
    cluster.stop(alone.name)


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
    leader.propose(b"by the other two")
    cluster.stop(next(name for name in VOTERS if name not in (leader.name, back.name)))
    lost = leader.ordering.propose(b"no quorum", time_ms=1, term=leader.leadership.term)

    assert isinstance(lost.exception(WAIT_MAX_S), OutcomeUnknown)
    assert not back.blocks


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
