"""`lotmark entry`: shows one entry of the ledger, proven."""

import json
from typing import TYPE_CHECKING

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, EntryName, parse_entry_name, reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lotmark.batch import BatchHeader
    from lotmark.client.ledger_records import LedgerCheckpoint, LedgerEntry

app = typer.Typer()

_FIELD_WIDTH = 20


@app.command()
def entry(
    name: EntryName, *, client: ClientFile = None, as_json: terminal.JsonFlag = False
) -> None:
    """Show an entry of the ledger, once it is proven to stand there. Exit status 1: it does not."""
    from lotmark.entry import EntryKind, parse_event_payload
    from lotmark.verify.signed_headers import read_signed_headers

    named = parse_entry_name(name)
    with reading(client) as session:
        found = session.entry(named)
        checkpoint = session.checkpoint_over(found.head.index)
        session.prove_inclusion(found, checkpoint)
        carrier = found
        if found.head.kind is EntryKind.EVENT:
            carrier = session.entry(parse_event_payload(found.payload)[0])
            session.prove_inclusion(carrier, checkpoint)
    header = None
    if carrier.head.kind is EntryKind.BATCH:
        header = read_signed_headers(carrier.payload, 1)[0].header
    terminal.answer(
        _document(found, header, checkpoint),
        lambda: _text(found, header, checkpoint),
        as_json=as_json,
    )


def _event_fields(found: "LedgerEntry") -> "Mapping[str, object] | None":
    """Return the event as a document; None where there is none to show."""
    from google.protobuf.message import DecodeError

    from lotmark.event_document import describe
    from lotmark.v1 import event_pb2

    if not found.event:
        return None
    try:
        return describe(event_pb2.Event.FromString(found.event))
    except DecodeError:
        return None


def _document(
    found: "LedgerEntry", header: "BatchHeader | None", checkpoint: "LedgerCheckpoint"
) -> dict[str, object]:
    from lotmark.entry import EntryKind
    from lotmark_node.commands._event_lines import outcome_text

    head = found.head
    return {
        "index": head.index,
        "height": head.height,
        "time_ms": head.time_ms,
        "kind": head.kind.name.lower(),
        "outcome": outcome_text(head.outcome),
        "event_id": found.event_id.hex() if found.event_id else None,
        "withheld": found.withheld,
        "event": _event_fields(found),
        "close": _close_fields(found.payload) if head.kind is EntryKind.BLOCK_CLOSE else None,
        "batch": None if header is None else dict(_batch_fields(header)),
        "checkpoint_size": checkpoint.size,
        "final": checkpoint.findings.is_final,
    }


def _batch_fields(header: "BatchHeader") -> list[tuple[str, object]]:
    from lotmark_node.commands._event_lines import time_text

    return [
        ("party", header.party),
        ("signer", header.signer.hex()),
        ("lane", header.lane),
        ("sequence", header.sequence),
        ("created", time_text(header.created_at_ms)),
        ("clock", header.clock.name.lower()),
        ("event_count", header.event_count),
    ]


def _close_fields(payload: bytes) -> dict[str, object]:
    """Return what a block close says, hashes in hex."""
    from lotmark.entry import parse_close

    close = parse_close(payload)
    names = (
        "batch_count", "refused_batch_count", "event_count", "refused_event_count",
        "equivocation_count", "previous_size", "proposal_digest", "state_digest", "policy_digest",
    )  # fmt: skip
    values = {name: getattr(close, name) for name in names}
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()
    }


def _text(
    found: "LedgerEntry", header: "BatchHeader | None", checkpoint: "LedgerCheckpoint"
) -> str:
    from lotmark.entry import EntryKind
    from lotmark.outcome import MEANINGS, Outcome
    from lotmark_node.commands._event_lines import outcome_text, time_text

    head = found.head
    kind = head.kind.name.lower().replace("_", " ")
    judged = f", {outcome_text(head.outcome)}" if found.event_id or header else ""
    lines = [
        f"entry {head.index}  {kind}{judged}, height {head.height}, {time_text(head.time_ms)} UTC"
    ]
    if head.outcome and head.outcome in list(Outcome):
        lines.append(f"  {MEANINGS[Outcome(head.outcome)].text}")
    if found.event_id:
        lines.append(_field("event id", found.event_id.hex()))
    fields = _event_fields(found)
    if fields is not None:
        lines += _nested(fields, indent=2)
    elif found.withheld:
        lines.append("  the event is for other parties: only its id is shown to this client")
    elif found.event:
        lines.append(f"  {len(found.event)} bytes that are no event")
    elif head.kind is EntryKind.BLOCK_CLOSE:
        lines += [_field(name, value) for name, value in _close_fields(found.payload).items()]
    elif head.kind is EntryKind.GENESIS:
        lines.append(_field("chain id", found.payload.hex()))
    if header is not None:
        lines += ["signed in a batch", *(_field(*each) for each in _batch_fields(header))]
    lines.append(f"proven under {checkpoint.size} entries, {checkpoint.findings.standing}")
    return "\n".join(lines)


def _field(name: str, value: object, indent: int = 2) -> str:
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"{' ' * indent}{name.replace('_', ' '):<{_FIELD_WIDTH}}  {shown}"


def _nested(fields: "Mapping[str, object]", indent: int) -> list[str]:
    """Return the lines of a document's table; tables in it are set in further."""
    lines = []
    for name, value in fields.items():
        if isinstance(value, dict):
            lines += [f"{' ' * indent}{name.replace('_', ' ')}", *_nested(value, indent + 2)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [_field(name, _joined(each), indent) for each in value]
        elif isinstance(value, list):
            lines.append(_field(name, ", ".join(map(str, value)), indent))
        else:
            lines.append(_field(name, value, indent))
    return lines


def _joined(table: "Mapping[str, object]") -> str:
    """Return a short table, such as an item, in one line."""
    parts = []
    for value in table.values():
        parts.append(_joined(value) if isinstance(value, dict) else str(value))
    return " ".join(parts)
