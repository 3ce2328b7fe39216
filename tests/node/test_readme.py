"""What the README and the documents tell people to type exists, and their examples are sound."""

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
README = "README.md"
OF_BYTES = ("protocol.md", "glossary.md")  # they tell nobody to type anything
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        ROOT / README,
        ROOT / "deploy" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
    if path.name not in OF_BYTES
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TYPED = re.compile(r"^(?:\$ |\s+)?((?:\S*/bin/)?lotmark .*)$")


def blocks(page: str, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(PAGES[page]) if found == language]


def typed_commands(page: str) -> Iterator[str]:
    """Return every use of the command line, in blocks and in the middle of text."""
    for language in ("sh", "console", "text"):
        for body in blocks(page, language):
            yield from (match[1] for line in body.splitlines() if (match := TYPED.match(line)))
    yield from re.findall(r"`((?:\S*/bin/)?lotmark [^`]+)`", BLOCK.sub("", PAGES[page]))


def command_named(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that a line calls, and what is left of the line."""
    command: Any = get_command(app)
    at = 0
    while hasattr(command, "get_command"):
        found = command.get_command(None, words[at])
        assert found is not None, f"{words[at]!r} is no command in {shlex.join(words)!r}"
        command, at = found, at + 1
    return command, words[at:]


@pytest.mark.parametrize(
    ("page", "line"), sorted({(page, line) for page in PAGES for line in typed_commands(page)})
)
def test_a_command_of_a_page_exists_with_its_options(page: str, line: str) -> None:
    command, rest = command_named(shlex.split(line, comments=True)[1:])

    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    used = {word for word in rest if word.startswith("--")}
    assert used <= known | {"--help"}


def test_commands_are_found_in_the_pages_at_all() -> None:
    called = {
        page: {tuple(shlex.split(line)[1:3]) for line in typed_commands(page)} for page in PAGES
    }

    assert {("node", "run"), ("log", "check")} <= called[README]
    assert ("snapshot", "export") in called["docs/auditing.md"]
    assert ("party", "invite") in called["docs/parties.md"]


def test_every_make_target_of_the_readme_exists() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {
        match for body in blocks(README, "sh") for match in re.findall(r"^make (\w+)", body, re.M)
    }

    assert named == {"demo", "test"}
    assert named <= set(targets)


def test_every_make_target_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^([\w-]+):.*## \w", makefile, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_every_page_is_named_in_the_readme() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", PAGES[README]))

    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= links


def test_the_event_in_the_client_page_keeps_every_rule() -> None:
    (document,) = blocks("docs/client.md", "toml")

    (event,) = read_events(document.encode(), name="client.md", nonce=lambda: bytes(16))
    assert event.WhichOneof("body") == "lot_created"


def test_what_the_first_program_of_the_client_page_imports_is_there() -> None:
    program = blocks("docs/client.md", "python")[0]
    imports = "".join(line for line in program.splitlines(keepends=True) if "import" in line)

    compile(program, "client.md", "exec")
    exec(imports, {})  # noqa: S102  # lines of our own document


def test_the_run_shown_in_the_readme_has_the_chapters_that_there_are() -> None:
    shown = blocks(README, "text")[0]

    titles = re.findall(r"^[ \d]\d  (\S+)", shown, re.MULTILINE)
    assert titles == [chapter.TITLE.partition(" ")[0] for chapter in find_chapters()]
