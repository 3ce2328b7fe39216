"""Three voters in one process, over a wire in memory or over gRPC, and what each was told."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Leadership, Ordered, Role
from lotmark_consensus.raft.grpc_wire import GrpcWire
from lotmark_consensus.raft.log_store import StoredEntry, StoredLog, Writes
from lotmark_consensus.raft.memory_log import MemoryLogStore
from lotmark_consensus.raft.ordering import RaftOrdering
from lotmark_consensus.raft.timing import RaftTiming
from lotmark_consensus.raft.wire import Wire
from tests.consensus.raft.memory_wire import MemoryHub
from tests.consensus.raft.peer_network import VOTERS, WAIT_MAX_S, PeerNetwork, Watch

CHAIN_ID = bytes(range(32))
QUICK = RaftTiming(heartbeat_s=0.05, election_min_s=0.3, election_max_s=0.6, leader_fallback_s=0.6)


class Links(Protocol):
    """How the voters of a test reach each other."""

    chain_id: bytes

    def join(self, name: str) -> Wire:
        """Return a new wire for a voter that starts."""
        ...

    def isolate(self, name: str) -> None:
        """Cut a voter off."""
        ...

    def close(self) -> None: ...


class MemoryLinks:
    chain_id = CHAIN_ID

    def __init__(self) -> None:
        self.hub = MemoryHub()

    def join(self, name: str) -> Wire:
        self.hub.isolated.discard(name)
        return self.hub.wire(name)

    def isolate(self, name: str) -> None:
        self.hub.isolate(name)

    def close(self) -> None: ...


class GrpcLinks:
    """Real streams; who is isolated stays so until it starts again."""

    def __init__(self) -> None:
        self.network = PeerNetwork()
        for name in VOTERS:  # their ports stay theirs
            self.network.serve(name, self.network.wire(name))
            self.network.stop_voter(name)
        self.chain_id = self.network.chain_id
        self.ended: list[GrpcWire] = []

    def join(self, name: str) -> Wire:
        if name in self.network.wires:
            self.isolate(name)
        wire = self.network.wire(name)
        self.network.serve(name, wire)
        return wire

    def isolate(self, name: str) -> None:
        self.ended.append(self.network.wires[name])
        self.network.stop_voter(name)

    def close(self) -> None:
        for wire in self.ended:
            self.network.thread.run(wire.wait_stopped())
        self.network.close()


class DiskInHand:
    """A log in memory whose disk a test can hold up, or fill."""

    def __init__(self) -> None:
        self._log = MemoryLogStore()
        self.runs = threading.Event()
        self.runs.set()
        self.refusal: Exception | None = None
        self.write_count = 0

    def load(self) -> StoredLog:
        return self._log.load()

    def read(self, index: int) -> StoredEntry:
        return self._log.read(index)

    def write(self, writes: Writes) -> None:
        assert self.runs.wait(WAIT_MAX_S)
        if self.refusal is not None:
            raise self.refusal
        self._log.write(writes)
        self.write_count += 1

    def close(self) -> None:
        self._log.close()


class Voter:
    """One voter, and what it told."""

    def __init__(self, name: str, ordering: RaftOrdering, disk: DiskInHand, watch: Watch) -> None:
        self._watch = watch
        self.name = name
        self.ordering = ordering
        self.disk = disk
        self.records: list[Ordered] = []
        self.leaderships: list[Leadership] = []
        self.failures: list[BaseException] = []
        self.pointers: list[tuple[str, int, int]] = []
        self.deliver: Callable[[Ordered], None] = lambda _: None
        ordering.on_role(self._told_role)
        ordering.on_failure(self._told_failure)
        ordering.on_pointer(self._told_pointer)
        ordering.on_committed(self._told_block)

    @property
    def leadership(self) -> Leadership:
        return self.leaderships[-1]

    @property
    def blocks(self) -> list[bytes]:
        return [record.block for record in list(self.records) if record.block]

    def _told_role(self, leadership: Leadership) -> None:
        self.leaderships.append(leadership)
        self._watch.changed()

    def _told_failure(self, error: BaseException) -> None:
        self.failures.append(error)
        self._watch.changed()

    def _told_pointer(self, peer: str, index: int, term: int) -> None:
        self.pointers.append((peer, index, term))
        self._watch.changed()

    def _told_block(self, record: Ordered) -> None:
        self.deliver(record)
        self.records.append(record)
        self._watch.changed()

    def wait_for(self, condition: Callable[[], object]) -> None:
        self._watch.wait_for(condition)

    def wait_blocks(self, *blocks: bytes) -> None:
        self.wait_for(lambda: self.blocks == list(blocks))

    def wait_role(self, role: Role) -> None:
        self.wait_for(lambda: self.leadership.role is role)

    def wait_leader(self, name: str) -> None:
        self.wait_for(lambda: self.leadership.leader == name)

    def propose(self, block: bytes, *, time_ms: int = 1) -> Ordered:
        """Have a block ordered by this voter, which is to lead."""
        term = self.leadership.term
        return self.ordering.propose(block, time_ms=time_ms, term=term).result(WAIT_MAX_S)


class VoterCluster:
    """The voters that run now."""

    def __init__(self, links: Links, *, timing: RaftTiming = QUICK) -> None:
        self.links = links
        self._timing = timing
        self.watch = Watch()
        self.voters: dict[str, Voter] = {}
        self.disks = {name: DiskInHand() for name in VOTERS}

    def start(self, name: str, *, applied: Ordered | None = None) -> Voter:
        """Start a voter whose ledger has applied everything up to a record."""
        disk = self.disks.setdefault(name, DiskInHand())
        ordering = RaftOrdering(
            disk,
            self.links.chain_id,
            name=name,
            voters=frozenset(VOTERS),
            wire=self.links.join(name),
            applied_index=0 if applied is None else applied.index,
            applied_term=0 if applied is None else applied.term,
            now_ms=lambda: 1_000,
            timing=self._timing,
        )
        voter = self.voters[name] = Voter(name, ordering, disk, self.watch)
        return voter

    def start_all(self) -> None:
        for name in VOTERS:
            self.start(name)

    def leader(self, *, other_than: str | None = None) -> Voter:
        """Wait for a leader that a quorum follows, and return it."""
        while True:
            self.watch.wait_for(lambda: self._leading(other_than))
            for voter in self._leading(other_than):
                with suppress(ConsensusError):
                    voter.ordering.read_index().result(WAIT_MAX_S)
                    return voter

    def _leading(self, other_than: str | None) -> list[Voter]:
        return [
            voter
            for voter in self.voters.values()
            if voter.leadership.leads and voter.name != other_than
        ]

    def followers(self, leader: Voter) -> list[Voter]:
        return [voter for voter in self.voters.values() if voter is not leader]

    def elections(self) -> int:
        """Return how many elections were begun by all that run."""
        found = [voter.ordering.status().network for voter in self.voters.values()]
        return sum(status.elections for status in found if status is not None)

    def stop(self, name: str) -> None:
        self.voters.pop(name).ordering.stop()

    def close(self) -> None:
        for disk in self.disks.values():
            disk.runs.set()
        for name in list(self.voters):
            self.links.isolate(name)  # so that nobody waits for a hand-over
        for name in list(self.voters):
            self.stop(name)
        self.links.close()
