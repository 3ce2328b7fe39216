"""`lotmark contract`: writes, checks and tries rule packages, without a node."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_contracts.package.errors import Problem
    from lotmark_contracts.package.package import Package
    from lotmark_contracts.package.table import Table
    from lotmark_contracts.scenarios.scenario_runner import ScenarioResult

app = typer.Typer(help="Write, check and try rule packages, offline.")

PackageFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A package's folder.")]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_OVERLAPS_SHOWN = 5


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the package shall be called.")],
    *,
    like: Annotated[
        str | None,
        typer.Option("--from", metavar="PACKAGE", help="Begin as this shipped package."),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Write a package that works, with a test, into a folder of its name.

    Shipped packages to begin from: technical-factor, reference-market, sensor-cover, lot-event,
    tiers-and-disputes, model-quality.
    """
    from lotmark_contracts.suggestion import suggest
    from lotmark_node.package_folder import beginning, shipped_names

    if not _NAME.fullmatch(name):
        terminal.fail(f"{name[:40]!a} cannot name a package.", "Use 1 to 40 of a-z, 0-9 and -.")
    if like is not None and like not in shipped_names():
        terminal.fail(f"No package {like[:40]!a} is shipped{suggest(like, shipped_names())}")
    folder = Path(name)
    if folder.exists():
        terminal.fail(f"{folder} exists already.", "Choose another name, or remove it.")
    files = beginning(name, like)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    terminal.answer(
        {"folder": str(folder), "files": sorted(files)},
        lambda: (
            f"Wrote {folder}: {', '.join(sorted(files))}.\n"
            f"Change it, then: lotmark contract lint {folder}; lotmark contract test {folder}"
        ),
        as_json=as_json,
    )


@app.command()
def lint(folder: PackageFolder, *, as_json: terminal.JsonFlag = False) -> None:
    """Say what is wrong with a package, and what its rules cost. Exit status 1: it is refused."""
    from lotmark_contracts.package.errors import PackageRefused
    from lotmark_contracts.package.package import load_package

    try:
        package = load_package(_read(folder))
    except PackageRefused as refused:
        _tell_problems(folder, refused.problems, as_json=as_json)
    terminal.answer(
        {
            "folder": str(folder),
            "good": True,
            "package": package.name,
            "version": package.manifest.version,
            "title": package.manifest.title,
            "hash": package.hash.hex(),
            "rules": [
                {
                    "rule": rule.name,
                    "title": rule.title,
                    "event": rule.event_type,
                    "worst_gas": rule.worst_gas,
                }
                for rule in package.rules
            ],
            "tables": [_table_document(table) for table in package.tables.values()],
            "problems": [],
        },
        lambda: _report(package),
        as_json=as_json,
    )


@app.command("test")
def run_tests(folder: PackageFolder, *, as_json: terminal.JsonFlag = False) -> None:
    """Run the tests inside a package. Exit status 1: one does not come true, 2: there is none."""
    from lotmark_contracts.package.errors import PackageRefused
    from lotmark_contracts.package.package import load_package
    from lotmark_contracts.scenarios.scenario_runner import run_scenarios

    try:
        files = _read(folder)
        results = run_scenarios(load_package(files), files)
    except PackageRefused as refused:
        _tell_problems(folder, refused.problems, as_json=as_json)
    if not results:
        terminal.fail(f"{folder} has no tests.", "Write one: tests/NAME.json, docs/contracts.md.")
    good = not any(result.problems for result in results)
    terminal.answer(
        {
            "folder": str(folder),
            "good": good,
            "tests": [
                {
                    "path": result.path,
                    "title": result.title,
                    "checks": result.checks,
                    "problems": [_problem_document(each) for each in result.problems],
                }
                for result in results
            ],
        },
        lambda: "\n".join(_result_lines(folder, result) for result in results),
        as_json=as_json,
    )
    if not good:
        raise typer.Exit(terminal.ExitCode.NO)


def _read(folder: Path) -> dict[str, bytes]:
    from lotmark_node.package_folder import read_package_folder

    if not folder.is_dir():
        terminal.fail(f"{folder} is no folder.", "To begin one: lotmark contract new NAME")
    return read_package_folder(folder)


def _tell_problems(folder: Path, problems: "Sequence[Problem]", *, as_json: bool) -> NoReturn:
    terminal.answer(
        {
            "folder": str(folder),
            "good": False,
            "problems": [_problem_document(problem) for problem in problems],
        },
        lambda: "\n".join(_problem_lines(folder, problem) for problem in problems),
        as_json=as_json,
    )
    raise typer.Exit(terminal.ExitCode.NO)


def _problem_document(problem: "Problem") -> dict[str, object]:
    position = problem.position
    return {
        "path": problem.path,
        "line": position and position.line,
        "column": position and position.column,
        "reason": problem.reason,
    }


def _problem_lines(folder: Path, problem: "Problem") -> str:
    caret = f"\n{problem.caret}" if problem.caret else ""
    return f"{folder}/{problem}{caret}"


def _report(package: "Package") -> str:
    from lotmark_contracts.package.table_analysis import OVERLAPS_MAX

    lines = [f"{package.name} version {package.manifest.version}, sha256 {package.hash.hex()}"]
    width = max(len(rule.name) for rule in package.rules)
    for rule in package.rules:
        lines.append(
            f"rule  {rule.name:<{width}}  on {rule.event_type}: costs at most {rule.worst_gas:,}"
            f" of {package.manifest.gas_max:,} gas"
        )
    for table in package.tables.values():
        lines.append(f"table {table.name}: {len(table.rows)} rows")
        lines.extend(
            f"      rows {each.earlier} and {each.later} overlap, for example: {each.example}"
            for each in table.overlaps[:_OVERLAPS_SHOWN]
        )
        if len(table.overlaps) > _OVERLAPS_SHOWN:
            or_more = " or more" if len(table.overlaps) == OVERLAPS_MAX else ""
            rest = len(table.overlaps) - _OVERLAPS_SHOWN
            lines.append(f"      and {rest}{or_more} other overlaps")
        if table.uncovered:
            lines.append(f"      'else' decides, for example: {table.uncovered}")
    return "\n".join(lines)


def _table_document(table: "Table") -> dict[str, object]:
    return {
        "table": table.name,
        "title": table.title,
        "rows": len(table.rows),
        "uncovered": table.uncovered or None,
        "overlaps": [
            {"earlier": each.earlier, "later": each.later, "example": each.example}
            for each in table.overlaps
        ],
    }


def _result_lines(folder: Path, result: "ScenarioResult") -> str:
    if not result.problems:
        return f"✓ {result.path}: {result.title} ({result.checks} checks)"
    problems = "\n".join(_problem_lines(folder, problem) for problem in result.problems)
    return f"✗ {result.path}: {result.title or 'cannot be run'}\n{problems}"
