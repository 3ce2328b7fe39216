"""`lotmark contract status`: packages, who is bound by them, and what is proposed."""

from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading
from lotmark_node.commands._contract_lines import (
    change_document,
    change_text,
    missing_text,
    report_text,
    wrapped_table,
)
from lotmark_node.commands._governing import time_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lotmark.client.contract_records import ChangeStanding, Packages, PackageStanding

_SHOWN_DIGITS = 16


def status(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The only package to show.", show_default=False)
    ] = "",
    *,
    client: ClientFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show packages with their versions, who is bound by each, and the open proposals.

    Exit status 1: there is no package of that name, and none is proposed.
    """
    with reading(client) as session:
        from lotmark.client.contracts import ContractReader

        told = ContractReader(session).packages(name, fresh=True)
    terminal.answer(
        {
            "height": str(told.height),
            "packages": [_document(each) for each in told.packages],
            "proposals": [change_document(each) for each in told.proposals],
        },
        lambda: "\n\n".join(_blocks(told)) or "No package is in force, and none is proposed.",
        as_json=as_json,
    )


def _document(package: "PackageStanding") -> dict[str, object]:
    return {
        "package": package.name,
        "in_force": package.in_force or None,
        "suspended": package.is_suspended,
        "versions": [
            {
                "version": each.version,
                "hash": each.package_hash.hex(),
                "proposal": each.proposal.hex(),
                "from_height": str(each.from_height),
                "bound": list(each.approvals),
            }
            for each in package.versions
        ],
    }


def _blocks(told: "Packages") -> "Iterator[str]":
    rows = [row for package in told.packages for row in _rows(package)]
    if rows:
        yield wrapped_table(("package", "version", "from", "state", "hash", "bound by it"), rows)
    for each in told.proposals:
        yield wrapped_table(("proposal", each.proposal.hex()), list(_proposal_rows(each)))


def _rows(package: "PackageStanding") -> "Iterator[tuple[str, ...]]":
    for each in package.versions:
        if package.is_suspended:
            state = "suspended"
        elif each.version == package.in_force:
            state = "in force"
        else:
            state = "older" if each.version < package.in_force else "to come"
        yield (
            package.name,
            str(each.version),
            str(each.from_height),
            state,
            each.package_hash.hex()[:_SHOWN_DIGITS],
            ", ".join(each.approvals),
        )


def _proposal_rows(standing: "ChangeStanding") -> "Iterator[tuple[str, str]]":
    from lotmark.package_change import ChangeKind

    yield "asks for", change_text(standing)
    if standing.kind is ChangeKind.ACTIVATE:
        yield "hash", standing.change.activate.package.hex()
        yield "backtest", report_text(standing)
    yield "approved by", ", ".join(standing.approvals)
    yield "missing", missing_text(standing)
    yield "ends", time_text(standing.change.expires_ms)
