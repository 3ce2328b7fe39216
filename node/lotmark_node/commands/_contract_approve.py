"""`lotmark contract approve`: a party approves what it has seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._contract_lines import (
    change_document,
    change_text,
    missing_text,
    report_text,
)
from lotmark_node.commands._contract_report import ReportFile, read_report
from lotmark_node.commands._governing import PassphraseFile, RootFiles, governing, read_keys

if TYPE_CHECKING:
    from lotmark.client.contract_records import ChangeStanding, ProposedPackage
    from lotmark.client.contracts import ContractReader

_DIGITS_MIN, _DIGITS_MAX = 8, 64


def approve(
    proposal: Annotated[
        str, typer.Argument(metavar="HASH", help="First 8 to 64 hex digits of a proposal's hash.")
    ],
    *,
    roots: RootFiles,
    client: ClientFile = None,
    report: ReportFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Approve a proposal by your party's roots; see it first: `lotmark contract status`.

    The files on the ledger are compared with what the proposal says. With --report, the proposal
    has to name that very report. Of a version in force: your party is bound by it from now.
    """
    from lotmark.client.contract_records import ProposalStatus
    from lotmark.client.contracts import ContractReader

    with governing(client) as made:
        reader = ContractReader(made.session)
        found = _find(reader, proposal)
        _check(found, report)
        root_keys = read_keys(roots, passphrase_file)
        hashed = found.standing.proposal
        (result,) = made.put([made.events.approve_package(hashed, made.party, root_keys)])
        standing = reader.proposed(hashed, fresh=True).standing

    def text() -> str:
        state = standing.status.name.lower()
        if standing.status is ProposalStatus.OPEN:
            state += f"; missing: {missing_text(standing)}"
        return f"approved: {_approved_text(standing)}\nthe proposal is {state}"

    terminal.answer({**change_document(standing), "index": result.index}, text, as_json=as_json)


def _find(reader: "ContractReader", name: str) -> "ProposedPackage":
    """Return the proposal that hex digits mean, open or of a version that was approved."""
    told = reader.packages(fresh=True)
    hashes = [each.proposal for each in told.proposals]
    hashes += [version.proposal for each in told.packages for version in each.versions]
    found = [each for each in hashes if each.hex().startswith(name)]
    if not _DIGITS_MIN <= len(name) <= _DIGITS_MAX or len(found) != 1:
        terminal.fail(
            f"{len(found)} proposals begin with {name[:80]!a}.",
            f"Give {_DIGITS_MIN} digits at least; `lotmark contract status` shows those there are.",
            terminal.ExitCode.NO,
        )
    return reader.proposed(found[0], fresh=True)


def _check(found: "ProposedPackage", report: Path | None) -> None:
    """End the command where nobody can see here what would be approved."""
    from lotmark.package_change import ChangeKind
    from lotmark_contracts.package.package import load_package

    standing = found.standing
    if standing.kind is not ChangeKind.ACTIVATE:
        return
    if found.files is None:
        terminal.fail(
            f"{len(standing.missing_parts)} parts of {change_text(standing)} are missing: nobody"
            " can see yet what it is.",
            "Whoever has its folder sends them: lotmark contract propose FOLDER.",
            terminal.ExitCode.NO,
        )
    activation, package = standing.change.activate, load_package(found.files)
    if (package.name, package.manifest.version, package.hash) != (
        activation.name,
        activation.version,
        activation.package,
    ):
        terminal.fail(
            f"The files are {package.name} version {package.manifest.version} with hash"
            f" {package.hash.hex()}, and {change_text(standing)} with hash"
            f" {activation.package.hex()} is proposed.",
            "Do not approve it.",
            terminal.ExitCode.NO,
        )
    if report is not None and read_report(report, package).digest != activation.report:
        terminal.fail(
            f"{report} is another report than the proposal names: {report_text(standing)}.",
            "Backtest the package over the same heights, and compare.",
            terminal.ExitCode.NO,
        )


def _approved_text(standing: "ChangeStanding") -> str:
    from lotmark.package_change import ChangeKind

    if standing.kind is not ChangeKind.ACTIVATE:
        return change_text(standing)
    package = standing.change.activate.package.hex()
    return f"{change_text(standing)}, sha256 {package}, {report_text(standing)}"
