"""PySyncObj's Raft core behind a typed face. Only this module knows its private names.

Kept of the core: timers, the count of votes, nextIndex and matchIndex, the count that commits,
truncation. Replaced: its transport (the guard), its log (the journal), its commit index (the
commit rule), its membership (a function of the log), its right to campaign (the guard). Never
reached: pickle, dump files, chunked entries, forwarded commands, code versions.
"""

from collections.abc import Sequence
from enum import IntEnum
from types import FunctionType
from typing import Any, Protocol

import pysyncobj.syncobj as stock  # type: ignore[import-untyped]  # it has no stubs
from pysyncobj.config import SyncObjConf  # type: ignore[import-untyped]
from pysyncobj.journal import Journal  # type: ignore[import-untyped]
from pysyncobj.node import Node  # type: ignore[import-untyped]
from pysyncobj.transport import Transport  # type: ignore[import-untyped]
from pysyncobj.version import VERSION  # type: ignore[import-untyped]

from lotmark_consensus.errors import CoreMismatch
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.timing import RaftTiming

PINNED_VERSION = "0.3.17"

# Private methods by who calls them; the first two are overridden here, which has an effect only
# as long as the core's tick calls them.
_OVERRIDDEN = ("_SyncObj__applyLogEntries", "_SyncObj__connectedToAnyone")
_CALLED = ("_SyncObj__doChangeCluster", "_SyncObj__setState")
_FIELDS = (
    "_SyncObj__newAppendEntriesTime",
    "_SyncObj__raftCommitIndex",
    "_SyncObj__raftLastApplied",
    "_SyncObj__raftLeader",
    "_SyncObj__raftNextIndex",
    "_SyncObj__raftState",
    "_SyncObj__serializer",
)

LogRow = tuple[bytes, int, int]  # command, index, term: an entry as the core takes it

_CHUNK_SIZE = 1 << 30  # larger than any command: the core pickles what it cuts into chunks
_NOW_S = float("-inf")  # before any clock
_NEVER = 1 << 60  # entries or seconds: the core's own compaction stays off


def check_core(version: str, core: type) -> None:
    """Refuse a PySyncObj whose inside is not the one known here.

    Raises:
        CoreMismatch: Install the pinned version.
    """
    if version != PINNED_VERSION:
        raise CoreMismatch(f"PySyncObj {version} is installed; install {PINNED_VERSION}")
    missing = [name for name in (*_OVERRIDDEN, *_CALLED) if not hasattr(core, name)]
    missing += [name for name in _FIELDS if name not in _names_in(core, "__init__")]
    missing += [name for name in _OVERRIDDEN if name not in _names_in(core, "_onTick")]
    if missing:
        raise CoreMismatch(
            f"PySyncObj {version} lacks {', '.join(sorted(missing))}: it is not the release of"
            " that number; install it from its registry again"
        )


def _names_in(core: type, method: str) -> tuple[str, ...]:
    function = getattr(core, method, None)
    return function.__code__.co_names if isinstance(function, FunctionType) else ()


check_core(VERSION, stock.SyncObj)


def _create_journal(journal: Journal) -> Journal:
    """Hand over the journal that stands where the core expects a file's name."""
    assert isinstance(journal, Journal), journal
    return journal


stock.createJournal = _create_journal
stock.PIPE_NOTIFIER_ENABLED = False  # it would open a pipe per core, to wake a thread we lack


def monotonic_s() -> float:
    """Return the core's clock; read anew each time, since the simulator replaces it."""
    seconds: float = stock.monotonicTime()
    return seconds


class CoreState(IntEnum):
    """PySyncObj's names for what a voter is."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2


class CoreHooks(Protocol):
    """What the core asks of the guard, and what it wants sent."""

    def may_campaign(self) -> bool:
        """Return whether this voter may begin an election now; its time for that has come."""
        ...

    def settle_commit(self, counted_index: int) -> int:
        """Return the commit index that takes the place of the one the core made."""
        ...

    def state_changed(self, state: CoreState) -> None:
        """Learn what this voter is now."""
        ...

    def send_append(
        self, peer: str, *, previous_index: int, previous_term: int, rows: Sequence[LogRow]
    ) -> None:
        """Send entries, or none as a heartbeat."""
        ...

    def send_pointer(self, peer: str) -> None:
        """Tell a peer that its next entries were pruned. The core asks until the peer is down."""
        ...

    def send_vote_request(self, peer: str, *, last_index: int, last_term: int) -> None:
        """Ask for a vote in the current term."""
        ...

    def send_vote(self, peer: str) -> None:
        """Grant a vote in the current term."""
        ...

    def send_timeout_now(self, peer: str) -> None:
        """Ask a peer to campaign at once."""
        ...

    def core_answered(self, *, next_index: int, success: bool) -> None:
        """Learn how the core would answer its leader's entries."""
        ...


