"""Whether a checkpoint is cosigned: only what its log signed, and what grew from the last one.

Source: C2SP tlog-witness; the order of the checks is the specification's.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.errors import ProofError, SignatureError
from lotmark.merkle import EMPTY_ROOT, verify_consistency
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    Note,
    NoteSignature,
    VerifierKey,
    verifier_key,
    verify_note_signature,
)
from lotmark.tlog_witness import AddCheckpoint
from lotmark_node.witness.contradiction import keep_contradiction
from lotmark_node.witness.errors import (
    NotConsistent,
    NotSignedByLog,
    OldSizeDiffers,
    UnknownLog,
)
from lotmark_node.witness.memory import Cosigned, WitnessMemory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedLog:
    """A log whose checkpoints a witness cosigns."""

    origin: str
    vkeys: tuple[VerifierKey, ...]  # of type 0x01: any one of them speaks for the log
    chain_id: bytes | None = None  # of a Lotmark chain, whose genesis says who holds the keys


class Witness:
    """Judges checkpoints and cosigns, for any number of threads."""

    def __init__(
        self,
        *,
        name: str,
        key: PrivateKey,
        logs: Iterable[WatchedLog],
        data: Path,
        now_s: Callable[[], int],
    ) -> None:
        """Open the witness's memory.

        Args:
            name: The witness's key name.
            key: Its cosign key, used for nothing else.
            logs: The logs it watches, each of another origin.
            data: The folder of its memory, where contradictions are kept too.
            now_s: Clock, Unix time in seconds.

        Raises:
            MemoryRefused: The folder does not hold this key's memory.
        """
        self.vkey = verifier_key(name, COSIGNATURE_ED25519, key.public)
        self.logs = {log.origin: log for log in logs}
        self._key, self._data, self._now_s = key, data, now_s
        self._memory = WitnessMemory(data, self.vkey)
        # Held from the look at the memory until the disk has what follows: without it two
        # checkpoints of one size, or an older one after a newer one, could both be cosigned.
        self._lock = threading.Lock()

    def add(self, request: AddCheckpoint) -> NoteSignature:
        """Return a cosignature of the request's checkpoint, which is in the memory then.

        Raises:
            CheckpointRefused: It is not cosigned; the leaf says why.
            MemoryRefused, OSError: The memory could not be written.
        """
        checkpoint = parse_checkpoint(request.note.text)
        log = self.logs.get(checkpoint.origin)
        if log is None:
            raise UnknownLog(f"no log of origin {checkpoint.origin[:120]!a} is watched here")
        by_log = _log_signatures(request.note, log)
        signed = Note(request.note.text, by_log)
        with self._lock:
            last = self._memory.last(checkpoint.origin)
            if last and _contradict(last.checkpoint, checkpoint):
                keep_contradiction(self._data, log.chain_id, last.note, signed)
            _check_growth(last, checkpoint, request)
            cosignature = cosign(
                signed.text, name=self.vkey.name, private_key=self._key, time_s=self._now_s()
            )
            # The same tree once more needs no write: the memory knows it.
            if last is None or last.checkpoint.size < checkpoint.size:
                self._memory.remember(Note(signed.text, (*by_log, cosignature)))
        logger.debug(
            "checkpoint cosigned", extra={"origin": checkpoint.origin, "size": checkpoint.size}
        )
        return cosignature

    def newest(self, origin: str) -> Note | None:
        """Return the newest note cosigned of a log, None where none was."""
        with self._lock:
            last = self._memory.last(origin)
        return last.note if last else None

    def close(self) -> None:
        """Let go of the memory; nothing may be added then."""
        with self._lock:
            self._memory.close()


def _log_signatures(note: Note, log: WatchedLog) -> tuple[NoteSignature, ...]:
    """Return the signatures of the log's keys, all verified; those of unknown keys say nothing."""
    known = {(vkey.name, vkey.key_id): vkey for vkey in log.vkeys}
    by_log = tuple(item for item in note.signatures if (item.name, item.key_id) in known)
    if not by_log:
        raise NotSignedByLog(f"no key of {log.origin[:120]!a} signed the checkpoint")
    try:
        for identity in {(item.name, item.key_id) for item in by_log}:
            verify_note_signature(note, known[identity])
    except SignatureError as error:
        raise NotSignedByLog(f"a signature of the log does not hold: {error}") from error
    return by_log


def _contradict(one: Checkpoint, other: Checkpoint) -> bool:
    return one.size == other.size and one.root != other.root


def _check_growth(last: Cosigned | None, checkpoint: Checkpoint, request: AddCheckpoint) -> None:
    """Check that the tree is shown to begin with the one cosigned last.

    Raises:
        OldSizeDiffers, NotConsistent: It is not.
    """
    last_size = last.checkpoint.size if last else 0
    if request.old_size != last_size:
        raise OldSizeDiffers(
            f"size {last_size} was cosigned last, the proof starts from {request.old_size}",
            size=last_size,
        )
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise NotConsistent("a log of size 0 has the root of the empty tree, this one another")
    if last is None or last_size == 0:
        if request.proof:
            raise NotConsistent(f"a proof from size 0 is empty, not {len(request.proof)} hashes")
        return
    try:
        verify_consistency(
            last_size, checkpoint.size, last.checkpoint.root, checkpoint.root, request.proof
        )
    except ProofError as error:
        raise NotConsistent(str(error)) from error
