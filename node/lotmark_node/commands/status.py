"""`lotmark status`: whether a party is a member and its client's key in force."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings

if TYPE_CHECKING:
    from lotmark.client.settings import ClientSettings

app = typer.Typer()

POLL_S = 1.0
WAIT_MAX_S = 30 * 86_400.0


@app.command()
def status(
    *,
    client: ClientFile = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until the answer is yes.")] = False,
    timeout_s: Annotated[
        float, typer.Option(min=0.0, max=WAIT_MAX_S, help="How long at most.")
    ] = WAIT_MAX_S,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Tell whether this client can submit: its party is a member, and its key is in force."""
    settings = read_settings(client)
    until_s = time.monotonic() + timeout_s
    obstacle = _obstacle(settings)
    while obstacle and wait and time.monotonic() < until_s:
        time.sleep(POLL_S)
        obstacle = _obstacle(settings)
    name = f"{settings.party}/{settings.holder}"
    if obstacle:
        terminal.fail(
            f"{name} cannot submit yet: {obstacle}.",
            "Ask your sponsor how its proposal stands: lotmark governance list.",
            terminal.ExitCode.NO,
        )
    terminal.answer(
        {"party": settings.party, "holder": settings.holder, "can_submit": True},
        lambda: f"{settings.party} is a member and the key of {name} is in force.",
        as_json=as_json,
    )


def _obstacle(settings: "ClientSettings") -> str:
    """Return what stands against a submission, "" if nothing does."""
    from lotmark.client.session import LedgerSession
    from lotmark.errors import ProtocolError
    from lotmark.key_file import read_key_file
    from lotmark_node.compose import now_ms

    key = read_key_file(Path(settings.batch_key))
    try:
        with LedgerSession(settings) as session:
            position = session.ledger()
            register = session.governed(batch_key=key.public).keys
    except (ProtocolError, ConnectionError, TimeoutError) as error:
        # Who is no member yet is turned away before anything is said.
        return str(error)
    row = register.key(key.public)
    if row is None:
        return f"key {key.public.hex()} is not registered"
    outcome = row.judge(height=position.height + 1, time_ms=now_ms())
    return outcome.name if outcome else ""
