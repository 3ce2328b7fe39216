"""From a file to a verdict: tells what it is, has it checked, and words the answer."""

from collections.abc import Sequence
from enum import Enum
from typing import BinaryIO

from lotmark.answer_file import HEAD_NAME as ANSWER_HEAD_NAME
from lotmark.answer_file import AnswerReader
from lotmark.batch import BatchHeader, ClockState
from lotmark.errors import MalformedError
from lotmark.item_proof import BEGINNING as ITEM_PROOF_BEGINNING
from lotmark.item_proof import ITEM_PROOF_SIZE_MAX, parse_item_proof
from lotmark.outcome import Outcome
from lotmark.signed_note import parse_note
from lotmark.snapshot import MANIFEST_NAME
from lotmark.snapshot_reader import SnapshotReader
from lotmark.verify.answer import answer_verdict, verify_answer
from lotmark.verify.history_verdict import history_verdict
from lotmark.verify.item_history import verify_item_proof
from lotmark.verify.receipt import (
    RECEIPT_SIZE_MAX,
    ReceiptFindings,
    parse_receipt,
    verify_receipt,
)
from lotmark.verify.report import (
    Conclusion,
    FaultFound,
    Flag,
    UndecidedError,
    Verdict,
    blaming,
    time_text,
)
from lotmark.verify.structure import Progress, StructureFindings, check_structure

_PEEK_SIZE = 32


class FileKind(Enum):
    """What is verified; the values are how such a file begins."""

    SNAPSHOT = MANIFEST_NAME.encode("ascii") + b"\0"
    RECEIPT = b"c2sp.org/tlog-proof@v1\n"
    ITEM_PROOF = ITEM_PROOF_BEGINNING
    ANSWER = ANSWER_HEAD_NAME.encode("ascii") + b"\0"

    @property
    def word(self) -> str:
        """What programs call it."""
        return self.name.lower()

    @property
    def spoken(self) -> str:
        """What people call it."""
        article = "an" if self in (FileKind.ITEM_PROOF, FileKind.ANSWER) else "a"
        return f"{article} {self.word.replace('_', ' ')}"


def kind_of(source: BinaryIO) -> FileKind | None:
    """Tell what a file is by its first bytes, and go back to its beginning."""
    beginning = source.read(_PEEK_SIZE)
    source.seek(0)
    return next((kind for kind in FileKind if beginning.startswith(kind.value)), None)


def judge_file(
    source: BinaryIO,
    *,
    chain_id: bytes | None,
    genesis_json: bytes | None,
    genesis_name: str = "the genesis",
    progress: Progress | None = None,
) -> Verdict:
    """Check a snapshot by its structure, a receipt, an item proof, or an answer.

    Args:
        source: The file.
        chain_id: The pinned chain id, from a source the reader trusts; without one there is no
            verdict.
        genesis_json: The genesis of the ledger, which a snapshot alone has inside.
        genesis_name: What a message calls the genesis, such as its path.
        progress: Called after each block of a snapshot.
    """
    kind = kind_of(source)
    if kind is None:
        return unknown_file()
    try:
        if kind is FileKind.SNAPSHOT and genesis_json is not None:
            raise UndecidedError(
                f"{genesis_name} is not used: a snapshot has its genesis inside, which is held"
                " against --chain-id; leave --genesis out"
            )
        if chain_id is None:
            return _unpinned(source, kind)
        if kind is FileKind.SNAPSHOT:
            findings = check_structure(source, chain_id=chain_id, progress=progress)
            return snapshot_verdict(findings)
        if genesis_json is None:
            raise UndecidedError(
                f"{kind.spoken} is verified with the ledger's genesis: --genesis FILE"
            )
        return _judge_with_genesis(source, kind, chain_id, genesis_json, genesis_name)
    except (FaultFound, UndecidedError) as error:
        return failed_verdict(kind, error)


