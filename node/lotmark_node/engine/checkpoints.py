"""Checkpoints of this node: signed and cosigned at block closes, at most ten a second.

While a node leads, it signs its newest head and gathers the other parties' cosignatures. A node
that does not lead signs nothing by itself: it cosigns what a voter shows it, once its own ledger
says the same. Nobody signs a smaller tree after a larger one, nor two of one size.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lotmark.ed25519 import PrivateKey
from lotmark.errors import ProtocolError
from lotmark.tlog_policy import Policy
from lotmark_node.engine.answering import Answering
from lotmark_node.engine.cosigning import Cosigner
from lotmark_node.engine.disputes import Disputes
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.evidence_folder import EvidenceFolder
from lotmark_node.engine.gathering import CheckpointPeer, CheckpointTiming, Gathering
from lotmark_node.engine.known_checkpoints import KnownCheckpoints, SignedCheckpoint
from lotmark_node.engine.log_tree import LogTree
from lotmark_node.engine.shared_notes import NoteReader
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.state_machine.tables import LogHead

__all__ = ["CheckpointNetwork", "CheckpointSigner", "SignedCheckpoint"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointNetwork:
    """What a node needs to sign together with others."""

    chain_id: bytes
    folder: Path  # of this node's data
    tree: LogTree  # its own log
    peers: Sequence[CheckpointPeer]  # the other voters, and witnesses
    evidence: EvidenceFolder
    on_dispute: Callable[[int], None]  # told the size of each other tree that is shown, once


class CheckpointSigner:
    """A thread that signs the newest head while this node leads, and an answer to who does.

    Attributes:
        failure: Why nothing is signed any more, None while all is well.
    """

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
        network: CheckpointNetwork | None = None,
        timing: CheckpointTiming | None = None,
    ) -> None:
        """Make it; nothing is signed before `start`.

        Args:
            origin: The log's name.
            cosigner: The name of this node's cosign key.
            log_key: Signs as the log.
            cosign_key: Signs for the party.
            policy: By which a checkpoint is final now; it lists every voter's log key.
            maximum: The largest tree that was signed; closed by `stop`.
            now_ms: The clock, Unix time in ms.
            on_failure: Told, from any thread, why signing has ended.
            network: The others; None: there are none.
            timing: Intervals and bounds.
        """
        self._timing = timing or CheckpointTiming()
        self._on_failure = on_failure
        self._is_only_voter = len(policy.logs) == 1
        self._reader = NoteReader(origin, policy)
        self._known = KnownCheckpoints(network.folder if network else None)
        self._cosigner = Cosigner(
            origin=origin,
            name=cosigner,
            log_key=log_key,
            cosign_key=cosign_key,
            maximum=maximum,
            tree=network.tree if network else None,
            now_ms=now_ms,
            interval_s=self._timing.interval_s,
        )
        self._answering: Answering | None = None
        self._gathering: Gathering | None = None
        if network is not None:
            self._answering = self._answering_in(network, _party_of(policy, cosigner))
            self._gathering = Gathering(
                network.peers,
                self._reader,
                timing=self._timing,
                on_final=lambda head, note: self._known.adopt(head, note, final=True),
                on_other_tree=self._answering.other_tree,
                on_failure=self.fail,
            )
        self._changed = threading.Condition()
        self._head: LogHead | None = None
        self._leads = self._is_only_voter
        self._signed_size = 0  # in this leadership
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self.failure: str | None = None

    def _answering_in(self, network: CheckpointNetwork, party: str) -> Answering:
        return Answering(
            tree=network.tree,
            reader=self._reader,
            cosigner=self._cosigner,
            known=self._known,
            disputes=Disputes(
                network.evidence,
                chain_id=network.chain_id,
                party=party,
                reader=self._reader,
                tree=network.tree,
                on_dispute=network.on_dispute,
            ),
            wait_max_s=self._timing.wait_max_s,
        )

    @property
    def newest(self) -> SignedCheckpoint | None:
        """The newest checkpoint of this node's own tree that it signed or was shown."""
        return self._known.newest

    @property
    def newest_final(self) -> SignedCheckpoint | None:
        """The newest that the quorum has cosigned, as far as this node knows."""
        return self._known.newest_final

    @property
    def final_since_s(self) -> float | None:
        """By the monotonic clock: since when this node knows `newest_final`."""
        return self._known.final_since_s

    @property
    def signed_size(self) -> int:
        """The largest tree size that this node may have signed."""
        return self._cosigner.signed_size

    def covering(self, index: int) -> SignedCheckpoint:
        """Return the newest final checkpoint if it covers an entry, else the newest of all.

        Raises:
            EngineError: There is none, or checkpoints have stopped.
        """
        newest, final = self.newest, self.newest_final
        if newest is None or self.failure:
            raise EngineError(f"there is no checkpoint yet: {self.failure or 'ask again'}")
        return final if final is not None and index < final.head.size else newest

    def start(self, head: LogHead) -> None:
        """Take where the ledger stands, sign it if this node leads, then follow it.

        Raises:
            Regression: The ledger does not fit to what this node has signed before.
            HistoryConflict: It does not fit to what was final before.
        """
        self._cosigner.begin(head, may_be_behind=not self._is_only_voter)
        self._head = head
        if self._answering is not None:
            self._answering.advance(head)
        if self._unsigned() is not None:
            self._sign(head)
        self._thread.start()
        if self._gathering is not None:
            self._gathering.start()

    def advance(self, head: LogHead) -> None:
        """Take note of a new head, committed, fsynced and applied here."""
        try:
            if self._answering is not None:
                self._answering.advance(head)
        except EngineError as error:
            self.fail(error)
        with self._changed:
            self._head = head
            if self._leads:
                self._changed.notify()

    def follow_policy(self, size: int, policy: Policy) -> None:
        """Judge checkpoints of `size` and more by another policy."""
        self._reader.follow(size, policy)

    def lead(self) -> None:
        """Sign from now on; the ledger holds all that was committed before."""
        with self._changed:
            self._leads, self._signed_size = True, 0
            if self._gathering is not None and (final := self.newest_final) is not None:
                self._gathering.tell(self._reader.read(final.note)[0])
            self._changed.notify()

    def follow(self) -> None:
        """Sign nothing by itself from now on, unless this is the only voter."""
        with self._changed:
            self._leads = self._is_only_voter
            if self._gathering is not None and not self._leads:
                self._gathering.quit()

    def cosign_shared(self, peer: str, note: bytes) -> bytes | None:
        """Return this node's answer to a checkpoint that a voter shows; may take 2 s.

        Returns:
            The note with this node's cosignature; None where it gives none (yet); another note
            where it stands by another tree of that size.
        """
        assert self._answering is not None, "a node without others is shown nothing"
        if self.failure:
            return None
        try:
            return self._answering.answer(peer, note)
        except ProtocolError as error:
            logger.warning(
                "a shared checkpoint is refused", extra={"peer": peer, "reason": str(error)}
            )
        except BaseException as error:
            # Whatever it is: a node that cannot cosign must not look as if it only lagged.
            self.fail(error)
        return None

    def fail(self, error: BaseException) -> None:
        """Sign and cosign nothing more; any thread may say so."""
        with self._changed:
            if self.failure is not None:
                return
            self.failure = str(error) or type(error).__name__
            self._changed.notify()
        if self._gathering is not None:
            self._gathering.quit()
        self._on_failure(error)

    def stop(self) -> None:
        """Sign the last head, if this node leads, and end."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        if self._gathering is not None:
            self._gathering.stop()
        self._cosigner.close()
        if self._answering is not None:
            self._answering.stop()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unsigned() or self._stopping.is_set())
                head = self._unsigned()
            if head is None:
                return
            try:
                self._sign(head)
            except BaseException as error:
                # Whatever it is: events must not be acknowledged that get no receipt.
                self.fail(error)
                return
            self._stopping.wait(self._timing.interval_s)

    def _unsigned(self) -> LogHead | None:
        """Return the head that is to be signed now, if there is one."""
        head, final = self._head, self.newest_final
        done_size = max(self._signed_size, final.head.size if final else 0)
        due = self._leads and head is not None and head.size > done_size and not self.failure
        # Less than was signed: the order has more for this ledger.
        return head if due and head is not None and head.size >= self.signed_size else None

    def _sign(self, head: LogHead) -> None:
        note = self._cosigner.sign_as_log(head)
        self._signed_size = head.size
        if note is None:
            return
        final = self._reader.is_final(note)
        self._known.adopt(head, note, final=final)
        with self._changed:
            if self._gathering is None or not self._leads:
                return
            if final:
                self._gathering.tell(note)
            else:
                self._gathering.gather(head, note)


def _party_of(policy: Policy, cosigner: str) -> str:
    """Return whose cosign key has this name; the policy names each "<party>/<node>"."""
    names = (witness.name for witness in policy.witnesses if witness.vkey.name == cosigner)
    return next(names, "").partition("/")[0]
