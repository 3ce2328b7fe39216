"""The checkpoints this node knows: the newest one, the newest final one, and those shortly before.

The newest final one is kept in a file beside the ledger too, so that after a restart receipts need
not wait for a leader. It is not synced: whoever leads next shares a newer one.
"""

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from lotmark.signed_note import Note, format_note
from lotmark_node.state_machine.tables import LogHead

logger = logging.getLogger(__name__)

RECENT_MAX = 64
_FILE, _NEW_FILE = "final-checkpoint", "final-checkpoint.new"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and what the policy says of it."""

    head: LogHead
    note: bytes
    final: bool


class KnownCheckpoints:
    """Moves forward only; any thread may use it.

    Attributes:
        newest: The newest one, signed by this node or shown to it and found right.
        newest_final: The newest one that the policy's quorum has cosigned.
        final_since_s: By the monotonic clock: when that was found; None while there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        """Know none yet.

        Args:
            folder: Of this node's data; None: nothing is kept on disk.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._recent: OrderedDict[int, Note] = OrderedDict()
        self.newest: SignedCheckpoint | None = None
        self.newest_final: SignedCheckpoint | None = None
        self.final_since_s: float | None = None

    def adopt(self, head: LogHead, note: Note, *, final: bool) -> None:
        """Know a checkpoint of this node's own tree, whose every known signature holds."""
        checkpoint = SignedCheckpoint(head, format_note(note), final)
        with self._lock:
            self._remember(head.size, note)
            if _is_better(checkpoint, self.newest):
                self.newest = checkpoint
            if final and _is_better(checkpoint, self.newest_final):
                self.newest_final = checkpoint
                self.final_since_s = time.monotonic()
                self._keep(checkpoint.note)

    def note_of(self, size: int) -> Note | None:
        """Return the note of a size, where it is one of the last few."""
        with self._lock:
            return self._recent.get(size)

    def recent(self) -> list[Note]:
        """Return the notes of the last few sizes."""
        with self._lock:
            return list(self._recent.values())

    def kept(self) -> bytes | None:
        """Return the final checkpoint that was kept on disk, whatever it is now."""
        if self._folder is None or not (path := self._folder / _FILE).exists():
            return None
        return path.read_bytes()

    def _remember(self, size: int, note: Note) -> None:
        before = self._recent.get(size)
        if before is None or len(note.signatures) >= len(before.signatures):
            self._recent[size] = note
        if len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)

    def _keep(self, note: bytes) -> None:
        if self._folder is None:
            return
        try:
            (self._folder / _NEW_FILE).write_bytes(note)
            (self._folder / _NEW_FILE).replace(self._folder / _FILE)
        except OSError as error:
            # It costs a wait after the next restart, and nothing else.
            logger.warning("the final checkpoint is not kept", extra={"reason": str(error)})


def _is_better(checkpoint: SignedCheckpoint, known: SignedCheckpoint | None) -> bool:
    if known is None or checkpoint.head.size != known.head.size:
        return known is None or checkpoint.head.size > known.head.size
    return checkpoint.final and not known.final
