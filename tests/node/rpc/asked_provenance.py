"""A real ledger with a small genealogy, and questions about provenance over the wire."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.v1 import event_pb2, provenance_pb2, provenance_pb2_grpc, quality_pb2
from tests.node.ledger_in_memory import event, measurement, transformation
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger, served

AUTHOR, LAB, OWNER = "T1-STATOR", "LAB-17025", "OEM-A"
OUTSIDERS = ("SITE-1", "NOTARY", "REG-EU")
GTIN = "https://id.gs1.org/01/04012345000016"
LOT = f"{GTIN}/10/CU-7"
FILE_DIGEST, REPORT_DIGEST = bytes(range(32)), bytes(range(1, 33))
SUBJECT, PARENT, CHILD = (
    event_pb2.ITEM_ROLE_SUBJECT, event_pb2.ITEM_ROLE_PARENT, event_pb2.ITEM_ROLE_CHILD,
)  # fmt: skip


def association(number: int, action: str, parent: str, child: str) -> bytes:
    body = quality_pb2.Association(
        action=getattr(quality_pb2, f"RELATION_ACTION_{action}"), process="mount"
    )
    return event(
        nonce=f"association {number}", items=[(parent, PARENT), (child, CHILD)], association=body
    )


def changed(raw: bytes, change: Callable[[event_pb2.Event], object]) -> bytes:
    message = event_pb2.Event.FromString(raw)
    change(message)
    return message.SerializeToString(deterministic=True)


def with_quantity(raw: bytes, value: str, unit: str) -> bytes:
    def change(message: event_pb2.Event) -> None:
        message.items[0].quantity.CopyFrom(event_pb2.Quantity(value=value, unit=unit))

    return changed(raw, change)


def with_file(raw: bytes, name: str, digest: bytes) -> bytes:
    return changed(
        raw, lambda message: message.files.add(sha256=digest, size=9, name=name, media_type="t/csv")
    )


def restricted(raw: bytes, *audience: str) -> bytes:
    return changed(raw, lambda message: message.audience.extend(audience or (LAB,)))


def bad_weld(number: int, item: str) -> bytes:
    body = quality_pb2.InferenceResult(
        model="weld/3",
        engine_digest=bytes(32),
        input_digest=bytes(32),
        policy="p/1",
        mode="NORMAL",
        label="COLD/x/y",
        verdict=quality_pb2.VERDICT_NONCONFORMING,
    )
    return event(
        nonce=f"weld {number}", device="cam", items=[(item, SUBJECT)], inference_result=body
    )


# The lot goes into two coils, those into a stator, that into a motor, and the motor is repaired.
EVENTS = [
    with_quantity(transformation("wind", [LOT], ["COIL-1"]), "1.84", "KGM"),
    transformation("wind", [LOT], ["COIL-2"]),
    transformation("join", ["COIL-1", "COIL-2"], ["STATOR-9"]),
    association(1, "ADD", "MOTOR-1", "STATOR-9"),
    with_file(measurement(5, item="STATOR-9"), "raw.csv", FILE_DIGEST),
    bad_weld(6, "STATOR-9"),
    transformation("rework", ["MOTOR-1"], ["STATOR-9"]),  # a cycle
    association(2, "DELETE", "MOTOR-1", "STATOR-9"),
]
FIRST = 3  # entry of the first event


@asynccontextmanager
async def filled(
    consortium: FoundedConsortium, data: Path, events: Sequence[bytes] = EVENTS
) -> AsyncIterator[ServedLedger]:
    """Serve a ledger on which the author has put a batch."""
    async with served(consortium, data) as ledger:
        (placed,) = await ledger.put(ledger.author(AUTHOR).batch(events))
        assert not any(placed.event_outcomes), placed
        yield ledger


async def stub_of(ledger: ServedLedger, party: str = OWNER) -> Any:
    return provenance_pb2_grpc.ProvenanceServiceStub(await ledger.channel_of(party))


async def trace(
    ledger: ServedLedger, rpc: str = "TraceBack", party: str = OWNER, **request: Any
) -> list[provenance_pb2.TraceResponse]:
    call = getattr(await stub_of(ledger, party), rpc)
    return [page async for page in call(provenance_pb2.TraceRequest(**request), timeout=CALL_S)]


def joined(pages: Sequence[provenance_pb2.TraceResponse]) -> provenance_pb2.TraceResponse:
    whole = provenance_pb2.TraceResponse()
    for page in pages:
        whole.MergeFrom(page)
    return whole


def links(whole: provenance_pb2.TraceResponse) -> set[tuple[str, str, str]]:
    """Return the links by the names of their ends and their kind."""
    names = {node.number: node.id for node in whole.nodes}
    return {
        (
            names[getattr(edge, "from")],
            provenance_pb2.EdgeKind.Name(edge.kind).removeprefix("EDGE_KIND_").lower(),
            names[edge.to],
        )
        for edge in whole.edges
    }


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    return caught.value


async def found(
    ledger: ServedLedger, rpc: str, request: Any, party: str = OWNER
) -> tuple[list[int], bytes]:
    """Return the entries that were found, counted from the first event's, and how to go on."""
    whole = provenance_pb2.FoundEvents()
    call = getattr(await stub_of(ledger, party), rpc)
    async for page in call(request, timeout=CALL_S):
        whole.MergeFrom(page)
    assert whole.head.size
    for each in whole.events:
        assert each.entry.event
        assert each.party in (AUTHOR, "SITE-1")
    return [each.entry.index - FIRST for each in whole.events], whole.resume
