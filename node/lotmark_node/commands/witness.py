"""`lotmark witness`: runs a witness, which checks that logs only grow, and cosigns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_node.witness.process import RunningWitness

app = typer.Typer(help="Run a witness: it orders nothing, checks that logs only grow, cosigns.")

SettingsFile = Annotated[
    Path,
    typer.Argument(
        metavar="WITNESS.toml", help="The witness's settings, as `lotmark init` wrote, or your own."
    ),
]


@app.command()
def run(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Run a witness until it gets SIGTERM or Ctrl-C.

    Prints one line when it takes calls. It speaks C2SP tlog-witness, so that foreign logs can be
    watched too: give each a [[log]] in the settings.
    """
    from lotmark.errors import ProtocolError
    from lotmark_node.log_lines import configure_logging
    from lotmark_node.witness.errors import WitnessError
    from lotmark_node.witness.process import run_witness
    from lotmark_node.witness.settings import read_witness_settings

    def tell(witness: "RunningWitness") -> None:
        terminal.answer(
            {
                "ready": True,
                "vkey": witness.vkey,
                "chain_id": witness.chain_id.hex() if witness.chain_id else None,
                "url": witness.url,
                "address": f"{witness.host}:{witness.port}",
                "origins": list(witness.origins),
                "metrics": witness.metrics,
            },
            lambda: f"{witness.vkey} ready at {witness.url}, watches {', '.join(witness.origins)}",
            as_json=as_json,
        )

    configure_logging()
    try:
        run_witness(read_witness_settings(settings_file), tell)
    except (ProtocolError, WitnessError) as error:
        terminal.fail(f"{error}.")


@app.command()
def new(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Make key and memory of a witness that belongs to no consortium, and print its public key."""
    from lotmark.errors import ProtocolError
    from lotmark.signed_note import format_vkey
    from lotmark_node.witness.errors import WitnessError
    from lotmark_node.witness.process import new_witness
    from lotmark_node.witness.settings import read_witness_settings

    try:
        vkey = format_vkey(new_witness(read_witness_settings(settings_file)))
    except (ProtocolError, WitnessError) as error:
        terminal.fail(f"{error}.")
    terminal.answer({"vkey": vkey}, lambda: vkey, as_json=as_json)
