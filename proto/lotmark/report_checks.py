"""What the value of a report's field can be."""

import re
from collections.abc import Callable
from datetime import date

from lotmark.document_fields import Place, list_at, shown, string_at, table_at
from lotmark.errors import MalformedError
from lotmark.event_rules import Rule
from lotmark.text import check_text

TEXT_SIZE_MAX = 8_192
RESULTS_MAX = 10_000
NOT_APPLICABLE = "not applicable"  # the one way to say that a date does not matter

RESULT_NEEDED = ("characteristic", "value", "unit")
RESULT_OPTIONAL = ("uncertainty", "lower_limit", "upper_limit", "method", "verdict", "raw_data")

Check = Callable[[object, Place], None]  # raises MalformedError where the value cannot be

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def text(value: object, place: Place) -> None:
    """Check free text that says something."""
    said = string_at(value, place)
    if not said.strip():
        raise place.refusal('it is empty; write what is so, such as "none", or leave the line out')
    _explained(lambda: check_text(said, what="the text", size_max=TEXT_SIZE_MAX), place)


def keeps(rule: Rule) -> Check:
    """Return the check of a text that goes on the ledger in clear."""

    def check(value: object, place: Place) -> None:
        text = string_at(value, place)
        if not rule.passes(text):
            _explained(lambda: rule.explain(text, "the value"), place)

    return check


def one_of(allowed: tuple[str, ...]) -> Check:
    """Return the check of a choice."""

    def check(value: object, place: Place) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise place.refusal(f"{shown(value)} is none of {', '.join(allowed)}")

    return check


def _explained(check: Callable[[], None], place: Place) -> None:
    try:
        check()
    except MalformedError as error:
        raise place.refusal(str(error)) from error


def dates(value: object, place: Place) -> None:
    """Check one day, or two with a slash between: from the first to the last."""
    text = string_at(value, place)
    days = text.split("/")
    if len(days) > 2 or not all(_is_day(day) for day in days):
        raise place.refusal(
            f'{shown(text)} is no date; write "2025-12-23", or "2025-12-22/2025-12-23" from the'
            " first day to the last"
        )
    if days != sorted(days):
        raise place.refusal(f"{shown(text)} ends before it begins")


def dates_if_any(value: object, place: Place) -> None:
    """Check a date as `dates` does, or that none matters."""
    if value == NOT_APPLICABLE:
        return
    try:
        dates(value, place)
    except MalformedError as error:
        raise MalformedError(f'{error}, or "{NOT_APPLICABLE}"') from error


def _is_day(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def results(value: object, place: Place) -> None:
    """Check a list of results, each with its unit."""
    listed = list_at(value, place)
    if not 1 <= len(listed) <= RESULTS_MAX:
        raise place.refusal(f"it has {len(listed)} results; 1 to {RESULTS_MAX} may be")
    for index, result in enumerate(listed):
        at = place.element(index)
        table = table_at(result, at, (*RESULT_NEEDED, *RESULT_OPTIONAL))
        for name in RESULT_NEEDED:
            if name not in table:
                raise at.member(name).missing('a result needs it; a number\'s unit may be "1"')
        for name, said in table.items():
            text(said, at.member(name))


def files(value: object, place: Place) -> None:
    """Check that it is a list of tables; what is in them is read with the files."""
    for index, file in enumerate(list_at(value, place)):
        if not isinstance(file, dict):
            raise place.element(index).refusal(f"{shown(file)} is no table; name a path in it")
