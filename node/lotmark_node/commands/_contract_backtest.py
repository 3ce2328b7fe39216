"""`lotmark contract backtest`: what a package would have made of what is on the ledger."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, read_settings, reading
from lotmark_node.commands._package_folder import PackageFolder, read_folder, tell_problems

if TYPE_CHECKING:
    from lotmark_contracts.backtesting.decisions import ChangedDecision, Decision
    from lotmark_contracts.backtesting.report import BacktestReport

CHANGED_SHOWN_MAX = 20


def backtest(
    folder: PackageFolder,
    *,
    client: ClientFile = None,
    snapshot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A snapshot that is here already. [default: the node's whole ledger]",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report there, for `propose` and `approve`."),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Try a package on your party's own copy of the ledger: who would have paid what.

    The snapshot is verified first. Beside the package the versions of it in force are executed, and
    the report says what differs. Equal ledgers and packages give equal reports.
    """
    from lotmark.verify.report import FaultFound, UndecidedError
    from lotmark_contracts.package.errors import PackageRefused
    from lotmark_contracts.package.package import load_package
    from lotmark_node.backtest_history import backtest_snapshot
    from lotmark_node.state_machine.package_check import check_fits_ledger

    try:
        package = load_package(read_folder(folder))
        check_fits_ledger(package)
    except PackageRefused as refused:
        tell_problems(folder, refused.problems, as_json=as_json)
    chain_id = read_settings(client).chain_id
    with _opened(snapshot, client) as source, ExitStack() as shown:
        try:
            found = backtest_snapshot(
                source, package, chain_id=chain_id, progress=_progress(shown, "Executing blocks")
            )
        except FaultFound as fault:
            terminal.fail(f"The snapshot does not hold: {fault}", "", terminal.ExitCode.NO)
        except UndecidedError as error:
            terminal.fail(f"The snapshot cannot be judged: {error}", "")
    if report is not None:
        report.write_bytes(found.canonical())
    digest = found.digest().hex()
    terminal.answer(
        {**found.document(), "sha256": digest},
        lambda: "\n".join([*report_lines(found), f"report {digest}"]),
        as_json=as_json,
    )


@contextmanager
def _opened(snapshot: Path | None, client: Path | None) -> Iterator[BinaryIO]:
    """Open a snapshot: the one that is named, or one that the node gives now."""
    if snapshot is not None:
        with snapshot.open("rb") as source:
            yield source
        return
    with tempfile.TemporaryFile() as received:
        with reading(client) as session, ExitStack() as shown:
            session.export_snapshot(received, progress=_progress(shown, "Receiving bytes"))
        received.seek(0)
        yield received


def _progress(shown: ExitStack, what: str) -> Callable[[int, int], None]:
    """Return what shows progress from the first step on, which tells how many there are."""
    advance: Callable[[int], None] | None = None
    before = 0

    def progress(done: int, total: int) -> None:
        nonlocal advance, before
        if advance is None:
            advance = shown.enter_context(terminal.progress(what, total))
        advance(done - before)
        before = done

    return progress


def report_lines(report: "BacktestReport") -> Iterator[str]:
    """Return a report for a person."""
    from lotmark_contracts.money import shown_amount

    old = "nothing in force" if report.old_version is None else f"version {report.old_version}"
    yield (
        f"{report.package} version {report.version} beside {old}: heights"
        f" {report.first_height:,} to {report.last_height:,}, {report.heard:,} of"
        f" {report.events:,} events that rules listen to"
    )
    for rule in sorted({*report.before.receipts, *report.after.receipts}):
        before, after = (side.receipts.get(rule, {}) for side in (report.before, report.after))
        yield f"  rule {rule}: {_counts(before)} → {_counts(after)}"
    for paid in report.paid:
        before_text = shown_amount(paid.before, paid.currency)
        after_text = shown_amount(paid.after, paid.currency)
        yield f"  {paid.account}: {before_text} → {after_text}"
    yield f"{report.changed_count:,} decisions would be others"
    for changed in report.changed[:CHANGED_SHOWN_MAX]:
        yield f"  {_changed_text(changed)}"
    if report.changed_count > CHANGED_SHOWN_MAX:
        yield f"  … the first {len(report.changed):,} stand in the report"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in counts.items()) or "none"


def _changed_text(changed: "ChangedDecision") -> str:
    """Return a decision that would be another one, in a line."""
    from lotmark_contracts.money import shown_amount

    def side(decisions: "tuple[Decision, ...]") -> str:
        shown = [
            " ".join(
                [
                    each.ending,
                    *[f"{net.account} {shown_amount(net.minor, net.currency)}" for net in each.net],
                ]
            )
            for each in decisions
        ]
        return "; ".join(shown) or "nothing"

    before, after = side(changed.before), side(changed.after)
    return f"entry {changed.event_id}, rule {changed.rule}: {before} → {after}"
