"""The command line: finds its commands, answers programs and people, and never shows a traceback.

Each test writes the commands it needs into a folder and runs the real program in a process.
"""

import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lotmark_node.terminal import EXTRA_OF_LIBRARY

PROGRAM = """
import sys
from lotmark_node import commands
from lotmark_node.main import main
commands.__path__.append(sys.argv.pop(1))
for library in filter(None, sys.argv.pop(1).split(",")):
    sys.modules[library] = None  # what Python itself does with a module that is not there
try:
    main()
finally:
    if "--modules" in sys.argv:
        print("modules", *sys.modules)
"""
HEAD = """
import typer
from lotmark_node import terminal
app = typer.Typer(help="{help}")
"""
TIMEOUT_S = 60


def process_arguments(folder: Path, *arguments: str, missing: str = "") -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(folder), missing, *arguments]


def run(
    folder: Path, *arguments: str, missing: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own program
        process_arguments(folder, *arguments, missing=missing),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "LOTMARK_TRACEBACK": "", **environment},
    )


def write(folder: Path, module: str, body: str, *, help_text: str = "Do it.") -> None:
    (folder / f"{module}.py").write_text(HEAD.format(help=help_text) + body)


def write_failing(folder: Path, statement: str) -> None:
    body = "".join(f"\n    {line}" for line in statement.splitlines())
    write(folder, "try_it", f"@app.command()\ndef run() -> None:\n    '''Try.'''{body}\n")


