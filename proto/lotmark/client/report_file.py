"""A report's file and the receipt beside it: `report-4711.toml` and `report-4711.receipt`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lotmark import merkle
from lotmark.client.client import Client
from lotmark.client.connection import read_pinned_genesis
from lotmark.client.errors import ClientError, NotAcknowledgedYet
from lotmark.client.sealing import EarlierSeal, Sealing, start_sealing
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings
from lotmark.document_source import DOCUMENT_SIZE_MAX
from lotmark.errors import ProtocolError
from lotmark.event import NONCE_SIZE, check_event
from lotmark.key_file import write_new_file
from lotmark.report import Report, read_report
from lotmark.verify.receipt import RECEIPT_SIZE_MAX, parse_receipt, verify_receipt

RECEIPT_SUFFIX = ".receipt"
ACKNOWLEDGED_S = 30.0  # for which a seal is waited for before it is left to the outbox


class ReceiptUnusable(ClientError):
    """What stands beside a report under its receipt's name is none of this ledger."""


class SealStanding(StrEnum):
    """How far a seal has come."""

    FINAL = "final"  # a quorum of parties has cosigned it: the receipt convinces everybody
    DURABLE = "durable"  # on the ledger; the receipt is to be fetched again once it is final
    QUEUED = "queued"  # in the outbox on this machine's disk


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedReport:
    """A report, and what is known of its seal."""

    report: Report
    standing: SealStanding
    is_new: bool  # made now; False: it was sealed, or on its way, before
    asked: bool  # a node has told that no other seal is in its place, or the receipt shows it
    event_id: bytes
    index: int | None  # of its entry
    receipt_file: Path | None
    trouble: str = ""  # why there is no receipt yet


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReceipt:
    """A receipt beside a report, verified."""

    file: Path
    seal: EarlierSeal
    is_final: bool


def read_report_file(file: Path) -> Report:
    """Return the report in a file; the files that it names stand beside it.

    Raises:
        MalformedError: It is no report, or lacks fields.
        OSError: It cannot be read.
    """
    with file.open("rb") as opened:
        raw = opened.read(DOCUMENT_SIZE_MAX + 1)
    return read_report(
        raw, name=str(file), folder=file.parent, nonce=lambda: os.urandom(NONCE_SIZE)
    )


def kept_seal(report: Report, file: Path, settings: ClientSettings) -> SealedReport | None:
    """Return the seal of which a final receipt stands beside the report, without asking anybody.

    Raises:
        ReceiptUnusable: What stands there is no receipt of this ledger.
    """
    kept = read_kept_receipt(file, settings)
    if kept is None or not kept.is_final or not report.is_sealed_by(kept.seal.event):
        return None
    return _with_receipt(report, kept, is_new=False, asked=True)


def seal_report(
    client: Client,
    file: Path,
    *,
    corrects: Sequence[int] = (),
    acknowledged_s: float = ACKNOWLEDGED_S,
) -> SealedReport:
    """Seal the report in a file, and put its receipt beside it.

    The same report again is sealed no second time, and its receipt is fetched where it is missing
    or was not final yet. Where no node answers, the seal waits in the client's outbox.

    Args:
        client: Sends it.
        file: The report, TOML or JSON.
        corrects: Entries of earlier seals of other content that this one corrects.
        acknowledged_s: How long to wait for the ledger.

    Raises:
        ReportIncompleteError: Fields are missing; the message lists all of them.
        MalformedError: The report is not as it should be.
        SealedOtherwise: A seal of other content stands in its place.
        NothingToCorrect: `corrects` names no such seal.
        SubmissionRefused: The ledger has refused it.
        ReceiptUnusable: A file that is no receipt stands where the receipt would be put.
        ClientError, EventRefused: As for `Client.submit`.
        OSError: A file cannot be read or written.
    """
    report = read_report_file(file)
    if (sealed := kept_seal(report, file, client.settings)) is not None:
        return sealed
    kept = read_kept_receipt(file, client.settings)
    sealing, trouble = _start(client, report, [] if kept is None else [kept.seal], corrects)
    if not _is_on_ledger(sealing, acknowledged_s):
        return _without_receipt(sealing, SealStanding.QUEUED, trouble or client.trouble)
    try:
        with LedgerSession(client.settings) as session:
            # Perhaps it was acknowledged by another node than this one.
            index = session.entry(sealing.event_id, fresh=True).head.index
            raw = session.receipt(index)
    except (ConnectionError, TimeoutError) as error:
        if kept is not None and kept.seal.event_id == sealing.event_id:
            return _with_receipt(report, kept, is_new=False, asked=sealing.asked)
        return _without_receipt(sealing, SealStanding.DURABLE, str(error))
    written = _keep(raw, file, kept, client.settings)
    return _with_receipt(report, written, is_new=sealing.is_new, asked=sealing.asked)


