"""`lotmark log`: follows the log, shows where it stands, and checks that it only grew."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark.client.ledger_records import LedgerCheckpoint, LedgerEntry
    from lotmark.client.session import LedgerSession

app = typer.Typer(help="Follow the log, see where it stands, check that it only grew.")

TAIL_ENTRIES = 20
NOTE_FILE_SIZE_MAX = 1 << 20


@app.command()
def tail(
    *,
    client: ClientFile = None,
    first: Annotated[
        int | None,
        typer.Option(
            "--from",
            min=0,
            metavar="INDEX",
            help=f"First entry. [default: the last {TAIL_ENTRIES}]",
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help="Only events of this type; again for each further."
        ),
    ] = None,
    parties: Annotated[
        list[str] | None,
        typer.Option(
            "--party", metavar="ID", help="Only this party's events; again for each further."
        ),
    ] = None,
    item: Annotated[
        str, typer.Option(metavar="ID", help="Only events that name this item, by its full id.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new events until Ctrl-C.")
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show the events of the log, a line each; --json: a JSON document each."""
    event_types = [_event_type_number(name) for name in types or ()]
    with reading(client) as session:
        _check_parties(session, parties or ())
        if first is None:
            first = max(0, session.ledger().size - TAIL_ENTRIES)
        entries = session.entries(
            first, event_types=event_types, parties=parties or (), item=item, follow=follow
        )
        authors = _Authors(session)
        entry = None
        try:
            for entry in entries:
                _tell_entry(entry, authors.party(entry), as_json=as_json)
        except KeyboardInterrupt:
            if not follow:
                raise
    if entry is None and not follow:
        terminal.note(
            f"No events to show from entry {first} on."
            + (" --from 0 looks through the whole log." if first else "")
        )


def _event_type_number(name: str) -> int:
    from lotmark.event import EVENT_TYPES

    if name not in EVENT_TYPES:
        terminal.fail(f"{name[:40]!a} is no event type.", f"Use one of {', '.join(EVENT_TYPES)}.")
    return EVENT_TYPES[name]


def _check_parties(session: "LedgerSession", parties: "Sequence[str]") -> None:
    members = sorted(party.id for party in session.genesis.parties)
    for name in parties:
        if name not in members:
            terminal.fail(f"{name[:40]!a} is no party here.", f"Use one of {', '.join(members)}.")


class _Authors:
    """Who signed events, asked once a batch."""

    def __init__(self, session: "LedgerSession") -> None:
        self._session = session
        self._newest = -1, ""  # index of a batch entry, and its party: the log goes batch by batch

    def party(self, entry: "LedgerEntry") -> str:
        """Return the party that signed an event."""
        from lotmark.entry import parse_event_payload
        from lotmark.verify.signed_headers import read_signed_headers

        batch_index, _, _ = parse_event_payload(entry.payload)
        if batch_index != self._newest[0]:
            batch = read_signed_headers(self._session.entry(batch_index).payload, 1)[0]
            self._newest = batch_index, batch.header.party
        return self._newest[1]


def _tell_entry(entry: "LedgerEntry", party: str, *, as_json: bool) -> None:
    from google.protobuf.message import DecodeError

    from lotmark.event_document import describe
    from lotmark.v1 import event_pb2
    from lotmark_node.commands import _event_lines as lines

    head = entry.head
    try:
        event = event_pb2.Event.FromString(entry.event) if entry.event else None
    except DecodeError:
        event = None
    assert entry.event_id is not None, "without all_kinds only events come"
    document = {
        "index": head.index,
        "height": head.height,
        "time_ms": head.time_ms,
        "party": party,
        "outcome": lines.outcome_text(head.outcome),
        "event_id": entry.event_id.hex(),
        "withheld": entry.withheld,
        "event": None if event is None else describe(event),
    }

    def text() -> str:
        outcome = f"  {lines.outcome_text(head.outcome)}" if head.outcome else ""
        line = lines.event_line(
            head.index, head.time_ms, party, event, otherwise="withheld" if entry.withheld else ""
        )
        room = _width() - len(outcome)
        return (line if len(line) <= room else f"{line[: room - 1]}…") + outcome

    terminal.answer(document, text, as_json=as_json)


def _width() -> int:
    """Return how long a line may be: what does not fit a terminal would break the table."""
    columns = shutil.get_terminal_size((terminal.WIDTH_MAX, 0)).columns
    return min(columns, terminal.WIDTH_MAX) if sys.stdout.isatty() else terminal.WIDTH_MAX


