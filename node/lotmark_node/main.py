"""The command line, `lotmark`: finds the commands and runs one."""

import sys
from importlib import import_module
from importlib.metadata import version
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from lotmark_node import commands, terminal

if TYPE_CHECKING:
    from typer._click import Command, Context  # what typer's own classes are typed with


class CommandFolder(TyperGroup):
    """The commands in the package `lotmark_node.commands`, each imported when it is wanted."""

    def list_commands(self, ctx: "Context") -> list[str]:
        """Return every command's name, without importing any."""
        return sorted(
            module.name.replace("_", "-")
            for module in iter_modules(commands.__path__)
            if not module.name.startswith("_")
        )

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """Return a command, or None if there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            module = import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            extra = terminal.missing_extra(error)
            if extra is None:
                raise
            return _needs(cmd_name, extra)
        app: typer.Typer = module.app
        app.rich_markup_mode = None  # plain help: quick, and the same on a terminal as piped
        command = get_command(app)
        command.name = cmd_name
        # Each app would offer to install shell completion, as if it were a program of its own.
        command.params = [p for p in command.params if not str(p.name).endswith("_completion")]
        return command

    def invoke(self, ctx: "Context") -> object:
        """Run the command that the arguments name."""
        with terminal.one_line_errors():
            return super().invoke(ctx)


def _needs(name: str, extra: str) -> TyperCommand:
    """Return the command that stands in for one whose libraries are not installed."""

    def tell() -> None:
        terminal.fail_for_extra(extra)

    return TyperCommand(
        name=name,
        callback=tell,
        help=f"needs lotmark[{extra}]",
        rich_markup_mode=None,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )


app = typer.Typer(
    cls=CommandFolder, rich_markup_mode=None, add_completion=False, no_args_is_help=True
)


def _print_version(wanted: bool) -> None:  # typer calls it
    if wanted:
        typer.echo(f"lotmark {version('lotmark')}")
        raise typer.Exit


@app.callback(epilog="Exit status: 0 done, 1 the answer is no, 2 cannot tell, 3 not reachable.")
def _lotmark(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Replicated quality ledger for manufacturing."""


def main() -> None:
    """Run the command that the process's arguments name, and exit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shall not turn an answer into an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper
    get_command(app).main(prog_name="lotmark")


if __name__ == "__main__":
    main()