def test_the_version_is_the_distributions(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")

    assert (done.returncode, done.stdout) == (0, f"lotmark {version('lotmark')}\n")


def test_a_new_file_is_a_new_command(tmp_path: Path) -> None:
    write(tmp_path, "say_hello", "@app.command()\ndef run(who: str) -> None:\n"
          "    '''Greet.'''\n    typer.echo(f'hello {who}')\n")  # fmt: skip
    write(tmp_path, "_part", "raise RuntimeError\n")

    listed = run(tmp_path, "--help")
    said = run(tmp_path, "say-hello", "line 3")

    assert re.search(r"^  say-hello +Greet\.", listed.stdout, re.MULTILINE)
    assert not re.search(r"^  _?part\b", listed.stdout, re.MULTILINE)
    assert (said.returncode, said.stdout, said.stderr) == (0, "hello line 3\n", "")


def test_a_module_with_two_commands_is_a_group(tmp_path: Path) -> None:
    write(tmp_path, "wheel", "@app.command()\ndef make() -> None:\n    '''Make.'''\n"
          "@app.command()\ndef rotate() -> None:\n    '''Rotate.'''\n    typer.echo('turned')\n",
          help_text="Wheels of the car.")  # fmt: skip

    listed = run(tmp_path, "--help")
    group = run(tmp_path, "wheel", "--help")
    done = run(tmp_path, "wheel", "rotate")

    assert "wheel" in listed.stdout
    assert "Wheels of the car." in listed.stdout
    assert "Usage: lotmark wheel [OPTIONS] COMMAND" in group.stdout
    assert "completion" not in group.stdout
    assert done.stdout == "turned\n"


def test_a_command_is_imported_only_when_it_is_wanted(tmp_path: Path) -> None:
    write(tmp_path, "broken", "raise RuntimeError('imported')\n")
    write(tmp_path, "sound", "@app.command()\ndef run() -> None:\n    '''Run.'''\n")

    assert run(tmp_path, "sound").returncode == 0
    assert run(tmp_path, "--version").returncode == 0
    assert "RuntimeError: imported" in run(tmp_path, "broken").stderr


def test_help_imports_nothing_that_is_slow_to_import(tmp_path: Path) -> None:
    done = run(tmp_path, "--help", "--modules")

    modules = done.stdout.partition("modules ")[2].split()
    assert "lotmark_node.commands" in modules
    assert not {"numpy", "pydantic_settings", "rich"} & set(modules)


@pytest.mark.parametrize(
    ("statement", "exit_code", "message"),
    [
        ("from lotmark.errors import ProofError\nraise ProofError('No path.')", 1, "No path.\n"),
        ("from lotmark.errors import SignatureError\nraise SignatureError('No.')", 1, "No.\n"),
        ("from lotmark.errors import MalformedError\nraise MalformedError('a\\nb')", 2, "a b\n"),
        ("from lotmark_adapters.errors import EpcisError\nraise EpcisError('c')", 2, "c\n"),
        ("from lotmark_node.engine.errors import EngineError\nraise EngineError('d')", 2, "d\n"),
        ("from lotmark_consensus.errors import QueueFull\nraise QueueFull('e')", 2, "e\n"),
        ("open('/no/such')", 2, "/no/such: No such file or directory\n"),
        ("raise ConnectionRefusedError(111, 'Connection refused')", 3, "Connection refused\n"),
        ("raise TimeoutError('n1 did not answer')", 3, "n1 did not answer\n"),
        ("raise BrokenPipeError", 3, "The other side closed the connection. Try again.\n"),
        ("terminal.fail('Disk full.', 'Make room.', 3)", 3, "Disk full. Make room.\n"),
        ("terminal.fail('bell \\a, escape \\x1b[2J')", 2, "bell \\x07, escape \\x1b[2J\n"),
        ("raise typer.Exit(1)", 1, ""),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(
    statement: str, exit_code: int, message: str, tmp_path: Path
) -> None:
    write_failing(tmp_path, statement)

    done = run(tmp_path, "try-it")

    assert (done.returncode, done.stdout, done.stderr) == (exit_code, "", message)


def test_on_request_the_traceback_is_shown(tmp_path: Path) -> None:
    write_failing(tmp_path, "from lotmark.errors import ProofError\nraise ProofError('No path.')")

    done = run(tmp_path, "try-it", LOTMARK_TRACEBACK="1")

    assert "Traceback" in done.stderr
    assert "try_it.py" in done.stderr


def test_an_unforeseen_error_does_not_read_as_an_answer(tmp_path: Path) -> None:
    write_failing(tmp_path, "1 // 0")

    done = run(tmp_path, "try-it")

    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("arguments", [("nix",), ("--nix",), (), ("try-it", "--nix")])
def test_wrong_use_exits_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    write_failing(tmp_path, "pass")

    done = run(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: lotmark" in done.stderr


def test_a_command_without_its_extra_says_so_in_help_and_when_called(tmp_path: Path) -> None:
    write(tmp_path, "store", "import rocksdict\n@app.command()\ndef run() -> None:\n    '''R.'''\n")

    listed = run(tmp_path, "--help", missing="rocksdict")
    called = run(tmp_path, "store", "verb", "--option", "x", missing="rocksdict")

    assert re.search(r"store +needs lotmark\[node\]", listed.stdout)
    assert called.returncode == 2
    assert called.stderr == (
        "This command needs lotmark[node]. Install it: pip install 'lotmark[node]'\n"
    )


def test_a_library_missing_inside_a_command_names_the_extra(tmp_path: Path) -> None:
    write_failing(tmp_path, "import numpy.linalg")

    done = run(tmp_path, "try-it", missing="numpy")

    assert done.returncode == 2
    assert "This command needs lotmark[verify]." in done.stderr


def test_a_module_of_our_own_that_is_missing_is_no_extra(tmp_path: Path) -> None:
    write_failing(tmp_path, "import lotmark_nix")

    done = run(tmp_path, "try-it")

    assert done.returncode == 2
    assert "No module named 'lotmark_nix'" in done.stderr


def test_every_library_of_every_extra_is_known_with_its_extra() -> None:
    distributions = {
        name.lower().replace("_", "-"): library
        for library, names in packages_distributions().items()
        for name in names
    }
    extras = {}
    for line in requires("lotmark") or []:
        requirement = Requirement(line)
        if requirement.marker and requirement.name != "lotmark":
            extra = str(requirement.marker).split('"')[1]
            # No command needs the first; engines name the others themselves, with more to install.
            if extra not in ("train", "tensorrt", "tensorrt-rtx"):
                extras[distributions[requirement.name]] = extra

    assert extras == EXTRA_OF_LIBRARY


ANSWER = (
    "@app.command()\n"
    "def run(as_json: terminal.JsonFlag = False) -> None:\n"
    "    '''Answer.'''\n"
    "    terminal.note('looking')\n"
    "    with terminal.progress('Verifying [all]', 10) as advance:\n"
    "        advance(5)\n"
    "        advance(5)\n"
    "    terminal.answer({'weld': 137, 'unit': 'nΩ·m'}, lambda: '[weld] 137 nΩ·m \\x1b[2J' + ' x' *"
    " 60, as_json=as_json)\n"
)


def test_a_pipe_gets_the_answer_alone(tmp_path: Path) -> None:
    write(tmp_path, "answer", ANSWER)

    text = run(tmp_path, "answer")
    document = run(tmp_path, "answer", "--json")

    assert text.stdout == "[weld] 137 nΩ·m \\x1b[2J" + " x" * 60 + "\n"
    assert json.loads(document.stdout) == {"weld": 137, "unit": "nΩ·m"}
    assert document.stdout.count("\n") == 1
    assert text.stderr == document.stderr == ""


def test_a_terminal_gets_notes_and_progress_beside_the_answer(tmp_path: Path) -> None:
    write(tmp_path, "answer", ANSWER)
    ours, theirs = pty.openpty()
    with subprocess.Popen(  # noqa: S603  # our own program
        process_arguments(tmp_path, "answer", "--json"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(ours):
            shown += chunk
        out, _ = process.communicate(timeout=TIMEOUT_S)
    os.close(ours)

    assert json.loads(out) == {"weld": 137, "unit": "nΩ·m"}
    assert b"looking\r\n" in shown
    assert b"Verifying [all]" in shown
    assert b"10/10" in shown
    assert b"/s" in shown


def read_terminal(file: int) -> bytes:
    try:
        return os.read(file, 4096)
    except OSError:  # the other side has closed
        return b""


def test_a_terminal_without_utf_8_still_gets_the_answer(tmp_path: Path) -> None:
    write(tmp_path, "answer", ANSWER)

    done = run(tmp_path, "answer", PYTHONIOENCODING="ascii:strict")

    assert done.returncode == 0
    assert done.stdout.startswith("[weld] 137 n\\u03a9\\xb7m")


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    write_failing(tmp_path, "for number in range(1_000_000):\n    typer.echo(number)")
    with subprocess.Popen(  # noqa: S603  # our own program
        process_arguments(tmp_path, "try-it"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        complaint = process.stderr.read()
        status = process.wait(TIMEOUT_S)

    assert (status, complaint) == (0, b"")
