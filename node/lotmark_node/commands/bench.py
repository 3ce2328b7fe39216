"""`lotmark bench`: measures, and prints one JSON object."""

import json
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from lotmark_node import bench as benches
from lotmark_node import terminal

if TYPE_CHECKING:
    from typer._click import Context  # what typer's own classes are typed with

app = typer.Typer(help="Measure this machine with real nodes; prints one JSON object.")

_SUFFIX = "_bench"
_NAMES = sorted(
    module.name.removesuffix(_SUFFIX)
    for module in iter_modules(benches.__path__)
    if module.name.endswith(_SUFFIX)
)


class _NameFirst(TyperCommand):
    """A command whose usage is written as it is typed."""

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """Return what follows the command's name."""
        return ["NAME", "[OPTIONS]"]


@app.command(cls=_NameFirst)
def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(_NAMES)}.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute; prints the same keys.")
    ] = False,
    units: Annotated[
        int | None,
        typer.Option(min=1, help="`generate`, `provenance`: stators in the line's history."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="`generate`, `provenance`: where the history is, or is made."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="`generate`, `provenance`: decides what is drawn.")
    ] = None,
) -> None:
    """Measure this machine with real nodes, and print one JSON object.

    The bench `ledger`: one node, TLS, fsync, signed events in batches of 64, then one by one.
    `network`: three voters and a witness; batches of 64 and 256, a follower's clients, a day,
    failover, catching up. `order`: three voters without a ledger. Beside these two: etcd, where
    it is installed. `client`: what a system pays that submits through an outbox. `contracts`: what
    rules cost, without a node. `adapters`: what watching machines costs, and how soon it is signed.
    `generate`: makes the history of a stator line, some 12 events a stator, in a folder on which
    its node then starts; the same command goes on with one that was broken off. `provenance`:
    traces, recalls and histories on such a history, with SQLite beside them.
    """
    if name not in _NAMES:
        terminal.fail(f"{name[:40]!a} is no bench.", f"Use one of {', '.join(_NAMES)}.")
    module = import_module(f"{benches.__name__}.{name}{_SUFFIX}")
    given = {"units": units, "folder": folder, "seed": seed}
    options = {option: value for option, value in given.items() if value is not None}
    for option in options.keys() - signature(module.run).parameters.keys():
        terminal.fail(f"The bench {name} takes no --{option}.", "Leave it out.")
    typer.echo(json.dumps(module.run(quick=quick, **options)))
