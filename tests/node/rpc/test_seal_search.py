"""Finding seals over the wire: by item and report, in pages, corrected, and by whom read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.merkle import leaf_hash
from lotmark.report import make_report, seal_event
from lotmark.v1 import event_pb2, ledger_pb2, quality_pb2
from lotmark_node.rpc.seal_search import ENTRIES_PER_CALL_MAX
from tests.node.engine.running_engine import run
from tests.node.ledger_in_memory import measurement
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger, served
from tests.proto.sound_reports import ITEM, LABORATORY, TEST, report_with

LAB = "LAB-17025"
NOW_MS = 1_766_481_247_312


def seal(number: int, *audience: str, **fields: str) -> bytes:
    """Return the seal of a report, each number another one."""
    report = make_report(
        report_with(report_number=str(number), **fields),
        name="report",
        folder=None,
        nonce=lambda: bytes(16),
    )
    event = seal_event(
        report,
        device="lims",
        time_ms=NOW_MS,
        uncertainty_us=0,
        nonce=number.to_bytes(16, "big"),
    )
    event.audience.extend(audience)
    return event.SerializeToString(deterministic=True)


def correction(of: bytes, by: bytes) -> bytes:
    event = event_pb2.Event(
        nonce=leaf_hash(of)[:16],
        device="lims",
        time=event_pb2.TimeInterval(start_ms=NOW_MS, end_ms=NOW_MS),
        capture_mode=event_pb2.CAPTURE_MODE_MANUAL,
        correction=quality_pb2.Correction(
            event_id=leaf_hash(of), reason="incorrect_data", replacement_id=leaf_hash(by)
        ),
    )
    return event.SerializeToString(deterministic=True)


def digest_of(event: bytes) -> bytes:
    return event_pb2.Event.FromString(event).report_seal.report_digest


@asynccontextmanager
async def with_events(
    consortium: FoundedConsortium, data: Path, **events: list[bytes]
) -> AsyncIterator[ServedLedger]:
    """Serve a ledger with events of LAB (lab=) and T1-STATOR (other=), a batch each."""
    async with served(consortium, data) as ledger:
        for name, party in (("lab", LAB), ("other", "T1-STATOR")):
            if name in events:
                await ledger.put(ledger.author(party).batch(events[name]), party=party)
        yield ledger


async def find(
    ledger: ServedLedger, caller: str = LAB, **request: Any
) -> ledger_pb2.FindSealsResponse:
    stub = await ledger.stub(caller)
    return await stub.FindSeals(ledger_pb2.FindSealsRequest(**request), timeout=CALL_S)


def events_of(found: ledger_pb2.FindSealsResponse) -> list[bytes]:
    return [each.entry.event for each in found.seals]


def test_a_seal_is_found_by_its_item_and_by_its_report_and_by_nothing_else(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    first, second = seal(1), seal(2, test="hardness")
    elsewhere = seal(3, item_identification="https://id.gs1.org/01/04012345000016/10/CU-8")

    async def scenario() -> None:
        events = [first, measurement(1, item=ITEM), second, elsewhere]
        async with with_events(consortium, tmp_path, lab=events) as ledger:
            assert events_of(await find(ledger, item=ITEM)) == [first, second]
            assert events_of(await find(ledger, item=ITEM, test="hardness")) == [second]
            assert events_of(await find(ledger, item=ITEM, laboratory=LABORATORY, party=LAB)) == [
                first,
                second,
            ]
            assert events_of(await find(ledger, item=ITEM, laboratory="LAB-2")) == []
            assert events_of(await find(ledger, item=ITEM, party="OEM-A")) == []
            assert events_of(await find(ledger, item="CU-7")) == []
            assert events_of(await find(ledger, report_digest=digest_of(second))) == [second]
            assert events_of(await find(ledger, report_digest=bytes(32))) == []

    run(scenario())


def test_a_seal_says_which_entry_corrects_it_if_its_own_party_does(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    first, second = seal(1), seal(2)

    async def scenario() -> None:
        lab, other = [first, second, correction(first, second)], [correction(second, first)]
        async with with_events(consortium, tmp_path, lab=lab, other=other) as ledger:
            found = await find(ledger, item=ITEM, test=TEST)
            corrected, standing = found.seals
            assert corrected.corrected_by == standing.entry.index + 1
            assert standing.corrected_by == 0

    run(scenario())


def test_a_refused_seal_is_not_found(consortium: FoundedConsortium, tmp_path: Path) -> None:
    refused = seal(1, "NOBODY")  # an audience of no party

    async def scenario() -> None:
        async with with_events(consortium, tmp_path, lab=[refused, seal(2)]) as ledger:
            assert events_of(await find(ledger, item=ITEM)) == [seal(2)]
            assert events_of(await find(ledger, report_digest=digest_of(refused))) == []

    run(scenario())


def test_a_seal_for_others_is_not_shown_and_not_counted(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with with_events(consortium, tmp_path, lab=[seal(1, "OEM-A"), seal(2)]) as ledger:
            assert events_of(await find(ledger, "T1-STATOR", item=ITEM)) == [seal(2)]
            assert len((await find(ledger, "OEM-A", item=ITEM)).seals) == 2

    run(scenario())


def test_many_seals_of_an_item_come_in_pages_that_leave_none_out(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    events = [seal(number) for number in range(2 * ENTRIES_PER_CALL_MAX + 1)]

    async def scenario() -> None:
        async with with_events(consortium, tmp_path, lab=events) as ledger:
            found, pages = [], 0
            answer = await find(ledger, item=ITEM)
            while True:
                found += events_of(answer)
                pages += 1
                if not answer.next_index:
                    break
                answer = await find(ledger, item=ITEM, from_index=answer.next_index)
            assert found == events
            assert pages == 3

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({}, "name either the item or the report's digest"),
        ({"item": ITEM, "report_digest": bytes(32)}, "name either the item or the report's"),
        ({"report_digest": bytes(31)}, "a report's digest has 32 bytes"),
    ],
)
def test_a_question_for_nothing_or_for_both_is_refused(
    consortium: FoundedConsortium, tmp_path: Path, request_: dict[str, Any], reason: str
) -> None:
    async def scenario() -> None:
        async with with_events(consortium, tmp_path) as ledger:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await find(ledger, **request_)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reason in str(caught.value.details())

    run(scenario())
