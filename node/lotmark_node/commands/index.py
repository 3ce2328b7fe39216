"""`lotmark index`: the provenance index of a node."""

from pathlib import Path
from typing import Annotated

import typer

from lotmark_node import terminal

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _index() -> None:
    """Look after the index that traces and histories are answered from."""


@app.command()
def rebuild(
    *,
    node: Annotated[
        Path,
        typer.Option(metavar="NODE.toml", help="The node's settings; the node must be stopped."),
    ],
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Forget the index first, even if it is whole."),
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Make the index again from the blocks. Where it was broken off, it goes on.

    Nothing else changes: the index is derived, and holds nothing that the blocks do not.
    """
    from lotmark.genesis import chain_id
    from lotmark_node.compose import read_consortium
    from lotmark_node.engine.index_rebuild import rebuild_index
    from lotmark_node.engine.store import LedgerStore
    from lotmark_node.node_settings import read_node_settings

    settings = read_node_settings(node)
    genesis, _ = read_consortium(settings)
    store = LedgerStore(settings.data / "ledger", chain_id(genesis.to_json()))
    try:
        done = rebuild_index(store, genesis, from_scratch=from_scratch, progress=terminal.progress)
    finally:
        store.close()
    added = max(0, done.height - done.first_height + 1)
    terminal.answer(
        {"height": done.height, "blocks_indexed": added},
        lambda: (
            f"Indexed {added} blocks, up to height {done.height}"
            if added
            else f"The index is whole, up to height {done.height}; --from-scratch makes it anew"
        ),
        as_json=as_json,
    )
