"""What every command shares: how it answers, shows progress, refuses and exits.

Results go to the standard output, everything else to the standard error. What only a person wants
(notes, progress, colour) is left out where no terminal reads it.
"""

import json
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from lotmark.errors import ProofError, ProtocolError, SignatureError
from lotmark_adapters.errors import AdapterError, SourceUnavailable
from lotmark_consensus.errors import ConsensusError
from lotmark_contracts.errors import ContractError
from lotmark_inference.errors import InferenceError
from lotmark_node.edge.errors import EdgeError
from lotmark_node.engine.errors import EngineError

if TYPE_CHECKING:  # rich takes a tenth of a second to import, so only what prints with it does
    from rich.console import Console, RenderableType

WIDTH_MAX = 100  # columns of a table or text
TRACEBACK_VARIABLE = "LOTMARK_TRACEBACK"

# Library of an extra, as it is imported -> the extra that brings it.
EXTRA_OF_LIBRARY = {
    "PIL": "edge",
    "asyncua": "edge",
    "fastapi": "node",
    "grpc_health": "node",
    "grpc_reflection": "node",
    "httpx": "edge",
    "lxml": "node",
    "numpy": "verify",
    "onnxruntime": "edge",
    "prometheus_client": "node",
    "pydantic_settings": "node",
    "pysyncobj": "node",
    "rocksdict": "node",
    "signxml": "edge",
    "uvicorn": "node",
}

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class ExitCode(IntEnum):
    """What a command's exit status says, of every command alike."""

    DONE = 0
    NO = 1  # the answer is no: a proof does not hold, a claim is refused
    CANNOT_TELL = 2  # or wrong use: there is no answer
    UNREACHABLE = 3  # a node or file server did not answer; trying again may help
    NOT_RECORDED = 4  # the answer is told, but what was to go on the ledger is not there


# The first class that fits decides.
_EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (ProofError, ExitCode.NO),
    (SignatureError, ExitCode.NO),
    (ProtocolError, ExitCode.CANNOT_TELL),
    (SourceUnavailable, ExitCode.UNREACHABLE),
    (AdapterError, ExitCode.CANNOT_TELL),
    (EdgeError, ExitCode.CANNOT_TELL),
    (ConsensusError, ExitCode.CANNOT_TELL),
    (ContractError, ExitCode.CANNOT_TELL),
    (EngineError, ExitCode.CANNOT_TELL),
    (InferenceError, ExitCode.CANNOT_TELL),
    (ConnectionError, ExitCode.UNREACHABLE),
    (TimeoutError, ExitCode.UNREACHABLE),
    (OSError, ExitCode.CANNOT_TELL),
)


def answer(
    document: Mapping[str, object], text: "Callable[[], RenderableType]", *, as_json: bool
) -> None:
    """Print a command's result.

    Args:
        document: The result for programs; one line of JSON.
        text: Makes the result for people: a string or something that rich prints.
        as_json: Whether a program asked.
    """
    if as_json:
        typer.echo(json.dumps(document))
    else:
        _console(sys.stdout).print(_without_controls(text()), markup=False, highlight=False)


def note(message: str) -> None:
    """Tell a person at a terminal something that is no result."""
    if sys.stderr.isatty():
        typer.echo(visible(message), err=True)


@contextmanager
def progress(what: str, total_count: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show how far long work has come, with rate and time left, to a person at a terminal.

    Args:
        what: The work, such as "Verifying entries".
        total_count: How many steps there are; None: not known.

    Yields:
        A function to call with the number of steps just done.
    """
    if not sys.stderr.isatty():
        yield _count_nothing
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text("" if rate is None else f"{rate:,.0f}/s")

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=24),
        MofNCompleteColumn(), RateColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=_console(sys.stderr), transient=True) as shown:
        task = shown.add_task(visible(what), total=total_count)
        yield lambda count: shown.advance(task, count)


def _count_nothing(_count: int) -> None:
    """Nobody watches."""


def fail(message: str, remedy: str = "", exit_code: ExitCode = ExitCode.CANNOT_TELL) -> NoReturn:
    """Say in one line why there is no result and what to do next, and end the command."""
    line = " ".join(f"{message} {remedy}".split())
    typer.echo(visible(line), err=True)
    raise typer.Exit(exit_code)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the errors that commands meet into one line and an exit status.

    With LOTMARK_TRACEBACK=1 they pass through, to be shown in full. An error that nobody foresaw
    always shows in full, and exits 2: Python's own 1 would read as an answer.
    """
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        yield
        return
    try:
        yield
    except (typer.TyperException, typer.Exit, typer.Abort):
        raise
    except ModuleNotFoundError as error:
        extra = missing_extra(error)
        if extra is None:
            _fail_unforeseen()
        fail_for_extra(extra)
    except BrokenPipeError:
        if _output_is_closed():
            raise typer.Exit(ExitCode.DONE) from None
        fail("The other side closed the connection.", "Try again.", ExitCode.UNREACHABLE)
    except Exception as error:  # the last line of defence, see above
        for kind, exit_code in _EXIT_CODES:
            if isinstance(error, kind):
                fail(_sentence(error), exit_code=exit_code)
        _fail_unforeseen()


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return the extra whose library is missing, or None if the module is none of a library."""
    return EXTRA_OF_LIBRARY.get((error.name or "").partition(".")[0])


def fail_for_extra(extra: str) -> NoReturn:
    """Say which extra to install, and end the command."""
    fail(f"This command needs lotmark[{extra}].", f"Install it: pip install 'lotmark[{extra}]'")


def _fail_unforeseen() -> NoReturn:
    traceback.print_exc()
    raise typer.Exit(ExitCode.CANNOT_TELL)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__


def _output_is_closed() -> bool:
    """Return whether the reader of our output has gone, as `head` does when it has enough."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)  # an error is always reported
    if not poll.poll(0):
        return False
    # Python flushes once more when it exits; let that go nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    console = Console(file=stream, soft_wrap=not stream.isatty())
    console.width = min(console.width, WIDTH_MAX) if stream.isatty() else WIDTH_MAX
    return console


def _without_controls(text: "RenderableType") -> "RenderableType":
    return visible(text) if isinstance(text, str) else text


def visible(text: str) -> str:
    """Return the text with control characters spelled out: none of another's reaches a terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else ascii(character)[1:-1]
        for character in text
    )