def _judge_with_genesis(
    source: BinaryIO, kind: FileKind, chain_id: bytes, genesis_json: bytes, genesis_name: str
) -> Verdict:
    """Check a file of a kind that does not hold the genesis."""
    match kind:
        case FileKind.ITEM_PROOF:
            raw = source.read(ITEM_PROOF_SIZE_MAX + 1)
            history = verify_item_proof(
                raw, genesis_json=genesis_json, chain_id=chain_id, genesis_name=genesis_name
            )
            return history_verdict(history, kind=kind.word, chain_id=chain_id)
        case FileKind.ANSWER:
            answer = verify_answer(
                source, genesis_json=genesis_json, chain_id=chain_id, genesis_name=genesis_name
            )
            return answer_verdict(answer, kind=kind.word, chain_id=chain_id)
        case _:
            raw = source.read(RECEIPT_SIZE_MAX + 1)
            receipt = verify_receipt(
                raw, genesis_json=genesis_json, chain_id=chain_id, genesis_name=genesis_name
            )
            return receipt_verdict(receipt)


def unknown_file() -> Verdict:
    """Return the verdict on a file of no known kind."""
    return Verdict(
        kind="",
        conclusion=Conclusion.CANNOT_TELL,
        text="the file is no snapshot, receipt, item proof or answer; its first bytes tell",
    )


def _unpinned(source: BinaryIO, kind: FileKind) -> Verdict:
    with blaming("file"):
        claimed = claimed_chain(source, kind)
    return Verdict(
        kind=kind.word,
        conclusion=Conclusion.CANNOT_TELL,
        chain_id=claimed,
        text=(
            f"no chain id is pinned. The file claims chain {claimed.hex()}; compare that with a"
            " source you trust, then pass it with --chain-id"
        ),
    )


def claimed_chain(source: BinaryIO, kind: FileKind) -> bytes:
    """Return the chain id that a file claims to be of.

    Raises:
        ProtocolError: It claims none.
    """
    if kind is FileKind.SNAPSHOT:
        return SnapshotReader(source).manifest.chain_id
    match kind:
        case FileKind.ANSWER:
            return AnswerReader(source).head.chain_id
        case FileKind.ITEM_PROOF:
            note = parse_item_proof(source.read(ITEM_PROOF_SIZE_MAX + 1)).checkpoint_note
        case _:
            note = parse_receipt(source.read(RECEIPT_SIZE_MAX + 1)).checkpoint_note
    origin = parse_note(note).text.partition("\n")[0]
    try:
        return bytes.fromhex(origin.rpartition("/")[2])
    except ValueError as error:
        raise MalformedError(f"the checkpoint's origin {origin[:120]!a} names no chain") from error


def failed_verdict(
    kind: FileKind, error: FaultFound | UndecidedError, *, ticks: Sequence[str] = ()
) -> Verdict:
    """Return the verdict that an error stands for; `ticks` is what held before it."""
    is_fault = isinstance(error, FaultFound)
    return Verdict(
        kind=kind.word,
        conclusion=Conclusion.INVALID if is_fault else Conclusion.CANNOT_TELL,
        text=str(error),
        fault=error.fault if isinstance(error, FaultFound) else None,
        ticks=ticks,
    )


def structure_ticks(findings: StructureFindings) -> list[str]:
    """Return what the structure of a sound snapshot shows, in short."""
    checkpoint = findings.checkpoint
    return [
        "structure",
        f"signatures {findings.signature_count:,}",
        "tree",
        f"checkpoint {len(checkpoint.parties)} of {checkpoint.party_count} parties",
    ]


def snapshot_verdict(findings: StructureFindings) -> Verdict:
    """Return the verdict on a snapshot whose structure is sound."""
    limits = "Rules and state were not executed again; for that: lotmark verify --level full."
    return worded_verdict(findings, limits=limits, ticks=structure_ticks(findings))


