"""`lotmark bench`: measures, and prints one JSON object."""

import json
from importlib import import_module
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
        return ["|".join(_NAMES), "[--quick]"]


@app.command(cls=_NameFirst)
def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(_NAMES)}.")],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute; prints the same keys.")
    ] = False,
) -> None:
    """Measure this machine with real nodes, and print one JSON object.

    The bench `ledger`: one node, TLS, fsync, signed events in batches of 64, then one by one.
    `network`: three voters and a witness; batches of 64 and 256, a follower's clients, a day,
    failover, catching up. `order`: three voters without a ledger. Beside these two: etcd, where
    it is installed. `client`: what a system pays that submits through an outbox. `contracts`: what
    rules cost, without a node.
    """
    if name not in _NAMES:
        terminal.fail(f"{name[:40]!a} is no bench.", f"Use one of {', '.join(_NAMES)}.")
    module = import_module(f"{benches.__name__}.{name}{_SUFFIX}")
    typer.echo(json.dumps(module.run(quick=quick)))
