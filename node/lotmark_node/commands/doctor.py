"""`lotmark doctor`: finds out what is wrong with a node or an edge site, and what to do."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lotmark_node.engine.scrub import ScrubReport
    from lotmark_node.findings import Finding
    from lotmark_node.node_settings import NodeSettings

app = typer.Typer()

_MARKS = {"good": "✓", "notice": "·", "warning": "!", "bad": "✗", "unchecked": "?"}


@app.command()
def doctor(
    *,
    node: Annotated[
        Path | None,
        typer.Option(metavar="NODE.toml", help="The node's settings, as `lotmark init` wrote."),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(metavar="SITE.toml", help="Check an edge site instead, by its settings."),
    ] = None,
    scrub: Annotated[
        bool,
        typer.Option("--scrub", help="Read and hash all that is stored; the node must be stopped."),
    ] = False,
    client: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CLIENT.toml", help="Check this client's certificate too; again for each."
        ),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Check a node's keys, certificates, machine, ledger, peers. Exit status 1: something is bad.

    With --site an edge site's: client, sources, trust, gauges, policy, store, machine.

    ✓ good  · worth knowing  ! to do soon  ✗ bad  ? not checked
    """
    if (node is None) is (site is None):
        terminal.fail("Name what to check:", "either --node NODE.toml or --site SITE.toml.")
    if site is not None and (scrub or client):
        terminal.fail("--scrub and --client are for nodes.", "Leave them out with --site.")
    now_ms = time.time_ns() // 1_000_000
    if node is not None:
        _check_node(node, now_ms, client or [], scrub=scrub, as_json=as_json)
    elif site is not None:
        _check_site(site, now_ms, as_json=as_json)


def _check_site(settings_file: Path, now_ms: int, *, as_json: bool) -> None:
    from lotmark_node.edge.settings_file import read_site_settings
    from lotmark_node.edge.site_checks import check_site
    from lotmark_node.findings import Health

    settings = read_site_settings(settings_file)
    findings = list(check_site(settings, now_ms=now_ms))
    _tell({"site": settings.site}, findings, as_json=as_json)
    if any(finding.health is Health.BAD for finding in findings):
        raise typer.Exit(terminal.ExitCode.NO)


def _check_node(
    node: Path, now_ms: int, clients: "Sequence[Path]", *, scrub: bool, as_json: bool
) -> None:
    from lotmark_node.findings import Finding, Health
    from lotmark_node.node_checks import check_node
    from lotmark_node.node_settings import read_node_settings

    settings = read_node_settings(node)
    findings = list(check_node(settings, now_ms=now_ms))
    findings += _check_around(settings, findings, clients, now_ms)
    bad = {finding.check for finding in findings if finding.health is Health.BAD}
    if scrub and bad & {"genesis", "ledger"}:
        findings.append(Finding("scrub", Health.UNCHECKED, "first mend what is bad above"))
    elif scrub:
        findings.append(_scrub(settings))
    _tell({"node": f"{settings.party}/{settings.node}"}, findings, as_json=as_json)
    if any(finding.health is Health.BAD for finding in findings):
        raise typer.Exit(terminal.ExitCode.NO)
    if scrub and findings[-1].health is Health.UNCHECKED:
        raise typer.Exit(terminal.ExitCode.CANNOT_TELL)


def _tell(named: dict[str, object], findings: "Sequence[Finding]", *, as_json: bool) -> None:
    from lotmark_node.findings import Health

    terminal.answer(
        {
            **named,
            "healthy": all(finding.health is not Health.BAD for finding in findings),
            "checks": [
                {"check": finding.check, "health": finding.health.value, "text": finding.text}
                for finding in findings
            ],
        },
        lambda: _text(findings),
        as_json=as_json,
    )


def _check_around(
    settings: "NodeSettings", found: "Sequence[Finding]", clients: "Sequence[Path]", now_ms: int
) -> "Iterator[Finding]":
    """Check the machine, those whom the node calls, and clients, once the genesis is known."""
    from lotmark_node.compose import read_consortium
    from lotmark_node.findings import Health
    from lotmark_node.machine_checks import check_machine
    from lotmark_node.peer_certificates import check_holder, check_shown_certificates
    from lotmark_node.peer_checks import check_addresses

    bad = {finding.check for finding in found if finding.health is Health.BAD}
    genesis = None if "genesis" in bad else read_consortium(settings)[0]
    if genesis is not None:
        yield from check_machine(settings, genesis)
    yield from check_addresses(settings)
    if genesis is not None and "certificate" not in bad:
        yield from check_shown_certificates(settings, genesis, now_ms=now_ms)
    for settings_file in clients:
        yield check_holder(settings_file, now_ms=now_ms)


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
    from lotmark_node.findings import Finding, Health
    from lotmark_node.node_checks import owned_by_another

    if not (settings.data / "journal").exists():
        return Finding("scrub", Health.GOOD, "nothing is stored yet")
    if (reason := owned_by_another(settings.data)) is not None:
        return Finding("scrub", Health.UNCHECKED, reason)
    genesis, _ = read_consortium(settings)
    try:
        report = scrub(settings.data, genesis, terminal.progress, is_shared=len(genesis.voters) > 1)
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
