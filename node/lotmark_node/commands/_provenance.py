"""What the commands that ask where things come from share."""

import io
import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lotmark.canonical_json import JsonValue
    from lotmark.client.ledger_records import LedgerCheckpoint
    from lotmark.client.provenance import ProvenanceReader
    from lotmark.client.provenance_records import AnswerHead
    from lotmark.client.session import LedgerSession

ItemName = Annotated[
    str,
    typer.Argument(
        metavar="ITEM",
        help="Id of an item; lot:GTIN.LOT, serial:GTIN.SERIAL, the serial or lot alone, id:ID.",
    ),
]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="From this day or time on, UTC.")
]
Until = Annotated[
    str, typer.Option("--until", metavar="TIME", help="Up to before this day or time, UTC.")
]

ProofFile = Annotated[
    Path | None,
    typer.Option(
        "--proof",
        metavar="FILE",
        help="Write what proves the answer, for `lotmark verify`; must not exist.",
    ),
]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@contextmanager
def asking(
    client: Path | None, *, as_json: bool
) -> "Iterator[tuple[LedgerSession, ProvenanceReader]]":
    """Give a session and a reader over it; a name of several items is no answer, and they are told.

    Args:
        client: The settings file that the command line names.
        as_json: Whether a program asks.
    """
    with reading(client) as session:
        from lotmark.client.calls import AmbiguousItemError
        from lotmark.client.provenance import ProvenanceReader

        try:
            yield session, ProvenanceReader(session)
        except AmbiguousItemError as error:
            if as_json:
                typer.echo(json.dumps({"candidates": list(error.candidates)}))
            terminal.fail(f"{error}.")


def parse_item(typed: str) -> str:
    """Return the canonical name of the item that a person typed.

    Raises:
        MalformedError: It is none; the message says how to write it.
    """
    from lotmark.item_name import read_item_name

    return read_item_name(typed)


def parse_time(text: str) -> int:
    """Return the time that a person wrote, a day or an RFC 3339 time, in Unix ms; "": 0.

    Raises:
        MalformedError: It is none.
    """
    from lotmark.rfc3339 import parse_ms

    if not text:
        return 0
    return parse_ms(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)


def covering(session: "LedgerSession", head: "AnswerHead") -> "LedgerCheckpoint":
    """Return a checkpoint over all that an answer is made of, final unless that takes too long."""
    return session.checkpoint_over(head.size - 1)


def standing(head: "AnswerHead", checkpoint: "LedgerCheckpoint") -> str:
    """Return at which height an answer was made, and how firm that is."""
    firm = "final" if checkpoint.findings.is_final else "durable"
    return f"at height {head.height}, {firm}"


@dataclass(frozen=True, slots=True)
class WrittenProof:
    """A file that proves an answer."""

    file: Path
    receipt_count: int
    item_proof_count: int
    check: str  # the command line that verifies it

    def document(self) -> dict[str, object]:
        """Return it for a program."""
        return {
            "file": str(self.file),
            "receipts": self.receipt_count,
            "item_proofs": self.item_proof_count,
        }

    def line(self) -> str:
        """Return what to tell a person."""
        return f"{self.file}: what proves it. Check it: {self.check}"


def write_proof(
    session: "LedgerSession",
    file: Path,
    question: "Mapping[str, JsonValue]",
    receipts: "Sequence[bytes]",
    item_proofs: "Sequence[bytes]" = (),
) -> WrittenProof:
    """Write what proves an answer to a new file.

    Raises:
        MalformedError: It is too much for one file.
        KeyFileError: The file exists, or cannot be written.
    """
    from lotmark.answer_file import write_answer
    from lotmark.key_file import write_new_file

    chain_id = session.settings.chain_id
    out = io.BytesIO()
    write_answer(
        out, chain_id=chain_id, question=question, receipts=receipts, item_proofs=item_proofs
    )
    write_new_file(file, out.getvalue(), mode=0o644)
    words = ["lotmark", "verify", str(file), "--genesis", os.path.relpath(session.settings.genesis)]
    check = shlex.join([*words, "--chain-id", chain_id.hex()])
    return WrittenProof(file, len(receipts), len(item_proofs), check)


def parse_resume(text: str) -> bytes:
    """Return what a partial answer gave to go on with; "": begin."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        terminal.fail(
            f"{text[:40]!a} is nothing to go on with.",
            "Give what the partial answer named, unchanged, with the same item and options.",
        )
