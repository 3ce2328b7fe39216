"""What the commands on packages share: reading one from a folder, and telling what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_contracts.package.errors import Problem

PackageFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A package's folder.")]


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of a package's folder, or end the command where there is none."""
    from lotmark_node.package_folder import read_package_folder

    if not folder.is_dir():
        terminal.fail(f"{folder} is no folder.", "To begin one: lotmark contract new NAME")
    return read_package_folder(folder)


def tell_problems(folder: Path, problems: "Sequence[Problem]", *, as_json: bool) -> NoReturn:
    """Tell why a package is refused, and end the command."""
    terminal.answer(
        {
            "folder": str(folder),
            "good": False,
            "problems": [problem_document(problem) for problem in problems],
        },
        lambda: "\n".join(problem_lines(folder, problem) for problem in problems),
        as_json=as_json,
    )
    raise typer.Exit(terminal.ExitCode.NO)


def problem_document(problem: "Problem") -> dict[str, object]:
    """Return a problem for a program."""
    position = problem.position
    return {
        "path": problem.path,
        "line": position and position.line,
        "column": position and position.column,
        "reason": problem.reason,
    }


def problem_lines(folder: Path, problem: "Problem") -> str:
    """Return a problem with its place, and the line and a caret under it."""
    caret = f"\n{problem.caret}" if problem.caret else ""
    return f"{folder}/{problem}{caret}"
