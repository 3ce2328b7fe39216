"""`lotmark seal`: puts a report's digest on the ledger, and the receipt beside the report."""

import mimetypes
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings

if TYPE_CHECKING:
    from lotmark.client import ClientSettings
    from lotmark.client.report_file import SealedReport
    from lotmark.report import Report

app = typer.Typer()

REPORT_SUFFIXES = (".toml", ".json")
UNKNOWN_MEDIA_TYPE = "application/octet-stream"
_DIGITS = 8  # of a digest that a person sees


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A report's file, and what became of it."""

    file: Path
    sealed: "SealedReport"
    took_s: float


@app.command()
def seal(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Report, .toml or .json; or its PDF, to begin one."),
    ],
    *,
    client: ClientFile = None,
    corrects: Annotated[
        list[int] | None,
        typer.Option(metavar="ENTRY", help="Earlier seal of other content that this corrects."),
    ] = None,
    item: Annotated[str, typer.Option(metavar="ID", help="For a PDF: which item it is of.")] = "",
    test: Annotated[str, typer.Option(metavar="NAME", help="For a PDF: which test.")] = "",
    like: Annotated[
        Path | None,
        typer.Option(metavar="REPORT", help="For a PDF: report to take what lasts from."),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Seal laboratory reports. Exit status: 1 refused, 3 no node answers and the seal waits.

    A report that is sealed already is not sealed again; its receipt is fetched where it is missing
    or not final. For a PDF a report is begun beside it, and nothing is sealed.
    """
    drafts = [file for file in files if file.suffix.lower() not in REPORT_SUFFIXES]
    if drafts and (len(files) > 1 or not (item and test)):
        terminal.fail(
            f"{drafts[0]} is no report in TOML or JSON.",
            "To begin one for it, name it alone with --item ID and --test NAME.",
        )
    if drafts:
        _begin(drafts[0], item=item, test=test, like=like, as_json=as_json)
    if item or test or like:
        terminal.fail(
            "--item, --test and --like begin a report for a PDF.",
            f"In {files[0]} write item_identification and test.",
        )
    if corrects and len(files) > 1:
        terminal.fail("--corrects is of one report.", "Seal that one by itself.")
    _seal(files, read_settings(client), corrects=corrects or (), as_json=as_json)


def _begin(file: Path, *, item: str, test: str, like: Path | None, as_json: bool) -> None:
    """Write a report for a PDF: what is known, and what is missing."""
    from lotmark.document_fields import Place
    from lotmark.document_source import parse_document
    from lotmark.key_file import write_new_file
    from lotmark.report_fields import FIELDS, missing_fields
    from lotmark.report_template import lasting_fields, report_template

    media_type = mimetypes.guess_type(file.name)[0] or UNKNOWN_MEDIA_TYPE
    known: dict[str, Any] = {
        "item_identification": item,
        "test": test,
        "files": [{"path": file.name, "media_type": media_type}],
    }
    if like is not None:
        known |= lasting_fields(parse_document(like.read_bytes(), Place(str(like))))
    if not file.is_file():
        terminal.fail(f"{file} is no file.", "Name the report's PDF.")
    for name in known:
        FIELDS[name].check(known[name], Place(str(like) if like else "--" + name).member(name))
    report = file.with_suffix(".toml")
    if report.exists():
        terminal.fail(f"{report} exists already.", f"Complete it, then: lotmark seal {report}")
    write_new_file(report, report_template(known).encode(), mode=0o644)
    missing = [each.field.name for each in missing_fields(known)]
    terminal.answer(
        {"sealed": [], "report": str(report), "missing": missing},
        lambda: (
            f"Nothing is sealed yet: {len(missing)} fields of ISO/IEC 17025 7.8 and of the seal are"
            f" missing: {', '.join(name.replace('_', ' ') for name in missing)}.\n"
            f"Add them to {report} (written for you), then: lotmark seal {report}"
        ),
        as_json=as_json,
    )
    raise typer.Exit(terminal.ExitCode.CANNOT_TELL)


def _seal(
    files: Sequence[Path],
    settings: "ClientSettings",
    *,
    corrects: Sequence[int],
    as_json: bool,
) -> None:
    from lotmark.client.report_file import SealStanding, read_report_file

    reports = [read_report_file(file) for file in files]  # all are complete before one is sealed
    results: list[SealedFile] = []
    try:
        with terminal.progress("Sealing reports", len(files)) as advance:
            for result in _each(files, reports, settings, corrects):
                results.append(result)
                advance(1)
    finally:
        # Also where it ended early: what is sealed stays sealed, and is said.
        if results:
            _tell(results, as_json=as_json)
    if any(result.sealed.standing is SealStanding.QUEUED for result in results):
        raise typer.Exit(terminal.ExitCode.UNREACHABLE)


def _each(
    files: Sequence[Path],
    reports: Sequence["Report"],
    settings: "ClientSettings",
    corrects: Sequence[int],
) -> Iterator[SealedFile]:
    """Seal one report after the other; the outbox is opened once one needs it."""
    from lotmark.client import Client, SubmissionRefused
    from lotmark.client.report_file import kept_seal, seal_report
    from lotmark.client.sealing import NothingToCorrect, SealedOtherwise

    with ExitStack() as stack:
        client: Client | None = None
        for file, report in zip(files, reports, strict=True):
            start_s = time.monotonic()
            sealed = kept_seal(report, file, settings)
            if sealed is None:
                if client is None:
                    client = Client(settings)
                    stack.callback(client.close, timeout_s=0.0)
                try:
                    sealed = seal_report(client, file, corrects=corrects)
                except (SealedOtherwise, NothingToCorrect, SubmissionRefused) as error:
                    terminal.fail(f"{file} is not sealed: {error}", exit_code=terminal.ExitCode.NO)
            yield SealedFile(file, sealed, time.monotonic() - start_s)


def _tell(results: Sequence[SealedFile], *, as_json: bool) -> None:
    terminal.answer(
        {
            "sealed": [
                {
                    "file": str(result.file),
                    "report": result.sealed.report.number,
                    "report_digest": result.sealed.report.digest.hex(),
                    "standing": result.sealed.standing.value,
                    "new": result.sealed.is_new,
                    "asked": result.sealed.asked,
                    "event_id": result.sealed.event_id.hex(),
                    "index": result.sealed.index,
                    "receipt": str(result.sealed.receipt_file or "") or None,
                    "trouble": result.sealed.trouble,
                }
                for result in results
            ]
        },
        lambda: "\n".join(_words(result) for result in results),
        as_json=as_json,
    )


def _words(result: SealedFile) -> str:
    from lotmark.client.report_file import SealStanding

    sealed = result.sealed
    digest = sealed.report.digest.hex()
    what = f"sha256 {digest[:_DIGITS]}…{digest[-2:]}"
    already = "" if sealed.is_new else " already"
    place = "" if sealed.index is None else f", entry {sealed.index}"
    again = f"lotmark seal {result.file}"
    match sealed.standing:
        case SealStanding.FINAL:
            after = f" after {result.took_s:.1f} s" if sealed.is_new else ""
            return (
                f"Sealed{already}. {what}{place}, final{after}. Receipt: {sealed.receipt_file}"
                " (keep it beside the report)"
            )
        case SealStanding.DURABLE if sealed.receipt_file is not None:
            return (
                f"Sealed{already}. {what}{place}, durable: too few parties have cosigned it yet."
                f" Receipt: {sealed.receipt_file}; for the final one: {again}"
            )
        case SealStanding.DURABLE:
            return (
                f"Sealed{already}. {what}{place}, but its receipt could not be fetched:"
                f" {sealed.trouble}. For the receipt: {again}"
            )
        case _:
            return (
                f"Queued{already}. {what}: {sealed.trouble or 'no answer yet'}. The seal waits in"
                f" the client's outbox; to send it and fetch the receipt: {again}"
            )
