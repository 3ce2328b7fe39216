"""ProvenanceService over the index. Questions are answered on threads, page by page."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress

import grpc

from lotmark.client.calls import CANDIDATE_KEY
from lotmark.errors import MalformedError, ProtocolError
from lotmark.item_name import read_item_name
from lotmark.v1 import provenance_pb2, provenance_pb2_grpc
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.item_proofs import ItemProofMaker
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.provenance.finding import EventQuestion, TooManyEntries, candidates
from lotmark_node.provenance.naming import ItemAmbiguous, ItemUnknown, find_item
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Postings
from lotmark_node.provenance.suspects import Suspect, TooManyItems, suspects
from lotmark_node.rpc.access import Caller
from lotmark_node.rpc.answer_places import AnswerPlace, place_now, place_of
from lotmark_node.rpc.call_admission import CallAdmission, Context, fail
from lotmark_node.rpc.found_pages import Conditions, count_of, found_pages, read_conditions
from lotmark_node.rpc.identity import Identities
from lotmark_node.rpc.paged_answers import Page, PagedAnswers
from lotmark_node.rpc.raw_anchors import find_anchors
from lotmark_node.rpc.readable_events import ReadableEvents
from lotmark_node.rpc.trace_pages import trace_pages, trace_question

SUSPECTS_MAX = 100_000  # in one answer
SUSPECTS_PER_PAGE = 2_000
PROOF_PIECE_SIZE = 1 << 20
_TOLD = 5  # of the items that a name may mean, in the metadata of the refusal


class ProvenanceService(provenance_pb2_grpc.ProvenanceServiceServicer):
    """Answers from the index of one ledger.

    Attributes:
        answers: Works the answers out.
    """

    def __init__(self, engine: LedgerEngine, identities: Identities) -> None:
        self._engine = engine
        self._calls = CallAdmission(engine, identities)
        self._index = IndexReader(engine.store.provenance)
        self._proofs = ItemProofMaker(engine.store, engine.reader, engine.governance)
        self.answers = PagedAnswers()

    async def TraceBack(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.TraceRequest, context: Context
    ) -> AsyncIterator[provenance_pb2.TraceResponse]:
        """Tell what an item was made of."""
        async for page in self._answer(context, "TraceBack", self._trace(request, backward=True)):
            yield page

    async def TraceForward(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.TraceRequest, context: Context
    ) -> AsyncIterator[provenance_pb2.TraceResponse]:
        """Tell what an item went into."""
        pages = self._trace(request, backward=False)
        async for page in self._answer(context, "TraceForward", pages):
            yield page

    async def ItemHistory(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.ItemHistoryRequest, context: Context
    ) -> AsyncIterator[provenance_pb2.FoundEvents]:
        """Return an item's events."""

        def pages(readable: ReadableEvents) -> Iterator[provenance_pb2.FoundEvents]:
            place = self._place_now()
            item = self._item(request.item, place, readable)
            entries = candidates(
                self._index,
                EventQuestion(item=item),
                first=request.from_index,
                end=place.size,
                newest_first=False,
            )
            conditions = Conditions(
                parties=frozenset(request.parties),
                event_types=frozenset(request.event_types),
                from_ms=request.from_ms,
                to_ms=request.to_ms,
            )
            yield from found_pages(
                entries,
                readable,
                conditions,
                head=place.head(item),
                events_max=count_of(request.events_max),
                resume=lambda entry: entry.to_bytes(8),
            )

        async for page in self._answer(context, "ItemHistory", pages):
            yield page

    async def FindEvents(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.FindEventsRequest, context: Context
    ) -> AsyncIterator[provenance_pb2.FoundEvents]:
        """Look events up by what they say."""

        def pages(readable: ReadableEvents) -> Iterator[provenance_pb2.FoundEvents]:
            place = place_of(self._engine.state, request, request.resume)
            item = self._item(request.item, place, readable) if request.item else ""
            conditions = read_conditions(request, item)
            newest_first, told = request.newest_first, place.told
            first, end = self._recorded(request, place)
            entries = candidates(
                self._index,
                _event_question(request, item),
                first=first if newest_first else max(first, told),
                end=min(end, told + 1) if newest_first and told else end,
                newest_first=newest_first,
            )
            yield from found_pages(
                entries,
                readable,
                conditions,
                head=place.head(item),
                events_max=count_of(request.events_max),
                resume=lambda entry: place.resume(request, told=entry),
                newest_first=newest_first,
            )

        async for page in self._answer(context, "FindEvents", pages):
            yield page

    def _recorded(
        self, request: provenance_pb2.FindEventsRequest, place: AnswerPlace
    ) -> tuple[int, int]:
        """Return from which entry to before which one the blocks are of the times asked for."""
        reader, first, end = self._engine.reader, 0, place.size
        if request.recorded_from_ms:
            first = reader.first_index_from(request.recorded_from_ms, height=place.height)
        if request.recorded_to_ms:
            last = reader.first_index_from(request.recorded_to_ms, height=place.height)
            end = min(end, last)
        return first, end

    async def SuspectWindow(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.SuspectWindowRequest, context: Context
    ) -> AsyncIterator[provenance_pb2.SuspectWindowResponse]:
        """Tell what was touched in an interval."""

        def pages(readable: ReadableEvents) -> Iterator[provenance_pb2.SuspectWindowResponse]:
            place = place_of(self._engine.state, request, request.resume)
            if not 0 <= request.from_ms < request.to_ms:
                raise MalformedError("the interval is empty; give from_ms and a later to_ms")
            if request.items_max > SUSPECTS_MAX:
                raise MalformedError(
                    f"items_max {request.items_max} is above {SUSPECTS_MAX}; use `resume`"
                )
            name = self._seer(request.name, place, readable)
            found = suspects(
                self._index,
                name,
                from_ms=request.from_ms,
                to_ms=request.to_ms,
                size=place.size,
                may_read=readable.may_read,
            )
            yield from _suspect_pages(found, request, place, name)

        async for page in self._answer(context, "SuspectWindow", pages):
            yield page

    async def VerifyRaw(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.VerifyRawRequest, context: Context
    ) -> provenance_pb2.VerifyRawResponse:
        """Tell which events anchor a file."""

        def pages(readable: ReadableEvents) -> Iterator[provenance_pb2.VerifyRawResponse]:
            place = self._place_now()
            item = self._item(request.item, place, readable) if request.item else ""
            yield find_anchors(self._index, readable, request, item=item, head=place.head(item))

        (told,) = [page async for page in self._answer(context, "VerifyRaw", pages)]
        return told

    async def GetItemProof(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.GetItemProofRequest, context: Context
    ) -> AsyncIterator[provenance_pb2.GetItemProofResponse]:
        """Prove which events name an item."""

        def pages(readable: ReadableEvents) -> Iterator[provenance_pb2.GetItemProofResponse]:
            item = read_item_name(request.item)
            if not self._index.has_item(item):
                # A short name, or one that no event bears: that can be proven too.
                with suppress(ItemUnknown):
                    item = self._item(item, self._place_now(), readable)
            checkpoint = self._engine.checkpoint(final=True)
            entries = self._index.entries(Postings.ITEM, item)
            proof = self._proofs.make(item, entries, checkpoint, may_read=readable.may_read_entry)
            for at in range(0, len(proof), PROOF_PIECE_SIZE):
                yield provenance_pb2.GetItemProofResponse(data=proof[at : at + PROOF_PIECE_SIZE])

        async for page in self._answer(context, "GetItemProof", pages):
            yield page

    def _trace(
        self, request: provenance_pb2.TraceRequest, *, backward: bool
    ) -> Callable[[ReadableEvents], Iterator[provenance_pb2.TraceResponse]]:
        def pages(readable: ReadableEvents) -> Iterator[provenance_pb2.TraceResponse]:
            place = place_of(self._engine.state, request, request.resume)
            item = self._item(request.item, place, readable)
            question = trace_question(request, item, place, backward=backward)
            yield from trace_pages(self._index, request, question, place, readable.may_read)

        return pages

    async def _answer(
        self,
        context: Context,
        rpc: str,
        make_pages: Callable[[ReadableEvents], Iterator[Page]],
    ) -> AsyncIterator[Page]:
        """Let a call in and return the pages of its answer, or end it with what is wrong."""
        caller = await self._calls.caller(context, rpc)
        readable = self._readable(caller)

        def pages() -> Generator[Page, None, None]:
            yield from make_pages(readable)

        with self._calls.while_member(context, caller):
            try:
                async for page in self.answers.stream(context, pages):
                    yield page
            except ItemUnknown as error:
                await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
            except ItemAmbiguous as error:
                named = tuple((CANDIDATE_KEY, each.encode()) for each in error.candidates[:_TOLD])
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error), named)
            except (TooManyItems, TooManyEntries) as error:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            except (EngineError, ProtocolError) as error:
                await fail(context, error)

    def _readable(self, caller: Caller) -> ReadableEvents:
        return ReadableEvents(self._engine.reader, self._index, caller)

    def _place_now(self) -> AnswerPlace:
        return place_now(self._engine.state)

    def _item(self, typed: str, place: AnswerPlace, readable: ReadableEvents) -> str:
        return find_item(
            self._index,
            typed,
            height=place.height,
            may_see=readable.may_see,
            may_read=readable.may_read,
        )

    def _seer(self, name: str, place: AnswerPlace, readable: ReadableEvents) -> str:
        """Return the name of what touches: a device by its very name, or else an item."""
        if readable.any_readable(Postings.DEVICE, name):
            return name
        return self._item(name, place, readable)


