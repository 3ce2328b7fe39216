"""Traces on the wire: pages of a bounded size, cut at any link and gone on with there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lotmark.errors import MalformedError
from lotmark.v1 import event_pb2, provenance_pb2
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.trace import (
    LINK_KINDS,
    TooWide,
    TracedEdge,
    TraceQuestion,
    TraceStep,
    trace,
)
from lotmark_node.rpc.answer_places import AnswerPlace

NODES_MAX = 100_000  # in one answer
EDGES_MAX = 400_000
PAGE_MAX = 1_000  # nodes and links, but for the rest of a step: a page stays below 1 MiB
SKIPPED_PER_PAGE = 20_000  # nodes that were told before, walked again


@dataclass(slots=True)
class _Page:
    """A page that is being filled."""

    response: provenance_pb2.TraceResponse = field(default_factory=provenance_pb2.TraceResponse)
    count: int = 0

    def take(self) -> provenance_pb2.TraceResponse:
        """Return what is filled, and begin another."""
        taken, self.response, self.count = self.response, provenance_pb2.TraceResponse(), 0
        return taken


def trace_question(
    request: provenance_pb2.TraceRequest, item: str, place: AnswerPlace, *, backward: bool
) -> TraceQuestion:
    """Return what a request asks.

    Raises:
        MalformedError: A kind of link is none.
    """
    kinds = frozenset(request.kinds)
    if unknown := kinds - set(provenance_pb2.EdgeKind.values()[1:]):
        raise MalformedError(f"{min(unknown)} is no kind of link; EdgeKind names those there are")
    if request.nodes_max > NODES_MAX:
        raise MalformedError(f"nodes_max {request.nodes_max} is above {NODES_MAX}; use `resume`")
    return TraceQuestion(
        item=item,
        backward=backward,
        size=place.size,
        depth_max=request.depth_max or None,
        kinds=kinds or LINK_KINDS,
        from_ms=request.from_ms,
        to_ms=request.to_ms or None,
        parties=frozenset(request.parties),
    )


def trace_pages(
    index: IndexReader,
    request: provenance_pb2.TraceRequest,
    question: TraceQuestion,
    place: AnswerPlace,
    may_read: Callable[[int], bool],
) -> Iterator[provenance_pb2.TraceResponse]:
    """Yield an answer page by page; the last one says how to go on, where it is not whole."""
    page = _Page()
    page.response.head.CopyFrom(place.head(question.item))
    is_new = not request.resume
    if is_new:
        page.response.nodes.add(number=0, id=question.item)
    telling = _Telling(page, request.nodes_max or NODES_MAX, told_count=int(is_new))
    depth = walked_count = skipped_count = 0
    try:
        for step in trace(index, question, may_read):
            walked_count += step.link_count
            if walked_count <= place.told:
                skipped_count += len(step.nodes) + 1
                if skipped_count >= SKIPPED_PER_PAGE:
                    skipped_count = 0
                    yield page.take()
                continue
            depth = max(depth, step.depth if step.nodes else 0)
            before = walked_count - step.link_count
            if not telling.tell(step, skipped_count=max(0, place.told - before)):
                page.response.cut_short = telling.bound
                page.response.resume = place.resume(request, told=before + telling.told_of_step)
                break
            if page.count >= PAGE_MAX:
                yield page.take()
        else:
            if depth == question.depth_max:
                page.response.cut_short = f"depth_max {depth}: there may be more beyond"
    except TooWide as error:
        page.response.cut_short = str(error)
    yield page.take()


class _Telling:
    """Fills pages until a bound is met.

    Attributes:
        bound: Which one.
        told_of_step: How many links are told, now or earlier, of the step that was told last.
    """

    def __init__(self, page: _Page, nodes_max: int, *, told_count: int) -> None:
        self._page = page
        self._nodes_max = nodes_max
        self._nodes_left = nodes_max - told_count
        self._edges_left = EDGES_MAX
        self.bound = ""
        self.told_of_step = 0

    def tell(self, step: TraceStep, *, skipped_count: int) -> bool:
        """Tell a step, or as much of it as there is room for; return whether it is all.

        Args:
            step: The step.
            skipped_count: Of its links, those that an earlier answer told.
        """
        self.told_of_step = skipped_count
        next_number = step.first_number
        for at, edge in enumerate(step.edges()):
            is_new = edge.target >= next_number
            next_number += is_new
            if at < skipped_count:
                continue
            if not self._has_room(is_new=is_new):
                return False
            if is_new:
                name = step.nodes[edge.target - step.first_number]
                self._page.response.nodes.add(number=edge.target, id=name, depth=step.depth)
            self._page.response.edges.append(edge_message(edge))
            self._page.count += 1 + is_new
            self.told_of_step += 1
        return True

    def _has_room(self, *, is_new: bool) -> bool:
        if is_new and self._nodes_left <= 0:
            self.bound = f"nodes_max {self._nodes_max}"
            return False
        if self._edges_left <= 0:
            self.bound = f"{EDGES_MAX} links in one answer"
            return False
        self._nodes_left -= is_new
        self._edges_left -= 1
        return True


def edge_message(edge: TracedEdge) -> provenance_pb2.TraceEdge:
    """Return a link on the wire."""
    told = edge.statement
    message = provenance_pb2.TraceEdge(
        **{"from": edge.origin},  # type: ignore[arg-type]  # a word of Python's
        to=edge.target,
        kind=told.kind,  # type: ignore[arg-type]  # the stubs want their own class
        entry=told.entry,
        last_entry=told.last_entry,
        at_ms=told.at_ms,
        ended=told.ended,
        event_count=told.event_count,
        nonconforming_count=told.nonconforming_count,
        party=told.party,
    )
    if told.quantity:
        message.quantity.CopyFrom(event_pb2.Quantity(value=told.quantity, unit=told.unit))
    return message
