"""Traces over the wire: whole, in parts, within limits, and of items that are none."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.client.calls import CANDIDATE_KEY
from lotmark.v1 import provenance_pb2
from lotmark_node.rpc import trace_pages
from lotmark_node.rpc.found_pages import EVENTS_MAX
from lotmark_node.rpc.trace_pages import NODES_MAX
from tests.node.engine.running_engine import run
from tests.node.ledger_in_memory import measurement, transformation
from tests.node.rpc.asked_provenance import (
    AUTHOR,
    EVENTS,
    FIRST,
    LAB,
    LOT,
    filled,
    joined,
    links,
    refused,
    stub_of,
    trace,
)
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger
from tests.proto.sample_genesis import CREATED_MS


def test_a_trace_tells_what_an_item_was_made_of_and_what_it_went_into(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    made = {
        ("STATOR-9", "consumed", "COIL-1"), ("STATOR-9", "consumed", "COIL-2"),
        ("STATOR-9", "consumed", "MOTOR-1"), ("COIL-1", "consumed", LOT),
        ("COIL-2", "consumed", LOT), ("MOTOR-1", "mounted", "STATOR-9"),
    }  # fmt: skip

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            back = joined(await trace(ledger, item="STATOR-9"))
            forward = joined(await trace(ledger, "TraceForward", item=LOT))
            state = ledger.engine.state
            assert back.head.item == "STATOR-9"
            assert (back.head.height, back.head.size) == (state.height, state.size)
            assert links(back) == made
            assert links(forward) == {(far, kind, near) for near, kind, far in made}
            assert (back.resume, back.cut_short, forward.resume) == (b"", "", b"")
            (wire,) = [edge for edge in back.edges if edge.HasField("quantity")]
            assert (wire.quantity.value, wire.quantity.unit) == ("1.84", "KGM")
            assert (wire.entry, wire.party, wire.at_ms) == (FIRST, AUTHOR, CREATED_MS)
            (mounted,) = [
                edge for edge in back.edges if edge.kind == provenance_pb2.EDGE_KIND_MOUNTED
            ]
            assert (mounted.ended, mounted.entry, mounted.last_entry) == (
                True, FIRST + 3, FIRST + 7,
            )  # fmt: skip

    run(scenario())


def test_a_trace_keeps_to_its_depth_kinds_times_and_parties(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    every_kind = provenance_pb2.EdgeKind.values()[1:]

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            near = joined(await trace(ledger, item="STATOR-9", depth_max=1))
            assert {node.depth for node in near.nodes} == {0, 1}
            assert near.cut_short.startswith("depth_max 1")
            facts = joined(await trace(ledger, item="STATOR-9", kinds=every_kind, depth_max=1))
            assert ("STATOR-9", "inferred", "model:weld/3") in links(facts)
            assert ("STATOR-9", "measured", "device:W07") in links(facts)
            (judged,) = [
                edge for edge in facts.edges if edge.kind == provenance_pb2.EDGE_KIND_INFERRED
            ]
            assert (judged.event_count, judged.nonconforming_count) == (1, 1)
            nothing = joined(await trace(ledger, item="STATOR-9", parties=[LAB]))
            assert (len(nothing.nodes), len(nothing.edges)) == (1, 0)
            later = joined(await trace(ledger, item="STATOR-9", from_ms=CREATED_MS + 1))
            assert len(later.edges) == 0
            earlier = joined(await trace(ledger, item="STATOR-9", to_ms=CREATED_MS))
            assert len(earlier.edges) == 0

    run(scenario())


async def in_parts(ledger: ServedLedger, rpc: str, **request: Any) -> list[Any]:
    """Return a trace's parts, each gone on with from the one before; the log grows meanwhile."""
    parts, resume = [], b""
    author = ledger.author("SITE-1")
    while True:
        part = joined(await trace(ledger, rpc, resume=resume, **request))
        parts.append(part)
        resume = part.resume
        if not resume:
            return parts
        grown = transformation(f"wind-{len(parts)}", [LOT], [f"LATER-{len(parts)}"])
        await ledger.put(author.batch([grown]), party="SITE-1")


