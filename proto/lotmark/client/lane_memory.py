"""The newest batch that a key signed in a lane, kept beside the key: no number is used twice.

Where a lane stands is the node's word, and unsigned. A node that was restored from an old copy, or
lies, names a number that the key has used; a second batch with that number is evidence against the
key for ever. So each lane has a file `<key file>.lane-<lane>-<start of the public key>`, which
holds the signed batch itself: its number, its id, and the bytes to send again where they never
arrived.
"""

import os
from pathlib import Path

from lotmark.batch import BATCH_SIZE_MAX, ZERO_HASH, Batch, parse_one_batch
from lotmark.ed25519 import verify
from lotmark.errors import MalformedError, ProtocolError, SignatureError

_KEY_HEX_SIZE = 16  # of the public key, so that a new key in the old one's file starts afresh


class LaneStateError(ProtocolError):
    """The node shows a lane as it cannot be after what this key signed; nothing was signed."""


class LaneMemoryError(ProtocolError):
    """What was signed last in a lane cannot be read or kept; nothing was sent."""


class LaneMemory:
    """The file of one lane; whoever uses it holds `sole_signer`."""

    def __init__(self, key_file: Path, public_key: bytes, *, chain_id: bytes, lane: int) -> None:
        """Name the file; it is opened by the methods."""
        self._public_key = public_key
        self._chain_id = chain_id
        self._lane = lane
        start = public_key.hex()[:_KEY_HEX_SIZE]
        self.path = key_file.with_name(f"{key_file.name}.lane-{lane}-{start}")

    def keep(self, batch: Batch) -> None:
        """Remember a batch that was signed, before it is sent; on disk when this returns.

        Raises:
            LaneMemoryError: It cannot be written.
        """
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(batch.raw)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise LaneMemoryError(
                f"{self.path} cannot be written: {error.strerror}; the folder of the batch key must"
                " be one that this process can write to, with room for 1 MiB for each lane"
            ) from error

    def missing_on(self, node: str, sequence: int, batch_id: bytes) -> Batch | None:
        """Return the remembered batch where the node is to be sent it first; None: it has it.

        Args:
            node: Who says so, for messages.
            sequence: The newest number of the lane, as the node says.
            batch_id: That batch's id; zero where there is none.

        Raises:
            LaneStateError: What the node says does not fit what is remembered.
            LaneMemoryError: The file cannot be read, or is damaged.
        """
        last = self._read()
        if last is None:
            return None
        header = last.header
        if sequence > header.sequence:  # another holder of the key has sent more
            return None
        if (sequence, batch_id) == (header.sequence, last.batch_id):
            return None
        if (sequence + 1, batch_id) == (header.sequence, header.previous):
            return last
        raise LaneStateError(
            f"this key signed number {header.sequence} of lane {self._lane} last, batch"
            f" {last.batch_id.hex()}, but {node} shows the lane at number {sequence}, batch"
            f" {batch_id.hex() if batch_id != ZERO_HASH else 'none'}; to sign a used number again"
            " would go on record against the key. The last batch may still be on its way: try"
            " again in a minute. Else the node was restored from an old copy, or shows a false"
            " state: tell its operator, and use another lane with --lane, or have this one closed"
        )

    def _read(self) -> Batch | None:
        try:
            with self.path.open("rb") as file:
                raw = file.read(BATCH_SIZE_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LaneMemoryError(
                f"{self.path} cannot be read: {error.strerror}; it holds what this key signed last"
                " in the lane: make it readable, or use another lane with --lane"
            ) from error
        try:
            batch = parse_one_batch(raw)
            header = batch.header
            if batch.carried_root != header.events_root:
                raise MalformedError("the events are not those that were signed")
            place = (header.chain_id, header.signer, header.lane)
            if place != (self._chain_id, self._public_key, self._lane):
                raise MalformedError("it is of another chain, key or lane")
            verify(header.signer, batch.signed_message, batch.signature)
        except (MalformedError, SignatureError) as error:
            raise LaneMemoryError(
                f"{self.path} does not hold what this key signed last in the lane: {error}; use"
                " another lane with --lane"
            ) from error
        return batch


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; Windows cannot open a folder for it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
