"""`lotmark operator`: credentials of people at stations, and what they sign."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import (
    ClientFile,
    EntryName,
    OutboxFile,
    parse_entry_name,
    read_settings,
    reading,
)
from lotmark_node.commands._governing import (
    DAY_MS,
    PassphraseFile,
    RootFiles,
    read_keys,
)
from lotmark_node.commands._one_event import submit_body

if TYPE_CHECKING:
    from lotmark.operator_grant import OperatorGrant

app = typer.Typer(help="Operators: register their credentials, and sign events with them.")

DAYS_MAX = 3_650


class Meaning(StrEnum):
    """What an operator's signature means."""

    AUTHOR = "author"
    REVIEW = "review"
    APPROVE = "approve"
    RELEASE = "release"


MeaningOption = Annotated[Meaning, typer.Option(help="What the signature means.")]
AssertionFile = Annotated[
    Path,
    typer.Option(
        "--assertion",
        metavar="FILE",
        help="What navigator.credentials.get gave, as JSON (credential.toJSON()).",
    ),
]


@app.command()
def grant(
    credential: Annotated[
        Path,
        typer.Argument(help="What navigator.credentials.create gave, as JSON."),
    ],
    *,
    client: ClientFile = None,
    origin: Annotated[
        str, typer.Option(help="Page on which the operator signs, such as https://sign.example.")
    ],
    rp_id: Annotated[
        str, typer.Option(help="Relying party id. [default: the host of the origin]")
    ] = "",
    role: Annotated[
        str, typer.Option(help="What the operator does, such as welding-inspector; no name.")
    ],
    meanings: Annotated[
        list[Meaning],
        typer.Option("--meaning", help="What the credential may sign; again for each further."),
    ],
    days: Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="Days it is valid.")] = 365,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the grant goes; a new file.")],
    as_json: terminal.JsonFlag = False,
) -> None:
    """Write what a new credential may sign, and print what it has to sign to be registered."""
    from urllib.parse import urlsplit

    from lotmark.client.webauthn_files import FILE_SIZE_MAX, read_new_credential
    from lotmark.document_fields import table_of
    from lotmark.key_file import write_new_file
    from lotmark.operator_grant import (
        OperatorGrant,
        OperatorMeaning,
        check_grant,
        grant_to_message,
        possession_challenge,
    )
    from lotmark.webauthn import RelyingParty

    settings = read_settings(client)
    made = read_new_credential(_read(credential, FILE_SIZE_MAX), name=str(credential))
    now_ms = _now_ms()
    host = rp_id or urlsplit(origin).hostname or ""
    granted = OperatorGrant(
        party=settings.party,
        credential_id=made.credential_id,
        relying_party=RelyingParty(rp_id=host, origin=origin, public_key=made.public_key),
        role=role,
        meanings=tuple(sorted({OperatorMeaning[each.name] for each in meanings})),
        not_before_ms=now_ms,
        not_after_ms=now_ms + days * DAY_MS,
    )
    check_grant(granted)
    document = json.dumps(table_of(grant_to_message(granted)), indent=1)
    write_new_file(out, f"{document}\n".encode(), mode=0o644)
    _tell_challenge(
        possession_challenge(granted, settings.chain_id),
        granted.credential_id,
        f"{out}: let the credential sign this, then `lotmark operator register {out}`",
        as_json=as_json,
    )


