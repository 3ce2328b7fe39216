"""What the commands that govern share: root keys and their passphrases, and what was accepted."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import read_settings, tell_passed_over

if TYPE_CHECKING:
    from lotmark.client.session import LedgerSession
    from lotmark.client.settings import ClientSettings
    from lotmark.client.submission import EventResult
    from lotmark.ed25519 import PrivateKey
    from lotmark.governing_events import GoverningEvents
    from lotmark.state_rows import KeyRow
    from lotmark.verify.key_register import KeyRegister

PASSPHRASE_VARIABLE = "LOTMARK_PASSPHRASE"  # noqa: S105 - its name, not its value
PASSPHRASE_SIZE_MAX = 1_024
DAY_MS = 86_400_000
ACKNOWLEDGED_S = 30.0  # for the acknowledgement of an event

RootFiles = Annotated[
    list[Path],
    typer.Option(
        "--root", metavar="FILE", help="Root key of your party that signs; as often as needed."
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"Passphrase of sealed key files. [default: ${PASSPHRASE_VARIABLE}, or asked]",
    ),
]

SealOption = Annotated[
    bool,
    typer.Option(
        "--seal",
        help="Seal a new key with a passphrase: for roots. Nodes and clients open no sealed key.",
    ),
]

_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Governing:
    """A session, what governs the ledger now, and what makes events that change it."""

    settings: "ClientSettings"
    session: "LedgerSession"
    register: "KeyRegister"
    events: "GoverningEvents"
    now_ms: int

    @property
    def party(self) -> str:
        """Whose client calls."""
        return self.settings.party

    def put(self, events: Sequence[bytes]) -> "list[EventResult]":
        """Put events on the ledger, or end the command where one is refused.

        What comes next shall see them: so this waits until a checkpoint covers them.
        """
        from lotmark.client import Client, SubmissionRefused

        client = Client(self.settings)
        try:
            deliveries = client.submit_all(events)
            results = [delivery.result(ACKNOWLEDGED_S) for delivery in deliveries]
        except SubmissionRefused as error:
            terminal.fail(str(error), exit_code=terminal.ExitCode.NO)
        finally:
            client.close(timeout_s=0.0)
        for result in results:
            if result.outcome or result.index is None:
                terminal.fail(result.detail, exit_code=terminal.ExitCode.NO)
            self.session.checkpoint_over(result.index)
        return results


@contextmanager
def governing(client: Path | None, *, everything: bool = False) -> Iterator[Governing]:
    """Give what a command needs that changes who may do what.

    Args:
        client: Its settings.
        everything: The register is to know all batch keys, too.
    """
    settings = read_settings(client)
    from lotmark.client.session import LedgerSession
    from lotmark.governing_events import GoverningEvents
    from lotmark_node.compose import now_ms

    with LedgerSession(settings) as session:
        tell_passed_over(session)
        register = session.governed(everything=everything).keys
        moment_ms = now_ms()
        made = GoverningEvents(settings.chain_id, now_ms=moment_ms)
        yield Governing(settings, session, register, made, moment_ms)


def read_keys(files: Sequence[Path], passphrase_file: Path | None) -> "list[PrivateKey]":
    """Return the keys in files, each once.

    A passphrase is asked for once, and only if one is sealed.
    """
    from lotmark.key_file import is_sealed, read_key_file

    passphrase: bytes | None = None
    keys = {}
    for file in files:
        if is_sealed(file):
            passphrase = passphrase or read_passphrase(passphrase_file)
            key = read_key_file(file, passphrase)
        else:
            key = read_key_file(file)
        keys[key.public] = key
    return list(keys.values())


def read_or_make_key(file: Path, passphrase_file: Path | None, *, seal: bool) -> "PrivateKey":
    """Return the key in a file; where there is none, a new key that is in it now."""
    from lotmark.ed25519 import PrivateKey
    from lotmark.key_file import write_key_file

    if file.exists():
        (key,) = read_keys([file], passphrase_file)
        return key
    key = PrivateKey.generate()
    write_key_file(file, key, read_passphrase(passphrase_file, confirm=True) if seal else None)
    return key


def read_passphrase(file: Path | None, *, confirm: bool = False) -> bytes:
    """Return a passphrase from a file, the environment or the terminal; never from arguments."""
    if file is not None:
        from lotmark.key_file import read_secret_file

        found = read_secret_file(file, size_max=PASSPHRASE_SIZE_MAX).rstrip(b"\r\n")
    elif PASSPHRASE_VARIABLE in os.environ:
        found = os.environb[PASSPHRASE_VARIABLE.encode()]
    elif sys.stdin.isatty():
        asked: str = typer.prompt(
            "Passphrase", hide_input=True, confirmation_prompt=confirm, err=True
        )
        found = asked.encode()
    else:
        terminal.fail(
            "A passphrase is needed, and nobody is there to ask.",
            f"Name a file with --passphrase-file, or set {PASSPHRASE_VARIABLE}.",
        )
    if not found:
        terminal.fail("The passphrase is empty.", "Give one, or leave it out altogether.")
    return found


def find_key(register: "KeyRegister", name: str) -> "tuple[bytes, KeyRow]":
    """Return the key that a hex name, or the beginning of one, means."""
    if not _HEX.fullmatch(name):
        terminal.fail(
            f"{name[:80]!a} names no key.",
            "Give the first 8 to 64 lower-case hex digits, as `lotmark key list` shows them.",
        )
    found = [(key, row) for key, row in register.all_keys() if key.hex().startswith(name)]
    if len(found) != 1:
        terminal.fail(
            f"{len(found)} keys begin with {name}.",
            "`lotmark key list` shows those there are.",
            terminal.ExitCode.NO,
        )
    return found[0]


def time_text(time_ms: int) -> str:
    """Return a time as a person reads it; the ends of time in words."""
    from lotmark.key_grant import TIME_MAX_MS
    from lotmark.verify.report import time_text as text

    if time_ms > TIME_MAX_MS:
        return "never"
    return text(time_ms) if time_ms else "ever"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return lines whose cells stand in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)
