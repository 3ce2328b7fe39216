"""Checkpoints of C2SP: what a log says about itself at one size, as a note's text.

    example.com/behind-the-sofa                     <- origin: which log
    20852163                                        <- how many leaves
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=    <- root of its RFC 6962 tree

Source: C2SP tlog-checkpoint. Our own checkpoints have no extension lines.
"""

from dataclasses import dataclass

from lotmark.c2sp_encoding import UINT64_MAX, decode_base64, decode_decimal, encode_base64
from lotmark.errors import MalformedError
from lotmark.merkle import HASH_SIZE
from lotmark.signed_note import check_note_text


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's size and root; true only as far as somebody signed it."""

    origin: str
    size: int  # leaves
    root: bytes
    extensions: tuple[str, ...] = ()  # further lines of other logs: signed, but opaque

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line:
                raise MalformedError(f"checkpoint line {line[:80]!a} is empty or several")
        if not 0 <= self.size <= UINT64_MAX:
            raise MalformedError(f"checkpoint size {self.size} is not in 0..{UINT64_MAX}")
        if len(self.root) != HASH_SIZE:
            raise MalformedError(f"checkpoint root has {len(self.root)} bytes, not {HASH_SIZE}")
        check_note_text(self.text())

    def text(self) -> str:
        """Return the note text, which is what gets signed and cosigned."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(note_text: str) -> Checkpoint:
    """Return the checkpoint whose text is exactly `note_text`.

    Raises:
        MalformedError: There is none.
    """
    lines = note_text.split("\n")
    if len(lines) < 4 or lines[-1]:
        raise MalformedError(
            f"a checkpoint is three or more lines, each with a newline: {note_text[:80]!a}"
        )
    origin, size, root, *extensions = lines[:-1]
    return Checkpoint(
        origin,
        decode_decimal(size, what="checkpoint size"),
        decode_base64(root, what="checkpoint root"),
        tuple(extensions),
    )
