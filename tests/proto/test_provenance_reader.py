"""A reader of provenance with a node that lies: what can be checked is, and a bound is a bound."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lotmark.client.calls import CANDIDATE_KEY, AmbiguousItemError, CallRefused, NotOnLedgerError
from lotmark.client.provenance import ProvenanceReader
from lotmark.client.provenance_records import (
    Amount,
    AnswerHead,
    EdgeKind,
    EventQuery,
    TraceLimits,
    TraceNode,
)
from lotmark.client.session import LedgerSession
from lotmark.entry import EntryHead, EntryKind, event_payload, leaf_data
from lotmark.errors import ProofError
from lotmark.event import EVENT_TYPES
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, ledger_pb2, provenance_pb2, provenance_pb2_grpc
from tests.node.ledger_in_memory import measurement
from tests.proto.scripted_node import ScriptedNode

ITEM = "STATOR-2"
HEAD = provenance_pb2.AnswerHead(item=ITEM, height=9, size=40, time_ms=1_766_480_400_000)
MEASUREMENT = EVENT_TYPES["measurement"]
Answers = Callable[[Any, grpc.ServicerContext], Iterator[Any]]


class TellingNode(ScriptedNode, provenance_pb2_grpc.ProvenanceServiceServicer):
    """Answers every question about provenance as a test has it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers: Answers = lambda _request, _context: iter(())
        self.asked: list[Any] = []
        self.metadata: list[tuple[str, str | bytes]] = []

    def add_services(self, server: grpc.Server) -> None:
        provenance_pb2_grpc.add_ProvenanceServiceServicer_to_server(self, server)

    def _answer(self, request: Any, context: Any) -> Iterator[Any]:
        self.asked.append(request)
        self.metadata = [(each.key, each.value) for each in context.invocation_metadata()]
        yield from self.answers(request, context)

    TraceBack = TraceForward = ItemHistory = FindEvents = _answer
    SuspectWindow = GetItemProof = _answer

    def VerifyRaw(  # noqa: N802 - the name is fixed by the proto
        self, request: provenance_pb2.VerifyRawRequest, context: Any
    ) -> provenance_pb2.VerifyRawResponse:
        (told,) = self._answer(request, context)
        assert isinstance(told, provenance_pb2.VerifyRawResponse)
        return told


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TellingNode]:
    folder = tmp_path_factory.mktemp("telling")
    telling = TellingNode(folder / "consortium")  # type: ignore[abstract]  # no other calls
    with telling.serving():
        yield telling


@pytest.fixture
def reader(node: TellingNode) -> Iterator[ProvenanceReader]:
    with LedgerSession(node.settings()) as session:
        yield ProvenanceReader(session)


def tell(node: TellingNode, *messages: Any) -> None:
    """Let the node answer the next questions with these messages."""
    node.answers = lambda _request, _context: iter(messages)
    node.asked.clear()


def leaf(index: int, event: bytes) -> bytes:
    head = EntryHead(kind=EntryKind.EVENT, index=index, height=3, time_ms=HEAD.time_ms)
    return leaf_data(head, event_payload(index - 1, 0, leaf_hash(event)))


def found(index: int, raw: bytes | None = None, **changed: Any) -> provenance_pb2.FoundEvent:
    """Return an event as a node finds it, `changed` being fields of its entry."""
    event = measurement(index, item=ITEM) if raw is None else raw
    fields = {"index": index, "leaf_data": leaf(index, event), "event": event, **changed}
    return provenance_pb2.FoundEvent(entry=ledger_pb2.Entry(**fields), party="T1-STATOR")


def withheld(index: int) -> provenance_pb2.FoundEvent:
    return found(index, leaf_data=leaf(index, measurement(1)), event=b"", withheld=True)


def edge(near: int, far: int, kind: int = EdgeKind.CONSUMED) -> provenance_pb2.TraceEdge:
    return provenance_pb2.TraceEdge(
        **{"from": near},  # type: ignore[arg-type]  # a word of Python's
        to=far,
        kind=kind,  # type: ignore[arg-type]  # the stubs want their own class
        entry=7,
        last_entry=7,
        event_count=1,
        quantity=event_pb2.Quantity(value="1.84", unit="KGM"),
        party="T1-STATOR",
    )


def nodes(*numbers: int) -> list[provenance_pb2.TraceNode]:
    return [provenance_pb2.TraceNode(number=each, id=f"N{each}", depth=1) for each in numbers]


