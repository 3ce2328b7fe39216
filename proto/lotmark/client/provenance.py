"""Questions about provenance, over a session with a node.

An answer is the node's word in what it says of links and in what it leaves out; that every event
in it fits its entry's leaf is checked here. `prove` shows that the events are on the ledger, and by
whom, and `item_proof` that none of an item's was left out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lotmark.client.calls import NotOnLedgerError, node_errors
from lotmark.client.provenance_records import (
    ANCHORS_MAX,
    EVENTS_MAX,
    NODES_MAX,
    AnswerHead,
    EventQuery,
    FoundEvent,
    FoundEvents,
    ProvenEvent,
    ProvenHistory,
    RawFileAnchors,
    SuspectItem,
    Suspects,
    Trace,
    TraceEdge,
    TraceLimits,
    TraceNode,
    parse_event,
    read_edge,
    read_found_event,
    read_head,
)
from lotmark.client.session import ANSWER_S, FRESH, STREAM_S, LedgerSession
from lotmark.errors import ProofError
from lotmark.event import EVENT_TYPES
from lotmark.item_name import read_item_name
from lotmark.item_proof import ITEM_PROOF_SIZE_MAX
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc, provenance_pb2, provenance_pb2_grpc
from lotmark.verify.item_history import verify_item_proof
from lotmark.verify.receipt import parse_receipt
from lotmark.verify.report import FaultFound, UndecidedError

EDGES_MAX = 1_000_000  # in one answer
RECEIPTS_PER_CALL_MAX = 256

_ANY_TRACE = TraceLimits()


class ProvenanceReader:
    """Asks the node of a session; for the session's thread.

    Every question may be `fresh`: nothing that any node has acknowledged before is left out then,
    which costs a round of them all.
    """

    def __init__(self, session: LedgerSession) -> None:
        self._session = session
        self._place = session.place
        self._stub = provenance_pb2_grpc.ProvenanceServiceStub(session.channel)
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(session.channel)

    def trace_back(
        self,
        item: str,
        limits: TraceLimits = _ANY_TRACE,
        *,
        resume: bytes = b"",
        fresh: bool = False,
    ) -> Trace:
        """Return what an item was made of.

        Args:
            item: Its id, another form of it, or a short name such as its serial alone.
            limits: How far to go, and along what.
            resume: From an earlier answer to the same question: this one goes on where it ended.
                Its links may lead from things that only the earlier answers tell.
            fresh: See the class.

        Raises:
            NotOnLedgerError: No event that the caller may read names the item.
            AmbiguousItemError: The name means several items.
            ProofError: What the node gave does not fit together.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        return self._trace(self._stub.TraceBack, item, limits, resume, fresh=fresh)

    def trace_forward(
        self,
        item: str,
        limits: TraceLimits = _ANY_TRACE,
        *,
        resume: bytes = b"",
        fresh: bool = False,
    ) -> Trace:
        """Return what an item went into; arguments and errors as of `trace_back`."""
        return self._trace(self._stub.TraceForward, item, limits, resume, fresh=fresh)

    def _trace(
        self, call: Any, item: str, limits: TraceLimits, resume: bytes, *, fresh: bool
    ) -> Trace:
        request = provenance_pb2.TraceRequest(
            item=item,
            depth_max=limits.depth_max,
            nodes_max=limits.nodes_max,
            kinds=limits.kinds,  # type: ignore[arg-type]  # the stubs want their own class
            from_ms=limits.from_ms,
            to_ms=limits.to_ms,
            parties=limits.parties,
            resume=resume,
        )
        nodes: list[TraceNode] = []
        edges: list[TraceEdge] = []
        bound = limits.nodes_max or NODES_MAX
        head, last = None, provenance_pb2.TraceResponse()
        for last in self._stream(call, request, fresh=fresh):
            head = head or self._head(last)
            for node in last.nodes:
                self._check_node(node, nodes, begins_at_zero=not resume)
                nodes.append(TraceNode(node.number, node.id, node.depth))
            edges += [read_edge(each) for each in last.edges]
            self._check_bound(len(nodes), bound, "things")
            self._check_bound(len(edges), EDGES_MAX, "links")
        if head is None:
            raise ProofError(f"{self._place} ended its answer before it began")
        if not resume:
            self._check_ends(nodes, edges)
        return Trace(
            head=head, nodes=nodes, edges=edges, resume=last.resume, cut_short=last.cut_short
        )

    def _check_node(
        self, node: provenance_pb2.TraceNode, before: Sequence[TraceNode], *, begins_at_zero: bool
    ) -> None:
        if before:
            fits = node.number == before[-1].number + 1
        else:
            fits = (node.number == 0) == begins_at_zero
        if not fits:
            raise ProofError(f"{self._place} told thing {node.number} of a trace out of its turn")

    def _check_ends(self, nodes: Sequence[TraceNode], edges: Sequence[TraceEdge]) -> None:
        for edge in edges:
            if max(edge.near, edge.far) >= len(nodes):
                raise ProofError(f"{self._place} told a link to a thing that it did not tell")

    def history(
        self,
        item: str,
        *,
        from_index: int = 0,
        events_max: int = 1_000,
        event_types: Sequence[int] = (),
        from_ms: int = 0,
        to_ms: int = 0,
        parties: Sequence[str] = (),
        resume: bytes = b"",
        fresh: bool = False,
    ) -> FoundEvents:
        """Return the events that name an item, in the order of the log.

        Args:
            item: As for `trace_back`.
            from_index: Where to begin.
            events_max: In one answer, 1 to 10,000.
            event_types: Types to return; empty: all.
            from_ms: Events at this time or later; 0: all.
            to_ms: Events before this time; 0: all.
            parties: Parties that signed; empty: all.
            resume: From an earlier answer to the same question: this one goes on where it ended.
            fresh: See the class.

        Raises:
            NotOnLedgerError, AmbiguousItemError, ProofError: As for `trace_back`.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = provenance_pb2.ItemHistoryRequest(
            item=item,
            from_index=max(from_index, int.from_bytes(resume)),
            events_max=events_max,
            event_types=event_types,
            from_ms=from_ms,
            to_ms=to_ms,
            parties=parties,
        )
        found = self._found(self._stub.ItemHistory, request, fresh=fresh)
        indexes = [event.index for event in found.events]
        if indexes != sorted(set(indexes)) or (indexes and indexes[0] < request.from_index):
            raise ProofError(f"{self._place} told the history of {found.head.item} out of order")
        return found

    def find_events(
        self,
        query: EventQuery,
        *,
        events_max: int = 1_000,
        resume: bytes = b"",
        fresh: bool = False,
    ) -> FoundEvents:
        """Return the events that keep all conditions of a query.

        Args:
            query: The conditions.
            events_max: In one answer, 1 to 10,000.
            resume: From an earlier answer to the same question: this one goes on where it ended.
            fresh: See the class.

        Raises:
            NotOnLedgerError, AmbiguousItemError, ProofError: As for `trace_back`, where the query
                names an item.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = provenance_pb2.FindEventsRequest(
            **{name: getattr(query, name) for name in EventQuery.__dataclass_fields__},
            events_max=events_max,
            resume=resume,
        )
        found = self._found(self._stub.FindEvents, request, fresh=fresh)
        for event in found.events:
            self._check_wanted(event, query)
        return found

    def _found(
        self,
        call: Any,
        request: provenance_pb2.ItemHistoryRequest | provenance_pb2.FindEventsRequest,
        *,
        fresh: bool,
    ) -> FoundEvents:
        events: list[FoundEvent] = []
        head, last = None, provenance_pb2.FoundEvents()
        for last in self._stream(call, request, fresh=fresh):
            head = head or self._head(last)
            events += [read_found_event(each) for each in last.events]
            self._check_bound(len(events), request.events_max or EVENTS_MAX, "events")
        if head is None:
            raise ProofError(f"{self._place} ended its answer before it began")
        types = frozenset(request.event_types)
        for event in events:
            number = EVENT_TYPES.get(event.event.WhichOneof("body") or "")
            if types and number not in types:
                raise ProofError(f"entry {event.index} is no event that was asked for")
        return FoundEvents(head=head, events=events, resume=last.resume)

    def _check_wanted(self, found: FoundEvent, query: EventQuery) -> None:
        recorded_ms = found.entry.head.time_ms
        if (
            query.party not in ("", found.party)
            or recorded_ms < query.recorded_from_ms
            or 0 < query.recorded_to_ms <= recorded_ms
        ):
            raise ProofError(f"entry {found.index} is no event that was asked for")

    def suspects(
        self,
        name: str,
        *,
        from_ms: int,
        to_ms: int,
        items_max: int = NODES_MAX,
        resume: bytes = b"",
        fresh: bool = False,
    ) -> Suspects:
        """Return what a device, tool or lot touched in an interval.

        Args:
            name: Of the device, tool or item.
            from_ms: Begin, by the events' own time.
            to_ms: End, not included.
            items_max: In one answer, 1 to 100,000.
            resume: From an earlier answer to the same question: this one goes on where it ended.
            fresh: See the class.

        Raises:
            NotOnLedgerError, AmbiguousItemError, ProofError: As for `trace_back`.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = provenance_pb2.SuspectWindowRequest(
            name=name, from_ms=from_ms, to_ms=to_ms, items_max=items_max, resume=resume
        )
        items: list[SuspectItem] = []
        head, last = None, provenance_pb2.SuspectWindowResponse()
        for last in self._stream(self._stub.SuspectWindow, request, fresh=fresh):
            head = head or self._head(last)
            items += [
                SuspectItem(
                    id=each.id,
                    event_count=each.event_count,
                    entry=each.entry,
                    last_entry=each.last_entry,
                    first_ms=each.first_ms,
                    last_ms=each.last_ms,
                )
                for each in last.items
            ]
            self._check_bound(len(items), items_max or NODES_MAX, "items")
        if head is None:
            raise ProofError(f"{self._place} ended its answer before it began")
        return Suspects(head=head, items=items, resume=last.resume)

    def raw_file(
        self, sha256: bytes, *, name: str = "", item: str = "", fresh: bool = False
    ) -> RawFileAnchors:
        """Return the events that anchor a file.

        Args:
            sha256: Of its content, 32 bytes.
            name: Its name without a path, to be told which events anchor a file of that name; a
                digest with a salt is found in no other way. "": only look for the content.
            item: The item that it is said to be about; "": any.
            fresh: See the class.

        Raises:
            NotOnLedgerError, AmbiguousItemError, ProofError: As for `trace_back`, where an item is
                named.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = provenance_pb2.VerifyRawRequest(sha256=sha256, name=name, item=item)
        with node_errors(self._place, ANSWER_S):
            told = self._stub.VerifyRaw(
                request, timeout=ANSWER_S, metadata=FRESH if fresh else None
            )
        same_digest = [read_found_event(each) for each in told.same_digest]
        same_name = [read_found_event(each) for each in told.same_name]
        self._check_bound(max(len(same_digest), len(same_name)), ANCHORS_MAX, "events")
        for each in same_name:
            if all(file.name != name for file in each.event.files):
                raise ProofError(f"entry {each.index} anchors no file of that name")
        return RawFileAnchors(
            head=self._head(told), same_digest=same_digest, same_name=same_name, more=told.more
        )

    def item_proof(self, item: str) -> ProvenHistory:
        """Return which events name an item, proven; of an item that none names, that too.

        Args:
            item: Its one name, as the head of an answer has it.

        Raises:
            AmbiguousItemError: As for `trace_back`.
            ProofError: The node gave a proof that does not hold, or of another item.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = provenance_pb2.GetItemProofRequest(item=item)
        proof = bytearray()
        for piece in self._stream(self._stub.GetItemProof, request, fresh=False):
            proof += piece.data
            self._check_bound(len(proof), ITEM_PROOF_SIZE_MAX, "bytes")
        raw = bytes(proof)
        session = self._session
        try:
            findings = verify_item_proof(
                raw, genesis_json=session.genesis_json, chain_id=session.settings.chain_id
            )
        except (FaultFound, UndecidedError) as error:
            raise ProofError(f"{self._place} gave a proof that does not hold: {error}") from error
        if findings.item != (name := read_item_name(item)):
            raise ProofError(
                f"{self._place} proved the history of {findings.item[:128]!a} for that of {name!a};"
                " name the item by its one name, as answers have it"
            )
        return ProvenHistory(findings=findings, proof=raw)

    def prove(
        self, indexes: Iterable[int], progress: Callable[[int], None] | None = None
    ) -> Iterator[ProvenEvent]:
        """Return events with the receipts that prove them, each verified, in the log's order.

        Waits for a checkpoint over the last one.

        Args:
            indexes: Of event entries, in any order.
            progress: Called with the number of receipts that were just verified.

        Raises:
            NotOnLedgerError: One is no event that the caller may read.
            ProofError: The node gave a receipt that does not hold.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        wanted = sorted(set(indexes))
        if not wanted:
            return
        self._session.checkpoint_over(wanted[-1])
        for first, count in _runs(wanted):
            request = ledger_pb2.GetReceiptsRequest(first_index=first, entry_count=count)
            with node_errors(self._place, STREAM_S):
                receipts = {
                    each.index: each.proof
                    for each in self._ledger.GetReceipts(request, timeout=STREAM_S)
                }
            for index in range(first, first + count):
                if index not in receipts:
                    raise NotOnLedgerError(f"entry {index} is no event that this client may read")
                yield self._proven(receipts[index], index)
                if progress is not None:
                    progress(1)

    def _proven(self, raw: bytes, index: int) -> ProvenEvent:
        findings = self._session.check_receipt(raw, index)
        event = parse_event(parse_receipt(raw).event, index)
        return ProvenEvent(event=event, findings=findings, receipt=raw)

    def _stream(self, call: Any, request: Any, *, fresh: bool) -> Iterator[Any]:
        """Return the messages of an answer; who stops reading, ends it."""
        with node_errors(self._place, STREAM_S):
            stream = call(request, timeout=STREAM_S, metadata=FRESH if fresh else None)
            try:
                yield from stream
            finally:
                stream.cancel()

    def _head(self, message: Any) -> AnswerHead:
        if not message.HasField("head"):
            raise ProofError(f"{self._place} did not tell where its answer stands")
        return read_head(message.head)

    def _check_bound(self, count: int, bound: int, what: str) -> None:
        if count > bound:
            raise ProofError(f"{self._place} told more than {bound} {what} in one answer")


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return the runs of consecutive indexes as first and count, none above the bound."""
    first, count = indexes[0], 0
    for index in indexes:
        if count and (index != first + count or count == RECEIPTS_PER_CALL_MAX):
            yield first, count
            first, count = index, 0
        count += 1
    yield first, count
