"""`lotmark edge browse`, `probe` and `trust`: look into a machine before it is watched."""

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from lotmark_node.edge.first_settings import FoundSignal, FoundSource

VALUE_SHOWN_MAX = 40  # characters
SIGNALS_SHOWN = 200  # in a table; JSON and the settings file have more

_DIGEST = re.compile(r"[0-9a-f]{64}")

OpcuaAddress = Annotated[
    str, typer.Argument(metavar="opc.tcp://HOST:PORT", help="The server's address.")
]
WriteFile = Annotated[
    Path | None,
    typer.Option(
        "--write", metavar="SITE.toml", help="Write first settings there; must not exist."
    ),
]
SiteName = Annotated[str, typer.Option("--site", help="The site's name in them.")]
SourceName = Annotated[
    str, typer.Option("--source", help="The source's name in them. [default: by its address]")
]
TrustedFolder = Annotated[
    Path,
    typer.Option("--trusted", metavar="FOLDER", help="Certificates of servers that are trusted."),
]


def browse(
    address: OpcuaAddress,
    *,
    write: WriteFile = None,
    site: SiteName = "line-1",
    source: SourceName = "",
    trusted: TrustedFolder = Path("trusted"),
    own: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="This client's certificate; made there if absent."),
    ] = Path("opcua"),
    insecure_dev: Annotated[
        bool,
        typer.Option("--insecure-dev", help="Neither encrypt nor ask who it is: on a test bench."),
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """List what an OPC UA server can tell, and write first settings that watch all of it.

    First let a person trust the server: lotmark edge trust ADDRESS.
    """
    from lotmark_adapters.opcua.browsing import browse as browse_server
    from lotmark_adapters.opcua.settings import OpcuaSettings
    from lotmark_node.edge.first_settings import FoundSignal, FoundSource, settled_name

    name = source or settled_name(address.partition("://")[2].partition(":")[0])
    settings = OpcuaSettings(
        name=name,
        address=address,
        own=own.absolute(),
        application_uri=f"urn:lotmark:edge:{name}",
        trusted=None if insecure_dev else trusted.absolute(),
        is_insecure=insecure_dev,
    )
    signals = [
        FoundSignal(
            address=each.node,
            path=each.path,
            kind=each.data_type,
            unit=each.unit,
            value=each.value or "",
        )
        for each in asyncio.run(browse_server(settings))
        if each.node.startswith("ns=")  # the others are OPC UA's own
    ]
    if insecure_dev:
        options = ["insecure = true  # nobody knows this server: for development alone"]
    else:
        options = [
            f"trusted = {_toml(trusted.absolute())}  # servers' certificates: lotmark edge trust",
            f"own = {_toml(own.absolute())}  # this client's, which the server has to trust",
            f'application_uri = "{settings.application_uri}"  # stands in it',
        ]
    found = FoundSource(protocol="opcua", address=address, signals=signals, option_lines=options)
    _tell(found, write=write, site=site, source=name, as_json=as_json)


def probe(
    address: Annotated[
        str, typer.Argument(metavar="http://HOST:PORT[/DEVICE]", help="The agent's address.")
    ],
    *,
    write: WriteFile = None,
    site: SiteName = "line-1",
    source: SourceName = "",
    as_json: terminal.JsonFlag = False,
) -> None:
    """List what an MTConnect agent can tell, and write first settings that watch all of it."""
    from lotmark_adapters.mtconnect.device_model import probe as probe_agent
    from lotmark_node.edge.first_settings import FoundSignal, FoundSource, settled_name

    signals = [
        FoundSignal(
            address=each.address,
            path=f"{each.component}/{each.name}",
            kind=f"{each.category} {each.type}",
            unit=each.unit or each.foreign_unit,
        )
        for each in asyncio.run(probe_agent(address))
    ]
    name = source or settled_name(address.partition("://")[2].partition(":")[0])
    found = FoundSource(protocol="mtconnect", address=address, signals=signals)
    _tell(found, write=write, site=site, source=name, as_json=as_json)


def trust(
    address: OpcuaAddress,
    *,
    accept: Annotated[
        str, typer.Option(metavar="SHA256", help="The digest that a person has compared.")
    ] = "",
    trusted: TrustedFolder = Path("trusted"),
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show an OPC UA server's certificate, and trust it once its digest was compared.

    Exit status 1: it has another digest than the one that was accepted.
    """
    from lotmark_adapters.opcua.server_certificate import fetch_certificate

    digest = accept.replace(":", "").lower()
    if accept and not _DIGEST.fullmatch(digest):
        terminal.fail(f"{accept[:80]!a} is no SHA-256.", "Give 64 hex digits, as they were shown.")
    shown = asyncio.run(fetch_certificate(address))
    if accept and digest != shown.digest:
        terminal.fail(
            f"{address} shows a certificate with SHA-256 {shown.digest}, not the one accepted.",
            "Do not trust it before somebody has found out why.",
            terminal.ExitCode.NO,
        )
    file = trusted / f"{shown.digest}.der"
    if accept:
        trusted.mkdir(parents=True, exist_ok=True)
        file.write_bytes(shown.der)
    terminal.answer(
        {
            "address": address,
            "subject": shown.subject,
            "sha256": shown.digest,
            "starts": shown.starts.isoformat(),
            "ends": shown.ends.isoformat(),
            "file": str(file) if accept else None,
        },
        lambda: (
            f"{address} shows {shown.subject}, {shown.starts:%Y-%m-%d} to {shown.ends:%Y-%m-%d}\n"
            f"SHA-256 {shown.digest}\n"
            + (
                f"Trusted: {file}"
                if accept
                else "Compare it at the server itself, then: lotmark edge trust"
                f" {address} --trusted {trusted} --accept {shown.digest}"
            )
        ),
        as_json=as_json,
    )


def _tell(
    found: "FoundSource", *, write: Path | None, site: str, source: str, as_json: bool
) -> None:
    if write is not None:
        from lotmark.key_file import write_new_file
        from lotmark_node.edge.first_settings import first_settings

        text = first_settings(found, site=site, source=source, file=write.name)
        write_new_file(write, text.encode(), mode=0o644)
    terminal.answer(
        {
            "address": found.address,
            "file": str(write) if write else None,
            "signals": [
                {
                    "address": each.address,
                    "path": each.path,
                    "type": each.kind,
                    "unit": each.unit,
                    "value": each.value,
                }
                for each in found.signals
            ],
        },
        lambda: _table(found.signals),
        as_json=as_json,
    )
    if write is not None:
        terminal.note(f"{write}: name site, client and limits, then: lotmark edge run {write}")


def _table(signals: "Sequence[FoundSignal]") -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    left_out = len(signals) - SIGNALS_SHOWN
    table = Table(
        box=None,
        pad_edge=False,
        caption=f"{left_out} more signals are not shown" if left_out > 0 else None,
    )
    for heading in ("address", "path", "type", "unit", "value"):
        table.add_column(heading, overflow="fold")
    for each in signals[:SIGNALS_SHOWN]:
        cells = (each.address, each.path, each.kind, each.unit, each.value[:VALUE_SHOWN_MAX])
        table.add_row(*(Text(terminal.visible(cell)) for cell in cells))
    return table


def _toml(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)