def test_a_trace_is_put_together_from_its_messages(
    node: TellingNode, reader: ProvenanceReader
) -> None:
    tell(
        node,
        provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0, 1), edges=[edge(0, 1)]),
        provenance_pb2.TraceResponse(nodes=nodes(2), edges=[edge(1, 2)]),
        provenance_pb2.TraceResponse(resume=b"go on", cut_short="nodes_max 3"),
    )
    limits = TraceLimits(depth_max=4, nodes_max=3, kinds=[EdgeKind.USED], parties=["OEM-A"])
    trace = reader.trace_back(ITEM, limits, resume=b"", fresh=True)

    assert trace.head == AnswerHead(item=ITEM, height=9, size=40, time_ms=HEAD.time_ms)
    assert trace.nodes[2] == TraceNode(2, "N2", 1)
    assert [(each.near, each.far) for each in trace.edges] == [(0, 1), (1, 2)]
    assert trace.edges[0].amount == Amount(value="1.84", unit="KGM")
    assert (trace.resume, trace.cut_short) == (b"go on", "nodes_max 3")
    assert node.asked == [
        provenance_pb2.TraceRequest(
            item=ITEM,
            depth_max=4,
            nodes_max=3,
            kinds=[provenance_pb2.EDGE_KIND_USED],
            parties=["OEM-A"],
        )
    ]
    assert ("lotmark-read", "linearizable") in node.metadata


def test_a_trace_that_goes_on_begins_behind_the_earlier_one(
    node: TellingNode, reader: ProvenanceReader
) -> None:
    tell(node, provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(3, 4), edges=[edge(1, 3)]))
    trace = reader.trace_forward(ITEM, resume=b"go on")

    assert [each.number for each in trace.nodes] == [3, 4]
    assert node.asked[0].resume == b"go on"


FALSE_TRACES = {
    "no message": [],
    "no head": [provenance_pb2.TraceResponse(nodes=nodes(0))],
    "not from its beginning": [provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(1))],
    "a number left out": [provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0, 2))],
    "a number twice": [provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0, 0))],
    "a link into nothing": [
        provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0), edges=[edge(0, 1)])
    ],
    "a link of no kind": [
        provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0, 1), edges=[edge(0, 1, 0)])
    ],
    "a link of a kind to come": [
        provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0, 1), edges=[edge(0, 1, 99)])
    ],
    "more than was asked for": [provenance_pb2.TraceResponse(head=HEAD, nodes=nodes(0, 1, 2, 3))],
}


@pytest.mark.parametrize("name", FALSE_TRACES)
def test_a_trace_that_does_not_fit_together_is_refused(
    node: TellingNode, reader: ProvenanceReader, name: str
) -> None:
    tell(node, *FALSE_TRACES[name])
    with pytest.raises(ProofError):
        reader.trace_back(ITEM, TraceLimits(nodes_max=3))


def test_found_events_are_those_of_their_entries(
    node: TellingNode, reader: ProvenanceReader
) -> None:
    tell(
        node,
        provenance_pb2.FoundEvents(head=HEAD, events=[found(4)]),
        provenance_pb2.FoundEvents(events=[found(9)], resume=(10).to_bytes(8)),
    )
    history = reader.history(ITEM, from_index=3, events_max=2)
    again = reader.history(ITEM, from_index=3, resume=(4).to_bytes(8))

    assert [each.index for each in history.events] == [4, 9]
    assert history.events[0].event.items[0].id == ITEM
    assert history.events[0].party == "T1-STATOR"
    assert history.resume == (10).to_bytes(8)
    assert again == history
    assert [each.from_index for each in node.asked] == [3, 4]


FALSE_EVENTS = {
    "no message": [],
    "no head": [provenance_pb2.FoundEvents(events=[found(4)])],
    "another's event": [
        provenance_pb2.FoundEvents(head=HEAD, events=[found(4, leaf_data=leaf(4, measurement(1)))])
    ],
    "another's leaf": [
        provenance_pb2.FoundEvents(head=HEAD, events=[found(4, leaf_data=found(5).entry.leaf_data)])
    ],
    "a withheld event": [provenance_pb2.FoundEvents(head=HEAD, events=[withheld(4)])],
    "no event": [provenance_pb2.FoundEvents(head=HEAD, events=[found(4, b"\xff no event")])],
    "an entry before the first": [provenance_pb2.FoundEvents(head=HEAD, events=[found(2)])],
    "an entry twice": [provenance_pb2.FoundEvents(head=HEAD, events=[found(4), found(4)])],
    "entries out of order": [provenance_pb2.FoundEvents(head=HEAD, events=[found(5), found(4)])],
    "more than was asked for": [
        provenance_pb2.FoundEvents(head=HEAD, events=[found(4), found(5), found(6)])
    ],
}