def worded_verdict(
    findings: StructureFindings,
    *,
    limits: str,
    ticks: Sequence[str],
    level: str = "structure",
    flags: Sequence[Flag] = (),
) -> Verdict:
    """Return the verdict on a snapshot in which no fault was found.

    Args:
        findings: What its structure shows.
        limits: What was not shown, in sentences.
        ticks: What was checked.
        level: How deep it was checked.
        flags: What a person should know besides.
    """
    checkpoint, manifest = findings.checkpoint, findings.manifest
    until = f"up to {time_text(findings.time_ms)} (size {manifest.size:,})"
    if not checkpoint.is_final:
        conclusion = Conclusion.CANNOT_TELL
        text = f"consistent {until}, but {checkpoint.standing}."
    else:
        conclusion = Conclusion.VALID
        if checkpoint.party_count == 1:
            text = f"consistent {until}; {checkpoint.standing}."
        else:
            text = f"{until}, {checkpoint.standing}."
        text += " Not shown by this file: anything after that time."
    return Verdict(
        kind=FileKind.SNAPSHOT.word,
        conclusion=conclusion,
        text=f"{text} {limits}".rstrip(),
        chain_id=findings.manifest.chain_id,
        ticks=ticks,
        flags=flags,
        details={
            "level": level,
            "first_height": str(findings.manifest.first_height),
            "last_height": str(findings.manifest.last_height),
            "size": str(findings.manifest.size),
            "time_ms": str(findings.time_ms),
            "batches": str(findings.batch_count),
            "events": str(findings.event_count),
            "checkpoint": checkpoint.to_json(),
        },
    )


def receipt_verdict(findings: ReceiptFindings) -> Verdict:
    """Return the verdict on a receipt in which no fault was found."""
    checkpoint, header = findings.checkpoint, findings.header
    said = (
        f"{findings.party} signed it {time_text(header.created_at_ms, precise=True)}"
        f" ({_clock_text(header)}); on the ledger at"
        f" {time_text(findings.block_time_ms, precise=True)} as entry {findings.index:,}"
    )
    if findings.outcome:
        said += f", refused: {_outcome_name(findings.outcome)}"
    if checkpoint.is_final:
        said += f"; cosigned by {', '.join(checkpoint.parties)}"
        if checkpoint.party_count == 1:
            said += ": on the word of one party"
    else:
        said = f"{said}; {checkpoint.standing}. Ask for the receipt again when it is final"
    return Verdict(
        kind=FileKind.RECEIPT.word,
        conclusion=Conclusion.VALID if checkpoint.is_final else Conclusion.CANNOT_TELL,
        text=said,
        chain_id=header.chain_id,
        flags=findings.flags(),
        details={
            "index": str(findings.index),
            "height": str(findings.height),
            "event_id": findings.event_id.hex(),
            "event_type": findings.event_type,
            "outcome": _outcome_name(findings.outcome),
            "party": findings.party,
            "holder": findings.holder,
            "created_at_ms": str(header.created_at_ms),
            "clock": header.clock.name.lower(),
            "clock_uncertainty_us": str(header.clock_uncertainty_us),
            "block_time_ms": str(findings.block_time_ms),
            "admissions": [
                {
                    "node": answer.node,
                    "admitted_at_ms": str(answer.admitted_at_ms),
                    "due_ms": str(answer.due_ms),
                }
                for answer in findings.admissions
            ],
            "checkpoint": checkpoint.to_json(),
        },
    )


def _clock_text(header: BatchHeader) -> str:
    if header.clock is ClockState.UNKNOWN:
        return "its clock's error is not known"
    word = "" if header.clock is ClockState.SYNCHRONISED else ", clock degraded"
    return f"±{header.clock_uncertainty_us / 1_000:g} ms{word}"


def _outcome_name(code: int) -> str:
    try:
        return Outcome(code).name
    except ValueError:
        return str(code)
