"""A log in memory, honest or with a second history, and the witness that watches it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from lotmark.checkpoint import Checkpoint
from lotmark.ed25519 import PrivateKey
from lotmark.merkle import consistency_path, leaf_hash, root
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    VerifierKey,
    sign_note,
    verifier_key,
)
from lotmark.tlog_witness import AddCheckpoint
from lotmark_node.witness.memory import create_memory
from lotmark_node.witness.witness import WatchedLog, Witness

ORIGIN = "log.example/1"
WITNESS_NAME = "witness.example/w1"
NOW_S = 1_766_448_000
LEAVES_MAX = 64


def private_key(label: str) -> PrivateKey:
    return PrivateKey.from_seed(hashlib.sha256(label.encode()).digest())


WITNESS_KEY = private_key("witness")
WITNESS_VKEY = verifier_key(WITNESS_NAME, COSIGNATURE_ED25519, WITNESS_KEY.public)


class GrowingLog:
    """A log of up to 64 leaves, of which any size can be shown."""

    def __init__(
        self, origin: str = ORIGIN, *, keys: Sequence[PrivateKey] = (), history: str = "honest"
    ) -> None:
        self.origin = origin
        self.keys = tuple(keys) or (private_key(origin),)
        self.leaves = [leaf_hash(f"{history} {index}".encode()) for index in range(LEAVES_MAX)]

    @property
    def vkeys(self) -> tuple[VerifierKey, ...]:
        return tuple(verifier_key(self.origin, ED25519, key.public) for key in self.keys)

    def watched(self, chain_id: bytes | None = None) -> WatchedLog:
        return WatchedLog(origin=self.origin, vkeys=self.vkeys, chain_id=chain_id)

    def note(self, size: int, *, by: PrivateKey | None = None) -> Note:
        text = Checkpoint(self.origin, size, root(self.leaves[:size])).text()
        return Note(text, (sign_note(text, self.origin, by or self.keys[0]),))

    def path(self, first: int, second: int) -> list[bytes]:
        return consistency_path(self.leaves[:second], first)

    def request(self, old_size: int, size: int) -> AddCheckpoint:
        path = self.path(old_size, size) if 0 < old_size < size else ()
        return AddCheckpoint(old_size, tuple(path), self.note(size))


LOG = GrowingLog()
FORKED = GrowingLog(history="forked")  # the same key signs another past


def open_witness(data: Path, *logs: WatchedLog) -> Witness:
    """Return a witness on its memory, which is made where there is none yet."""
    if not data.exists():
        create_memory(data, WITNESS_VKEY)
    return Witness(
        name=WITNESS_NAME,
        key=WITNESS_KEY,
        logs=logs or [LOG.watched()],
        data=data,
        now_s=lambda: NOW_S,
    )