@pytest.mark.parametrize("name", FALSE_EVENTS)
def test_a_history_that_does_not_fit_together_is_refused(
    node: TellingNode, reader: ProvenanceReader, name: str
) -> None:
    tell(node, *FALSE_EVENTS[name])
    with pytest.raises(ProofError):
        reader.history(ITEM, from_index=3, events_max=2)


def test_events_that_were_not_asked_for_are_refused(
    node: TellingNode, reader: ProvenanceReader
) -> None:
    tell(node, provenance_pb2.FoundEvents(head=HEAD, events=[found(9), found(4)]))
    for wrong in (
        EventQuery(item=ITEM, event_types=[EVENT_TYPES["claim"]]),
        EventQuery(item=ITEM, party="OEM-A"),
        EventQuery(item=ITEM, recorded_from_ms=HEAD.time_ms + 1),
        EventQuery(item=ITEM, recorded_to_ms=HEAD.time_ms),
    ):
        with pytest.raises(ProofError, match="no event that was asked for"):
            reader.find_events(wrong)
    right = EventQuery(item=ITEM, event_types=[MEASUREMENT], party="T1-STATOR", newest_first=True)
    assert [each.index for each in reader.find_events(right, resume=b"x").events] == [9, 4]
    assert node.asked[-1].newest_first
    assert node.asked[-1].resume == b"x"


def test_a_file_of_another_name_is_no_answer(node: TellingNode, reader: ProvenanceReader) -> None:
    tell(node, provenance_pb2.VerifyRawResponse(head=HEAD, same_digest=[found(4)], more=True))
    anchors = reader.raw_file(bytes(32), name="raw.csv")
    assert ([each.index for each in anchors.same_digest], anchors.more) == ([4], True)

    tell(node, provenance_pb2.VerifyRawResponse(head=HEAD, same_name=[found(4)]))
    with pytest.raises(ProofError, match="anchors no file of that name"):
        reader.raw_file(bytes(32), name="raw.csv")


def test_suspects_are_put_together_within_bounds(
    node: TellingNode, reader: ProvenanceReader
) -> None:
    item = provenance_pb2.SuspectItem(id="U1", event_count=2, entry=4, last_entry=9)
    tell(
        node,
        provenance_pb2.SuspectWindowResponse(head=HEAD, items=[item]),
        provenance_pb2.SuspectWindowResponse(items=[item], resume=b"more"),
    )
    suspects = reader.suspects("W07", from_ms=1, to_ms=2, items_max=2)
    assert ([each.id for each in suspects.items], suspects.resume) == (["U1", "U1"], b"more")
    with pytest.raises(ProofError, match="more than 1 items"):
        reader.suspects("W07", from_ms=1, to_ms=2, items_max=1)


def test_an_item_proof_that_is_none_is_refused(node: TellingNode, reader: ProvenanceReader) -> None:
    for pieces in ([], [b"one ", b"two"], [bytes(1 << 20)] * 65):
        tell(node, *(provenance_pb2.GetItemProofResponse(data=each) for each in pieces))
        with pytest.raises(ProofError):
            reader.item_proof(ITEM)


def test_a_name_of_several_items_is_told_with_them(
    node: TellingNode, reader: ProvenanceReader
) -> None:
    candidates = ["https://id.gs1.org/01/04012345000016/21/7", "Stück-7"]

    def refuse(_request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.set_trailing_metadata(tuple((CANDIDATE_KEY, each.encode()) for each in candidates))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "7 means 2 items")
        yield

    node.answers = refuse
    with pytest.raises(AmbiguousItemError, match="7 means 2 items") as caught:
        reader.trace_back("7")
    assert list(caught.value.candidates) == candidates


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.NOT_FOUND, NotOnLedgerError),
        (grpc.StatusCode.FAILED_PRECONDITION, CallRefused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, CallRefused),
        (grpc.StatusCode.UNAVAILABLE, ConnectionError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimeoutError),
    ],
)
def test_a_refusal_is_this_package_s_own_error(
    node: TellingNode,
    reader: ProvenanceReader,
    status: grpc.StatusCode,
    error: type[Exception],
) -> None:
    def refuse(_request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        context.abort(status, "the reason")
        yield

    node.answers = refuse
    with pytest.raises(error) as caught:
        reader.history(ITEM)
    assert not isinstance(caught.value, AmbiguousItemError)
