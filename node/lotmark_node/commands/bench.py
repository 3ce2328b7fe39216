"""`lotmark bench`: measures, and prints one JSON object."""

import json
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated

import typer

from lotmark_node import bench as benches
from lotmark_node import terminal

app = typer.Typer(help="Measure this machine with a real node; prints one JSON object.")

_SUFFIX = "_bench"
_NAMES = sorted(
    module.name.removesuffix(_SUFFIX)
    for module in iter_modules(benches.__path__)
    if module.name.endswith(_SUFFIX)
)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(_NAMES)}.")],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Under 45 s, same keys.")] = False,
) -> None:
    """Run a bench: `ledger` is one node, TLS, fsync, events in batches of 64 and one by one."""
    if name not in _NAMES:
        terminal.fail(f"there is no bench {name!r}", f"name one of {', '.join(_NAMES)}")
    module = import_module(f"{benches.__name__}.{name}{_SUFFIX}")
    typer.echo(json.dumps(module.run(quick=quick)))
