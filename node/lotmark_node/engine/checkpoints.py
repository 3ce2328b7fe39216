"""Checkpoints of this node: signed and cosigned at block closes, at most ten a second."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.errors import ProtocolError
from lotmark.signed_note import Note, format_note, sign_note
from lotmark.tlog_policy import Policy
from lotmark_node.engine.errors import Regression
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.state_machine.tables import LogHead

INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint and what the policy says of it."""

    head: LogHead
    note: bytes
    final: bool


class CheckpointSigner:
    """A thread that signs the newest head whenever there is a new one."""

    def __init__(
        self,
        *,
        origin: str,
        cosigner: str,
        log_key: PrivateKey,
        cosign_key: PrivateKey,
        policy: Policy,
        maximum: SignedMaximum,
        now_ms: Callable[[], int],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._origin = origin
        self._cosigner = cosigner
        self._log_key = log_key
        self._cosign_key = cosign_key
        self._policy = policy
        self._maximum = maximum
        self._now_ms = now_ms
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._head: LogHead | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self.newest: SignedCheckpoint | None = None
        self.failure: str | None = None

    def start(self, head: LogHead) -> None:
        """Sign where the ledger stands, then follow it.

        Raises:
            Regression: This node has signed a larger tree before.
        """
        if not self._maximum.size and head.height:
            raise Regression(
                "the file signed-maximum is gone, so it is not known what this node has signed;"
                " restore it, or give this node a new id and new keys"
            )
        if head.size < self._maximum.size:
            raise Regression(
                f"the ledger has size {head.size}, but this node has signed size"
                f" {self._maximum.size}; restore the newest folder, or give it a new id"
            )
        self._sign(head)
        self._thread.start()

    def advance(self, head: LogHead) -> None:
        """Take note of a new head, committed, fsynced and applied here."""
        with self._changed:
            self._head = head
            self._changed.notify()

    def stop(self) -> None:
        """Sign the last head and end."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._maximum.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._head or self._stopping.is_set())
                head, self._head = self._head, None
            if head is None:
                return
            try:
                self._sign(head)
            except BaseException as error:
                # Whatever it is: events must not be acknowledged that get no receipt.
                self.failure = str(error)
                self._on_failure(error)
                return
            self._stopping.wait(INTERVAL_S)

    def _sign(self, head: LogHead) -> None:
        self._maximum.raise_to(head.size, head.root)
        text = Checkpoint(self._origin, head.size, head.root).text()
        signatures = (
            sign_note(text, self._origin, self._log_key),
            cosign(
                text,
                name=self._cosigner,
                private_key=self._cosign_key,
                time_s=self._now_ms() // 1000,
            ),
        )
        note = Note(text, signatures)
        try:
            self._policy.check(note)
            final = True
        except ProtocolError:
            final = False
        self.newest = SignedCheckpoint(head, format_note(note), final)
