"""`lotmark submit`: puts the events of documents on the ledger, however often it is called, once.

An event has a random nonce, so a document that is read twice makes two facts. Its events are
therefore kept beside it before they are sent, and a repeat sends the same bytes, which the ledger
takes once. They go by the client's outbox: where no node answers they wait there, and the next
submit sends them.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings, tell_passed_over

if TYPE_CHECKING:
    from lotmark.client import Client, Delivery, EventResult, LedgerSession
    from lotmark.v1 import event_pb2

app = typer.Typer()

EPCIS_SUFFIX = ".jsonld"
ACKNOWLEDGED_S = 30.0  # for the next event's acknowledgement
UNCERTAINTY_MAX_US = 2**32 - 1
KEPT_SUFFIX = ".events"
KEPT_SIZE_MAX = 67_108_864
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


@dataclass(frozen=True, slots=True)
class Made:
    """What reading a document gave: the same document with the same nonces gives it again."""

    file: Path
    document_digest: str
    nonces: list[str]  # in the order in which they were drawn, in hex; empty: nothing was drawn
    events: "list[event_pb2.Event]"

    @property
    def kept_file(self) -> Path:
        """Where its events are kept."""
        return self.file.with_name(self.file.name + KEPT_SUFFIX)

    def kept_text(self) -> str:
        """Return what is kept of it."""
        document = {
            "document_sha256": self.document_digest,
            "nonces": self.nonces,
            "events": [_encoded(event).hex() for event in self.events],
        }
        return json.dumps(document, indent=1) + "\n"


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
    outbox: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another outbox than the client's own."),
    ] = None,
    new_lane: Annotated[
        bool,
        typer.Option("--new-lane", help="Go on in a new lane: the ledger has lost the outbox's."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check them, here.")] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Make new events, also of a document that was submitted before."
        ),
    ] = False,
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

    None is sent before all of them keep every rule that can be checked here. What was made of FILE
    is kept in FILE.events, so that to repeat a submit sends the same events, which count once.
    """
    _check_named_once(files)
    if check:
        context = EpcisContext(
            device=device or "epcis", capture=capture, uncertainty_us=uncertainty_us
        )
        made = [_read_file(file, context, _drawn) for file in files]
        _tell_checked(_events_of(made), as_json=as_json)
        return
    settings = read_settings(client)
    from lotmark.client import Client

    context = EpcisContext(
        device=device or settings.holder, capture=capture, uncertainty_us=uncertainty_us
    )
    made = [_make(file, context, again=again) for file in files]
    for each in made:
        _keep(each, again=again)
    if receipt_dir is not None:
        receipt_dir.mkdir(parents=True, exist_ok=True)
    sender = Client(settings, outbox=outbox, new_lane=new_lane)
    try:
        _submit(sender, _events_of(made), receipt_dir=receipt_dir, as_json=as_json)
    finally:
        sender.close(timeout_s=0.0)


