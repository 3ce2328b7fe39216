"""`lotmark verify`: checks offline what a ledger gave out, trusting no node."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NoReturn

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark.verify.report import Verdict

app = typer.Typer()

_CHAIN_ID_DIGITS = 64


class Level(StrEnum):
    """How deep a snapshot is checked."""

    STRUCTURE = "structure"
    FULL = "full"


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Snapshot, receipt, item proof or answer.")],
    *,
    chain_id: Annotated[
        str,
        typer.Option(
            metavar="HEX", help="Chain id from a source you trust; without it: cannot tell."
        ),
    ] = "",
    genesis: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="genesis.json of the ledger, for all but a snapshot."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Report that the receipt is said to be of, its files beside it."
        ),
    ] = None,
    level: Annotated[
        Level, typer.Option(help="structure: who signed what; full: execute everything again too.")
    ] = Level.FULL,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Check offline what a ledger gave out. Exit status: 0 valid, 1 a fault, 2 cannot tell.

    With --report also whether that report is what was sealed: 1 where it, or a file of it, is not.
    """
    pinned = _parse_chain_id(chain_id) if chain_id else None
    with file.open("rb") as source:
        verdict = _judge(source, pinned, genesis, level)
        if report is not None:
            _compare(source, verdict, report, as_json=as_json)
    terminal.answer(verdict.to_json(), lambda: "\n".join(verdict.lines()), as_json=as_json)
    raise typer.Exit(verdict.conclusion)


def _compare(source: BinaryIO, verdict: "Verdict", file: Path, *, as_json: bool) -> NoReturn:
    """Tell whether a report is the one that a receipt's event sealed."""
    from lotmark.document_source import DOCUMENT_SIZE_MAX
    from lotmark.report import compare_with_seal
    from lotmark.verify.key_register import parse_event
    from lotmark.verify.receipt import parse_receipt

    if verdict.details.get("event_type") != "report_seal":
        terminal.fail(f"{verdict.text}.", "A report is compared with the receipt of its seal.")
    source.seek(0)
    event = parse_event(parse_receipt(source.read()).event)
    with file.open("rb") as opened:
        raw = opened.read(DOCUMENT_SIZE_MAX + 1)
    found = compare_with_seal(raw, event, name=str(file), folder=file.parent)
    fields = "MATCH" if found.fields_match else "MISMATCH"
    told = [f"{fields}  the fields of {file}"]
    told += [f"{state.name}  {name}" for name, state in found.files]
    if not found.fields_match:
        told.append("Which field differs cannot be told: the ledger has their digest alone.")
    terminal.answer(
        {
            **verdict.to_json(),
            "report": {
                "fields": fields.lower(),
                "files": [{"name": name, "state": state.value} for name, state in found.files],
            },
        },
        lambda: "\n".join([*verdict.lines(), *told]),
        as_json=as_json,
    )
    raise typer.Exit(verdict.conclusion if found.holds else terminal.ExitCode.NO)


def _parse_chain_id(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if 2 * len(raw) != _CHAIN_ID_DIGITS:
        terminal.fail(
            f"{text[:80]!a} is no chain id.",
            f"Give its {_CHAIN_ID_DIGITS} hex digits, as the founding document or a party has them"
            " (an invitation, a contract); take them neither from the file nor from a node.",
        )
    return raw


def _judge(
    source: BinaryIO, chain_id: bytes | None, genesis: Path | None, level: Level
) -> "Verdict":
    from lotmark.verify.judge import FileKind, judge_file, kind_of

    if chain_id is None or genesis or kind_of(source) is not FileKind.SNAPSHOT:
        return judge_file(
            source,
            chain_id=chain_id,
            genesis_json=genesis.read_bytes() if genesis else None,
            genesis_name=str(genesis),
        )
    with terminal.progress("Verifying blocks", _step_count(source, level)) as advance:

        def progress(_done: int, _total: int) -> None:
            advance(1)

        if level is Level.STRUCTURE:
            return judge_file(source, chain_id=chain_id, genesis_json=None, progress=progress)
        from lotmark_node.verification.verify import verify_snapshot

        return verify_snapshot(source, chain_id=chain_id, progress=progress)


def _step_count(source: BinaryIO, level: Level) -> int | None:
    """Return how many steps there will be, or None where the file does not say."""
    from lotmark.errors import ProtocolError
    from lotmark.snapshot_reader import SnapshotReader

    try:
        manifest = SnapshotReader(source).manifest
    except ProtocolError:
        return None
    finally:
        source.seek(0)
    return (manifest.last_height - manifest.first_height + 1) * (2 if level is Level.FULL else 1)
