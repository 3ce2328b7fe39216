"""Gathering cosignatures: one checkpoint after the other is shown to the peers, all at once.

Each peer has a thread, and so at most one question at a time. A round is over for its checkpoint
once the quorum has cosigned it, and may be replaced by the next one once every peer has answered,
or fails just now: so peers that are slow in turn still meet in one round, and nobody waits for one
that the quorum does not need. A witness keeps no ledger and would cosign whatever goes on; so it is
asked once a voter has agreed, and not where one stands by another tree: a leader whose ledger has
strayed must not take the witnesses along.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lotmark.errors import ProtocolError
from lotmark.signed_note import Note, format_note, parse_note
from lotmark_node.engine.errors import PeerUnreachable
from lotmark_node.engine.shared_notes import SHARED_NOTE_SIZE_MAX, NoteReader
from lotmark_node.state_machine.tables import LogHead

logger = logging.getLogger(__name__)

SHARE_MAX_S = 3.0  # a peer may wait 2 s itself until its ledger is there


class CheckpointPeer(Protocol):
    """Another voter, or a witness: asked on a thread of its own, one question at a time."""

    @property
    def name(self) -> str:
        """Whose it is, "<party>/<node>"."""
        ...

    @property
    def is_voter(self) -> bool:
        """Whether it keeps a ledger, so that it is to know final checkpoints."""
        ...

    def share(self, note: bytes) -> bytes | None:
        """Show a checkpoint and return it with the peer's cosignature, within `SHARE_MAX_S`.

        Returns:
            A note of the same text, with at least what the peer adds. None: it does not cosign.
            A note of another text, where the peer stands by another tree of this size.

        Raises:
            PeerUnreachable: It does not answer in time, or not like this.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointTiming:
    """How long things take that nothing else ends."""

    interval_s: float = 0.1  # between two signatures of one node
    wait_max_s: float = 2.0  # that a shared checkpoint waits for this node's ledger
    retry_min_s: float = 0.1  # after a peer's first failure; it doubles up to
    retry_max_s: float = 1.0


@dataclass(slots=True, eq=False)
class _Round:
    """A checkpoint whose cosignatures are gathered."""

    head: LogHead
    note: Note  # with those so far
    final: bool = False


@dataclass(slots=True, eq=False)
class _Line:
    """What is between this node and one peer."""

    peer: CheckpointPeer
    answered: _Round | None = None  # the newest round that it cosigned
    told: Note | None = None  # the newest final note that it knows
    failures: int = 0  # since it was last of use
    retry_at_s: float = 0.0  # monotonic
    disagreed: _Round | None = None  # the newest round that it answered with another tree

    def has_failed(self) -> bool:
        """Whether it is left alone for a while."""
        return self.failures > 0 and time.monotonic() < self.retry_at_s


