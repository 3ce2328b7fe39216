"""`lotmark config`: what a settings file comes to, and what is wrong with it."""

from pathlib import Path
from typing import Annotated

import typer

from lotmark_node import terminal

app = typer.Typer(help="Look at the settings of a node, a witness or a client.")

SettingsFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Settings of a node, a witness or a client.")
]


@app.command()
def show(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Show every setting as the program would use it, and where it comes from.

    Files are named, and what is in them is not shown.
    """
    from lotmark_node.effective_settings import EffectiveValue, Source, effective_values
    from lotmark_node.settings_files import settings_kind

    values = effective_values(settings_file)

    def origin(each: EffectiveValue) -> str:
        line = f" line {each.line}" if each.line and each.source is Source.FILE else ""
        return f"{each.source.value}{line}"

    width = max(len(each.key) for each in values)
    terminal.answer(
        {
            "file": str(settings_file),
            "kind": settings_kind(settings_file).value,
            "settings": [
                {
                    "key": each.key,
                    "value": each.value,
                    "source": each.source.value,
                    "line": each.line,
                }
                for each in values
            ],
        },
        lambda: "\n".join(
            f"{each.key:<{width}}  {'(not set)' if each.value is None else each.value}"
            f"  # {origin(each)}"
            for each in values
        ),
        as_json=as_json,
    )


@app.command()
def check(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Say what keeps these settings from being used. Exit status 1: something does.

    Whether the machine, keys and ledger are sound is `lotmark doctor`'s to say.
    """
    from lotmark_node.effective_settings import find_problems

    problems = find_problems(settings_file)
    terminal.answer(
        {
            "file": str(settings_file),
            "good": not problems,
            "problems": [{"place": each.place, "text": each.text} for each in problems],
        },
        lambda: (
            "\n".join(f"{each.place}: {each.text}" for each in problems)
            or f"{settings_file}: can be used"
        ),
        as_json=as_json,
    )
    if problems:
        raise typer.Exit(terminal.ExitCode.NO)
