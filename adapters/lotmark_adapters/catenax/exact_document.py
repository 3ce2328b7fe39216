"""JSON whose numbers keep the digits that they were written with: amounts are never floats."""

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from lotmark.document_fields import Place, shown
from lotmark.errors import MalformedError

DOCUMENT_SIZE_MAX = 4_194_304

_NUMBER = re.compile(r"(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))?")


@dataclass(frozen=True, slots=True)
class Number:
    """A number of JSON, in its own digits."""

    text: str

    def scaled(self, decimals: int, place: Place, what: str) -> int:
        """Return the number times ten to the power of `decimals`, which must be whole.

        Args:
            decimals: How many decimals count.
            place: Where the number stands.
            what: What has so many decimals, for the message.

        Raises:
            MalformedError: It has more decimals, is negative, too long or written with an exponent.
        """
        match = _NUMBER.fullmatch(self.text)
        if match is None:
            raise place.refusal(
                f"{self.text[:60]} has an exponent, or more than 18 digits before or after its"
                " point; write it plainly, such as 1250.00"
            )
        sign, whole, fraction = match[1], match[2], (match[3] or "").rstrip("0")
        if len(fraction) > decimals:
            raise place.refusal(
                f"{self.text} has {len(fraction)} decimals and {what} {decimals}; round it where it"
                " arises, once"
            )
        scaled = int(whole + fraction.ljust(decimals, "0"))
        if sign and scaled:
            raise place.refusal(f"{self.text} is negative; 0 is the least: take a claim back whole")
        return scaled


def parse(raw: bytes, place: Place) -> object:
    """Return the value of a document; its numbers are `Number`s.

    Raises:
        MalformedError: It is no JSON in UTF-8, or too large.
    """
    if len(raw) > DOCUMENT_SIZE_MAX:
        raise place.refusal(
            f"{len(raw):,} bytes; at most {DOCUMENT_SIZE_MAX:,} are read: send it in parts"
        )
    try:
        value: object = json.loads(
            raw.decode(),
            object_pairs_hook=_without_duplicates,
            parse_float=Number,
            parse_int=Number,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise place.refusal("nests too deep; these shapes have five levels") from error
    except MalformedError as error:
        raise place.refusal(str(error)) from error
    except ValueError as error:
        raise place.refusal(f"is not JSON in UTF-8: {error}") from error
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made: dict[str, object] = {}
    for name, value in pairs:
        if name in made:
            raise MalformedError(f"member {shown(name)} stands twice in one object; write it once")
        made[name] = value
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"{name} is no number of JSON; write digits")