@app.command()
def head(*, client: ClientFile = None, as_json: terminal.JsonFlag = False) -> None:
    """Show which ledger it is, how far it is, and who stands behind it."""
    from lotmark_node.commands._event_lines import time_text

    with reading(client) as session:
        position = session.ledger()
        checkpoint = session.checkpoint()
    settings, findings = session.settings, checkpoint.findings
    terminal.answer(
        {
            "consortium": session.genesis.consortium,
            "chain_id": settings.chain_id.hex(),
            "node": position.node,
            "height": position.height,
            "size": position.size,
            "time_ms": position.time_ms,
            "checkpoint_size": checkpoint.size,
            "checkpoint_root": checkpoint.root.hex(),
            "final": findings.is_final,
            "cosigned_by": findings.parties,
        },
        lambda: (
            f'"{session.genesis.consortium}"  chain {settings.chain_id.hex()}\n'
            f"{position.node}  height {position.height}, {position.size} entries, newest block"
            f" {time_text(position.time_ms)} UTC\n"
            f"checkpoint  {checkpoint.size} entries, root {checkpoint.root.hex()}\n"
            f"            {findings.standing}"
        ),
        as_json=as_json,
    )


@app.command()
def check(
    *,
    client: ClientFile = None,
    since: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Keeps the newest checkpoint seen; made if missing."),
    ],
    as_json: terminal.JsonFlag = False,
) -> None:
    """Check that nothing changed in the log since the last check. Exit status 1: it does not show.

    Exit status 0 says that the log continues the checkpoint in FILE; of what that one did not
    cover, or of what the log shows to others, it says nothing.
    """
    from lotmark.client.calls import NotOnLedgerError
    from lotmark.errors import ProofError
    from lotmark_node.commands._event_lines import counted

    with reading(client) as session:
        known = _read_known(session, since) if since.exists() else None
        newest = session.checkpoint()
        if known is not None:
            try:
                session.prove_consistency(known, newest)
            except (ProofError, NotOnLedgerError) as error:
                _tell_unshown(since, known, newest, error)
    _replace_file(since, newest.note)
    first = 0 if known is None else known.size
    since_text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(_cosigned_s(known or newest)))
    terminal.answer(
        {
            "first_size": first or None,
            "size": newest.size,
            "root": newest.root.hex(),
            "final": newest.findings.is_final,
        },
        lambda: (
            f"The first check: {counted(newest.size, 'entry')} from now on,"
            f" {newest.findings.standing}"
            if known is None
            else f"Nothing changed in the {counted(first, 'entry')} since {since_text} UTC;"
            f" new since: {newest.size - first}; {newest.findings.standing}"
        ),
        as_json=as_json,
    )


def _read_known(session: "LedgerSession", since: Path) -> "LedgerCheckpoint":
    """Return the checkpoint that an earlier check kept."""
    from lotmark.client.ledger_records import LedgerCheckpoint
    from lotmark.errors import MalformedError, SignatureError
    from lotmark.genesis import chain_of, policy_text
    from lotmark.verify.checkpoints import check_checkpoint

    with since.open("rb") as file:
        note = file.read(NOTE_FILE_SIZE_MAX + 1)
    # Who stood behind it was said then: here it is enough that this log's voters signed it.
    chain = chain_of(session.genesis, session.settings.chain_id)
    text = policy_text(session.genesis, chain.id)
    try:
        findings = check_checkpoint(chain, text, note)
    except (MalformedError, SignatureError) as error:
        terminal.fail(
            f"{since} is no checkpoint that this log signed: {error}.",
            "It should be the file that an earlier check kept, or not exist yet.",
        )
    return LedgerCheckpoint(note=note, findings=findings)


def _cosigned_s(checkpoint: "LedgerCheckpoint") -> int:
    """Return when the first cosigner saw a checkpoint, in Unix seconds."""
    return min((time_s for _, time_s in checkpoint.findings.cosigned), default=0)


def _tell_unshown(
    since: Path, known: "LedgerCheckpoint", newest: "LedgerCheckpoint", error: Exception
) -> NoReturn:
    """Keep both checkpoints, and say no more than they show."""
    from lotmark_node.commands._event_lines import counted

    other = since.with_name(f"{since.name}.conflict")
    _replace_file(other, newest.note)
    entries = counted(known.size, "entry")
    if newest.size == known.size:
        what = f"CHANGED: the log signed two different trees of {entries}."
        remedy = f"Keep {since} and {other}, they prove it, and ask the other parties for theirs."
    elif newest.size < known.size:
        what = f"The log shows less than before: {newest.size} where it had signed {entries}."
        remedy = (
            "It may show an older state or have lost some: ask the party that runs the node, and"
            f" keep {since} and {other}."
        )
    else:
        what = (
            f"The log could not show that it continues the {entries} that it had signed: {error}."
        )
        remedy = (
            f"Check again; if it stays so, keep {since} and {other}, and ask the other parties"
            " what the log shows them."
        )
    terminal.fail(what, remedy, terminal.ExitCode.NO)


def _replace_file(path: Path, content: bytes) -> None:
    """Put a file in another's place, at once or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
