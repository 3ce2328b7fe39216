"""The report of a backtest, as far as a proposal names it: its hash and its heights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_contracts.package.package import Package

REPORT_SIZE_MAX = 64 << 20

ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Report of a backtest of this very package."),
]


@dataclass(frozen=True, slots=True)
class NamedReport:
    """What a proposal says of a backtest's report."""

    digest: bytes  # SHA-256 of the file, which is canonical JSON
    first_height: int
    last_height: int


def read_report(file: Path, package: "Package") -> NamedReport:
    """Return what to say of a report, or end the command where it is not one of this package.

    Raises:
        OSError: The file cannot be read.
    """
    from lotmark.canonical_json import load
    from lotmark.errors import MalformedError

    with file.open("rb") as opened:
        raw = opened.read(REPORT_SIZE_MAX + 1)
    try:
        document = load(raw, size_max=REPORT_SIZE_MAX)
        if not isinstance(document, dict):
            raise MalformedError("a report is a JSON object")
        first, last = (int(str(document[name])) for name in ("first_height", "last_height"))
        found = document["package"], int(str(document["version"])), document["hash"]
    except (ValueError, KeyError, MalformedError):
        terminal.fail(f"{file} is no report of a backtest.", _REMEDY)
    if found != (package.name, package.manifest.version, package.hash.hex()):
        terminal.fail(
            f"{file} is of {str(found[0])[:40]!a} version {found[1]} with hash"
            f" {str(found[2])[:64]!a}, not of {package.name} version {package.manifest.version}"
            f" with hash {package.hash.hex()}.",
            _REMEDY,
            terminal.ExitCode.NO,
        )
    if not 1 <= first <= last:
        terminal.fail(f"{file} goes over heights {first} to {last}.", _REMEDY)
    return NamedReport(hashlib.sha256(raw).digest(), first, last)


_REMEDY = "Name the file that `lotmark contract backtest` wrote for this folder as it is now."
