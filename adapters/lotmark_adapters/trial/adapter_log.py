"""A recorded log of a machine's adapter, replayed into a trial agent.

Each row is ``TIME|NAME|VALUE|NAME|VALUE…``, as adapters send it to agents. A row of a condition is
``TIME|NAME|LEVEL|CODE|SEVERITY|QUALIFIER|TEXT``; a row of an asset holds its XML on the lines that
follow, up to a closing mark; a line that begins with ``*`` is about the adapter.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lotmark_adapters.trial.agent import Agent

_MULTILINE = "--multiline--"
_ENTRY = re.compile(r"([^=\s]+)=(\S*)")


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What a log held, and how many observations became of it."""

    rows: int = 0
    observations: int = 0  # of all kinds
    assets_put: int = 0
    assets_removed: int = 0
    unknown: int = 0  # values of names that the device model does not have


def replay(agent: Agent, lines: Iterable[str]) -> Iterator[Replayed]:
    """Feed a log row by row; yield the count so far after each row, always the same object."""
    told = Replayed()
    rest = iter(lines)
    for line in rest:
        line = line.rstrip("\r\n")
        if not line or line.startswith("*"):
            continue
        timestamp, name, *values = line.split("|")
        told.rows += 1
        if name == "@ASSET@":
            asset, kind, content = values
            put = _multiline(rest, content.removeprefix(_MULTILINE), content)
            agent.put_asset(asset, kind, put.encode(), timestamp=timestamp)
            told.assets_put += 1
            told.observations += 1
        elif name == "@REMOVE_ASSET@":
            _remove(agent, [values[0]], timestamp, told)
        elif name == "@REMOVE_ALL_ASSETS@":
            _remove(agent, agent.assets, timestamp, told)
        else:
            _observe(agent, timestamp, [name, *values], told)
        yield told


def _multiline(rest: Iterator[str], mark: str, content: str) -> str:
    """Return the lines up to a closing mark, or the content of the row itself."""
    if not content.startswith(_MULTILINE):
        return content
    lines = []
    for line in rest:
        if line.strip() == f"{_MULTILINE}{mark}":
            break
        lines.append(line)
    return "".join(lines).strip()


def _remove(agent: Agent, assets: Iterable[str], timestamp: str, told: Replayed) -> None:
    for asset in assets:
        agent.remove_asset(asset, timestamp=timestamp)
        told.assets_removed += 1
        told.observations += 1


def _observe(agent: Agent, timestamp: str, words: list[str], told: Replayed) -> None:
    if agent.has_item(words[0]) and agent.item(words[0]).category == "CONDITION":
        level, code, *_, message = [*words[1:], *[""] * 5][:5]
        more = {"level": level.capitalize()} | ({"nativeCode": code} if code else {})
        agent.observe(words[0], message, timestamp=timestamp, **more)
        told.observations += 1
        return
    for name, value in zip(words[::2], words[1::2], strict=True):
        if not agent.has_item(name):
            told.unknown += 1
            continue
        if agent.item(name).element.endswith("DataSet"):
            agent.observe_entries(name, dict(_ENTRY.findall(value)), timestamp=timestamp)
        else:
            agent.observe(name, value, timestamp=timestamp)
        told.observations += 1
