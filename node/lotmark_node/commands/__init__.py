"""The commands of `lotmark`: a module is one command, found by its presence.

A module has a module-level ``app: typer.Typer`` that carries the command's help; the command is
named as the module, with ``-`` for ``_``. A Typer with exactly one ``@app.command()`` is a plain
verb (``lotmark trace``), any other is a group (``lotmark key rotate``). A module whose name begins
with ``_`` is no command.

`lotmark --help` imports every module here and shall take less than 0.6 s. So what is slow to import
(NumPy, pydantic_settings, rich, servers) is imported inside the functions that use it. Where a
library of an extra is missing, a module that imports it at its top says so in the help, and one
that imports it in a function says so when it is called.

What a command prints, how it fails and shows progress: `lotmark_node.terminal`.
"""