class Gathering:
    """Asks the peers for cosignatures, and tells voters what became final."""

    def __init__(
        self,
        peers: Sequence[CheckpointPeer],
        reader: NoteReader,
        *,
        timing: CheckpointTiming,
        on_final: Callable[[LogHead, Note], None],
        on_other_tree: Callable[[str, bytes], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Make it; it asks nobody before `start`.

        Args:
            peers: The other voters, and witnesses.
            reader: Knows whose signatures count.
            timing: For retries.
            on_final: Told of a checkpoint that the quorum has cosigned.
            on_other_tree: Given a peer's name and a note of another text than was shown to it.
            on_failure: Told of what should not happen, once for each peer at most.
        """
        self._lines = [_Line(peer) for peer in peers]
        self._reader = reader
        self._timing = timing
        self._on_final = on_final
        self._on_other_tree = on_other_tree
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._answering = threading.Lock()
        self._round: _Round | None = None
        self._next: _Round | None = None
        self._final: Note | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to ask."""
        for line in self._lines:
            name = f"checkpoints {line.peer.name}"
            threading.Thread(target=self._serve, args=(line,), name=name, daemon=True).start()

    def gather(self, head: LogHead, note: Note) -> None:
        """Gather cosignatures of this checkpoint next; it replaces one that waits for its turn."""
        with self._changed:
            self._next = _Round(head, note)
            self._move_on()

    def tell(self, note: Note) -> None:
        """Tell all voters of a final note."""
        with self._changed:
            self._final = note
            self._changed.notify_all()

    def quit(self) -> None:
        """Ask and tell nothing more, until there is something new."""
        with self._changed:
            self._round = self._next = self._final = None

    def stop(self) -> None:
        """Take no answer any more. Threads end with the question that is under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        with self._answering:
            pass  # so an answer that was being taken is taken now

    def _move_on(self) -> None:
        """Begin the next round, if the present one has all that it can get for now."""
        going_on = self._round is not None and not self._round.final
        if self._next is None or (going_on and not all(map(self._is_settled, self._lines))):
            return
        self._round, self._next = self._next, None
        self._changed.notify_all()

    def _is_settled(self, line: _Line) -> bool:
        return line.answered is self._round or line.has_failed()

    def _serve(self, line: _Line) -> None:
        """Ask one peer whatever there is to ask, until the end."""
        try:
            while (task := self._await_task(line)) is not None:
                of_use = self._ask(line, task)
                with self._changed:
                    self._note_result(line, task, of_use=of_use)
                    self._move_on()
                    self._changed.notify_all()
        except BaseException as error:
            # Whatever it is: a checkpoint must not wait for ever for a thread that has ended.
            self._on_failure(error)

    def _await_task(self, line: _Line) -> tuple[_Round | None, Note] | None:
        with self._changed:
            while not self._stopping:
                if (task := self._task(line)) is not None:
                    return task
                wait_s = line.retry_at_s - time.monotonic()
                self._changed.wait(wait_s if line.failures and wait_s > 0 else None)
        return None

    def _task(self, line: _Line) -> tuple[_Round | None, Note] | None:
        """Return the round and the note to show now; no round: the note is final."""
        if line.has_failed():
            return None
        now = self._round
        waits = now is not None and not line.peer.is_voter and not self._voters_agree(now)
        if now is not None and not now.final and line.answered is not now and not waits:
            # Who failed comes last, and so sees how many others stand behind the note; a voter
            # after other voters only, since witnesses wait for those.
            others = [
                each
                for each in self._lines
                if each is not line
                and not each.failures
                and (each.peer.is_voter or not line.peer.is_voter)
            ]
            if not line.failures or all(each.answered is now for each in others):
                return now, now.note
        if line.peer.is_voter and self._final is not None and line.told is not self._final:
            return None, self._final
        return None

    def _voters_agree(self, now: _Round) -> bool:
        """Return whether a voter has cosigned this round, or none is there who could."""
        voters = [line for line in self._lines if line.peer.is_voter]
        if any(line.answered is now for line in voters):
            return True
        return all(line.has_failed() and line.disagreed is not now for line in voters)

    def _ask(self, line: _Line, task: tuple[_Round | None, Note]) -> bool:
        """Ask, and return whether the answer was of use."""
        round_, shown = task
        name = line.peer.name
        try:
            raw = line.peer.share(format_note(shown))
            if raw is None:
                return False
            with self._answering:
                return not self._stopping and self._take(line, round_, shown, raw)
        except (PeerUnreachable, ProtocolError) as error:
            log = logger.warning if not line.failures else logger.debug
            log("a peer does not cosign", extra={"peer": name, "reason": str(error)})
            return False

    def _take(self, line: _Line, round_: _Round | None, shown: Note, raw: bytes) -> bool:
        answer = parse_note(raw, size_max=SHARED_NOTE_SIZE_MAX)
        if answer.text != shown.text:
            line.disagreed = round_
            self._on_other_tree(line.peer.name, raw)
            return False
        if round_ is None:
            return True
        with self._changed:
            if round_ is not self._round or round_.final:
                return True
            merged = self._reader.merge(round_.note, answer)
            of_use = len(merged.signatures) > len(round_.note.signatures)
            round_.note = merged
            round_.final = self._reader.is_final(merged)
            if not round_.final:
                return of_use
            self._final = merged
        self._on_final(round_.head, merged)
        return True

    def _note_result(self, line: _Line, task: tuple[_Round | None, Note], *, of_use: bool) -> None:
        if not of_use:
            line.failures += 1
            pause_s = self._timing.retry_min_s * 2 ** min(line.failures - 1, 16)
            line.retry_at_s = time.monotonic() + min(pause_s, self._timing.retry_max_s)
            return
        line.failures = 0
        round_, shown = task
        if round_ is None:
            line.told = shown
        else:
            line.answered = round_
