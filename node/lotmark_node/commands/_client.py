"""What the commands that call a node share: whose client calls, and how entries are named."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark.client.session import LedgerSession
    from lotmark.client.settings import ClientSettings

CLIENT_VARIABLE = "LOTMARK_CLIENT"

OutboxFile = Annotated[
    Path | None,
    typer.Option("--outbox", metavar="FILE", help="Another outbox than the client's own."),
]
ClientFile = Annotated[
    Path | None,
    typer.Option(
        "--as",
        envvar=CLIENT_VARIABLE,
        metavar="CLIENT.toml",
        help="Settings of the client that calls, as `lotmark init` wrote.",
    ),
]
EntryName = Annotated[
    str, typer.Argument(metavar="INDEX|EVENT_ID", help="Index of the entry, or id of the event.")
]

_INDEX = re.compile(r"[0-9]{1,19}")
_EVENT_ID = re.compile(r"[0-9a-f]{64}")


def silence_grpc() -> None:
    """Keep gRPC's own lines out of the output; every error comes as an exception too.

    It reads the variable when it is imported, so this comes before that.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def read_settings(client: Path | None) -> "ClientSettings":
    """Return the settings of the client that a command line or the environment names."""
    silence_grpc()
    from lotmark.client.settings import read_client_settings

    if client is None:
        terminal.fail(
            "No client is named.",
            f"Name its settings: --as CLIENT.toml, or set {CLIENT_VARIABLE}.",
        )
    return read_client_settings(client)


@contextmanager
def reading(
    client: Path | None,
    *,
    first_node_only: bool = False,
    not_found: terminal.ExitCode = terminal.ExitCode.NO,
) -> "Iterator[LedgerSession]":
    """Give a session that only reads; that something is not on the ledger is an answer: no.

    Args:
        client: The settings file that the command line names.
        first_node_only: Call no other node where the first one does not answer.
        not_found: The exit status then, where "no" would answer another question.
    """
    settings = read_settings(client)
    from lotmark.client.calls import NotOnLedgerError
    from lotmark.client.session import LedgerSession

    if first_node_only:
        settings = replace(settings, other_nodes=())
    with LedgerSession(settings) as session:
        tell_passed_over(session)
        try:
            yield session
        except NotOnLedgerError as error:
            terminal.fail(f"{error}.", exit_code=not_found)


def tell_passed_over(session: "LedgerSession") -> None:
    """Tell a person that another node than the client's first one is called, and why."""
    if session.passed_over:
        called = f"{session.settings.node_party}/{session.settings.node_name}"
        terminal.note(f"{called} is called instead: {'; '.join(session.passed_over)}")


def parse_entry_name(text: str) -> int | bytes:
    """Return the index or the event id that a person wrote."""
    if _INDEX.fullmatch(text):
        return int(text)
    if not _EVENT_ID.fullmatch(text):
        terminal.fail(
            f"{text[:80]!a} names no entry.",
            "Give its index, such as 14, or the event's id, 64 lower-case hex digits.",
        )
    return bytes.fromhex(text)
