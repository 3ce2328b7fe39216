"""`lotmark key renew-cert`: a new TLS certificate in place of the one there is."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lotmark_node import terminal

CERTIFICATE_DAYS = 2 * 365


def renew_cert(
    settings_file: Annotated[
        Path,
        typer.Argument(
            metavar="SETTINGS.toml", help="Of the node, witness or client whose certificate ends."
        ),
    ],
    *,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With the party's ca.pem and ca.key; else ../../ca beside the settings.",
        ),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="To be named in it, again for each; else those named so far."
        ),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=825, help="For how long it is valid.")
    ] = CERTIFICATE_DAYS,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Issue a new TLS certificate with the party's CA, in place of the one there is.

    A running node or witness takes it within 10 s, without a restart. The certificate's key is new
    too; ledger keys stay as they are.
    """
    from lotmark.errors import ProtocolError
    from lotmark_node.consortium.renewal import renew_certificate

    try:
        renewed = renew_certificate(
            settings_file,
            ca,
            addresses=address or (),
            days=days,
            now_ms=time.time_ns() // 1_000_000,
        )
    except ProtocolError as error:
        terminal.fail(f"{error}.")
    owner = renewed.owner
    ends = datetime.fromtimestamp(renewed.not_after_ms / 1_000, UTC)
    terminal.answer(
        {
            "owner": f"{owner.party}/{owner.node}",
            "certificate": str(owner.certificate),
            "not_after_ms": renewed.not_after_ms,
            "addresses": list(renewed.addresses),
        },
        lambda: (
            f"{owner.certificate}: {owner.party}/{owner.node}, valid until {ends:%Y-%m-%d}."
            " A running node takes it within 10 s"
        ),
        as_json=as_json,
    )
