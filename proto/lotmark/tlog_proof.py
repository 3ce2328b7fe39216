"""Proofs of C2SP that a log holds an entry, to be verified anywhere and without a network.

    c2sp.org/tlog-proof@v1
    extra YWdlLXYxLjIuMQ==                          <- optional, opaque and not authenticated
    index 1                                         <- of the entry in the log
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=    <- inclusion path, leaf's sibling first
                                                    <- the first empty line
    example.com/fancylog                            <- the checkpoint with its signatures
    ...

Source: C2SP tlog-proof. What a proof proves, `tlog_policy.Policy.check` says of its checkpoint and
`merkle.verify_inclusion` of its path.
"""

from dataclasses import dataclass

from lotmark.c2sp_encoding import UINT64_MAX, decode_base64, decode_decimal, encode_base64
from lotmark.errors import MalformedError
from lotmark.merkle import HASH_SIZE

PATH_HASHES_MAX = 64  # a tree of 2^64 leaves is that high

_FIRST_LINE = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Where an entry stands in a log, its way to a root, and who vouches for that root."""

    index: int
    path: tuple[bytes, ...]
    checkpoint_note: bytes  # verbatim, for `signed_note.parse_note`
    extra: bytes | None = None  # the application's own; b"" is not the same as none

    def __post_init__(self) -> None:
        if not 0 <= self.index <= UINT64_MAX:
            raise MalformedError(f"proof index {self.index} is not in 0..{UINT64_MAX}")
        if len(self.path) > PATH_HASHES_MAX:
            raise MalformedError(
                f"proof path has {len(self.path)} hashes; at most {PATH_HASHES_MAX} are possible"
            )
        for at, sibling in enumerate(self.path):
            if len(sibling) != HASH_SIZE:
                raise MalformedError(f"proof path[{at}] has {len(sibling)} bytes, not {HASH_SIZE}")
        if not self.checkpoint_note:
            raise MalformedError("a proof ends with a checkpoint, this one has none")


def format_proof(proof: TlogProof) -> bytes:
    """Return the bytes that `parse_proof` reads as `proof`."""
    lines = [_FIRST_LINE]
    if proof.extra is not None:
        lines.append(f"extra {encode_base64(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(encode_base64(sibling) for sibling in proof.path)
    head = "".join(f"{line}\n" for line in lines)
    return head.encode() + b"\n" + proof.checkpoint_note


def parse_proof(raw: bytes, *, size_max: int) -> TlogProof:
    """Return a proof as it was received, with nothing in it verified yet.

    Raises:
        MalformedError: It is too long or does not follow the format.
    """
    if len(raw) > size_max:
        raise MalformedError(f"a proof has {len(raw)} bytes; at most {size_max} are allowed")
    head, _, checkpoint_note = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError(f"a proof is ASCII up to its checkpoint: {error}") from error
    if lines.pop(0) != _FIRST_LINE:
        raise MalformedError(f"a proof starts with the line {_FIRST_LINE}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), what="proof extra")
    if not lines or not lines[0].startswith("index "):
        raise MalformedError("a proof has a line with its index after the first line and the extra")
    index = decode_decimal(lines.pop(0).removeprefix("index "), what="proof index")
    path = tuple(
        decode_base64(line, what=f"proof path[{at}]")
        for at, line in enumerate(lines[: PATH_HASHES_MAX + 1])
    )
    return TlogProof(index, path, checkpoint_note, extra)
