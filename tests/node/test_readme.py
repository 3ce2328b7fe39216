"""What the README tells people to type exists, and its examples are sound."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lotmark.event_document import read_events
from lotmark_node.main import app
from lotmark_node.story.play import find_chapters

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
TYPED = re.compile(r"^(?:\$ |\s+)?((?:\S*/bin/)?lotmark .*)$")


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCKS if found == language]


def typed_commands() -> Iterator[str]:
    """Return every use of the command line, in blocks and in the middle of text."""
    for language, body in BLOCKS:
        if language in ("sh", "console", "text"):
            yield from (match[1] for line in body.splitlines() if (match := TYPED.match(line)))
    yield from re.findall(r"`((?:\S*/bin/)?lotmark [^`]+)`", README)


def command_named(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that a line calls, and what is left of the line."""
    command: Any = get_command(app)
    at = 0
    while hasattr(command, "get_command"):
        found = command.get_command(None, words[at])
        assert found is not None, f"{words[at]!r} is no command in {shlex.join(words)!r}"
        command, at = found, at + 1
    return command, words[at:]


@pytest.mark.parametrize("line", sorted(set(typed_commands())))
def test_a_command_of_the_readme_exists_with_its_options(line: str) -> None:
    command, rest = command_named(shlex.split(line)[1:])

    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    used = {word for word in rest if word.startswith("--")}
    assert used <= known | {"--help"}


def test_commands_are_found_in_the_readme_at_all() -> None:
    called = {tuple(shlex.split(line)[1:3]) for line in typed_commands()}

    assert {("node", "run"), ("log", "check"), ("snapshot", "export")} <= called


def test_every_make_target_of_the_readme_exists() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {match for body in blocks("sh") for match in re.findall(r"^make (\w+)", body, re.M)}

    assert named == {"demo", "test"}
    assert named <= set(targets)


def test_every_make_target_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^(\w+):.*## \w", makefile, re.MULTILINE))


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_event_in_the_readme_keeps_every_rule() -> None:
    (document,) = blocks("toml")

    (event,) = read_events(document.encode(), name="README.md", nonce=lambda: bytes(16))
    assert event.WhichOneof("body") == "lot_created"


def test_what_the_python_in_the_readme_imports_is_there() -> None:
    (program,) = blocks("python")
    imports = "".join(line for line in program.splitlines(keepends=True) if "import" in line)

    compile(program, "README.md", "exec")
    exec(imports, {})  # noqa: S102  # lines of our own README


def test_the_run_shown_in_the_readme_has_the_chapters_that_there_are() -> None:
    shown = blocks("text")[0]

    titles = re.findall(r"^[ \d]\d  (\S+)", shown, re.MULTILINE)
    assert titles == [chapter.TITLE.partition(" ")[0] for chapter in find_chapters()]
