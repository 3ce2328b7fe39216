"""Answer files: a question, and the receipts and item proofs that its answer follows from.

An answer itself is not in the file: whoever verifies it derives from the proven events again which
items are linked. An uncompressed tar in fixed order; layout: docs/protocol.md, section 14.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from lotmark import canonical_json
from lotmark.canonical_json import JsonValue
from lotmark.errors import MalformedError
from lotmark.item_proof import ITEM_PROOF_SIZE_MAX
from lotmark.json_fields import JsonFields
from lotmark.snapshot import UnknownVersionError
from lotmark.tlog_proof import parse_proof
from lotmark.ustar import TarReader, TarWriter
from lotmark.verify.receipt import RECEIPT_SIZE_MAX

FORMAT = "lotmark/answer/v1"
HEAD_NAME = "answer.json"
HEAD_SIZE_MAX = 64 << 10
RECEIPTS_MAX = 100_000
ITEM_PROOFS_MAX = 1_000

_FORMAT_FAMILY = "lotmark/answer/v"
_MEMBERS = ("format", "chain_id", "question", "receipts", "item_proofs")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """What an answer file says it holds."""

    chain_id: bytes
    question: Mapping[str, JsonValue] = field(default_factory=dict)  # as it was asked
    receipt_count: int
    item_proof_count: int

    def to_json(self) -> bytes:
        """Return the one encoding."""
        return canonical_json.dump(
            {
                "format": FORMAT,
                "chain_id": self.chain_id.hex(),
                "question": dict(self.question),
                "receipts": str(self.receipt_count),
                "item_proofs": str(self.item_proof_count),
            }
        )


def _receipt_name(number: int) -> str:
    return f"receipts/{number:06}.txt"


def _item_proof_name(number: int) -> str:
    return f"items/{number:06}.bin"


def write_answer(
    out: BinaryIO,
    *,
    chain_id: bytes,
    question: Mapping[str, JsonValue],
    receipts: Sequence[bytes],
    item_proofs: Sequence[bytes] = (),
) -> None:
    """Write an answer file.

    Args:
        out: Where to; written from front to back.
        chain_id: Of the ledger.
        question: What was asked, in whatever words: ASCII keys; integers of 64 bits as strings.
        receipts: One for each event of the answer, in any order; of equal ones one is kept.
        item_proofs: Of items whose history belongs to the answer.

    Raises:
        MalformedError: There are too many, the question is too long, or a receipt is none.
    """
    placed = {parse_proof(raw, size_max=RECEIPT_SIZE_MAX).index: raw for raw in receipts}
    head = AnswerHead(
        chain_id=chain_id,
        question=question,
        receipt_count=len(placed),
        item_proof_count=len(item_proofs),
    )
    _check_counts(head)
    raw_head = head.to_json()
    if len(raw_head) > HEAD_SIZE_MAX:
        raise MalformedError(f"the question takes {len(raw_head)} bytes; {HEAD_SIZE_MAX} are room")
    tar = TarWriter(out)
    tar.write(HEAD_NAME, len(raw_head), [raw_head])
    for number, (_, raw) in enumerate(sorted(placed.items())):
        tar.write(_receipt_name(number), len(raw), [raw])
    for number, raw in enumerate(item_proofs):
        tar.write(_item_proof_name(number), len(raw), [raw])
    tar.finish()


def _check_counts(head: AnswerHead) -> None:
    for what, count, most in (
        ("receipts", head.receipt_count, RECEIPTS_MAX),
        ("item proofs", head.item_proof_count, ITEM_PROOFS_MAX),
    ):
        if count > most:
            raise MalformedError(f"{count} {what}; an answer file holds at most {most}")


class AnswerReader:
    """An answer file. Its parts are taken in the order of the methods, each to its end."""

    def __init__(self, source: BinaryIO) -> None:
        """Read what it says it holds.

        Raises:
            CutOffError: The file ends too early.
            UnknownVersionError: It is of a later version.
            MalformedError: It is no answer file.
        """
        self._tar = TarReader(source)
        self.head = _parse_head(self._whole(HEAD_NAME, HEAD_SIZE_MAX))

    def receipts(self) -> Iterator[bytes]:
        """Yield the receipts; nothing is verified yet.

        Raises:
            CutOffError: The file ends too early.
            MalformedError: It breaks the format.
        """
        for number in range(self.head.receipt_count):
            yield self._whole(_receipt_name(number), RECEIPT_SIZE_MAX)

    def item_proofs(self) -> Iterator[bytes]:
        """Yield the item proofs, and then check that the file ends.

        Raises:
            CutOffError: The file ends too early.
            MalformedError: It breaks the format, or something follows.
        """
        for number in range(self.head.item_proof_count):
            yield self._whole(_item_proof_name(number), ITEM_PROOF_SIZE_MAX)
        self._tar.finish()

    def _whole(self, name: str, size_max: int) -> bytes:
        self._tar.enter(name, size_max=size_max)
        raw = self._tar.read(self._tar.remaining)
        self._tar.leave()
        return raw


def _parse_head(raw: bytes) -> AnswerHead:
    value = canonical_json.load(raw, size_max=HEAD_SIZE_MAX)
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        if isinstance(found, str) and found.startswith(_FORMAT_FAMILY):
            raise UnknownVersionError(
                f"the answer is of format {found[:40]!a}; this release knows {FORMAT} only"
            )
        raise MalformedError(f"{HEAD_NAME} names no format, but {ascii(found)[:40]}")
    fields = JsonFields(value, _MEMBERS, place="answer")
    assert isinstance(value, dict), "or it would not have its members"
    question = value["question"]
    if not isinstance(question, dict):
        raise MalformedError("answer.question is no object")
    head = AnswerHead(
        chain_id=fields.hex("chain_id", size=32),
        question=question,
        receipt_count=fields.u64("receipts"),
        item_proof_count=fields.u64("item_proofs"),
    )
    _check_counts(head)
    return head


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """An answer file as a whole."""

    head: AnswerHead
    receipts: Sequence[bytes]
    item_proofs: Sequence[bytes]


def read_answer(source: BinaryIO) -> AnswerParts:
    """Return all that an answer file holds; nothing is verified yet.

    Raises:
        CutOffError: The file ends too early.
        UnknownVersionError: It is of a later version.
        MalformedError: It is no answer file.
    """
    reader = AnswerReader(source)
    return AnswerParts(reader.head, list(reader.receipts()), list(reader.item_proofs()))
