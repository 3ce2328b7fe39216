"""What a source works on: the newest values of those of its signals that others refer to."""

import copy
import re
from bisect import bisect_right, insort
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from lotmark.errors import MalformedError
from lotmark.text import check_identifier
from lotmark_node.edge.site_settings import SignalSettings, SourceSettings

VALUES_MAX = 64  # of a signal, that are remembered for observations that come late
LATE_MAX_US = 600_000_000  # so late an observation may come, after others, and find its values
UNKNOWN = "?"  # stands in a feature for a value that is not known

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def context_signals(settings: SourceSettings) -> frozenset[str]:
    """Return the names of the signals that subjects and features refer to."""
    named = {name for each in settings.signals for name in _PLACEHOLDER.findall(each.feature)}
    if settings.subject is not None:
        named.add(settings.subject.signal)
    return frozenset(named)


class SourceContext:
    """The newest values of a source's context signals, by the time at which they were made."""

    def __init__(
        self, settings: SourceSettings, values: Iterable[tuple[str, int, str | None]] = ()
    ) -> None:
        """Begin with what was known already: signal, when it was made, value."""
        self._subject = settings.subject
        self._values: dict[str, list[tuple[int, str | None]]] = {
            name: [] for name in context_signals(settings)
        }
        for signal, made_us, value in values:
            if signal in self._values:
                self._values[signal].append((made_us, value))

    def copy(self) -> "SourceContext":
        """Return a context that learns on its own from here."""
        copied = copy.copy(self)
        copied._values = {name: [*known] for name, known in self._values.items()}
        return copied

    def values(self) -> list[tuple[str, int, str | None]]:
        """Return all that is known."""
        return [(name, *each) for name, known in self._values.items() for each in known]

    def learn(self, signal: str, made_us: int, value: str | None) -> None:
        """Take a value of a context signal; None: there is none from then on."""
        known = self._values[signal]
        if not known or known[-1][0] < made_us:
            known.append((made_us, value))
        elif known[-1][0] == made_us:
            known[-1] = made_us, value  # nobody would find the one before
        else:
            insort(known, (made_us, value), key=_made)
        if len(known) > VALUES_MAX:
            del known[0]

    def forget_before(self, made_us: int) -> None:
        """Forget values that are not the newest at any time from `LATE_MAX_US` before this one on.

        Of earlier times nothing is known then, rather than something wrong.
        """
        for known in self._values.values():
            at = bisect_right(known, made_us - LATE_MAX_US, key=_made)
            del known[: max(at - 1, 0)]

    def forget(self) -> None:
        """Know nothing more: what was missed may have been another part."""
        for known in self._values.values():
            known.clear()

    def subject_at(self, made_us: int) -> str:
        """Return the id of the item that the source worked on; "": not known."""
        if self._subject is None:
            return ""
        value = self._at(self._subject.signal, made_us)
        return "" if not value else _item_id(self._subject.prefix, value)

    def feature_at(self, signal: SignalSettings, made_us: int) -> str:
        """Return a signal's feature, with values in place of names."""
        return _PLACEHOLDER.sub(
            lambda found: self._at(found[1], made_us) or UNKNOWN, signal.feature or signal.name
        )

    def _at(self, signal: str, made_us: int) -> str | None:
        """Return a signal's newest value that was made at or before a time."""
        known = self._values[signal]
        if known and known[-1][0] <= made_us:
            return known[-1][1]
        at = bisect_right(known, made_us, key=_made)
        return known[at - 1][1] if at else None


def _made(value: tuple[int, str | None]) -> int:
    return value[0]


@lru_cache(maxsize=1_024)
def _item_id(prefix: str, value: str) -> str:
    """Return prefix and value, what no id may have being escaped; "": it is no item's id then."""
    item_id = prefix + quote(value, safe="", errors="replace")
    try:
        check_identifier(item_id, what="item id")
    except MalformedError:
        return ""
    return item_id
