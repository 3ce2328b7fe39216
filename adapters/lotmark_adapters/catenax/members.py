"""The members of an object of Catena-X: each is read as what it has to be, or refused by place."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from lotmark.document_fields import Place, list_at, shown, table_at
from lotmark.errors import MalformedError
from lotmark.text import check_text
from lotmark_adapters.catenax.exact_document import Number, parse
from lotmark_adapters.errors import CatenaxError
from lotmark_contracts.wcel.currencies import EXPONENTS

MINUTES_MAX = 1_000_000  # of one kind of work
MINOR_MAX = 10**15  # of one amount: a thousand of them still fit 64 bits

_UUID = re.compile("(urn:uuid:)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BASIS_POINTS_DECIMALS = 2  # of a percentage: 33.33 % is 3,333 basis points

T = TypeVar("T")


def read_document(raw: bytes, document: str, read: Callable[[object, Place], T]) -> T:
    """Return what a function makes of a document.

    Args:
        raw: JSON in UTF-8.
        document: Its name, for messages.
        read: Takes the document's value and place.

    Raises:
        CatenaxError: It is no such document, or `read` refuses it.
    """
    place = Place(document)
    try:
        return read(parse(raw, place), place)
    except MalformedError as error:
        raise CatenaxError(str(error)) from error


class Members:
    """The members of one object."""

    def __init__(self, value: object, place: Place, allowed: Sequence[str]) -> None:
        self._members = table_at(value, place, allowed)
        self.place = place

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def at(self, name: str) -> Place:
        """Return the place of a member."""
        return self.place.member(name)

    def value(self, name: str, remedy: str) -> Any:
        """Return a member, whatever it is.

        Raises:
            MalformedError: It is missing; so do all that follow.
        """
        if name not in self._members:
            raise self.at(name).missing(remedy)
        return self._members[name]

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        return list_at(self.value(name, "write a list, such as [ ]"), self.at(name))

    def text(self, name: str, length_max: int) -> str:
        """Return a text of 1 to `length_max` characters."""
        value = self.value(name, f"write a text of 1 to {length_max} characters")
        if not isinstance(value, str):
            raise self.at(name).refusal(f"{_shown(value)} is no text; write it in quotes")
        if not 1 <= len(value) <= length_max:
            raise self.at(name).refusal(
                f"{shown(value)} has {len(value)} characters; write 1 to {length_max}"
            )
        at = self.at(name)
        check_text(value, what=f"{at.document}: {at.path}", size_max=4 * length_max)
        return value

    def uuid(self, name: str) -> str:
        """Return a UUID, with urn:uuid: before it or without."""
        value = self.text(name, 45)
        if _UUID.fullmatch(value) is None:
            raise self.at(name).refusal(
                f"{shown(value)} is no UUID; write 8-4-4-4-12 hexadecimal digits"
            )
        return value

    def partner(self, name: str, prefix: str) -> str:
        """Return a business partner number that begins so."""
        value = self.text(name, 16)
        if re.fullmatch(prefix + "[a-zA-Z0-9]{12}", value) is None:
            raise self.at(name).refusal(
                f"{shown(value)} is no business partner number; write {prefix} and 12 letters or"
                " digits"
            )
        return value

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """Return a text that is one of those known."""
        value = self.text(name, 40)
        if value not in known:
            raise self.at(name).refusal(f"{shown(value)} is none of {', '.join(known)}")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.value(name, "write true or false")
        if not isinstance(value, bool):
            raise self.at(name).refusal(f"{_shown(value)} is neither true nor false; write one")
        return value

    def day_ms(self, name: str) -> int:
        """Return when a day begins in UTC, Unix time in ms."""
        value = self.text(name, 10)
        try:
            if _DAY.fullmatch(value) is None:
                raise ValueError(value)
            day = date.fromisoformat(value)
        except ValueError as error:
            raise self.at(name).refusal(
                f"{shown(value)} is no day; write it such as 2025-01-15"
            ) from error
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000

    def currency(self, name: str) -> str:
        """Return a currency's code of ISO 4217."""
        value = self.text(name, 3)
        if value not in EXPONENTS:
            raise self.at(name).refusal(f"{shown(value)} is no currency of ISO 4217; write EUR")
        return value

    def minor(self, name: str, currency: str) -> int:
        """Return an amount of a currency in its minor units, by its decimals."""
        number = self._number(name, "write the amount, 0 where there is none")
        minor = number.scaled(EXPONENTS[currency], self.at(name), currency)
        return self._at_most(name, number, minor, MINOR_MAX, f"minor units of {currency}")

    def basis_points(self, name: str) -> int:
        """Return a percentage from 0 to 100 in basis points."""
        number = self._number(name, "write the percentage, such as 33.33")
        points = number.scaled(_BASIS_POINTS_DECIMALS, self.at(name), "a percentage")
        return self._at_most(name, number, points, 10_000, "basis points, which are 100 %")

    def minutes(self, name: str) -> int:
        """Return whole minutes, 1 or more."""
        number = self._number(name, "write the minutes, or leave the member out")
        minutes = number.scaled(0, self.at(name), "a time in minutes")
        if minutes < 1:
            raise self.at(name).refusal("0 minutes; 1 is the least: leave the member out")
        return self._at_most(name, number, minutes, MINUTES_MAX, "minutes")

    def _number(self, name: str, remedy: str) -> Number:
        value = self.value(name, remedy)
        if not isinstance(value, Number):
            raise self.at(name).refusal(f"{_shown(value)} is no number; {remedy}")
        return value

    def _at_most(self, name: str, number: Number, value: int, most: int, unit: str) -> int:
        if value > most:
            raise self.at(name).refusal(
                f"{number.text} is beyond {most:,} {unit}; correct it or split it"
            )
        return value


def _shown(value: object) -> str:
    return value.text[:60] if isinstance(value, Number) else shown(value)
