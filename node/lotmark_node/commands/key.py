"""`lotmark key`: who signs what, and how that changes; every change is signed by root keys."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading
from lotmark_node.commands._governing import (
    DAY_MS,
    Governing,
    PassphraseFile,
    RootFiles,
    SealOption,
    find_key,
    governing,
    read_keys,
    read_or_make_key,
    table,
    time_text,
)
from lotmark_node.commands._renew_cert import renew_cert

if TYPE_CHECKING:
    from lotmark.canonical_json import JsonValue
    from lotmark.ed25519 import PrivateKey
    from lotmark.key_grant import KeyGrant
    from lotmark.state_rows import KeyRow

app = typer.Typer(
    no_args_is_help=True,
    help="Keys of a party, and certificates: show, register, replace, revoke, renew.",
)

KEY_DAYS = 5 * 365

KeyName = Annotated[
    str, typer.Argument(metavar="KEY", help="First 8 to 64 hex digits of the public key.")
]
KeyFileOption = Annotated[
    Path,
    typer.Option(
        "--key", metavar="FILE", help="The new private key; made there if nothing is there yet."
    ),
]
TypesOption = Annotated[
    list[str],
    typer.Option("--type", metavar="NAME", help="Event type it may sign. [default: every type]"),
]
DaysOption = Annotated[int, typer.Option(min=1, max=36_500, help="Days for which it is valid.")]


@app.command("list")
def list_keys(
    *,
    client: ClientFile = None,
    party: Annotated[str, typer.Option(help="Only this party's. [default: every party]")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Revoked ones and roots, too.")] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """List the keys on the ledger, as the genesis and the events that govern prove them."""
    from lotmark.key_grant import NEVER, KeyPurpose

    with reading(client) as session:
        register = session.governed(everything=True).keys
    found = {
        key: row
        for key, row in sorted(register.all_keys(), key=lambda item: _order(item[1]))
        if party in ("", row.party)
        and (everything or (row.revoked_height == NEVER and row.purpose != KeyPurpose.ROOT))
    }
    terminal.answer(
        {"keys": [_key_to_json(key, row) for key, row in found.items()]},
        lambda: table([_line(key, row) for key, row in found.items()]) if found else "No keys.",
        as_json=as_json,
    )


def _order(row: "KeyRow") -> tuple[str, int, str]:
    return row.party, row.purpose, row.holder


def _key_to_json(key: bytes, row: "KeyRow") -> "dict[str, JsonValue]":
    from lotmark.key_grant import NEVER, KeyPurpose

    return {
        "key": key.hex(),
        "party": row.party,
        "holder": row.holder,
        "purpose": KeyPurpose(row.purpose).name.lower(),
        "from_height": str(row.from_height),
        "revoked_height": None if row.revoked_height == NEVER else str(row.revoked_height),
        "compromised_since_ms": str(row.compromised_since_ms),
        "not_before_ms": str(row.not_before_ms),
        "not_after_ms": str(row.not_after_ms),
        "event_types": _type_names(row),
    }


def _type_names(row: "KeyRow") -> list[str]:
    from lotmark.event import EVENT_TYPES

    names = {number: name for name, number in EVENT_TYPES.items()}
    return [names.get(number, str(number)) for number in row.event_types]


def _line(key: bytes, row: "KeyRow") -> tuple[str, ...]:
    from lotmark.key_grant import NEVER, KeyPurpose

    state = f"until {time_text(row.not_after_ms)}"
    if row.revoked_height != NEVER:
        state = f"revoked from height {row.revoked_height}"
    purpose = KeyPurpose(row.purpose).name.lower()
    return key.hex()[:16], f"{row.party}/{row.holder}", purpose, state


@app.command()
def show(name: KeyName, *, client: ClientFile = None, as_json: terminal.JsonFlag = False) -> None:
    """Show all that is known of one key."""
    with reading(client) as session:
        register = session.governed(everything=True).keys
    key, row = find_key(register, name)
    shown = _key_to_json(key, row)
    terminal.answer(
        shown,
        lambda: table([(name, str(value)) for name, value in shown.items()]),
        as_json=as_json,
    )


@app.command()
def register(
    holder: Annotated[str, typer.Argument(metavar="HOLDER", help="Device or client that has it.")],
    *,
    key_file: KeyFileOption,
    roots: RootFiles,
    client: ClientFile = None,
    types: TypesOption = [],  # noqa: B006 - typer copies it
    days: DaysOption = KEY_DAYS,
    seal: SealOption = False,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Register a batch key of your party: it signs from the block after this one on."""
    from lotmark.key_grant import KeyGrant, KeyPurpose

    root_keys = read_keys(roots, passphrase_file)
    event_types = _event_types(types)
    with governing(client) as made:
        key = read_or_make_key(key_file, passphrase_file, seal=seal)
        grant = KeyGrant(
            key=key.public,
            party=made.party,
            purpose=KeyPurpose.BATCH,
            holder=holder,
            not_before_ms=made.now_ms - DAY_MS,
            not_after_ms=made.now_ms + days * DAY_MS,
            event_types=event_types,
        )
        _put_grant(made, grant, key, root_keys, as_json=as_json)


