"""What a settings file comes to, where each value is from, and what is wrong, with its line."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from lotmark.client.settings import ClientSettings, SettingsError, read_toml
from lotmark.errors import ProtocolError
from lotmark_node.compose import read_consortium
from lotmark_node.node_settings import ENVIRONMENT_PREFIX, NodeSettings, check_peers
from lotmark_node.settings_files import SettingsKind, read_settings, settings_kind

_SET = re.compile(r"\s*(?:\"([^\"]+)\"|([A-Za-z0-9_-]+))\s*=|\s*\[+([A-Za-z0-9_-]+)\]+")
_SYNTAX_LINE = re.compile(r"at line ([0-9]+), column [0-9]+")
_WORD = re.compile(r'"([^"]+)"|\b([a-z][a-z_]+|[A-Z0-9-]+/[a-z0-9-]+)\b')
_MADE_BY_START = ("data", "outbox")  # need not be there yet


class Source(Enum):
    """Where a value comes from."""

    FILE = "file"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveValue:
    """One setting as the program would use it; files are named and never read."""

    key: str
    value: str | None
    source: Source
    line: int | None  # in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong with a settings file or with what it names."""

    place: str  # FILE, or FILE:LINE
    text: str


def effective_values(path: Path) -> list[EffectiveValue]:
    """Return every setting there is for a file's kind.

    Raises:
        SettingsError: The settings cannot be used; `find_problems` says it with lines.
    """
    kind, settings = settings_kind(path), read_settings(path)
    lines, table = _lines(path), read_toml(path)
    found: list[EffectiveValue] = []
    for key, value in _flat(settings):
        name = key.split(".", 1)[0]
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        in_environment = kind is SettingsKind.NODE and bool(_environment().get(variable))
        source = Source.FILE if name in table else Source.DEFAULT
        found.append(
            EffectiveValue(
                key=key,
                value=value,
                source=Source.ENVIRONMENT if in_environment else source,
                line=None if in_environment else lines.get(key.split(".", 1)[-1]),
            )
        )
    return found


def find_problems(path: Path) -> list[Problem]:
    """Return what keeps a file's settings from being used; none: they can be."""
    try:
        settings = read_settings(path)
    except SettingsError as error:
        return [_placed(path, text) for text in str(error).split(";\n")]
    missing = [
        _placed(path, f"{key}: {value} does not exist; name the right file")
        for key, value in _paths(settings)
        if key not in _MADE_BY_START and not value.exists()
    ]
    if missing or not isinstance(settings, NodeSettings):
        return missing
    try:
        genesis, _ = read_consortium(settings)
        check_peers(settings, genesis)
    except (ProtocolError, OSError) as error:
        return [_placed(path, str(error))]
    return []


def _flat(settings: object) -> Iterator[tuple[str, str | None]]:
    """Yield keys and values as they stand in the file; entries of tables by TABLE.NAME."""
    for key, value in _items(settings):
        match value:
            case bytes():
                yield key, value.hex()
            case Mapping():
                yield from ((f"{key}.{name}", str(each)) for name, each in value.items())
            case tuple():
                for each in value:
                    yield _listed(key, each)
            case None:
                yield key, None
            case str() | Path():
                yield key, str(value)
            case _:  # a part of a witness's settings: its fields stand beside the others
                yield from _flat(value)


def _listed(key: str, each: Any) -> tuple[str, str]:
    if hasattr(each, "address"):
        return f"{key}.{each.party}/{each.node}", each.address
    return f"log.{each.origin}", ", ".join(vkey.name for vkey in each.vkeys)


def _items(settings: object) -> Iterator[tuple[str, Any]]:
    if isinstance(settings, NodeSettings):
        yield from ((key, getattr(settings, key)) for key in NodeSettings.model_fields)
        return
    renamed = _CLIENT_NAMES if isinstance(settings, ClientSettings) else _TLS_NAMES
    for each in fields(settings):  # type: ignore[arg-type]  # a dataclass, as all others are
        yield renamed.get(each.name, each.name), getattr(settings, each.name)


_CLIENT_NAMES = {"outbox_file": "outbox"}
_TLS_NAMES = {"certificate": "tls_certificate", "key": "tls_key"}


def _paths(settings: object) -> Iterator[tuple[str, Path]]:
    for key, value in _items(settings):
        if isinstance(value, Path):
            yield key, value
        elif hasattr(value, "__dataclass_fields__"):
            yield from _paths(value)


def _environment() -> dict[str, str]:
    return {name.upper(): value for name, value in os.environ.items()}


def _lines(path: Path) -> dict[str, int]:
    """Return in which line each key, table and entry of a table is set first."""
    found: dict[str, int] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if (matched := _SET.match(line)) is not None:
            found.setdefault(next(filter(None, matched.groups())), number)
    return found


def _placed(path: Path, text: str) -> Problem:
    """Return a problem with the line that it speaks of, where it speaks of one."""
    told = text.removeprefix(f"{path}: ")
    if (syntax := _SYNTAX_LINE.search(told)) is not None:
        return Problem(place=f"{path}:{syntax[1]}", text=told)
    try:
        lines = _lines(path)
    except OSError:
        return Problem(place=str(path), text=told)
    words = [quoted or plain for quoted, plain in _WORD.findall(told.replace("'", '"'))]
    # An entry of a table says more than the table; a value stands for its key.
    named = sorted((word for word in words if word in lines), key=lambda word: "/" not in word)
    at = [lines[word] for word in named] or [
        number
        for word in words
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if f'"{word}"' in line
    ]
    return Problem(place=f"{path}:{at[0]}" if at else str(path), text=told)
