"""`lotmark contract propose`, `suspend` and `resume`: changes that the parties are asked for."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile
from lotmark_node.commands._contract_lines import change_document, change_text, missing_text
from lotmark_node.commands._contract_report import NamedReport, ReportFile, read_report
from lotmark_node.commands._governing import (
    DAY_MS,
    Governing,
    PassphraseFile,
    RootFiles,
    governing,
    read_keys,
)
from lotmark_node.commands._package_folder import PackageFolder, read_folder, tell_problems

if TYPE_CHECKING:
    from lotmark.client.contract_records import ChangeStanding
    from lotmark.client.contracts import ContractReader
    from lotmark.ed25519 import PrivateKey
    from lotmark.v1 import contracts_pb2
    from lotmark_contracts.package.package import Package

DAYS = 30

PackageName = Annotated[str, typer.Argument(metavar="NAME", help="Name of a package.")]
Days = Annotated[int, typer.Option(min=1, max=90, help="Days until the proposal expires.")]


def propose(
    folder: PackageFolder,
    *,
    roots: RootFiles,
    client: ClientFile = None,
    report: ReportFile = None,
    from_height: Annotated[
        int,
        typer.Option(min=0, metavar="HEIGHT", help="In force from there at the earliest; 0: soon."),
    ] = 0,
    days: Days = DAYS,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Propose a package to the parties; your party's roots approve it by that.

    It is checked first, its tests too, and nothing is sent where it is refused: exit status 1.
    Where the same package is proposed already, only the parts are sent that are missing.
    """
    from lotmark.client.contracts import ContractReader
    from lotmark.package_change import archive_parts, encode_archive
    from lotmark_contracts.package.errors import PackageRefused
    from lotmark_contracts.package.package import load_package

    try:
        files = read_folder(folder)
        package = load_package(files)
    except PackageRefused as refused:
        tell_problems(folder, refused.problems, as_json=as_json)
    named = None if report is None else read_report(report, package)
    parts = archive_parts(encode_archive(files))
    root_keys = read_keys(roots, passphrase_file)
    with governing(client) as made:
        reader = ContractReader(made.session)
        try:
            _check(reader, files, package)
        except PackageRefused as refused:
            tell_problems(folder, refused.problems, as_json=as_json)
        change = _change(made, days)
        change.activate.CopyFrom(_activation(package, parts, named, from_height))
        hashed = _open(reader, change.activate)
        if hashed is None:
            hashed = _put(made, change, root_keys)
        standing = _bring(made, reader, hashed, parts)
    _tell(standing, as_json=as_json)


def suspend(
    name: PackageName,
    *,
    roots: RootFiles,
    client: ClientFile = None,
    days: Days = DAYS,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Propose to stop a package: none of its rules is executed until it is resumed."""
    root_keys = read_keys(roots, passphrase_file)
    with governing(client) as made:
        change = _change(made, days)
        change.suspend.name = name
        standing = _propose_change(made, change, root_keys)
    _tell(standing, as_json=as_json)


def resume(
    name: PackageName,
    *,
    roots: RootFiles,
    client: ClientFile = None,
    days: Days = DAYS,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Propose that a suspended package goes on."""
    root_keys = read_keys(roots, passphrase_file)
    with governing(client) as made:
        change = _change(made, days)
        change.resume.name = name
        standing = _propose_change(made, change, root_keys)
    _tell(standing, as_json=as_json)


def _activation(
    package: "Package", parts: Sequence[bytes], report: NamedReport | None, from_height: int
) -> "contracts_pb2.PackageActivation":
    from lotmark.v1 import contracts_pb2

    activation = contracts_pb2.PackageActivation(
        name=package.name,
        version=package.manifest.version,
        package=package.hash,
        parts=[hashlib.sha256(part).digest() for part in parts],
        from_height=from_height,
    )
    if report is not None:
        activation.report = report.digest
        activation.report_first_height = report.first_height
        activation.report_last_height = report.last_height
    return activation


def _change(made: Governing, days: int) -> "contracts_pb2.PackageChange":
    from lotmark.v1 import contracts_pb2

    return contracts_pb2.PackageChange(expires_ms=made.now_ms + days * DAY_MS)


def _propose_change(
    made: Governing, change: "contracts_pb2.PackageChange", root_keys: "Sequence[PrivateKey]"
) -> "ChangeStanding":
    from lotmark.client.contracts import ContractReader
    from lotmark.package_change import kind_of

    kind_of(change)  # what is no name is told before anything is sent
    return ContractReader(made.session).proposed(_put(made, change, root_keys), fresh=True).standing


def _check(reader: "ContractReader", files: Mapping[str, bytes], package: "Package") -> None:
    """Check a package as every node will, against the version that it follows.

    Raises:
        PackageRefused: It breaks a rule; each problem names its place.
    """
    from lotmark.client.calls import NotOnLedgerError
    from lotmark_contracts.package.errors import PackageRefused, Problem
    from lotmark_contracts.package.package import MANIFEST, load_package
    from lotmark_node.state_machine.package_check import check_package

    older = None
    try:
        found = reader.version(package.name, fresh=True).files
        older = None if found is None else load_package(found)
    except NotOnLedgerError:
        if package.manifest.version != 1:
            reason = f"the first version on a ledger is 1, this one is {package.manifest.version}"
            raise PackageRefused([Problem(MANIFEST, None, reason, "")]) from None
    check_package(
        files,
        name=package.name,
        version=package.manifest.version,
        package_hash=package.hash,
        older=older,
    )


def _open(reader: "ContractReader", activation: "contracts_pb2.PackageActivation") -> bytes | None:
    """Return the hash of an open proposal that asks for just this, or None."""
    for each in reader.packages(fresh=True).proposals:
        if each.change.activate == activation:
            return each.proposal
    return None


def _put(
    made: Governing, change: "contracts_pb2.PackageChange", root_keys: "Sequence[PrivateKey]"
) -> bytes:
    """Put a proposal on the ledger, or end the command where it is refused; return its hash."""
    from lotmark.package_change import change_bytes, change_hash

    made.put([made.events.propose_package(change, made.party, root_keys)])
    return change_hash(made.session.settings.chain_id, change_bytes(change))


def _bring(
    made: Governing, reader: "ContractReader", hashed: bytes, parts: Sequence[bytes]
) -> "ChangeStanding":
    """Send the parts that a proposal waits for."""
    standing = reader.proposed(hashed, fresh=True).standing
    missing = [parts[at] for at in standing.missing_parts]
    if not missing:
        return standing
    made.put([made.events.bring_package_part(part) for part in missing])
    return reader.proposed(hashed, fresh=True).standing


def _tell(standing: "ChangeStanding", *, as_json: bool) -> None:
    from lotmark.client.contract_records import ProposalStatus

    def text() -> str:
        if standing.status is not ProposalStatus.OPEN:
            state = f"it is {standing.status.name.lower()}"
        else:
            state = f"missing: {missing_text(standing)}"
        return (
            f"{change_text(standing)} is proposed, approved by {', '.join(standing.approvals)};"
            f" {state}\nproposal {standing.proposal.hex()}\n"
            f"The others: lotmark contract approve {standing.proposal.hex()[:16]} --root FILE"
        )

    terminal.answer(change_document(standing), text, as_json=as_json)