@pytest.mark.parametrize("nodes_max", [1, 2, 3, 70, 400])
def test_the_parts_of_a_trace_make_the_whole_though_the_log_grows(
    consortium: FoundedConsortium, tmp_path: Path, nodes_max: int
) -> None:
    wide = [
        transformation(f"cut-{at}", [LOT], [f"COIL-{at}-{piece}" for piece in range(60)])
        for at in range(5)
    ]

    async def scenario() -> None:
        events = [*wide[: 1 if nodes_max < 70 else None], *EVENTS]
        async with filled(consortium, tmp_path, events) as ledger:
            whole = joined(await trace(ledger, "TraceForward", item=LOT))
            parts = await in_parts(ledger, "TraceForward", item=LOT, nodes_max=nodes_max)
            for part in parts:
                assert part.head == whole.head, "all parts are of one size of the log"
                assert len(part.nodes) <= nodes_max
            assert [node for part in parts for node in part.nodes] == list(whole.nodes)
            assert [edge for part in parts for edge in part.edges] == list(whole.edges)
            assert all(part.cut_short == f"nodes_max {nodes_max}" for part in parts[:-1])
            assert len(parts) == -(-len(whole.nodes) // nodes_max)

    run(scenario())


def test_an_answer_is_cut_by_the_number_of_its_links_too(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            whole = joined(await trace(ledger, item="STATOR-9"))
            monkeypatch.setattr(trace_pages, "EDGES_MAX", 2)
            parts = await in_parts(ledger, "TraceBack", item="STATOR-9")
            assert [len(part.edges) for part in parts] == [2, 2, 2]
            assert [edge for part in parts for edge in part.edges] == list(whole.edges)
            assert [node for part in parts for node in part.nodes] == list(whole.nodes)

    run(scenario())


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ("NO-SUCH", "NOT_FOUND", "no event up to height 1 names item 'NO-SUCH'"),
        ("https://id.gs1.org/01/04012345000017/10/CU-7", "INVALID_ARGUMENT", "correct the digit"),
        ("urn:epc:id:sgtin:4012345.1.1", "INVALID_ARGUMENT", ""),
        ("lot:CU-7", "INVALID_ARGUMENT", "write lot:GTIN.LOT"),
        ("", "INVALID_ARGUMENT", ""),
        ("x" * 5_000, "INVALID_ARGUMENT", ""),
    ],
)
@pytest.mark.parametrize("rpc", ["TraceBack", "TraceForward", "ItemHistory"])
def test_an_item_that_is_none_or_unknown_is_told_so(
    consortium: FoundedConsortium, tmp_path: Path, rpc: str, typed: str, status: str, words: str
) -> None:
    request = (
        provenance_pb2.ItemHistoryRequest if rpc == "ItemHistory" else (provenance_pb2.TraceRequest)
    )

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await stub_of(ledger)
            error = await refused(getattr(stub, rpc)(request(item=typed), timeout=CALL_S))
            assert (error.code().name, words in (error.details() or "")) == (status, True), error
            assert len(error.details() or "") < 600

    run(scenario())


def test_a_short_name_is_the_item_or_all_that_it_may_be(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    other = "https://id.gs1.org/01/04012345000030/10/CU-7"

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            for typed in ("CU-7", "lot:4012345000016.CU-7", f"{LOT}?11=251223"):
                assert (await trace(ledger, item=typed))[0].head.item == LOT
            again = ledger.author("SITE-1").batch([measurement(90, item=other)])
            await ledger.put(again, party="SITE-1")
            stub = await stub_of(ledger)
            request = provenance_pb2.TraceRequest(item="CU-7")
            error = await refused(stub.TraceBack(request, timeout=CALL_S))
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
            named = [value for key, value in error.trailing_metadata() if key == CANDIDATE_KEY]
            assert named == [LOT.encode(), other.encode()]
            assert LOT in (error.details() or "")
            assert (await trace(ledger, item=other))[0].head.item == other

    run(scenario())


QUESTIONS: dict[str, tuple[str, Any]] = {
    "more nodes than there may be": (
        "TraceBack", provenance_pb2.TraceRequest(item=LOT, nodes_max=NODES_MAX + 1),
    ),
    "no kind of link": ("TraceBack", provenance_pb2.TraceRequest(item=LOT, kinds=[0])),  # type: ignore[list-item]
    "a kind of link to come": ("TraceBack", provenance_pb2.TraceRequest(item=LOT, kinds=[99])),  # type: ignore[list-item]
    "nothing to go on with": ("TraceBack", provenance_pb2.TraceRequest(item=LOT, resume=b"x")),
    "zeros to go on with": ("TraceBack", provenance_pb2.TraceRequest(item=LOT, resume=bytes(49))),
    "more events than there may be": (
        "ItemHistory", provenance_pb2.ItemHistoryRequest(item=LOT, events_max=EVENTS_MAX + 1),
    ),
    "no condition": ("FindEvents", provenance_pb2.FindEventsRequest()),
    "half a digest": ("FindEvents", provenance_pb2.FindEventsRequest(digest=bytes(16))),
    "half a hash": ("FindEvents", provenance_pb2.FindEventsRequest(epcis_hash=bytes(31))),
    "an empty interval": (
        "SuspectWindow", provenance_pb2.SuspectWindowRequest(name="W07", from_ms=5, to_ms=5),
    ),
    "an interval that ends first": (
        "SuspectWindow", provenance_pb2.SuspectWindowRequest(name="W07", from_ms=5, to_ms=4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_that_is_none_is_refused_with_what_is_wrong(
    consortium: FoundedConsortium, tmp_path: Path, name: str
) -> None:
    rpc, request = QUESTIONS[name]

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            error = await refused(getattr(await stub_of(ledger), rpc)(request, timeout=CALL_S))
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            assert error.details()

    run(scenario())


def test_what_goes_on_goes_on_with_its_own_question_alone(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            resume = joined(await trace(ledger, item="STATOR-9", nodes_max=2)).resume
            stub = await stub_of(ledger)
            for other in (
                provenance_pb2.TraceRequest(item="MOTOR-1", resume=resume),
                provenance_pb2.TraceRequest(item="STATOR-9", depth_max=2, resume=resume),
            ):
                error = await refused(stub.TraceBack(other, timeout=CALL_S))
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
                assert "another question" in (error.details() or "")

    run(scenario())
