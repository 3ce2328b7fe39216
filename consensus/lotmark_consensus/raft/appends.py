"""What a leader sends, made fit for PySyncObj's core; and the answers, which wait for the disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lotmark.v1 import raft_pb2
from lotmark_consensus.raft.codec import entry_command
from lotmark_consensus.raft.core import LogRow, monotonic_s
from lotmark_consensus.raft.voter_state import VoterState


@dataclass(frozen=True, slots=True)
class _Append:
    """Entries behind a place in the log."""

    previous_index: int
    previous_term: int
    rows: Sequence[LogRow]

    @property
    def end_index(self) -> int:
        return self.previous_index + len(self.rows)


@dataclass(frozen=True, slots=True)
class _Owed:
    """An acknowledgement that waits until this disk has what it acknowledges."""

    leader: str
    term: int
    index: int  # up to which the log is the leader's
    told_index: int = 0  # up to which that was said
    told_s: float = float("-inf")  # when that was


class Appends:
    """The follower's side of replication."""

    def __init__(
        self, state: VoterState, *, now_ms: Callable[[], int], halt: Callable[[str], None]
    ) -> None:
        """Make it.

        Args:
            state: Of the voter.
            now_ms: Unix time, for the rule about blocks ahead of it.
            halt: Called with what cannot happen while all keep the rules.
        """
        self._state = state
        self._now_ms = now_ms
        self._halt = halt
        self._owed: _Owed | None = None
        self._asked_anew: tuple[int, float] = (0, float("-inf"))  # term, when

    def take(self, leader: str, term: int, request: raft_pb2.AppendRequest) -> None:
        """Take a leader's entries, or its heartbeat."""
        if self._state.protections.normalise:
            self._state.core.take_heartbeat(leader, term)
        append = _Append(
            request.previous_index,
            request.previous_term,
            [
                (entry_command(entry), request.previous_index + 1 + at, entry.term)
                for at, entry in enumerate(request.entries)
            ],
        )
        append = self._refuse_ahead(leader, request, append)
        if not self._state.protections.normalise:
            self._state.core.take_entries(
                leader,
                term,
                previous=(append.previous_index, append.previous_term),
                rows=append.rows,
                commit_index=request.commit_index,
            )
            return
        fitted = self._without_pruned(append)
        if fitted is not None:
            self._take_fitted(leader, term, fitted, request.commit_index)

    def _refuse_ahead(
        self, leader: str, request: raft_pb2.AppendRequest, append: _Append
    ) -> _Append:
        """Leave out what is too far ahead of this clock; what is committed is taken all the same.

        A quorum took that, so that refusing it here would only keep this voter behind.
        """
        state = self._state
        if not state.protections.time_rule:
            return append
        latest_ms = self._now_ms() + state.timing.clock_ahead_max_ms
        for at, entry in enumerate(request.entries):
            index = append.previous_index + 1 + at
            known = state.journal.term_at(index) == entry.term
            if entry.time_ms > latest_ms and index > request.commit_index and not known:
                state.counters["entry ahead of the clock"] += 1
                frame = state.outbox.frame(state.core.term)
                frame.time_refusal.index = index
                state.outbox.put(leader, frame)
                return replace(append, rows=append.rows[:at])
        return append

    def _without_pruned(self, append: _Append) -> _Append | None:
        """Cut off what lies below this log's first entry; it is committed, so it is the same."""
        journal = self._state.journal
        below = journal.first - append.previous_index
        if below <= 0 or append.end_index < journal.first:
            return append
        _, index, term = append.rows[below - 1]
        if term != journal.term_at(journal.first):
            self._halt(f"entry {index} of term {term} is not the one that this log begins with")
            return None
        return _Append(index, term, append.rows[below:])

    def _take_fitted(self, leader: str, term: int, append: _Append, commit_index: int) -> None:
        state = self._state
        journal, core = state.journal, state.core
        own_term = journal.term_at(append.previous_index)
        if own_term != append.previous_term:
            if own_term is not None and append.previous_index <= state.commit.known_index:
                self._halt(
                    f"the leader {leader} has another committed entry {append.previous_index}"
                )
                return
            self.ask_anew(leader, term)
            return
        matched = append.previous_index
        rows = append.rows
        while rows and journal.term_at(matched + 1) == rows[0][2]:
            matched, rows = matched + 1, rows[1:]
        if rows and matched < state.commit.known_index:
            self._halt(f"the leader {leader} would replace committed entry {matched + 1}")
            return
        if rows:  # without any, a tail that the leader did not speak of stays
            previous_term = journal.term_at(matched)
            assert previous_term is not None, "what matched is in the log"
            core.take_entries(leader, term, previous=(matched, previous_term), rows=rows)
        index = matched + len(rows)
        state.commit.learn(min(commit_index, index))
        self.acknowledge(leader, term, index, at_once=not append.rows)

    def acknowledge(self, leader: str, term: int, index: int, *, at_once: bool) -> None:
        """Owe an acknowledgement of the log up to `index`; a heartbeat's is due at once."""
        owed = self._owed
        if owed is not None and (owed.leader, owed.term) == (leader, term):
            self._owed = replace(owed, index=max(owed.index, index))
        else:
            self._owed = _Owed(leader, term, index)
        self.pay(at_once=at_once)

    def pay(self, *, at_once: bool = False) -> None:
        """Say what is owed, as far as this disk has it and it was not said."""
        owed, state = self._owed, self._state
        if owed is None:
            return
        if owed.term != state.core.term:
            self._owed = None
            return
        index = owed.index
        if state.protections.wait_for_disk:
            index = min(index, state.journal.durable_index)
        now_s = monotonic_s()
        # A leader that commits tells so between two heartbeats: it heard from here a moment ago.
        due = at_once and now_s - owed.told_s >= state.timing.heartbeat_s / 2
        if due or index > owed.told_index:
            self._owed = replace(owed, told_index=max(index, owed.told_index), told_s=now_s)
            self._answer(owed.leader, next_index=index + 1, success=True)

    def ask_anew(self, leader: str, term: int) -> None:
        """Ask to be sent everything behind the committed entries, once a heartbeat at most.

        They are the leader's too. A reject for each request would answer what was sent before the
        leader heard of the first, and the two would never come together.
        """
        state = self._state
        asked_term, asked_s = self._asked_anew
        now_s = monotonic_s()
        if asked_term == term and now_s - asked_s < state.timing.heartbeat_s:
            return
        self._asked_anew = (term, now_s)
        next_index = max(state.commit.known_index, state.journal.first) + 1
        self._answer(leader, next_index=next_index, success=False)

    def core_answered(self, *, next_index: int, success: bool) -> None:
        """Pass on the core's own answer, which counts only where appends are not made fit."""
        if self._state.protections.normalise:
            return
        leader, term = self._state.core.leader, self._state.core.term
        assert leader is not None, "the core answers a leader"
        if success:
            self._owed = _Owed(leader, term, next_index - 1)
            self.pay()
        else:
            self._answer(leader, next_index=next_index, success=False)

    def _answer(self, leader: str, *, next_index: int, success: bool) -> None:
        frame = self._state.outbox.frame(self._state.core.term)
        frame.append_response.next_index = next_index
        frame.append_response.success = success
        self._state.outbox.put(leader, frame)