class RaftCore:
    """One voter's core. For one thread; only `tick` makes time pass in it."""

    def __init__(
        self,
        name: str,
        voters: frozenset[str],
        journal: RaftJournal,
        timing: RaftTiming,
        hooks: CoreHooks,
    ) -> None:
        """Take up a journal; where that is empty, the entry every log begins with is added.

        Args:
            name: This voter's.
            voters: By the journal, this one included or not.
            journal: Of this voter.
            timing: The waits.
            hooks: Not called before the first `tick` or message.
        """
        self.name = name
        self._links = _Links(hooks)
        self.peers = voters - {name}
        others = [Node(peer) for peer in sorted(self.peers)]
        self._core = _Core(name, others, journal, timing, self._links, hooks)

    # Where it stands

    @property
    def term(self) -> int:
        """The current term, durable or not."""
        term: int = self._core.raftCurrentTerm
        return term

    @property
    def state(self) -> CoreState:
        """What this voter is."""
        return CoreState(self._core._SyncObj__raftState)

    @property
    def leads(self) -> bool:
        """Whether it believes that it leads."""
        return self.state is CoreState.LEADER

    @property
    def leader(self) -> str | None:
        """Who leads in the current term, as far as it knows."""
        node = self._core._getLeader()
        return None if node is None else str(node.id)

    def is_quorum(self, count: int) -> bool:
        """Return whether so many voters, this one counted, decide."""
        return 2 * count > len(self.peers) + 1

    # What happens to it

    def tick(self) -> None:
        """Let the time pass: elect, commit, send."""
        self._core._onTick(0)

    def connect(self, peer: str) -> None:
        """Let entries be sent to a peer."""
        self._links._onNodeConnected(Node(peer))

    def disconnect(self, peer: str) -> None:
        """Send no entries to a peer."""
        self._links._onNodeDisconnected(Node(peer))

    def propose(self, command: bytes) -> None:
        """Put a command at the end of the log, which the next tick sends to all; it must lead."""
        assert self.leads, "only a leader puts entries into the log"
        self._core._applyCommand(command, None)
        self._core._checkCommandsToApply()
        self._core._SyncObj__newAppendEntriesTime = _NOW_S

    def transfer(self, peer: str) -> None:
        """Ask a peer to campaign, where it has acknowledged the whole log."""
        self._core.transferLeadership(Node(peer))

    def resign(self) -> None:
        """Stop leading, in the same term."""
        self._core._SyncObj__setState(CoreState.FOLLOWER)
        self._core._SyncObj__raftLeader = None

    def set_voters(self, voters: frozenset[str]) -> None:
        """Count by other voters from now on; itself it always counts."""
        peers = voters - {self.name}
        for peer in sorted(peers - self.peers):
            self._core._SyncObj__doChangeCluster(("add", peer, Node(peer)))
        for peer in sorted(self.peers - peers):
            self._core._SyncObj__doChangeCluster(("rem", peer, Node(peer)))
        self.peers = peers

    def set_committed(self, index: int) -> None:
        """Begin, or go on behind a state transfer, at a commit index."""
        self._core.set_committed(index)

    # Messages, as far as the guard lets them through

    def take_heartbeat(self, leader: str, term: int) -> None:
        """Follow a leader, whatever it sends."""
        self._take(leader, type="append_entries", term=term, commit_index=0)

    def take_entries(
        self,
        leader: str,
        term: int,
        *,
        previous: tuple[int, int],
        rows: Sequence[LogRow],
        commit_index: int = 0,
    ) -> None:
        """Cut the log behind `previous` (index, term), and put entries there."""
        self._take(
            leader,
            type="append_entries",
            term=term,
            prevLogIdx=previous[0],
            prevLogTerm=previous[1],
            entries=rows,
            commit_index=commit_index,
        )

    def take_acknowledgement(self, peer: str, *, next_index: int, success: bool) -> None:
        """Count what a peer has, or send from where it asks; it must be a voter.

        The core goes back to `next_index` on every acknowledgement and would send again all that
        is under way. What was lost shows by itself: the peer misses it in the next heartbeat.
        """
        next_indexes: dict[Any, int] = self._core._SyncObj__raftNextIndex
        node = Node(peer)
        sent_next_index = next_indexes[node]
        self._take(
            peer,
            type="next_node_idx",
            next_node_idx=next_index,
            reset=not success,
            success=success,
        )
        if success:
            next_indexes[node] = max(sent_next_index, next_index)

    def take_vote_request(self, peer: str, term: int, *, last_index: int, last_term: int) -> None:
        """Grant a vote or not, and follow into a higher term."""
        self._take(
            peer,
            type="request_vote",
            term=term,
            last_log_index=last_index,
            last_log_term=last_term,
        )

    def take_term(self, peer: str, term: int) -> None:
        """Follow into a higher term that an answer told of, for which the core has no message."""
        # A vote request that cannot be granted: no log ends in a term below 0.
        self.take_vote_request(peer, term, last_index=0, last_term=-1)

    def take_vote(self, peer: str) -> None:
        """Count a vote in the current term."""
        self._take(peer, type="response_vote", term=self.term)

    def take_timeout_now(self, leader: str) -> None:
        """Campaign at the next tick."""
        self._take(leader, type="timeout_now", term=self.term)

    def _take(self, peer: str, **message: Any) -> None:
        self._links._onMessageReceived(Node(peer), message)