@app.command()
def register(
    file: Annotated[Path, typer.Argument(metavar="GRANT", help="What `operator grant` wrote.")],
    *,
    client: ClientFile = None,
    assertion: AssertionFile,
    roots: RootFiles,
    passphrase_file: PassphraseFile = None,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Register a credential. Exit status 1: it was refused."""
    from lotmark.client.operator_bodies import registration
    from lotmark.client.webauthn_files import FILE_SIZE_MAX, read_assertion

    settings = read_settings(client)
    granted = _read_grant(file)
    signed = read_assertion(_read(assertion, FILE_SIZE_MAX), name=str(assertion))
    root_keys = read_keys(roots, passphrase_file)
    body = registration(settings.chain_id, granted, signed.assertion, root_keys)
    submit_body(
        settings,
        body,
        outbox,
        "registered from the next block on",
        as_json=as_json,
        is_awaited=True,
    )


# A credential id may begin with a hyphen.
@app.command(context_settings={"ignore_unknown_options": True})
def revoke(
    credential: Annotated[
        str, typer.Argument(metavar="CREDENTIAL_ID", help="As `lotmark operator list` shows it.")
    ],
    *,
    client: ClientFile = None,
    roots: RootFiles,
    passphrase_file: PassphraseFile = None,
    reason: Annotated[str, typer.Option(help="Why; no name.")] = "",
    compromised_since: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="Since when it may have been in wrong hands, such as 2026-11-20T08:00:00Z.",
        ),
    ] = "",
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Revoke a credential of the client's party. Exit status 1: it was refused."""
    from lotmark.client.operator_bodies import revocation
    from lotmark.rfc3339 import parse_ms
    from lotmark.webauthn import decode_base64url

    settings = read_settings(client)
    body = revocation(
        settings.chain_id,
        decode_base64url(credential, what="credential id"),
        party=settings.party,
        reason=reason,
        compromised_since_ms=parse_ms(compromised_since) if compromised_since else 0,
        roots=read_keys(roots, passphrase_file),
    )
    submit_body(
        settings, body, outbox, "revoked from the next block on", as_json=as_json, is_awaited=True
    )


@app.command(name="list")
def list_(*, client: ClientFile = None, as_json: terminal.JsonFlag = False) -> None:
    """Show every credential on the ledger; the events are checked, the last ones not yet final."""
    from lotmark_node.commands._operator_lines import (
        operator_document,
        operator_line,
        register_of,
    )

    with reading(client) as session:
        register = register_of(session)
        ledger = session.ledger()
    place = ledger.height + 1, ledger.time_ms
    rows = list(register.operators.values())
    terminal.answer(
        {"operators": [operator_document(each, *place) for each in rows]},
        lambda: "\n".join(operator_line(each, *place) for each in rows) or "No operators yet.",
        as_json=as_json,
    )


@app.command()
def challenge(
    name: EntryName,
    *,
    client: ClientFile = None,
    meaning: MeaningOption,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Print what an operator's authenticator must sign to sign an event."""
    from lotmark.operator_grant import OperatorMeaning, signature_challenge

    event_id = _event_id(name, client)
    made = signature_challenge(
        read_settings(client).chain_id, OperatorMeaning[meaning.name], event_id
    )
    said = f"event {event_id.hex()}, {meaning}: then `lotmark operator sign` with the same"
    _tell_challenge(made, None, said, as_json=as_json)


@app.command()
def sign(
    name: EntryName,
    *,
    client: ClientFile = None,
    meaning: MeaningOption,
    assertion: AssertionFile,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Put an operator's signature of an event on the ledger. Exit status 1: it was refused."""
    from lotmark.client.operator_bodies import signature
    from lotmark.client.webauthn_files import FILE_SIZE_MAX, read_assertion
    from lotmark.operator_grant import OperatorMeaning

    event_id = _event_id(name, client)
    settings = read_settings(client)
    signed = read_assertion(_read(assertion, FILE_SIZE_MAX), name=str(assertion))
    body = signature(
        settings.chain_id,
        signed.credential_id,
        signed.assertion,
        event_id=event_id,
        meaning=OperatorMeaning[meaning.name],
    )
    submit_body(settings, body, outbox, f"signed: {meaning} of {event_id.hex()}", as_json=as_json)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _read(path: Path, size_max: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size_max + 1)


def _read_grant(path: Path) -> "OperatorGrant":
    from lotmark.client.webauthn_files import FILE_SIZE_MAX
    from lotmark.document_fields import Place, fill
    from lotmark.errors import MalformedError
    from lotmark.operator_grant import grant_from_message
    from lotmark.v1 import operators_pb2

    try:
        table = json.loads(_read(path, FILE_SIZE_MAX))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{path} is no grant: {error}") from error
    message = operators_pb2.OperatorGrant()
    fill(message, table, Place(str(path)), _refuse_file)
    return grant_from_message(message)


def _refuse_file(_path: str, _place: object) -> bytes:
    raise AssertionError("a grant names no files: none of its fields is a digest")


def _event_id(name: str, client: Path | None) -> bytes:
    """Return the id of the event that a person named; an index is looked up."""
    named = parse_entry_name(name)
    if isinstance(named, bytes):
        return named
    with reading(client) as session:
        found = session.entry(named).event_id
    if found is None:
        terminal.fail(f"Entry {named} is no event.", "Name an event; operators sign nothing else.")
    return found


def _tell_challenge(
    challenge: bytes, credential_id: bytes | None, said: str, *, as_json: bool
) -> None:
    """Print what a page has to ask the authenticator, in the form that browsers take as JSON."""
    from lotmark.webauthn import base64url

    asked: dict[str, object] = {"challenge": base64url(challenge), "userVerification": "required"}
    if credential_id is not None:
        asked["allowCredentials"] = [{"id": base64url(credential_id), "type": "public-key"}]
    terminal.answer(asked, lambda: f"challenge  {base64url(challenge)}\n{said}", as_json=as_json)
