"""`lotmark edge`: runs a site that watches machines, and asks machines and sites."""

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands import _edge_explain, _edge_sources, _edge_status
from lotmark_node.commands._client import silence_grpc
from lotmark_node.commands._edge_site import SiteFile

if TYPE_CHECKING:
    from lotmark_node.edge.edge_site import EdgeSite

app = typer.Typer(help="Watch machines (OPC UA, MTConnect), and put on record what they tell.")
app.command("browse")(_edge_sources.browse)
app.command("probe")(_edge_sources.probe)
app.command("trust")(_edge_sources.trust)
app.command("explain")(_edge_explain.explain)
app.command("status")(_edge_status.status)


@app.command()
def run(
    settings_file: SiteFile,
    *,
    insecure_dev: Annotated[
        bool,
        typer.Option(
            "--insecure-dev",
            help="Take OPC UA servers with insecure = true: unencrypted, and nobody known.",
        ),
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Run a site until it gets SIGTERM or Ctrl-C.

    Prints what it watches. A source that is refused is told in the log, and the others are watched.
    At the end open windows go on record, and the outbox has 10 s to be emptied.
    """
    silence_grpc()
    from lotmark_node.edge.process import run_site
    from lotmark_node.edge.settings_file import read_site_settings
    from lotmark_node.log_lines import configure_logging

    def tell(site: "EdgeSite", metrics: str | None) -> None:
        terminal.answer(_document(site, metrics), lambda: _text(site, metrics), as_json=as_json)

    settings = read_site_settings(settings_file)
    configure_logging()
    for library in ("asyncua", "httpx"):  # each step and each request is news to them
        logging.getLogger(library).setLevel(logging.WARNING)
    left = run_site(settings, tell, is_insecure=insecure_dev)
    if left:
        terminal.note(f"{left} events wait in the outbox for the next run.")


def _document(site: "EdgeSite", metrics: str | None) -> dict[str, object]:
    from lotmark_node.edge.sources import is_insecure_source

    policy = site.settings.policy
    return {
        "ready": True,
        "site": site.settings.site,
        "session": site.session.hex(),
        "policy": f"{policy.name}/{policy.version}",
        "sources": [
            {
                "name": source.name,
                "protocol": source.protocol,
                "address": source.address,
                "signals": len(source.signals),
                "insecure": is_insecure_source(source),
            }
            for source in site.settings.sources
        ],
        "stations": [
            {
                "name": each.station,
                "images": str(each.images),
                "listen": site.image_addresses.get(each.station),
            }
            for each in site.settings.stations
        ],
        "waiting_events": site.outbox.waiting_count,
        "metrics": metrics,
    }


def _text(site: "EdgeSite", metrics: str | None) -> str:
    from lotmark_node.edge.sources import is_insecure_source

    policy = site.settings.policy
    lines = [
        f"{site.settings.site} watches {len(site.settings.sources)} sources under policy"
        f" {policy.name}/{policy.version}" + (f", metrics at {metrics}" if metrics else "")
    ]
    for source in site.settings.sources:
        signals = f"{len(source.signals)} signals" if source.signals else "all it tells"
        warning = "  INSECURE, nobody knows this server" if is_insecure_source(source) else ""
        lines.append(f"  {source.name}  {source.address}  {signals}{warning}")
    for station in site.settings.stations:
        address = site.image_addresses.get(station.station)
        pushed = f", pushed to {address}" if address else ""
        lines.append(f"  station {station.station}  {station.images}{pushed}")
    return "\n".join(lines)
