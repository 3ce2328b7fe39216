"""Tells the story: every chapter in the order of its module's name, each in a line or a few."""

import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from lotmark_node.story import chapters
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.stage import Stage

WIDTH_MAX = 100
# A story without them is not told.
FACTS = (
    "nodes",
    "leader_killed",
    "events",
    "tree_size",
    "observations",
    "gaps",
    "trace_ms",
    "recall_units",
    "claims",
    "posted_minor",
    "verified",
    "final",
    "tamper_detected",
)

_TITLE_WIDTH = 10


class Chapter(Protocol):
    """A module in `story/chapters`."""

    TITLE: str  # one or two words

    def run(self, stage: Stage) -> str:
        """Let it happen; return what to tell, with the figures that came of it.

        Raises:
            StoryFailed: Something did not go as it must.
        """
        ...


def find_chapters() -> Iterator[Chapter]:
    """Return all chapters in order."""
    for name in sorted(module.name for module in iter_modules(chapters.__path__)):
        yield cast(Chapter, import_module(f"{chapters.__name__}.{name}"))


def play(stage: Stage, say: Callable[[str], None]) -> None:
    """Tell every chapter; `say` gets each as soon as it has happened.

    Raises:
        StoryFailed: Something did not go as it must; what follows is not told.
    """
    for number, chapter in enumerate(find_chapters(), start=1):
        say(_layout(number, chapter.TITLE, chapter.run(stage)))
    for name in FACTS:
        if not stage.facts.get(name):
            raise StoryFailed(f"no chapter has shown {name}")


def _layout(number: int, title: str, text: str) -> str:
    head = f"{number:2}  {title:<{_TITLE_WIDTH}} "
    margin = " " * len(head)
    # What others wrote is told too; none of its control characters shall reach a terminal.
    text = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
    lines = [
        wrapped
        for line in text.splitlines()
        for wrapped in textwrap.wrap(
            line, WIDTH_MAX - len(head), break_on_hyphens=False, subsequent_indent="  "
        )
    ]
    return "\n".join((head if at == 0 else margin) + line for at, line in enumerate(lines))
