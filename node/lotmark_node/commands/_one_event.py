"""Puts one event that a person decided on the ledger, and tells what became of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lotmark_node import terminal
from lotmark_node.commands._governing import ACKNOWLEDGED_S

if TYPE_CHECKING:
    from lotmark.client import EventResult
    from lotmark.client.new_event import EventBody
    from lotmark.client.settings import ClientSettings

CLOCK_UNCERTAINTY_US = 1_000_000  # of a computer that nobody has asked


def submit_body(
    settings: "ClientSettings",
    body: "EventBody",
    outbox: Path | None,
    done: str,
    *,
    as_json: bool,
    is_awaited: bool = False,
) -> None:
    """Put an event with this body on the ledger, and tell what became of it.

    Args:
        settings: Whose event it is.
        body: What it says.
        outbox: Another outbox than the client's own.
        done: What to tell once it is on record.
        as_json: Whether a program asked.
        is_awaited: Wait for a checkpoint over it, where the next command shall show it.
    """
    from lotmark.client.session import LedgerSession
    from lotmark.outcome import MEANINGS

    result, refusal = put_on_record(settings, body, outbox)
    if is_awaited and result.index is not None:
        with LedgerSession(settings) as session:
            session.checkpoint_over(result.index)
    place = "no entry" if result.index is None else f"entry {result.index}"
    terminal.answer(
        {
            "event_id": result.event_id.hex(),
            "index": result.index,
            "height": result.height,
            "outcome": result.outcome.name,
            "detail": result.detail,
        },
        lambda: f"{place}: {refusal or done}",
        as_json=as_json,
    )
    if result.outcome:
        unreachable = MEANINGS[result.outcome].status == "UNAVAILABLE"
        raise typer.Exit(terminal.ExitCode.UNREACHABLE if unreachable else terminal.ExitCode.NO)


def put_on_record(
    settings: "ClientSettings", body: "EventBody", outbox: Path | None
) -> "tuple[EventResult, str]":
    """Put an event with this body on the ledger; return what became of it, and why if refused."""
    from datetime import UTC, datetime

    from lotmark.client import new_event
    from lotmark.v1 import event_pb2

    event = new_event(
        body,
        device=settings.holder,
        capture=event_pb2.CAPTURE_MODE_MANUAL,
        time=datetime.now(UTC),
        uncertainty_us=CLOCK_UNCERTAINTY_US,
    )
    return put_event_on_record(settings, event, outbox)


def put_event_on_record(
    settings: "ClientSettings", event: bytes, outbox: Path | None
) -> "tuple[EventResult, str]":
    """Put an event on the ledger; return what became of it, and why if refused."""
    from lotmark.client import Client, SubmissionRefused

    client = Client(settings, outbox=outbox)
    try:
        return client.submit(event).result(ACKNOWLEDGED_S), ""
    except SubmissionRefused as error:
        return error.result, str(error)
    finally:
        client.close(timeout_s=0.0)
