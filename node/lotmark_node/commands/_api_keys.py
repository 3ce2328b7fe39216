"""`lotmark node api-key`: who may use a node's HTTP endpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_node.http.api_keys import ApiKeyFile, Service

app = typer.Typer(help="Make, list and revoke keys of the HTTP endpoint.")

SettingsFile = Annotated[
    Path, typer.Argument(metavar="NODE.toml", help="The node's settings, with http_client.")
]
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called.")]


@app.command()
def new(
    settings_file: SettingsFile,
    name: KeyName,
    *,
    may: Annotated[
        str,
        typer.Option(
            metavar="RIGHTS",
            help="What it may do, such as capture,query: read and seal are about reports, capture"
            " and query about EPCIS events.",
        ),
    ] = "seal",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="It may look reports up: --may read.")
    ] = False,
    per_minute: Annotated[int, typer.Option(metavar="N", help="Requests a minute.")] = 120,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Make a key and show it, once."""
    from lotmark_node.http.api_keys import now_ms, parse_rights, rights_text

    rights = parse_rights("read" if read_only else may)
    keys, service = _open(settings_file)
    secret = keys.make(name, service, may=rights, per_minute=per_minute, now_ms=now_ms())
    terminal.answer(
        {"name": name, "key": secret, "may": rights_text(rights), "per_minute": per_minute},
        lambda: (
            f"{secret}\n"
            f"This is key {name}, for {service.party}/{service.holder}. It is not shown again."
        ),
        as_json=as_json,
    )


@app.command(name="list")
def list_(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """List the keys; the keys themselves are not known any more."""
    from lotmark_node.commands._event_lines import time_text
    from lotmark_node.http.api_keys import rights_text

    keys, _ = _open(settings_file)
    found = keys.all()
    terminal.answer(
        {
            "keys": [
                {
                    "name": key.name,
                    "may": rights_text(key.may),
                    "per_minute": key.per_minute,
                    "created_ms": key.created_ms,
                    "revoked_ms": key.revoked_ms or None,
                }
                for key in found
            ]
        },
        lambda: (
            "\n".join(
                f"{key.name:<31} {rights_text(key.may):<15} {key.per_minute:>5}/min"
                f"  made {time_text(key.created_ms)}"
                + (f"  REVOKED {time_text(key.revoked_ms)}" if key.revoked_ms else "")
                for key in found
            )
            or "There is no key yet: lotmark node api-key new NODE.toml NAME"
        ),
        as_json=as_json,
    )


@app.command()
def revoke(
    settings_file: SettingsFile, name: KeyName, *, as_json: terminal.JsonFlag = False
) -> None:
    """Take a key out of force, at once, also for a node that runs."""
    from lotmark_node.http.api_keys import now_ms

    keys, _ = _open(settings_file)
    keys.revoke(name, now_ms=now_ms())
    terminal.answer(
        {"name": name, "revoked": True},
        lambda: f"Key {name} is revoked; whoever shows it gets 401 from now on.",
        as_json=as_json,
    )


def _open(settings_file: Path) -> "tuple[ApiKeyFile, Service]":
    from lotmark_node.http.api_keys import ApiKeyFile
    from lotmark_node.http.service import api_keys_file, read_service
    from lotmark_node.node_settings import read_node_settings

    settings = read_node_settings(settings_file)
    service, _ = read_service(settings)
    return ApiKeyFile(api_keys_file(settings)), service
