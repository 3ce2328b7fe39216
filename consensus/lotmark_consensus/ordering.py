"""The port: a total order of opaque blocks, whatever engine keeps it."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from lotmark_consensus.errors import BlockTooLarge, NotLeader, OrderingFailed
from lotmark_consensus.latency import LatencyCounts

BLOCK_SIZE_MAX = 8 * 1024 * 1024
CHAIN_ID_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One place in the order and the block that stands there."""

    index: int  # from 1, without gaps
    term: int
    time_ms: int  # Unix time, as the proposer gave it
    block: bytes  # empty: the order needed this index for itself


class Role(Enum):
    """What an ordering can do for its caller now."""

    LEADER = "leader"  # proposals are taken
    FOLLOWER = "follower"  # another node may take them
    CANDIDATE = "candidate"  # nobody is known who does
    STOPPED = "stopped"  # on purpose
    FAILED = "failed"  # on an error; a restart re-reads the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Who may propose, as far as this node knows."""

    role: Role
    term: int
    leader: str | None  # its name; None where nobody is known or this order knows no names
    term_start_index: int  # while leading: what this term can order comes at or after it; else 0

    @property
    def leads(self) -> bool:
        """Whether this node takes proposals in `term`."""
        return self.role is Role.LEADER


@dataclass(frozen=True, slots=True, kw_only=True)
class VotersStatus:
    """What one voter knows of the network of voters."""

    voters: frozenset[str]
    durable_index: int  # on this node's disk; committed or not
    match_index: Mapping[str, int]  # by peer, while leading: how far it acknowledged
    queued_size: Mapping[str, int]  # by peer: bytes that wait to be sent
    elections: int  # that this node began since its start
    counters: Mapping[str, int]  # of frames refused, by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderingStatus:
    """Where an ordering stands."""

    role: Role
    term: int
    leader: str | None  # as in `Leadership`
    term_start_index: int  # as in `Leadership`
    last_index: int  # 0: nothing was ever ordered
    committed_index: int
    first_index: int  # the lowest block that `committed` can still give
    failure: str | None  # why the role is FAILED
    network: VotersStatus | None  # None where there is no network
    durable_writes: LatencyCounts | None  # since its start; None where there is no disk


class Ordering(Protocol):
    """A total order of opaque blocks. All methods may be called from any thread."""

    def propose(self, block: bytes, *, time_ms: int, term: int) -> Future[Ordered]:
        """Ask for a place in the order.

        Cancelling the future withdraws a block that has not been taken up yet.

        Args:
            block: 1 to `BLOCK_SIZE_MAX` bytes, never looked into.
            time_ms: The block's time, 0 to 2**64 - 1, kept beside it.
            term: The block is ordered in this term or not at all.

        Returns:
            Resolved once the block is durable on a quorum. It fails with `JournalFull` where there
            was no room and with `NotLeader` where leadership was lost before it was taken up
            (nothing was kept in either case), with `OutcomeUnknown` where it was lost afterwards,
            and with `OrderingFailed` where the ordering stopped meanwhile (unknown too).

        Raises:
            BlockTooLarge: Cut it smaller.
            NotLeader: This node does not lead in `term`.
            QueueFull: Wait for an earlier proposal, then propose again.
            OrderingStopped: It was stopped.
            OrderingFailed: It stopped on an error.
        """
        ...

    def read_index(self) -> Future[int]:
        """Return an index at or above everything that was committed before this call.

        Returns:
            Resolved once a quorum confirmed that this node leads. It fails as `propose` does.

        Raises:
            NotLeader: This node does not lead.
            OrderingStopped: It was stopped.
            OrderingFailed: It stopped on an error.
        """
        ...

    def committed(self, from_index: int) -> Iterator[Ordered]:
        """Read back, in order, what was committed at the time of this call.

        Args:
            from_index: The first block wanted, 1 or more.

        Raises:
            IndexPruned: `from_index` is no longer kept.
            JournalCorrupt: A record is damaged (raised while iterating).
            OrderingStopped: It was stopped.
        """
        ...

    def on_committed(self, callback: Callable[[Ordered], None]) -> None:
        """Hand every block committed from now on to `callback`: in order, once, one at a time.

        Register first and read `committed` afterwards for what came before: a block committed
        between the two comes both ways, so compare indexes. The callback holds up what comes
        after while it runs; what it raises stops the ordering; it must not call `stop`.
        """
        ...

    def on_role(self, callback: Callable[[Leadership], None]) -> None:
        """Tell `callback` who may propose: at once, and whenever that has changed.

        It must return quickly and must not call `stop`; what it raises stops the ordering.
        """
        ...

    def on_pointer(self, callback: Callable[[str, int, int], None]) -> None:
        """Tell `callback` (peer, index, term) whenever blocks have to come by another way.

        The leader keeps no blocks up to `index` any more: fetch them from `peer`, apply them, then
        call `installed`. It must return quickly; what it raises stops the ordering.
        """
        ...

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """Hand the error that stops this ordering to `callback`, at once if that has happened."""
        ...

    def status(self) -> OrderingStatus:
        """Return where this ordering stands; never waits for the disk or the network."""
        ...

    def installed(self, index: int, term: int) -> None:
        """Go on behind what a pointer asked for: all of it is durable in the ledger.

        Raises:
            OrderingStopped: It was stopped.
            OrderingFailed: It stopped on an error.
        """
        ...

    def prune(self, below_index: int) -> None:
        """Allow every block below `below_index` to be forgotten; some may be kept longer.

        Raises:
            JournalFailed: The files could not be deleted.
            OrderingStopped: It was stopped.
        """
        ...

    def transfer_leadership(self) -> None:
        """Ask the most advanced peer to lead instead; without effect where this node does not."""
        ...

    def stop(self) -> None:
        """Commit what waits, take nothing more, give the folder back; again has no effect.

        A leader of a network first hands over to a peer, and waits a bounded time for it.
        """
        ...


def check_proposal(block: bytes, *, time_ms: int) -> None:
    """Refuse what no ordering takes.

    Raises:
        BlockTooLarge: Cut it smaller.
    """
    assert 0 <= time_ms < 2**64, time_ms
    assert block, "an empty block stands for an index that the order needed for itself"
    if len(block) > BLOCK_SIZE_MAX:
        raise BlockTooLarge(
            f"a block of {len(block)} bytes; at most {BLOCK_SIZE_MAX} are ordered: cut it smaller"
        )


def check_term(term: int, leadership: Leadership) -> None:
    """Refuse a proposal that this node cannot order in the term it was made for.

    Raises:
        NotLeader: Propose where the leader is, or again under the term of today.
    """
    if leadership.leads and leadership.term == term:
        return
    if leadership.leads:
        stands = f"leads in term {leadership.term}: propose again under that term"
    else:
        stands = f"is a {leadership.role.value} in term {leadership.term}: propose at the leader"
    raise NotLeader(f"a proposal for term {term}, but this node {stands}")


def sole_leadership(term: int, *, failure: BaseException | None, stopped: bool) -> Leadership:
    """Return where the only node of an order stands: it leads until it ends."""
    role = Role.STOPPED if stopped else Role.LEADER
    if failure is not None:
        role = Role.FAILED
    start_index = 1 if role is Role.LEADER else 0
    return Leadership(role=role, term=term, leader=None, term_start_index=start_index)


def failed_by(error: BaseException) -> OrderingFailed:
    """Return what proposers get once an ordering has stopped on `error`."""
    failure = OrderingFailed(
        f"the ordering stopped on {error!r}: mend that and restart,"
        " then read `committed` to see what was kept"
    )
    failure.__cause__ = error
    return failure
