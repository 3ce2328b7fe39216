"""`lotmark node`: runs a node."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark_node.compose import RunningNode

app = typer.Typer(help="Run a node, and ask how one is.")


@app.callback()
def _node() -> None:
    """Run a node, and ask how one is."""


SettingsFile = Annotated[
    Path, typer.Argument(metavar="NODE.toml", help="The node's settings, as `lotmark init` wrote.")
]


@app.command()
def run(settings_file: SettingsFile, *, as_json: terminal.JsonFlag = False) -> None:
    """Run a node until it gets SIGTERM or Ctrl-C.

    Prints one line when it takes calls. Logs go to the standard error, as JSON lines where that is
    no terminal.
    """
    from lotmark.errors import ProtocolError
    from lotmark_node.compose import run_node
    from lotmark_node.log_lines import configure_logging
    from lotmark_node.node_settings import read_node_settings

    def tell(node: "RunningNode") -> None:
        terminal.answer(
            {
                "ready": True,
                "node": node.name,
                "chain_id": node.chain_id.hex(),
                "address": f"{node.host}:{node.port}",
                "height": node.height,
                "size": node.size,
            },
            lambda: (
                f"{node.name} ready at {node.host}:{node.port}, chain {node.chain_id.hex()[:16]}…,"
                f" height {node.height}, {node.size} entries"
            ),
            as_json=as_json,
        )

    configure_logging()
    try:
        asyncio.run(run_node(read_node_settings(settings_file), tell))
    except ProtocolError as error:
        # Also a key that is not this node's: nobody asked a question that "no" would answer.
        terminal.fail(str(error))
