"""`lotmark submit`: puts the events of documents on the ledger."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import EVENT_ID_SHOWN, ClientFile, read_settings

if TYPE_CHECKING:
    from lotmark.client.session import LedgerSession
    from lotmark.client.submission import EventResult
    from lotmark.v1 import event_pb2

app = typer.Typer()

EPCIS_SUFFIX = ".jsonld"
LANE_MAX = 2**32 - 1
UNCERTAINTY_MAX_US = 2**32 - 1
_NONCE_SIZE = 16


class Capture(StrEnum):
    """How the facts of an EPCIS document came to be known, which it does not say itself."""

    SENSOR_DIRECT = "sensor-direct"
    MANUAL = "manual"
    HISTORICAL = "historical"


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event and the file it stands in."""

    file: Path
    body: str  # its type
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EpcisContext:
    """What the events of EPCIS documents need beside the documents."""

    device: str
    capture: Capture | None
    uncertainty_us: int | None


@app.command()
def submit(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Events in TOML or JSON; .jsonld: an EPCIS 2.0 document."
        ),
    ],
    *,
    client: ClientFile = None,
    lane: Annotated[
        int, typer.Option(min=0, max=LANE_MAX, help="Lane of the client's batch key.")
    ] = 0,
    check: Annotated[bool, typer.Option("--check", help="Only check them, here.")] = False,
    receipt_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Wait for the receipts, and put them here."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="For .jsonld: system that gave it. [default: the client's name]")
    ] = "",
    capture: Annotated[
        Capture | None, typer.Option(help="For .jsonld: how its facts came to be known.")
    ] = None,
    uncertainty_us: Annotated[
        int | None,
        typer.Option(
            min=0, max=UNCERTAINTY_MAX_US, help="For .jsonld: how far its clocks may be off."
        ),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Put the events of documents on the ledger. Exit status 1: one was refused.

    None is sent before all of them keep every rule that can be checked here.
    """
    if check:
        context = EpcisContext(
            device=device or "epcis", capture=capture, uncertainty_us=uncertainty_us
        )
        _tell_checked(_read_files(files, context), as_json=as_json)
        return
    settings = read_settings(client)
    from lotmark.client.session import LedgerSession
    from lotmark.key_file import read_key_file

    context = EpcisContext(
        device=device or settings.holder, capture=capture, uncertainty_us=uncertainty_us
    )
    events = _read_files(files, context)
    if receipt_dir is not None:
        receipt_dir.mkdir(parents=True, exist_ok=True)
    with LedgerSession(settings, read_key_file(settings.batch_key)) as session:
        _submit(session, events, lane=lane, receipt_dir=receipt_dir, as_json=as_json)


def _read_files(files: Sequence[Path], context: EpcisContext) -> list[ReadEvent]:
    return [
        ReadEvent(file, event.WhichOneof("body") or "", event.SerializeToString(deterministic=True))
        for file in files
        for event in _read_file(file, context)
    ]


def _read_file(file: Path, context: EpcisContext) -> "Sequence[event_pb2.Event]":
    from lotmark.event_document import DOCUMENT_SIZE_MAX, read_events

    if file.suffix == EPCIS_SUFFIX:
        return [_read_epcis(file, context)]
    with file.open("rb") as opened:
        raw = opened.read(DOCUMENT_SIZE_MAX + 1)
    return read_events(raw, name=str(file), nonce=_nonce, folder=file.parent)


def _nonce() -> bytes:
    return os.urandom(_NONCE_SIZE)


def _read_epcis(file: Path, context: EpcisContext) -> "event_pb2.Event":
    from lotmark.v1 import event_pb2
    from lotmark_adapters.epcis import DOCUMENT_SIZE_MAX, read_epcis, to_event

    if context.capture is None or context.uncertainty_us is None:
        terminal.fail(
            f"{file}: EPCIS does not say how its facts were captured and how far its clocks may"
            " be off.",
            f"Add --capture {'|'.join(Capture)} and --uncertainty-us, 1000000 for a second.",
        )
    with file.open("rb") as opened:
        raw = opened.read(DOCUMENT_SIZE_MAX + 1)
    draft = read_epcis(raw, name=str(file))
    if draft.ids_refused_count:
        terminal.note(
            f"{file}: {draft.ids_refused_count} item ids have no form on the ledger and find"
            f" nothing there, such as {draft.ids_refused[0]}"
        )
    if draft.items_left_out_count:
        terminal.note(f"{file}: {draft.items_left_out_count} items are beyond the 64 of an event")
    return to_event(
        draft,
        _nonce,
        device=context.device,
        capture_mode=event_pb2.CaptureMode.Value(f"CAPTURE_MODE_{context.capture.name}"),
        uncertainty_us=context.uncertainty_us,
    )


def _tell_checked(events: Sequence[ReadEvent], *, as_json: bool) -> None:
    terminal.answer(
        {"events": [{"file": str(event.file), "type": event.body} for event in events]},
        lambda: "\n".join(
            [
                *(f"{event.body:<21}{len(event.raw):>6} bytes  {event.file}" for event in events),
                f"{len(events)} events keep every rule that can be checked here; nothing was sent",
            ]
        ),
        as_json=as_json,
    )


def _submit(
    session: "LedgerSession",
    events: Sequence[ReadEvent],
    *,
    lane: int,
    receipt_dir: Path | None,
    as_json: bool,
) -> None:
    results: list[EventResult] = []
    receipts: list[Path | None] = []
    try:
        with terminal.progress("Submitting events", len(events)) as advance:
            for result in session.submit_each([event.raw for event in events], lane=lane):
                results.append(result)
                advance(1)
        if receipt_dir is not None:
            with terminal.progress("Fetching receipts", len(results)) as advance:
                for result in results:
                    receipts.append(_fetch_receipt(session, result, receipt_dir))
                    advance(1)
    finally:
        # Also where it ended early: what is on the ledger stays there, and is said.
        if results:
            _tell_results(events, results, receipts, as_json=as_json)
    raise typer.Exit(_exit_code(results))


def _fetch_receipt(
    session: "LedgerSession", result: "EventResult", receipt_dir: Path
) -> Path | None:
    from lotmark.key_file import write_new_file

    if result.index is None:
        return None
    path = receipt_dir / f"entry-{result.index}.receipt"
    write_new_file(path, session.receipt(result.index), mode=0o644)
    return path


def _exit_code(results: "Sequence[EventResult]") -> terminal.ExitCode:
    from lotmark.outcome import MEANINGS

    refused = [result.outcome for result in results if result.outcome]
    if not refused:
        return terminal.ExitCode.DONE
    if all(MEANINGS[outcome].status == "UNAVAILABLE" for outcome in refused):
        return terminal.ExitCode.UNREACHABLE  # trying again may help
    return terminal.ExitCode.NO


def _tell_results(
    events: Sequence[ReadEvent],
    results: "Sequence[EventResult]",
    receipts: Sequence[Path | None],
    *,
    as_json: bool,
) -> None:
    by_result = [*receipts, *[None] * (len(results) - len(receipts))]
    rows = list(zip(events, results, by_result, strict=False))
    terminal.answer(
        {
            "accepted_count": sum(not result.outcome for result in results),
            "refused_count": sum(bool(result.outcome) for result in results),
            "events": [
                {
                    "file": str(event.file),
                    "type": event.body,
                    "event_id": result.event_id.hex(),
                    "index": result.index,
                    "height": result.height,
                    "time_ms": result.time_ms,
                    "outcome": result.outcome.name,
                    "detail": result.detail,
                    "receipt": str(receipt) if receipt else None,
                }
                for event, result, receipt in rows
            ],
        },
        lambda: "\n".join(_line(event, result, receipt) for event, result, receipt in rows),
        as_json=as_json,
    )


def _line(event: ReadEvent, result: "EventResult", receipt: Path | None) -> str:
    place = "no entry" if result.index is None else f"entry {result.index}"
    said = result.detail or "accepted"
    kept = f"  {receipt}" if receipt else ""
    return f"{event.body:<20}  {result.event_id.hex()[:EVENT_ID_SHOWN]}  {place:<12}  {said}{kept}"
