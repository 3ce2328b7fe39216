"""Which entries may hold the events that somebody looks for; the events themselves decide.

Of the conditions given, the one that leaves the fewest entries is asked of the index: a digest
before an item, an item before a model, and so on. Whoever reads the events judges the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import takewhile

from lotmark.errors import MalformedError
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import (
    DIGEST,
    EPCIS_HASH,
    TIME_PREFIX,
    Postings,
    digest_prefix,
    file_name_prefix,
)

ENTRIES_MAX = 1_000_000

_TO_MS_MAX = 4_102_444_800_000  # the end of 2099: no event is later


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuestion:
    """What to look for; an empty condition is none. One is given at least."""

    item: str = ""  # its canonical name
    party: str = ""
    device: str = ""
    model: str = ""
    digest: bytes = b""
    epcis_hash: bytes = b""
    file_name: str = ""
    disposition: str = ""
    event_types: frozenset[int] = frozenset()
    from_ms: int = 0
    to_ms: int = 0  # 0: no end


class TooManyEntries(Exception):
    """More entries would have to be looked at than are kept in memory."""


def candidates(
    index: IndexReader, question: EventQuestion, *, first: int, end: int, newest_first: bool
) -> Iterator[int]:
    """Yield entries from `first` to before `end`, in the order of the log or against it.

    Raises:
        MalformedError: No condition is given that the index knows.
        TooManyEntries: Of a time alone, more than `ENTRIES_MAX` are in question.
    """
    lists = _lists(question)
    if not lists:
        found = set()
        for entry in _unlisted(index, question):
            if first <= entry < end:
                found.add(entry)
            if len(found) > ENTRIES_MAX:
                raise TooManyEntries(
                    f"more than {ENTRIES_MAX:,} events are in question; name a shorter time"
                )
        yield from sorted(found, reverse=newest_first)
    elif newest_first:
        parts = (index.entries_back(kind, name, to_index=end) for kind, name in lists)
        yield from takewhile(lambda entry: entry >= first, merge(*parts, reverse=True))
    else:
        parts = (index.entries(kind, name, from_index=first) for kind, name in lists)
        yield from takewhile(lambda entry: entry < end, merge(*parts))


def _lists(question: EventQuestion) -> Sequence[tuple[Postings, str]]:
    """Return the lists to go through; none: what leaves fewer entries is no list."""
    if question.digest or question.epcis_hash or question.file_name:
        return ()
    for kind, name in (
        (Postings.ITEM, question.item),
        (Postings.MODEL, question.model),
        (Postings.DEVICE, question.device),
        (Postings.DISPOSITION, question.disposition),
        (Postings.PARTY, question.party),
    ):
        if name:
            return ((kind, name),)
    if question.from_ms or question.to_ms:
        return ()
    return [(Postings.TYPE, str(event_type)) for event_type in sorted(question.event_types)]


def _unlisted(index: IndexReader, question: EventQuestion) -> Iterator[int]:
    """Return entries by digest, file name or time; some may come twice."""
    if question.digest:
        return index.under_digest(digest_prefix(DIGEST, question.digest))
    if question.epcis_hash:
        return index.under_digest(digest_prefix(EPCIS_HASH, question.epcis_hash))
    if question.file_name:
        return index.under_digest(file_name_prefix(question.file_name))
    if question.from_ms or question.to_ms:
        return index.in_window(TIME_PREFIX, question.from_ms, question.to_ms or _TO_MS_MAX)
    raise MalformedError(
        "the question has no condition; name an item, party, device, model, digest, disposition,"
        " event type or time"
    )