def _start(
    client: Client, report: Report, known: Sequence[EarlierSeal], corrects: Sequence[int]
) -> tuple[Sealing, str]:
    """Return the sealing, and why no node was asked; "" where one was."""
    try:
        with LedgerSession(client.settings) as session:
            return start_sealing(client, session, report, corrects=corrects), ""
    except (ConnectionError, TimeoutError) as error:
        sealing = start_sealing(client, None, report, known=known, corrects=corrects)
        return sealing, str(error)


def _is_on_ledger(sealing: Sealing, acknowledged_s: float) -> bool:
    """Wait until a seal and its corrections are on the ledger, where there is hope."""
    if sealing.delivery is None:
        return True
    timeout_s = acknowledged_s if sealing.asked else 0.0
    try:
        for delivery in (sealing.delivery, *sealing.corrections):
            delivery.result(timeout_s)
    except NotAcknowledgedYet:
        return False
    return True


def read_kept_receipt(file: Path, settings: ClientSettings) -> KeptReceipt | None:
    """Return the receipt that stands beside a report; None: none does.

    Raises:
        ReceiptUnusable: What stands there is no receipt of an event of this ledger.
    """
    path = file.with_suffix(RECEIPT_SUFFIX)
    try:
        with path.open("rb") as opened:
            raw = opened.read(RECEIPT_SIZE_MAX + 1)
    except FileNotFoundError:
        return None
    return _kept(raw, path, settings)


def _kept(raw: bytes, path: Path, settings: ClientSettings) -> KeptReceipt:
    try:
        found = verify_receipt(
            raw,
            genesis_json=read_pinned_genesis(settings).to_json(),
            chain_id=settings.chain_id,
        )
        event = check_event(parse_receipt(raw).event).message
    except ProtocolError as error:
        raise ReceiptUnusable(
            f"{path} is no receipt of this ledger: {error}; move it away, and seal again"
        ) from error
    seal = EarlierSeal(event=event, event_id=found.event_id, index=found.index)
    return KeptReceipt(file=path, seal=seal, is_final=found.checkpoint.is_final)


def _without_receipt(sealing: Sealing, standing: SealStanding, trouble: str) -> SealedReport:
    return SealedReport(
        report=sealing.report,
        standing=standing,
        is_new=sealing.is_new,
        asked=sealing.asked,
        event_id=sealing.event_id,
        index=sealing.index,
        receipt_file=None,
        trouble=trouble,
    )


def _keep(
    raw: bytes, file: Path, kept: KeptReceipt | None, settings: ClientSettings
) -> KeptReceipt:
    """Put a receipt beside its report; the one of another seal that stands there is moved aside."""
    path = file.with_suffix(RECEIPT_SUFFIX)
    if kept is not None and kept.seal.event_id != merkle.leaf_hash(parse_receipt(raw).event):
        kept.file.replace(file.with_suffix(f".entry-{kept.seal.index}{RECEIPT_SUFFIX}"))
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    write_new_file(part, raw, mode=0o644)
    part.replace(path)
    return _kept(raw, path, settings)


def _with_receipt(report: Report, kept: KeptReceipt, *, is_new: bool, asked: bool) -> SealedReport:
    return SealedReport(
        report=report,
        standing=SealStanding.FINAL if kept.is_final else SealStanding.DURABLE,
        is_new=is_new,
        asked=asked,
        event_id=kept.seal.event_id,
        index=kept.seal.index,
        receipt_file=kept.file,
    )
