"""Which events anchor a file's content, or another content under its name."""

from collections.abc import Iterable, Iterator
from itertools import islice

from lotmark.errors import MalformedError
from lotmark.merkle import HASH_SIZE
from lotmark.v1 import provenance_pb2
from lotmark_node.provenance.finding import EventQuestion, candidates
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.rpc.found_pages import Conditions, anchors, what_is_told
from lotmark_node.rpc.readable_events import ReadableEvent, ReadableEvents

ANCHORS_MAX = 32  # events in each part of an answer
LOOKED_AT_MAX = 1_000  # entries for each


def find_anchors(
    index: IndexReader,
    readable: ReadableEvents,
    request: provenance_pb2.VerifyRawRequest,
    *,
    item: str,
    head: provenance_pb2.AnswerHead,
) -> provenance_pb2.VerifyRawResponse:
    """Return the events that anchor a file.

    Args:
        index: The index.
        readable: Reads the events.
        request: The file.
        item: The item's canonical name; "": any.
        head: Of the answer.

    Raises:
        MalformedError: The digest is none.
    """
    digest = request.sha256
    if len(digest) != HASH_SIZE:
        raise MalformedError(f"sha256 has {len(digest)} bytes, not {HASH_SIZE}")
    response = provenance_pb2.VerifyRawResponse(head=head)
    about = Conditions(item=item)
    same_digest = EventQuestion(digest=digest)
    looked = _Looked(candidates(index, same_digest, first=0, end=head.size, newest_first=False))
    known: set[int] = set()
    for event in _wanted(looked, readable, about):
        if anchors(event.checked, what_is_told(event.checked, event.party), digest):
            if len(known) == ANCHORS_MAX:
                looked.has_more = True
                break
            known.add(event.entry.index)
            response.same_digest.append(readable.message(event))
    response.more = looked.has_more
    if not request.name:
        return response
    same_name = EventQuestion(file_name=request.name)
    looked = _Looked(candidates(index, same_name, first=0, end=head.size, newest_first=True))
    for event in _wanted(looked, readable, about):
        named = any(file.name == request.name for file in event.checked.message.files)
        if named and event.entry.index not in known:
            if len(response.same_name) == ANCHORS_MAX:
                looked.has_more = True
                break
            response.same_name.append(readable.message(event))
    response.more |= looked.has_more
    return response


class _Looked:
    """Entries up to a bound, and whether there are more."""

    def __init__(self, entries: Iterator[int]) -> None:
        self._entries = entries
        self.has_more = False

    def __iter__(self) -> Iterator[int]:
        yield from islice(self._entries, LOOKED_AT_MAX)
        self.has_more = next(self._entries, None) is not None


def _wanted(
    entries: Iterable[int], readable: ReadableEvents, conditions: Conditions
) -> Iterator[ReadableEvent]:
    for _, event in readable.read(entries):
        if event is not None and conditions.keeps(event):
            yield event
