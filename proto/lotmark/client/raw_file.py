"""Whether a file is the one that an event anchored: its content stays here, digests are compared.

A digest with a salt is looked for under the file's name, and made anew from the salt that stands in
the event.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lotmark.client.provenance import ProvenanceReader
from lotmark.client.provenance_records import AnswerHead, ProvenEvent
from lotmark.errors import ProofError
from lotmark.v1 import event_pb2

PIECE_SIZE = 1 << 20
SALTS_PER_PASS_MAX = 64  # digests that are made in one reading of the file


class RawState(StrEnum):
    """What is known of a file."""

    MATCH = "match"  # an event anchors this content
    MISMATCH = "mismatch"  # events anchor a file of its name, with another content
    UNKNOWN = "unknown"  # no event anchors it, or a file of its name


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredFile:
    """A file that a proven event anchors."""

    proven: ProvenEvent
    file: event_pb2.FileDigest | None  # None: the digest is that of a report or a document
    is_same: bool  # the content is the very one

    @property
    def index(self) -> int:
        """Index of the event's entry."""
        return self.proven.findings.index


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFileVerdict:
    """What the ledger says of a file."""

    state: RawState
    head: AnswerHead
    sha256: bytes
    size: int
    anchors: Sequence[AnchoredFile]  # that match; where none does: those of its name
    more: bool  # there are further events that were not looked at


def verify_raw_file(
    reader: ProvenanceReader,
    path: Path,
    *,
    item: str = "",
    progress: Callable[[int], None] | None = None,
) -> RawFileVerdict:
    """Return what the ledger says of a file of any size; what it says is proven.

    Args:
        reader: Asks the node.
        path: The file; its name without the folder is sent, its content is not.
        item: The item that it is said to be about; "": any.
        progress: Called with the number of bytes that were just read.

    Raises:
        NotOnLedgerError, AmbiguousItemError: The item is none that a caller can read about, or
            several.
        ProofError: What the node gave does not hold.
        ProtocolError, ConnectionError, TimeoutError: As for every call.
        OSError: The file cannot be read.
    """
    (sha256,), size = _digests(path, [b""], progress)
    told = reader.raw_file(sha256, name=path.name, item=item, fresh=True)
    same_digest = {each.index for each in told.same_digest}
    proven = list(reader.prove(same_digest | {each.index for each in told.same_name}, None))
    salts = {
        file.salt
        for each in proven
        for file in each.event.files
        if file.name == path.name and file.size == size
    }
    digest_of = _salted(path, sorted(salts), progress) | {b"": sha256}
    anchors = [_anchor(each, path.name, digest_of) for each in proven]
    matching = [each for each in anchors if each.is_same]
    if same_digest - {each.index for each in matching}:
        raise ProofError("the node named an event that does not anchor this content")
    state = RawState.MATCH if matching else RawState.MISMATCH if anchors else RawState.UNKNOWN
    return RawFileVerdict(
        state=state,
        head=told.head,
        sha256=sha256,
        size=size,
        anchors=matching or anchors,
        more=told.more,
    )


def _salted(
    path: Path, salts: Sequence[bytes], progress: Callable[[int], None] | None
) -> dict[bytes, bytes]:
    """Return the file's digest by salt."""
    digests: dict[bytes, bytes] = {}
    for at in range(0, len(salts), SALTS_PER_PASS_MAX):
        part = salts[at : at + SALTS_PER_PASS_MAX]
        digests.update(zip(part, _digests(path, part, progress)[0], strict=True))
    return digests


def _digests(
    path: Path, salts: Sequence[bytes], progress: Callable[[int], None] | None
) -> tuple[list[bytes], int]:
    """Return the SHA-256 of each salt and the content, and the content's size."""
    hashers = [hashlib.sha256(salt) for salt in salts]
    size = 0
    for piece in _pieces(path):
        size += len(piece)
        for hasher in hashers:
            hasher.update(piece)
        if progress is not None:
            progress(len(piece))
    return [hasher.digest() for hasher in hashers], size


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_SIZE):
            yield piece


def _anchor(proven: ProvenEvent, name: str, digest_of: dict[bytes, bytes]) -> AnchoredFile:
    """Return what an event says of the file: its very digest, or that of one of its name."""
    event = proven.event
    for file in event.files:
        if digest_of.get(file.salt) == file.sha256:
            return AnchoredFile(proven=proven, file=file, is_same=True)
    body_name = event.WhichOneof("body")
    body = [] if body_name is None else getattr(event, body_name).ListFields()
    if any(value == digest_of[b""] for _, value in body):
        return AnchoredFile(proven=proven, file=None, is_same=True)
    named = [each for each in event.files if each.name == name]
    return AnchoredFile(proven=proven, file=next(iter(named), None), is_same=False)