def _check_named_once(files: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for file in files:
        whole = file.resolve()
        if whole in seen:
            terminal.fail(f"{file} is named twice.", "Name each file once.")
        seen.add(whole)


def _events_of(made: Sequence[Made]) -> list[ReadEvent]:
    return [
        ReadEvent(each.file, event.WhichOneof("body") or "", _encoded(event))
        for each in made
        for event in each.events
    ]


def _encoded(event: "event_pb2.Event") -> bytes:
    return event.SerializeToString(deterministic=True)


def _drawn() -> bytes:
    return os.urandom(_NONCE_SIZE)


def _read_file(file: Path, context: EpcisContext, nonce: Callable[[], bytes]) -> Made:
    from lotmark.document_source import DOCUMENT_SIZE_MAX
    from lotmark.event_document import read_events
    from lotmark_adapters import epcis

    is_epcis = file.suffix == EPCIS_SUFFIX
    with file.open("rb") as opened:
        raw = opened.read((epcis.DOCUMENT_SIZE_MAX if is_epcis else DOCUMENT_SIZE_MAX) + 1)
    nonces: list[str] = []

    def noted_nonce() -> bytes:
        drawn = nonce()
        nonces.append(drawn.hex())
        return drawn

    events = (
        [_read_epcis(file, raw, context, noted_nonce)]
        if is_epcis
        else read_events(raw, name=str(file), nonce=noted_nonce, folder=file.parent)
    )
    return Made(file, hashlib.sha256(raw).hexdigest(), nonces, events)


def _make(file: Path, context: EpcisContext, *, again: bool) -> Made:
    """Return the events of a document: those kept of it, if it still says the same."""
    made = _read_file(file, context, _drawn)
    if again and not made.nonces:
        terminal.fail(
            f"{file} carries the nonces of its events, so it makes no others.",
            "Change them, or leave --again out.",
        )
    if again or not made.nonces or not made.kept_file.exists():
        return made
    kept = _read_kept(made.kept_file)
    if kept["document_sha256"] != made.document_digest:
        return made
    nonces = iter([bytes.fromhex(each) for each in kept["nonces"]])
    # Read once more with the nonces of before: a file that the document names, or an option, may
    # have changed, and then it is another fact.
    before = _read_file(file, context, lambda: next(nonces, None) or _drawn())
    unchanged = [_encoded(event).hex() for event in before.events] == kept["events"]
    return before if unchanged else made


def _read_kept(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(KEPT_SIZE_MAX + 1)
    try:
        kept = json.loads(raw)
        for digits in (*kept["nonces"], *kept["events"], kept["document_sha256"]):
            bytes.fromhex(digits)
    except (ValueError, TypeError, KeyError, RecursionError):
        terminal.fail(
            f"{path} does not say which events were made of its document before.",
            "See with `lotmark log tail` whether they are on the ledger; --again makes new ones.",
        )
    return dict(kept)


def _keep(made: Made, *, again: bool) -> None:
    """Put the events beside their document, on disk when this returns; before they are sent."""
    from lotmark.key_file import KeyFileError, write_new_file

    path, text = made.kept_file, made.kept_text()
    if not made.nonces:
        return  # nothing was left to chance
    if path.exists() and not again and path.read_text() == text:
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write_new_file(part, text.encode(), mode=0o644)
        part.replace(path)
        _sync_folder(path.parent)
    except (KeyFileError, OSError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = getattr(error.__cause__ or error, "strerror", None) or error
        if again:
            terminal.note(f"{path} cannot be written ({reason}), so a repeat makes new events.")
            return
        terminal.fail(
            f"{path} cannot be written ({reason}), so a repeat would make a second fact.",
            "Copy the document to a folder that you may write to; with --again it is sent from"
            " here, and every repeat counts anew.",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_epcis(
    file: Path, raw: bytes, context: EpcisContext, nonce: Callable[[], bytes]
) -> "event_pb2.Event":
    from lotmark.v1 import event_pb2
    from lotmark_adapters.epcis import read_epcis, to_event
    from lotmark_node.commands._event_lines import counted

    if context.capture is None or context.uncertainty_us is None:
        terminal.fail(
            f"{file}: EPCIS does not say how its facts were captured and how far its clocks may"
            " be off.",
            f"Add --capture {'|'.join(Capture)} and --uncertainty-us, 1000000 for a second.",
        )
    draft = read_epcis(raw, name=str(file))
    if draft.ids_refused_count:
        terminal.note(
            f"{file}: {counted(draft.ids_refused_count, 'item id')} without a form on the ledger,"
            f" which will find nothing there, such as {draft.ids_refused[0]}"
        )
    if draft.items_left_out_count:
        terminal.note(
            f"{file}: {counted(draft.items_left_out_count, 'item')} beyond the 64 of an event"
        )
    return to_event(
        draft,
        nonce,
        device=context.device,
        capture_mode=event_pb2.CaptureMode.Value(f"CAPTURE_MODE_{context.capture.name}"),
        uncertainty_us=context.uncertainty_us,
    )


def _tell_checked(events: Sequence[ReadEvent], *, as_json: bool) -> None:
    from lotmark_node.commands._event_lines import counted

    rule = "keeps" if len(events) == 1 else "keep"
    terminal.answer(
        {"events": [{"file": str(event.file), "type": event.body} for event in events]},
        lambda: "\n".join(
            [
                *(f"{event.body:<21}{len(event.raw):>6} bytes  {event.file}" for event in events),
                f"{counted(len(events), 'event')} {rule} every rule that can be checked here;"
                " nothing was sent",
            ]
        ),
        as_json=as_json,
    )


def _submit(
    client: "Client", events: Sequence[ReadEvent], *, receipt_dir: Path | None, as_json: bool
) -> None:
    deliveries = client.submit_all([event.raw for event in events])
    results: list[EventResult] = []
    receipts: list[Path | None] = []
    try:
        with _reading(client) as session:
            with terminal.progress("Submitting events", len(events)) as advance:
                for delivery in deliveries:
                    result = _result_of(delivery)
                    results.append(_with_first_entry(session, result))
                    advance(1)
            if receipt_dir is not None:
                with terminal.progress("Fetching receipts", len(results)) as advance:
                    for result in results:
                        receipts.append(_fetch_receipt(session, result, receipt_dir))
                        advance(1)
    except (ConnectionError, TimeoutError) as error:
        kept = "" if not client.waiting_count else f" {_kept_words(client)}"
        terminal.fail(f"{error}.{kept}", exit_code=terminal.ExitCode.UNREACHABLE)
    finally:
        # Also where it ended early: what is on the ledger stays there, and is said.
        if results:
            _tell_results(events, results, receipts, as_json=as_json)
    raise typer.Exit(_exit_code(results))


@contextmanager
def _reading(client: "Client") -> "Iterator[LedgerSession]":
    """Give a session to the first node that answers, which says soon where none does."""
    from lotmark.client import LedgerSession

    with LedgerSession(client.settings) as session:
        tell_passed_over(session)
        session.ledger()
        yield session


def _kept_words(client: "Client") -> str:
    from lotmark_node.commands._event_lines import counted

    return (
        f"{counted(client.waiting_count, 'event')} in {client.outbox_file} will be sent by the next"
        " `lotmark submit`."
    )


def _result_of(delivery: "Delivery") -> "EventResult":
    """Return what became of an event, also where it was refused."""
    from lotmark.client import SubmissionRefused

    try:
        return delivery.result(ACKNOWLEDGED_S)
    except SubmissionRefused as error:
        return replace(error.result, detail=str(error))


def _with_first_entry(session: "LedgerSession", result: "EventResult") -> "EventResult":
    """Return the result of an event that is on the ledger already with the entry that counts."""
    from lotmark.client.calls import NotOnLedgerError
    from lotmark.outcome import Outcome

    if result.outcome is not Outcome.EVENT_DUPLICATE or result.index is None:
        return result
    try:
        session.reach(result.index)
        head = session.entry(result.event_id).head
    except (NotOnLedgerError, ConnectionError, TimeoutError):
        return replace(result, index=None, height=None, time_ms=None)
    return replace(result, index=head.index, height=head.height, time_ms=head.time_ms)


def _fetch_receipt(
    session: "LedgerSession", result: "EventResult", receipt_dir: Path
) -> Path | None:
    from lotmark.key_file import write_new_file

    if result.index is None:
        return None
    path = receipt_dir / f"entry-{result.index}.receipt"
    if path.exists() and _is_receipt_of(session, result, path):
        return path
    session.reach(result.index)  # the acknowledgement may have come from another node
    write_new_file(path, session.receipt(result.index), mode=0o644)
    return path


def _is_receipt_of(session: "LedgerSession", result: "EventResult", path: Path) -> bool:
    """Return whether an earlier submit left the event's receipt there."""
    from lotmark.errors import ProtocolError
    from lotmark.verify.receipt import verify_receipt

    try:
        found = verify_receipt(
            path.read_bytes(),
            genesis_json=session.genesis.to_json(),
            chain_id=session.settings.chain_id,
        )
    except ProtocolError:
        return False
    return found.event_id == result.event_id


def _exit_code(results: "Sequence[EventResult]") -> terminal.ExitCode:
    from lotmark.outcome import MEANINGS

    refused = [result.outcome for result in results if _is_refused(result)]
    if not refused:
        return terminal.ExitCode.DONE
    if all(MEANINGS[outcome].status == "UNAVAILABLE" for outcome in refused):
        return terminal.ExitCode.UNREACHABLE  # trying again may help
    return terminal.ExitCode.NO


def _is_refused(result: "EventResult") -> bool:
    from lotmark.outcome import Outcome

    return result.outcome not in (Outcome.ACCEPTED, Outcome.EVENT_DUPLICATE)


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
            "duplicate_count": sum(
                bool(result.outcome) and not _is_refused(result) for result in results
            ),
            "refused_count": sum(_is_refused(result) for result in results),
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
    if result.outcome and not _is_refused(result):
        said = "already on the ledger"
    kept = f"  {receipt}" if receipt else ""
    return f"{event.body:<20}  {result.event_id.hex()}  {place:<12}  {said}{kept}"
