"""`lotmark demo`: tells a story to a real network, verifies it, and has three forgers caught."""

import json
import shlex
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from lotmark_node import terminal

app = typer.Typer()

_OPENING = """\
A made-up story, told to a real network on this machine. Everything is left in {folder}.
Events are "in" when fsynced and applied, "final" when a checkpoint covers them that
a quorum of parties has cosigned."""


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Where everything is left; an earlier demo's is replaced.")
    ] = Path("demo-run"),
    *,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Tell a story to three voters and a witness on this machine, kill the leader, verify, forge.

    The last line is one JSON object. Exit status 0 says that everything in it came true.
    """
    from lotmark.errors import ProtocolError
    from lotmark_adapters.errors import AdapterError
    from lotmark_node.story.errors import StoryFailed
    from lotmark_node.story.play import play
    from lotmark_node.story.stage import Stage, shared_folder

    def say(text: str) -> None:
        if not as_json:
            typer.echo(text)

    started_s = time.perf_counter()
    try:
        with Stage(folder, shared_folder()) as stage:
            say(_OPENING.format(folder=folder))
            play(stage, say)
    except (StoryFailed, ProtocolError, AdapterError, OSError) as error:
        _fail(str(error))
    except Exception as error:  # whatever it was: whoever reads the last line must find one
        traceback.print_exc()
        _fail(f"{type(error).__name__}: {error}")
    say("Type next; the first runs the nodes until Ctrl-C, so type the others in another terminal:")
    for arguments in stage.next_commands:
        say(f"  {_program()} {shlex.join(arguments)}")
    seconds = round(time.perf_counter() - started_s, 1)
    typer.echo(json.dumps({"demo": "ok", **stage.facts, "seconds": seconds}))


def _fail(reason: str) -> NoReturn:
    typer.echo(json.dumps({"demo": "failed", "reason": reason}))
    raise typer.Exit(terminal.ExitCode.NO)


def _program() -> str:
    """Return how this program is called from here, so that a line can be copied and typed."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "lotmark":
        return f"{_from_here(Path(sys.executable))} -m lotmark_node.main"
    if called.is_relative_to(Path.cwd()):
        return _from_here(called)  # a checkout's own, which `uv run` finds and a shell does not
    return "lotmark" if shutil.which("lotmark") == str(called) else str(called)


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
