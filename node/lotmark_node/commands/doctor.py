"""`lotmark doctor`: finds out what is wrong with a node's folder, and what to do about it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark_node.engine.scrub import ScrubReport
    from lotmark_node.node_checks import Finding
    from lotmark_node.node_settings import NodeSettings

app = typer.Typer()

_MARKS = {"good": "✓", "notice": "·", "warning": "!", "bad": "✗", "unchecked": "?"}


@app.command()
def doctor(
    *,
    node: Annotated[
        Path,
        typer.Option(metavar="NODE.toml", help="The node's settings, as `lotmark init` wrote."),
    ],
    scrub: Annotated[
        bool,
        typer.Option("--scrub", help="Read and hash all that is stored; the node must be stopped."),
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Check a node's keys, certificates, disk, ledger and peers. Exit status 1: something is bad.

    ✓ good  · worth knowing  ! to do soon  ✗ bad  ? not checked
    """
    from lotmark_node.node_checks import Finding, Health, check_node
    from lotmark_node.node_settings import read_node_settings
    from lotmark_node.peer_checks import check_addresses

    settings = read_node_settings(node)
    findings = list(check_node(settings, now_ms=time.time_ns() // 1_000_000))
    findings += check_addresses(settings)
    bad = {finding.check for finding in findings if finding.health is Health.BAD}
    if scrub and bad & {"genesis", "ledger"}:
        findings.append(Finding("scrub", Health.UNCHECKED, "first mend what is bad above"))
    elif scrub:
        findings.append(_scrub(settings))
    unhealthy = any(finding.health is Health.BAD for finding in findings)
    terminal.answer(
        {
            "node": f"{settings.party}/{settings.node}",
            "healthy": not unhealthy,
            "checks": [
                {"check": finding.check, "health": finding.health.value, "text": finding.text}
                for finding in findings
            ],
        },
        lambda: _text(findings),
        as_json=as_json,
    )
    if unhealthy:
        raise typer.Exit(terminal.ExitCode.NO)
    if scrub and findings[-1].health is Health.UNCHECKED:
        raise typer.Exit(terminal.ExitCode.CANNOT_TELL)


def _text(findings: "Sequence[Finding]") -> str:
    width = max(len(finding.check) for finding in findings)
    return "\n".join(
        f"{_MARKS[finding.health]} {finding.check:<{width}}  {finding.text}" for finding in findings
    )


def _scrub(settings: "NodeSettings") -> "Finding":
    from lotmark_consensus.errors import ConsensusError, JournalLocked
    from lotmark_node.compose import read_consortium
    from lotmark_node.engine.errors import EngineError
    from lotmark_node.engine.scrub import scrub
    from lotmark_node.node_checks import Finding, Health

    if not (settings.data / "journal").exists():
        return Finding("scrub", Health.GOOD, "nothing is stored yet")
    genesis, _ = read_consortium(settings)
    if len(genesis.voters) > 1:  # its journal is another kind of file
        return Finding(
            "scrub",
            Health.UNCHECKED,
            "reads the ledger of a single voter only; export a snapshot and verify it instead",
        )
    try:
        report = scrub(settings.data, genesis, terminal.progress)
    except JournalLocked:
        return Finding("scrub", Health.UNCHECKED, "in use by the running node; stop it first")
    except (EngineError, ConsensusError) as error:
        return Finding("scrub", Health.BAD, str(error))
    return Finding("scrub", Health.GOOD, _whole(report))


def _whole(report: "ScrubReport") -> str:
    journalled = report.journal_last_index - report.journal_first_index + 1
    return (
        f"as written: {report.height} blocks, {report.size} entries, {report.row_count} state rows,"
        f" {journalled} blocks of the journal"
    )
