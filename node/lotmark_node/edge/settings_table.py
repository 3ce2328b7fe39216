"""A table of a settings file whose keys are taken one by one, each checked; none may be left over.

Every refusal names the file, the place in it, the key, the value, the bound and what to do.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from lotmark.client.settings import SettingsError, complete_path
from lotmark.errors import ProtocolError

_SHOWN_MAX = 80  # characters of a refused value


class SettingsTable:
    """One table of a TOML file."""

    def __init__(
        self, path: Path, place: str, table: dict[str, Any], known: Collection[str]
    ) -> None:
        """Take a table.

        Args:
            path: The file, for messages and for the paths that the table names.
            place: Where in the file, such as "source W07"; "": the file itself.
            table: What stands there.
            known: The keys that may.

        Raises:
            SettingsError: It has another key.
        """
        self._path = path
        self._place = place
        self._table = table
        if unknown := sorted(set(table) - set(known)):
            raise self.refused(
                unknown[0][:_SHOWN_MAX], f"is unknown; remove it, or use one of {', '.join(known)}"
            )

    def refused(self, key: str, why: str) -> SettingsError:
        """Return the error that says what is wrong with a key, and what to do."""
        place = f"{self._place}: " if self._place else ""
        return SettingsError(f"{self._path}: {place}{key} {why}")

    def __contains__(self, key: str) -> bool:
        """Return whether a key is there."""
        return key in self._table

    def text(
        self, key: str, check: Callable[[str], object] | None = None, *, default: str | None = None
    ) -> str:
        """Return a string, checked where it is not left out.

        Args:
            key: Its key.
            check: Raises a ProtocolError for what cannot be.
            default: What it is where it is left out; None: it may not be.
        """
        if key not in self._table:
            if default is None:
                raise self.refused(key, f'is missing; add a line {key} = "..."')
            return default
        value = self._table[key]
        if not isinstance(value, str):
            raise self.refused(key, f"is {_shown(value)}, no string; write its value in quotes")
        if check is not None:
            try:
                check(value)
            except ProtocolError as error:
                raise self.refused(key, f"cannot be used: {error}") from error
        return value

    def number(self, key: str, *, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number within its bounds; None as its default: it may not be left out."""
        if key not in self._table:
            if default is None:
                raise self.refused(key, f"is missing; add a line {key} = {least}")
            return default
        value = self._table[key]
        if type(value) is not int or not least <= value <= most:
            raise self.refused(
                key, f"is {_shown(value)}; write a whole number from {least:,} to {most:,}"
            )
        return value

    def flag(self, key: str) -> bool:
        """Return whether something is so; it is not where it is left out."""
        value = self._table.get(key, False)
        if not isinstance(value, bool):
            raise self.refused(key, f"is {_shown(value)}; write true or false")
        return value

    def texts(self, key: str, *, most: int) -> tuple[str, ...]:
        """Return a list of strings that are not empty; none where it is left out."""
        values = self._table.get(key, [])
        if (
            not isinstance(values, list)
            or len(values) > most
            or not all(isinstance(value, str) and value for value in values)
        ):
            raise self.refused(key, f'is {_shown(values)}; write at most {most} texts: ["..."]')
        return tuple(values)

    def file(self, key: str) -> Path:
        """Return a path, relative to the settings file."""
        return complete_path(self._path, self._within(key), self.text(key))

    def optional_file(self, key: str) -> Path | None:
        """Return a path that may be left out."""
        return self.file(key) if key in self._table else None

    def table(self, key: str, known: Collection[str]) -> "SettingsTable":
        """Return a table within; one that is left out is empty."""
        return SettingsTable(self._path, self._within(key), self.plain(key), known)

    def plain(self, key: str) -> dict[str, Any]:
        """Return a table within as it is, to be read by whoever knows its keys."""
        value = self._table.get(key, {})
        if not isinstance(value, dict):
            raise self.refused(key, f"is {_shown(value)}, no table; write {key} = {{ ... }}")
        return value

    def tables(self, key: str, *, most: int, write_as: str) -> list[dict[str, Any]]:
        """Return the tables of a list, each to be taken by a `SettingsTable` of its own."""
        value = self._table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.refused(
                key, f"is {_shown(value)}, no list of tables; write each as {write_as}"
            )
        if len(value) > most:
            raise self.refused(key, f"has {len(value)} tables; write at most {most}")
        return value

    def _within(self, key: str) -> str:
        return f"{self._place}: {key}" if self._place else key


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
