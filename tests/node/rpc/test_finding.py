"""Events over the wire: histories, by what they say, windows, files."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.event import EVENT_TYPES
from lotmark.v1 import event_pb2, provenance_pb2
from tests.node.engine.running_engine import run
from tests.node.ledger_in_memory import measurement
from tests.node.rpc.asked_provenance import (
    AUTHOR,
    EVENTS,
    FILE_DIGEST,
    FIRST,
    LAB,
    LOT,
    REPORT_DIGEST,
    changed,
    filled,
    found,
    refused,
    stub_of,
    with_file,
)
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium
from tests.proto.sample_genesis import CREATED_MS


def test_a_history_is_every_event_that_names_the_item(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    def history(**fields: Any) -> provenance_pb2.ItemHistoryRequest:
        return provenance_pb2.ItemHistoryRequest(item="STATOR-9", **fields)

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:

            async def entries(**fields: Any) -> list[int]:
                return (await found(ledger, "ItemHistory", history(**fields)))[0]

            assert await entries() == [2, 3, 4, 5, 6, 7]
            assert await entries(from_index=FIRST + 4) == [4, 5, 6, 7]
            assert await entries(event_types=[EVENT_TYPES["transformation"]]) == [2, 6]
            assert await entries(parties=[LAB]) == []
            assert await entries(from_ms=CREATED_MS + 1) == []
            part, resume = await found(ledger, "ItemHistory", history(events_max=4))
            assert part == [2, 3, 4, 5]
            assert await entries(from_index=int.from_bytes(resume)) == [6, 7]
            whole, resume = await found(ledger, "ItemHistory", history(events_max=6))
            assert (len(whole), resume) == (6, b"")

    run(scenario())


CONDITIONS: list[tuple[dict[str, Any], list[int]]] = [
    ({"item": "MOTOR-1"}, [3, 6, 7]),
    ({"device": "cam"}, [5]),
    ({"device": "W07", "item": "STATOR-9"}, [2, 3, 4, 6, 7]),
    ({"model": "weld/3"}, [5]),
    ({"disposition": "non_conformant"}, [5]),
    ({"disposition": "conformant"}, [4]),
    ({"digest": FILE_DIGEST}, [4]),
    ({"digest": REPORT_DIGEST}, []),
    ({"epcis_hash": bytes(32)}, []),
    ({"party": AUTHOR}, list(range(8))),
    ({"party": LAB}, []),
    ({"event_types": [EVENT_TYPES["association"]]}, [3, 7]),
    ({"event_types": [EVENT_TYPES["association"], EVENT_TYPES["measurement"]]}, [3, 4, 7]),
    ({"from_ms": CREATED_MS, "to_ms": CREATED_MS + 1}, list(range(8))),
    ({"from_ms": CREATED_MS + 1}, []),
    ({"item": "STATOR-9", "recorded_to_ms": 1}, []),
    ({"item": "STATOR-9", "recorded_from_ms": 1, "event_types": [19]}, [4]),
    ({"item": "STATOR-9", "newest_first": True}, [7, 6, 5, 4, 3, 2]),
]


def test_events_are_found_by_every_condition_and_in_parts(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            for conditions, entries in CONDITIONS:
                request = provenance_pb2.FindEventsRequest(**conditions)
                assert await found(ledger, "FindEvents", request) == (entries, b""), conditions
                told: list[int] = []
                request.events_max = 1
                for _ in range(len(entries) + 1):
                    part, request.resume = await found(ledger, "FindEvents", request)
                    told += part
                    if not request.resume:
                        break
                assert told == entries, conditions

    run(scenario())


def test_long_answers_come_in_pages_below_the_bound_of_a_message(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    large = [
        changed(
            measurement(number, item="LARGE"),
            lambda message: message.files.extend(
                event_pb2.FileDigest(
                    sha256=bytes(32), size=1, name="x" * 250 + str(at), media_type="t/x"
                )
                for at in range(16)
            ),
        )
        for number in range(150)
    ]

    async def scenario() -> None:
        async with filled(consortium, tmp_path, large) as ledger:
            request = provenance_pb2.ItemHistoryRequest(item="LARGE")
            stub = await stub_of(ledger)
            pages = [page async for page in stub.ItemHistory(request, timeout=CALL_S)]
            assert [len(page.events) for page in pages] == [64, 64, 22]
            assert max(page.ByteSize() for page in pages) < 2 << 20
            assert [page.HasField("head") for page in pages] == [True, False, False]

    run(scenario())


def test_a_window_tells_what_a_device_or_item_touched(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            stub = await stub_of(ledger)

            async def touched(name: str, **fields: Any) -> provenance_pb2.SuspectWindowResponse:
                request = provenance_pb2.SuspectWindowRequest(
                    **{"name": name, "from_ms": 0, "to_ms": CREATED_MS + 1, **fields}
                )
                whole = provenance_pb2.SuspectWindowResponse()
                async for page in stub.SuspectWindow(request, timeout=CALL_S):
                    whole.MergeFrom(page)
                return whole

            camera = await touched("cam")
            assert [(item.id, item.event_count) for item in camera.items] == [("STATOR-9", 1)]
            assert camera.items[0].entry == FIRST + 5
            assert (await touched("cam", to_ms=CREATED_MS)).items == []
            lot = await touched("CU-7")
            assert lot.head.item == LOT
            assert {item.id for item in lot.items} == {"COIL-1", "COIL-2"}
            first = await touched("CU-7", items_max=1)
            second = await touched("CU-7", items_max=1, resume=first.resume)
            assert [*first.items, *second.items] == list(lot.items)
            assert (bool(first.resume), second.resume) == (True, b"")
            request = provenance_pb2.SuspectWindowRequest(name="NOBODY", to_ms=9)
            error = await refused(stub.SuspectWindow(request, timeout=CALL_S))
            assert error.code() == grpc.StatusCode.NOT_FOUND

    run(scenario())


def test_a_file_is_found_by_its_digest_and_by_its_name(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    salted = with_file(measurement(91, item="COIL-1"), "raw.csv", REPORT_DIGEST)

    async def scenario() -> None:
        async with filled(consortium, tmp_path, [*EVENTS, salted]) as ledger:
            stub = await stub_of(ledger)

            async def anchors(**request: Any) -> tuple[list[int], list[int]]:
                told = await stub.VerifyRaw(
                    provenance_pb2.VerifyRawRequest(**request), timeout=CALL_S
                )
                assert told.head.size
                return (
                    [each.entry.index - FIRST for each in told.same_digest],
                    [each.entry.index - FIRST for each in told.same_name],
                )

            assert await anchors(sha256=FILE_DIGEST) == ([4], [])
            assert await anchors(sha256=FILE_DIGEST, name="raw.csv") == ([4], [8])
            assert await anchors(sha256=bytes(32), name="raw.csv") == ([], [8, 4])
            assert await anchors(sha256=bytes(32), name="raw.csv", item="COIL-1") == ([], [8])
            assert await anchors(sha256=FILE_DIGEST, item="COIL-1") == ([], [])
            assert await anchors(sha256=bytes(32), name="other.csv") == ([], [])
            for wrong in ({"sha256": b""}, {"sha256": bytes(31)}):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await anchors(**wrong)
                assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    run(scenario())