def _event_question(request: provenance_pb2.FindEventsRequest, item: str) -> EventQuestion:
    return EventQuestion(
        item=item,
        party=request.party,
        device=request.device,
        model=request.model,
        digest=request.digest,
        epcis_hash=request.epcis_hash,
        disposition=request.disposition,
        event_types=frozenset(request.event_types),
        from_ms=request.from_ms,
        to_ms=request.to_ms,
    )


def _suspect_pages(
    found: list[Suspect],
    request: provenance_pb2.SuspectWindowRequest,
    place: AnswerPlace,
    name: str,
) -> Iterator[provenance_pb2.SuspectWindowResponse]:
    """Yield the items page by page; the last one says how to go on, where there are more."""
    end = place.told + (request.items_max or SUSPECTS_MAX)
    page = provenance_pb2.SuspectWindowResponse(head=place.head(name))
    for at, item in enumerate(found[place.told : end]):
        if at and at % SUSPECTS_PER_PAGE == 0:
            yield page
            page = provenance_pb2.SuspectWindowResponse()
        page.items.add(
            id=item.name,
            event_count=item.event_count,
            entry=item.entry,
            last_entry=item.last_entry,
            first_ms=item.first_ms,
            last_ms=item.last_ms,
        )
    if end < len(found):
        page.resume = place.resume(request, told=end)
    yield page