class _Core(stock.SyncObj):  # type: ignore[misc]  # a class without stubs
    """The stock core with two of its private methods replaced."""

    def __init__(
        self,
        name: str,
        others: list[Any],
        journal: RaftJournal,
        timing: RaftTiming,
        links: "_Links",
        hooks: CoreHooks,
    ) -> None:
        self._hooks = hooks
        configuration = SyncObjConf(
            autoTick=False,
            journalFile=journal,
            appendEntriesUseBatch=True,  # a frame costs more than an entry: one for all of a tick's
            appendEntriesBatchSizeBytes=_CHUNK_SIZE,
            logCompactionMinEntries=_NEVER,
            logCompactionMinTime=_NEVER,
            commandsWaitLeader=False,
            dynamicMembershipChange=False,  # voters are set from the log, here
            appendEntriesPeriod=timing.heartbeat_s,
            raftMinTimeout=timing.election_min_s,
            raftMaxTimeout=timing.election_max_s,
            connectionTimeout=timing.election_max_s,
            leaderFallbackTimeout=timing.leader_fallback_s,
            onStateChanged=lambda _, state: hooks.state_changed(CoreState(state)),
            pollerType="select",  # makes no descriptor, and is not kept
        )
        super().__init__(Node(name), others, conf=configuration, transport=links, nodeClass=Node)
        self._SyncObj__serializer = _NoDumps()
        self._poller = _NoSockets()

    def set_committed(self, index: int) -> None:
        self._SyncObj__raftCommitIndex = index
        self._SyncObj__raftLastApplied = index  # applying is the ledger's, which asks for itself

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802 - the core's name
        """Settle the commit index; returns whether the followers are to learn of it at once."""
        before = self._SyncObj__raftLastApplied
        self.set_committed(self._hooks.settle_commit(self._SyncObj__raftCommitIndex))
        return bool(self._SyncObj__raftLastApplied > before)

    def _SyncObj__connectedToAnyone(self) -> bool:  # noqa: N802 - the core's name
        return self._hooks.may_campaign()


class _Links(Transport):  # type: ignore[misc]  # a class without stubs
    """What the core takes for its network."""

    def __init__(self, hooks: CoreHooks) -> None:
        super().__init__(None, None, [])
        self._hooks = hooks

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        peer = str(node.id)
        match message["type"]:
            case "append_entries" if "prevLogIdx" in message:
                assert "transmission" not in message, "no command is as large as a chunk"
                self._hooks.send_append(
                    peer,
                    previous_index=message["prevLogIdx"],
                    previous_term=message["prevLogTerm"],
                    rows=message["entries"],
                )
            case "append_entries":
                self._hooks.send_pointer(peer)
            case "request_vote":
                self._hooks.send_vote_request(
                    peer,
                    last_index=message["last_log_index"],
                    last_term=message["last_log_term"],
                )
            case "response_vote":
                self._hooks.send_vote(peer)
            case "next_node_idx":
                self._hooks.core_answered(
                    next_index=message["next_node_idx"], success=message["success"]
                )
            case "timeout_now":
                self._hooks.send_timeout_now(peer)
            case kind:
                raise AssertionError(f"the core wants to send {kind}")
        return True


class _NoSockets:
    """Stands where the core waits for sockets: it has none, and would give its thread away."""

    def poll(self, _: float) -> None:
        return None


class _NoDumps:
    """Stands where the core keeps its dump files: there are none, so nothing is ever pickled."""

    def checkSerializing(self) -> tuple[int, None]:  # noqa: N802 - the core's name
        return 0, None  # nothing is being serialised

    def getTransmissionData(self, _: object) -> None:  # noqa: N802
        return None

    def cancelTransmisstion(self, _: object) -> None:  # noqa: N802
        return None
