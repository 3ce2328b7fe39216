"""`lotmark snapshot`: exports the ledger, or some of its blocks, into one file."""

import errno
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(help="Export the ledger into a file that anyone verifies offline.")


@app.callback()
def _snapshot() -> None:
    """Export the ledger into a file that anyone verifies offline."""


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to; an older file there is replaced.")],
    *,
    client: ClientFile = None,
    first: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="HEIGHT",
            show_default=False,
            help="First block. [default: the whole ledger]",
        ),
    ] = 0,
    last: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="HEIGHT",
            show_default=False,
            help="Last block. [default: the newest with a checkpoint]",
        ),
    ] = 0,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Export blocks; for regulators and the party that runs the node."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with reading(client) as session:
        try:
            with part.open("xb") as out, ExitStack() as shown:
                size = session.export_snapshot(out, first, last, _shown_progress(shown))
                out.flush()
                os.fsync(out.fileno())
            part.replace(file)
        except (ConnectionError, TimeoutError):  # the node's, which are no fault of the file
            raise
        except OSError as error:
            _fail_to_write(file, error)
        finally:
            with suppress(OSError):  # it has been told above what is wrong with the folder
                part.unlink(missing_ok=True)
    chain_id = session.settings.chain_id.hex()
    terminal.answer(
        {"file": str(file), "size": size, "chain_id": chain_id},
        lambda: f"{file}: {size:,} bytes\nCheck it: lotmark verify {file} --chain-id {chain_id}",
        as_json=as_json,
    )


def _fail_to_write(file: Path, error: OSError) -> NoReturn:
    """Name the file that was asked for, not the one beside it that was written first."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            remedy = "Make room there, or name a file on another disk."
        case errno.ENOENT | errno.ENOTDIR:
            remedy = f"Make the folder {file.parent}, or name a file in one that exists."
        case _:
            remedy = "Name a file in a folder that you may write to."
    terminal.fail(f"{file} cannot be written: {error.strerror or error}.", remedy)


def _shown_progress(shown: ExitStack) -> "Callable[[int, int], None]":
    """Return what shows progress from the first piece on, which tells how large the file is."""
    advance: Callable[[int], None] | None = None
    before = 0

    def progress(size: int, file_size: int) -> None:
        nonlocal advance, before
        if advance is None:
            advance = shown.enter_context(terminal.progress("Receiving bytes", file_size))
        advance(size - before)
        before = size

    return progress
