"""`lotmark submit`: puts the events of documents on the ledger, however often it is called, once.

The events made of a document are kept beside it before they are sent. A repeat looks whether they
are on the ledger, and sends the same bytes where they are not. They go by the client's outbox:
where no node answers they wait there, and the next submit sends them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings, tell_passed_over
from lotmark_node.commands._documents import (
    Capture,
    EpcisContext,
    ReadEvent,
    drawn_nonce,
    events_of,
    keep_events,
    make_events,
    read_events_of,
)

if TYPE_CHECKING:
    from lotmark.client import Client, ClientSettings, Delivery, EventResult, LedgerSession

app = typer.Typer()

ACKNOWLEDGED_S = 30.0  # for the next event's acknowledgement
UNCERTAINTY_MAX_US = 2**32 - 1


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
    is kept in FILE.events, so that to repeat a submit finds the same events, which count once.
    """
    _check_named_once(files)
    if check:
        context = EpcisContext(
            device=device or "epcis", capture=capture, uncertainty_us=uncertainty_us
        )
        made = [read_events_of(file, context, drawn_nonce) for file in files]
        _tell_checked(events_of(made), as_json=as_json)
        return
    settings = read_settings(client)
    from lotmark.client import Client

    context = EpcisContext(
        device=device or settings.holder, capture=capture, uncertainty_us=uncertainty_us
    )
    made = [make_events(file, context, again=again) for file in files]
    for each in made:
        keep_events(each, again=again)
    if receipt_dir is not None:
        receipt_dir.mkdir(parents=True, exist_ok=True)
    sender = Client(settings, outbox=outbox, new_lane=new_lane)
    try:
        _submit(sender, events_of(made), receipt_dir=receipt_dir, as_json=as_json)
    finally:
        sender.close(timeout_s=0.0)


def _check_named_once(files: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for file in files:
        whole = file.resolve()
        if whole in seen:
            terminal.fail(f"{file} is named twice.", "Name each file once.")
        seen.add(whole)


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
    known = _on_record(client.settings, [event for event in events if event.is_repeat])
    new = [event.raw for event in events if event.event_id not in known]
    deliveries = iter(client.submit_all(new))
    results: list[EventResult] = []
    receipts: list[Path | None] = []
    try:
        with _reading(client) as session:
            with terminal.progress("Submitting events", len(events)) as advance:
                for event in events:
                    result = known.get(event.event_id) or _with_first_entry(
                        session, _result_of(next(deliveries))
                    )
                    results.append(result)
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


def _on_record(
    settings: "ClientSettings", events: Sequence[ReadEvent]
) -> "dict[bytes, EventResult]":
    """Return which of these events the ledger has accepted before, as far as a node tells now.

    It is looked up, as the ledger takes an event twice that is older than all it remembers.
    """
    from lotmark.client import EventResult, LedgerSession, Outcome
    from lotmark.client.calls import NotOnLedgerError
    from lotmark.outcome import describe

    found: dict[bytes, EventResult] = {}
    if not events:
        return found
    with suppress(ConnectionError, TimeoutError), LedgerSession(settings) as session:
        for event in events:
            try:
                head = session.entry(event.event_id).head
            except NotOnLedgerError:
                continue
            if not head.outcome:
                found[event.event_id] = EventResult(
                    event_id=event.event_id,
                    index=head.index,
                    height=head.height,
                    time_ms=head.time_ms,
                    outcome=Outcome.EVENT_DUPLICATE,
                    detail=describe(Outcome.EVENT_DUPLICATE),
                )
    return found


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
