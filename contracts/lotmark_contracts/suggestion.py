"""Which known name an unknown one was probably meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

_NAMES_SHOWN_MAX = 12
_COMPARED_MAX = 60  # characters of the unknown name, as comparing takes the square of the length


def suggest(unknown: str, known: Iterable[str]) -> str:
    """Return how a message goes on that has said that a name is unknown.

    Returns:
        "; did you mean 'odo_km'?", or the known names where none is alike.
    """
    names = sorted(map(str, known))
    if alike := get_close_matches(unknown[:_COMPARED_MAX], names, 1):
        return f"; did you mean {alike[0]!r}?"
    if not names:
        return "; there is none"
    more = ", …" if len(names) > _NAMES_SHOWN_MAX else ""
    return f"; there is {', '.join(names[:_NAMES_SHOWN_MAX])}{more}"