@app.command()
def rotate(
    name: KeyName,
    *,
    key_file: KeyFileOption,
    roots: RootFiles,
    client: ClientFile = None,
    types: TypesOption = [],  # noqa: B006 - typer copies it
    days: DaysOption = KEY_DAYS,
    seal: SealOption = False,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Register a key in place of another one, which is accepted for 30 days more.

    Purpose and holder are those of the old key, and so are its event types unless others are named.
    A node's cosign or proposal key: start the node with the new file, then revoke the old key.
    """
    from lotmark.key_grant import KeyGrant, KeyPurpose

    root_keys = read_keys(roots, passphrase_file)
    with governing(client, everything=True) as made:
        old, row = find_key(made.register, name)
        key = read_or_make_key(key_file, passphrase_file, seal=seal)
        grant = KeyGrant(
            key=key.public,
            party=row.party,
            purpose=KeyPurpose(row.purpose),
            holder=row.holder,
            not_before_ms=made.now_ms - DAY_MS,
            not_after_ms=made.now_ms + days * DAY_MS,
            event_types=_event_types(types) or row.event_types,
            replaces=old,
        )
        _put_grant(made, grant, key, root_keys, as_json=as_json)


def _put_grant(
    made: Governing,
    grant: "KeyGrant",
    key: "PrivateKey",
    root_keys: "list[PrivateKey]",
    *,
    as_json: bool,
) -> None:
    from lotmark.key_grant import check_grant

    check_grant(grant)
    (result,) = made.put([made.events.register(grant, key, root_keys)])
    terminal.answer(
        {"key": grant.key.hex(), "index": result.index, "height": result.height},
        lambda: (
            f"{grant.party}/{grant.holder} has {grant.purpose.name.lower()} key {grant.key.hex()}"
            f" from the block after {result.height} on"
        ),
        as_json=as_json,
    )


@app.command()
def revoke(
    name: KeyName,
    *,
    roots: RootFiles,
    client: ClientFile = None,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="It may be in wrong hands since then, RFC 3339."),
    ] = "",
    reason: Annotated[str, typer.Option(help="Why, in words that everybody may read.")] = "",
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Revoke a key from the next block on; what it signed before stands, flagged if you say so."""
    from lotmark.rfc3339 import parse_ms

    since_ms = parse_ms(since) if since else 0
    root_keys = read_keys(roots, passphrase_file)
    with governing(client, everything=True) as made:
        key, row = find_key(made.register, name)
        event = made.events.revoke(
            row.party, key, root_keys, compromised_since_ms=since_ms, reason=reason
        )
        (result,) = made.put([event])
    terminal.answer(
        {"key": key.hex(), "index": result.index, "height": result.height},
        lambda: f"key {key.hex()} is revoked from the block after {result.height} on",
        as_json=as_json,
    )


@app.command("close-lane")
def close_lane(
    name: KeyName,
    lane: Annotated[int, typer.Argument(min=0, max=2**32 - 1, help="Number of the lane.")],
    *,
    roots: RootFiles,
    client: ClientFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Close a lane whose sender lost its place: it takes nothing more, whoever has the key."""
    root_keys = read_keys(roots, passphrase_file)
    with governing(client, everything=True) as made:
        key, row = find_key(made.register, name)
        (result,) = made.put([made.events.close_lane(row.party, key, lane, root_keys)])
    terminal.answer(
        {"key": key.hex(), "lane": lane, "index": result.index, "height": result.height},
        lambda: f"lane {lane} of key {key.hex()} is closed",
        as_json=as_json,
    )


def _event_types(names: list[str]) -> tuple[int, ...]:
    from lotmark.event import EVENT_TYPES

    for name in names:
        if name not in EVENT_TYPES:
            terminal.fail(f"{name[:80]!a} is no event type.", f"Use {', '.join(EVENT_TYPES)}.")
    return tuple(sorted({EVENT_TYPES[name] for name in names}))


app.command("renew-cert")(renew_cert)
