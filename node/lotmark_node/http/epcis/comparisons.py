"""How query parameters compare: EQ, GT, GE, LT, LE."""

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from lotmark.errors import MalformedError

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": operator.eq,
    "GT": operator.gt,
    "GE": operator.ge,
    "LT": operator.lt,
    "LE": operator.le,
}

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")


def parse_number(text: str) -> Decimal:
    """Return a number as people write it, exactly.

    Raises:
        MalformedError: It is none, or has more digits than anybody measures.
    """
    if _NUMBER.fullmatch(text) is None:
        raise MalformedError(f"{text[:60]!a} is no number, such as -12.5")
    return Decimal(text)
