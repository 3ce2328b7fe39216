"""`lotmark contract`: rule packages, written and tried offline, then agreed on by the parties."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._contract_accounts import balances, settlement, statement
from lotmark_node.commands._contract_approve import approve
from lotmark_node.commands._contract_backtest import backtest
from lotmark_node.commands._contract_explain import explain
from lotmark_node.commands._contract_propose import propose, resume, suspend
from lotmark_node.commands._contract_status import status
from lotmark_node.commands._package_folder import (
    PackageFolder,
    problem_document,
    problem_lines,
    read_folder,
    tell_problems,
)

if TYPE_CHECKING:
    from lotmark_contracts.package.package import Package
    from lotmark_contracts.package.table import Table
    from lotmark_contracts.scenarios.scenario_runner import ScenarioResult

app = typer.Typer(help="Write and try rule packages offline, agree on them, see what they decide.")

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
    tiers-and-disputes, model-quality, process-steps.
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
        package = load_package(read_folder(folder))
    except PackageRefused as refused:
        tell_problems(folder, refused.problems, as_json=as_json)
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
        files = read_folder(folder)
        results = run_scenarios(load_package(files), files)
    except PackageRefused as refused:
        tell_problems(folder, refused.problems, as_json=as_json)
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
                    "problems": [problem_document(each) for each in result.problems],
                }
                for result in results
            ],
        },
        lambda: "\n".join(_result_lines(folder, result) for result in results),
        as_json=as_json,
    )
    if not good:
        raise typer.Exit(terminal.ExitCode.NO)


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
    problems = "\n".join(problem_lines(folder, problem) for problem in result.problems)
    return f"✗ {result.path}: {result.title or 'cannot be run'}\n{problems}"


for _command in (
    backtest,
    propose,
    approve,
    status,
    suspend,
    resume,
    explain,
    balances,
    statement,
    settlement,
):
    app.command()(_command)
