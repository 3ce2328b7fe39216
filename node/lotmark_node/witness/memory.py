"""What a witness has cosigned last of each log: on disk before a cosignature leaves.

It is one file, replaced as a whole, that holds the cosigned notes themselves: each is checked by
the witness's own cosignature when it is read. Only `create_memory` makes it, together with the key.
A start that finds none refuses, because a witness that has forgotten could cosign a second history.
An older copy of the whole folder is not seen here: it must never be started.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from lotmark import canonical_json
from lotmark.c2sp_encoding import decode_base64, encode_base64
from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.cosignature import verify_cosignature
from lotmark.errors import MalformedError, ProtocolError
from lotmark.json_fields import JsonFields
from lotmark.key_file import KeyFileError, write_new_file
from lotmark.signed_note import Note, VerifierKey, format_note, format_vkey, parse_note
from lotmark_consensus.disk import make_folder, sync_folder
from lotmark_node.witness.errors import MemoryRefused

MEMORY_SIZE_MAX = 16 << 20  # over 80 logs whose notes are all as large as a request may be

_NAME = "cosigned.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The newest checkpoint of one log that this witness has cosigned."""

    checkpoint: Checkpoint
    note: Note  # with the log's signatures and this witness's


def create_memory(folder: Path, vkey: VerifierKey) -> None:
    """Make the memory of a new cosign key, which has cosigned nothing yet; on disk at the return.

    Args:
        folder: Where to; it is made where it is missing.
        vkey: The witness's verifier key, of type 0x04.

    Raises:
        KeyFileError: There is a memory already, or it cannot be written.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise KeyFileError(f"{folder} cannot be made: {error.strerror}") from error
    write_new_file(folder / _NAME, _dump(vkey, []))


def _dump(vkey: VerifierKey, notes: list[Note]) -> bytes:
    return canonical_json.dump(
        {
            "version": _VERSION,
            "cosigner": format_vkey(vkey),
            "logs": [{"note": encode_base64(format_note(note))} for note in notes],
        }
    )


class WitnessMemory:
    """The open memory of one witness, which no other process can open meanwhile.

    Not for several threads at once.
    """

    def __init__(self, folder: Path, vkey: VerifierKey) -> None:
        """Open the memory of a key.

        Raises:
            MemoryRefused: There is none, it is not whole, another key's, or in use.
        """
        self._path, self._vkey = folder / _NAME, vkey
        self._folder_descriptor = _lock(folder)
        try:
            self._by_origin = _read(self._path, vkey)
        except BaseException:
            self.close()
            raise

    def last(self, origin: str) -> Cosigned | None:
        """Return what was cosigned last of a log, None where nothing was."""
        return self._by_origin.get(origin)

    def remember(self, note: Note) -> None:
        """Remember a note with this witness's cosignature; on disk when this returns.

        Raises:
            MemoryRefused, OSError: It could not be written: the cosignature must not leave.
        """
        cosigned = Cosigned(parse_checkpoint(note.text), note)
        by_origin = {**self._by_origin, cosigned.checkpoint.origin: cosigned}
        raw = _dump(self._vkey, [item.note for item in by_origin.values()])
        if len(raw) > MEMORY_SIZE_MAX:
            raise MemoryRefused(
                f"{self._path} would have {len(raw)} bytes, of {MEMORY_SIZE_MAX}; watch fewer logs"
            )
        new = self._path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        sync_folder(self._path.parent)
        self._by_origin = by_origin

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder_descriptor)


def _lock(folder: Path) -> int:
    """Return the folder's descriptor, locked until it is closed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MemoryRefused(
            f"{folder}: {error.strerror}; a witness starts only with the memory that was made with"
            " its key"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise MemoryRefused(f"{folder} is in use by another witness; stop it first") from error
    return descriptor


def _read(path: Path, vkey: VerifierKey) -> dict[str, Cosigned]:
    try:
        with path.open("rb") as file:
            raw = file.read(MEMORY_SIZE_MAX + 1)
    except OSError as error:
        raise MemoryRefused(
            f"{path}: {error.strerror}; what this key has cosigned is not known: restore the newest"
            " copy, or give this witness a new name and a new key"
        ) from error
    try:
        fields = JsonFields(
            canonical_json.load(raw, size_max=MEMORY_SIZE_MAX),
            ("version", "cosigner", "logs"),
            place="memory",
        )
        if (version := fields.number("version")) != _VERSION:
            raise MalformedError(f"version {version} is not {_VERSION}")
        if (cosigner := fields.text("cosigner")) != format_vkey(vkey):
            raise MemoryRefused(
                f"{path} is the memory of {cosigner[:200]!a}, not of {format_vkey(vkey)}; name the"
                " data folder that was made with this key"
            )
        cosigned = [_parse(log.text("note"), vkey) for log in fields.objects("logs", ("note",))]
    except ProtocolError as error:
        raise MemoryRefused(
            f"{path} is not whole: {error}; restore the newest copy, or give this witness a new"
            " name and a new key"
        ) from error
    return {item.checkpoint.origin: item for item in cosigned}


def _parse(text: str, vkey: VerifierKey) -> Cosigned:
    note = parse_note(decode_base64(text, what="note"))
    own = [item for item in note.signatures if (item.name, item.key_id) == (vkey.name, vkey.key_id)]
    if not own:
        raise MalformedError("a note has no cosignature by this witness")
    for signature in own:
        verify_cosignature(note.text, signature, vkey)
    return Cosigned(parse_checkpoint(note.text), note)
