"""What this node signs about its log: trees that only grow, each on disk before its signature."""

import math
import threading
import time
from collections.abc import Callable

from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.signed_note import Note, NoteSignature, sign_note
from lotmark_node.engine.errors import Regression
from lotmark_node.engine.log_tree import LogTree
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.state_machine.tables import LogHead


class Cosigner:
    """The only one who signs checkpoints with this node's keys; any thread may ask."""

    def __init__(
        self,
        *,
        origin: str,
        name: str,
        log_key: PrivateKey,
        cosign_key: PrivateKey,
        maximum: SignedMaximum,
        tree: LogTree | None,
        now_ms: Callable[[], int],
        interval_s: float,
    ) -> None:
        """Own the keys and the file.

        Args:
            origin: The log's name, which is that of its log keys.
            name: The cosign key's name.
            log_key: Signs as the log.
            cosign_key: Signs for the party.
            maximum: The largest tree that was signed; closed by `close`.
            tree: The log, to show that it goes on from that; None: it is taken to.
            now_ms: The clock, Unix time in ms.
            interval_s: Between two trees signed for others.
        """
        self._origin = origin
        self._name = name
        self._log_key = log_key
        self._cosign_key = cosign_key
        self._maximum = maximum
        self._tree = tree
        self._now_ms = now_ms
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._continues = tree is None or not maximum.size
        self._signed_at_s = -math.inf  # monotonic

    @property
    def signed_size(self) -> int:
        """The largest tree size that may have been signed."""
        return self._maximum.size

    def begin(self, head: LogHead, *, may_be_behind: bool) -> None:
        """Check that the log fits to what was signed before.

        Args:
            head: Where the ledger stands.
            may_be_behind: It may be behind that, as the order has more for it.

        Raises:
            Regression: It does not fit.
        """
        maximum = self._maximum
        if not maximum.size:
            if head.height:
                raise Regression(
                    "the file signed-maximum is gone, so it is not known what this node has"
                    " signed; restore it, or give this node a new id and new keys"
                )
            # So that the file is missed later even if this node never gets to sign.
            maximum.raise_to(head.size, head.root)
        if head.size >= maximum.size:
            self._check_continues()
        elif not may_be_behind:
            raise Regression(
                f"the ledger has size {head.size}, but this node has signed size"
                f" {maximum.size}; restore the newest folder, or give it a new id"
            )

    def sign_as_log(self, head: LogHead) -> Note | None:
        """Return a checkpoint, signed and cosigned; None: a larger one was signed meanwhile.

        Raises:
            Regression: Another tree of this size was signed before, or one that does not fit.
        """
        with self._lock:
            if not self._may_sign(head.size):
                return None
            self._raise_to(head)
            text = Checkpoint(self._origin, head.size, head.root).text()
            return Note(text, (sign_note(text, self._origin, self._log_key), self._cosign(text)))

    def cosign(self, head: LogHead) -> NoteSignature | None:
        """Return a cosignature of a tree of this node; None: a larger one was signed already.

        Waits until the last one is `interval_s` past, so that nobody's demands keep the disk busy.

        Raises:
            Regression: Another tree of this size was signed before, or one that does not fit.
        """
        with self._lock:
            if head.size > self._maximum.size:
                self._closing.wait(
                    max(self._signed_at_s + self._interval_s - time.monotonic(), 0.0)
                )
            if not self._may_sign(head.size):
                return None
            self._raise_to(head)
            return self._cosign(Checkpoint(self._origin, head.size, head.root).text())

    def close(self) -> None:
        """Sign nothing more and let go of the file."""
        self._closing.set()
        with self._lock:
            self._maximum.close()

    def _may_sign(self, size: int) -> bool:
        return size >= self._maximum.size and not self._closing.is_set()

    def _raise_to(self, head: LogHead) -> None:
        self._check_continues()
        self._maximum.raise_to(head.size, head.root)
        self._signed_at_s = time.monotonic()

    def _cosign(self, text: str) -> NoteSignature:
        time_s = self._now_ms() // 1_000
        return cosign(text, name=self._name, private_key=self._cosign_key, time_s=time_s)

    def _check_continues(self) -> None:
        """Check once that the tree, now large enough, has in it what was signed before."""
        if self._continues:
            return
        assert self._tree is not None, "without a tree there is nothing to check"
        maximum = self._maximum
        root = self._tree.root(maximum.size)
        if root != maximum.root:
            raise Regression(
                f"the ledger has root {root.hex()} at size {maximum.size}, but this node has signed"
                f" root {maximum.root.hex()}; restore its own folder, or give it a new id"
            )
        self._continues = True
