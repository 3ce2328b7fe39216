"""Requests to witnesses of C2SP, and their answers: has a log only grown since it was last seen?

    old 20852014                                    <- the size the witness has seen last
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=    <- consistency path from there
    ...
                                                    <- the first empty line
    example.com/behind-the-sofa                     <- the newest checkpoint, signed by its log
    ...

A witness answers with its cosignature lines, or, where it has seen another size last, with that
size. Source: C2SP tlog-witness, add-checkpoint and the retrieval for monitors. `sign-subtree` is
optional there and not spoken here.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from lotmark.c2sp_encoding import UINT64_MAX, decode_base64, decode_decimal, encode_base64
from lotmark.checkpoint import parse_checkpoint
from lotmark.errors import MalformedError
from lotmark.merkle import HASH_SIZE
from lotmark.signed_note import Note, NoteSignature, format_note, parse_note

REQUEST_SIZE_MAX = 128 << 10  # room for 16 signatures of ML-DSA-44, which are 3 KB of base64 each
ANSWER_SIZE_MAX = 64 << 10
PROOF_HASHES_MAX = 63

ADD_CHECKPOINT_PATH = "/add-checkpoint"
SIZE_CONTENT_TYPE = "text/x.tlog.size"

_OLD = "old "


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint for a witness, with the proof that its log grew to it."""

    old_size: int  # the one the witness has cosigned last, as far as the sender knows
    proof: tuple[bytes, ...]  # from there; empty from 0 or from the same size
    note: Note  # a checkpoint, whose signatures nobody has verified yet

    def __post_init__(self) -> None:
        size = parse_checkpoint(self.note.text).size
        if not 0 <= self.old_size <= size <= UINT64_MAX:
            raise MalformedError(
                f"the old size is 0 to that of the checkpoint, {size}, and not {self.old_size}"
            )
        if len(self.proof) > PROOF_HASHES_MAX:
            raise MalformedError(
                f"a consistency proof has {len(self.proof)} hashes;"
                f" at most {PROOF_HASHES_MAX} are allowed"
            )
        for at, value in enumerate(self.proof):
            if len(value) != HASH_SIZE:
                raise MalformedError(f"proof[{at}] has {len(value)} bytes, not {HASH_SIZE}")


def format_add_checkpoint(request: AddCheckpoint) -> bytes:
    """Return the body that `parse_add_checkpoint` reads as `request`."""
    lines = (f"{_OLD}{request.old_size}", *map(encode_base64, request.proof))
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + format_note(request.note)


def parse_add_checkpoint(raw: bytes) -> AddCheckpoint:
    """Return a request as it was received; neither proof nor signatures are verified yet.

    Raises:
        MalformedError: It is too long, does not follow the format, or its note is no checkpoint.
    """
    if len(raw) > REQUEST_SIZE_MAX:
        raise MalformedError(
            f"a request has {len(raw)} bytes; at most {REQUEST_SIZE_MAX} are allowed"
        )
    head, separator, note = raw.partition(b"\n\n")
    if not separator:
        raise MalformedError("a request has an empty line before its checkpoint")
    try:
        old, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError(f"a request is ASCII up to its checkpoint: {error}") from error
    if not old.startswith(_OLD):
        raise MalformedError(f"the first line is {old[:40]!a}, not 'old' and a size")
    return AddCheckpoint(
        decode_decimal(old.removeprefix(_OLD), what="old size"),
        tuple(
            decode_base64(line, what=f"proof[{at}]")
            for at, line in enumerate(proof[: PROOF_HASHES_MAX + 1])
        ),
        parse_note(note),
    )


def format_cosignatures(signatures: Iterable[NoteSignature], note_text: str) -> bytes:
    """Return the answer to a checkpoint that was cosigned: signature lines and nothing else."""
    note = format_note(Note(note_text, tuple(signatures)))
    return note.removeprefix(f"{note_text}\n".encode())


def parse_cosignatures(raw: bytes, note_text: str) -> tuple[NoteSignature, ...]:
    """Return the signatures that a witness answered to the checkpoint `note_text`.

    Not verified, and maybe of keys that nobody knows: those are to be ignored.

    Raises:
        MalformedError: It is too long, or not signature lines only.
    """
    note = parse_note(f"{note_text}\n".encode() + _bounded(raw))
    if note.text != note_text:
        raise MalformedError("an answer has signature lines only, this one has an empty line")
    return note.signatures


def format_size(size: int) -> bytes:
    """Return the answer to a request from another size than the last one cosigned."""
    return f"{size}\n".encode()


def parse_size(raw: bytes) -> int:
    """Return the size that a witness says it has cosigned last.

    Raises:
        MalformedError: It is not one decimal number and a newline.
    """
    try:
        text = _bounded(raw).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError(f"a size is ASCII: {error}") from error
    if not text.endswith("\n"):
        raise MalformedError(f"size {text[:40]!a} does not end in a newline")
    return decode_decimal(text[:-1], what="size")


def _bounded(raw: bytes) -> bytes:
    if len(raw) > ANSWER_SIZE_MAX:
        raise MalformedError(f"an answer has {len(raw)} bytes; at most {ANSWER_SIZE_MAX} count")
    return raw


def checkpoint_path(origin: str) -> str:
    """Return the path under which a witness shows what it cosigned last of a log."""
    return f"/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
