"""What this node answers to a checkpoint that another one shows: its cosignature, or nothing.

A checkpoint waits a while until this node's ledger is there. Then its root is the ledger's own, or
another: `Disputes` judges that.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lotmark.checkpoint import Checkpoint
from lotmark.errors import ProtocolError
from lotmark.signed_note import Note, format_note
from lotmark_node.engine.cosigning import Cosigner
from lotmark_node.engine.disputes import Disputes
from lotmark_node.engine.known_checkpoints import KnownCheckpoints
from lotmark_node.engine.log_tree import LogTree
from lotmark_node.engine.shared_notes import NoteReader
from lotmark_node.state_machine.tables import LogHead

logger = logging.getLogger(__name__)


class Answering:
    """Reads, compares and cosigns; any thread may ask."""

    def __init__(
        self,
        *,
        tree: LogTree,
        reader: NoteReader,
        cosigner: Cosigner,
        known: KnownCheckpoints,
        disputes: Disputes,
        wait_max_s: float,
    ) -> None:
        """Make it; it answers nothing before `advance` has told where the ledger stands.

        Args:
            tree: This node's own log.
            reader: Knows whose signatures count.
            cosigner: Signs.
            known: Takes what is found right.
            disputes: Takes what is not.
            wait_max_s: How long a checkpoint waits for the ledger.
        """
        self._tree = tree
        self._reader = reader
        self._cosigner = cosigner
        self._known = known
        self._disputes = disputes
        self._wait_max_s = wait_max_s
        self._moved = threading.Condition()
        self._size = 0  # of the ledger
        self._asking: set[str] = set()
        self._stopping = False
        self._kept = self._read_kept()

    def advance(self, head: LogHead) -> None:
        """Take note of where the ledger stands.

        Raises:
            HistoryConflict: It does not fit to what was final before this node's last start.
        """
        with self._moved:
            self._size = head.size
            self._moved.notify_all()
        kept = self._kept
        if kept is not None and kept[1].size <= head.size:
            self._kept = None
            self._compare("this node, before its last start", *kept)

    def answer(self, peer: str, raw: bytes) -> bytes | None:
        """Return a checkpoint that a voter shows with this node's cosignature.

        Returns:
            The note, cosigned; as it is where it is final already; another note where this node
            stands by another tree of that size; None where there is nothing to say (yet).

        Raises:
            ProtocolError: It is no checkpoint of this log that a voter signed.
            HistoryConflict: So many others stand by another tree that this node's is the odd one.
            Regression: This node may not sign what it has.
        """
        with self._asked_by(peer) as is_first:
            if not is_first:
                return None
            note, checkpoint = self._reader.read(raw)
            if not self._reaches(checkpoint.size):
                return None
            head = self._compare(peer, note, checkpoint)
            if head is None:
                own = self._own_note(checkpoint.size)
                return None if own is None else format_note(own)
            if self._reader.is_final(note):
                return format_note(note)
            signature = self._cosigner.cosign(head)
            if signature is None:
                return None
            cosigned = self._reader.with_signature(note, signature)
            self._known.adopt(head, cosigned, final=self._reader.is_final(cosigned))
            return format_note(cosigned)

    def _own_note(self, size: int) -> Note | None:
        """Return a checkpoint of this node's own tree, signed for who shows another of that size.

        A leader whose ledger has strayed learns only so that it has.
        """
        known, height = self._known.note_of(size), self._tree.height_at(size)
        if known is not None or height is None:
            return known
        head = LogHead(height, size, self._tree.root(size))
        note = self._cosigner.sign_as_log(head)
        if note is not None:
            self._known.adopt(head, note, final=False)
        return note

    def other_tree(self, peer: str, raw: bytes) -> None:
        """Take a note that a peer answered in place of the one it was shown.

        Raises:
            ProtocolError: It is no checkpoint of this log that a voter signed.
            HistoryConflict: A quorum of others stands by another tree than this node's.
        """
        note, checkpoint = self._reader.read(raw)
        if checkpoint.size <= self._size:
            self._compare(peer, note, checkpoint)

    def stop(self) -> None:
        """Answer nothing more; what is being answered is done when this returns."""
        with self._moved:
            self._stopping = True
            self._moved.notify_all()
            self._moved.wait_for(lambda: not self._asking)

    def _compare(self, shown_by: str, note: Note, checkpoint: Checkpoint) -> LogHead | None:
        """Return the head that a checkpoint is of, and know it where it is final; None: of none."""
        size = checkpoint.size
        if self._tree.root(size) != checkpoint.root:
            self._disputes.judge(shown_by, note, checkpoint, self._known.recent())
            return None
        height = self._tree.height_at(size)
        if height is None:
            logger.warning(
                "a checkpoint ends at no block", extra={"shown_by": shown_by, "size": size}
            )
            return None
        head = LogHead(height, size, checkpoint.root)
        if self._reader.is_final(note):
            self._known.adopt(head, note, final=True)
        return head

    def _reaches(self, size: int) -> bool:
        """Wait a while until the ledger has so many entries; return whether it has."""
        with self._moved:
            self._moved.wait_for(lambda: self._stopping or self._size >= size, self._wait_max_s)
            return self._size >= size and not self._stopping

    @contextmanager
    def _asked_by(self, peer: str) -> Iterator[bool]:
        """Note that a peer asks; not where it asks already, as each has one question at a time."""
        with self._moved:
            is_first = peer not in self._asking and not self._stopping
            if is_first:
                self._asking.add(peer)
        try:
            yield is_first
        finally:
            if is_first:
                with self._moved:
                    self._asking.discard(peer)
                    self._moved.notify_all()

    def _read_kept(self) -> tuple[Note, Checkpoint] | None:
        raw = self._known.kept()
        if raw is None:
            return None
        try:
            note, checkpoint = self._reader.read(raw)
        except ProtocolError as error:
            logger.warning("the kept checkpoint is passed over", extra={"reason": str(error)})
            return None
        return (note, checkpoint) if self._reader.is_final(note) else None
