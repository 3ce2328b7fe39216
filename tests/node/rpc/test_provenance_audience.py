"""What a caller may not read of where things come from is told in no answer."""

import contextlib
from pathlib import Path

import grpc
import grpc.aio
import pytest

from lotmark.v1 import event_pb2, provenance_pb2
from tests.node.engine.running_engine import run
from tests.node.ledger_in_memory import measurement, transformation
from tests.node.rpc.asked_provenance import (
    AUTHOR,
    EVENTS,
    LAB,
    LOT,
    OUTSIDERS,
    OWNER,
    REPORT_DIGEST,
    association,
    bad_weld,
    changed,
    filled,
    restricted,
    stub_of,
    with_file,
)
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger
from tests.proto.sample_genesis import CREATED_MS

MARK = "SECRET-7"


def _judged_by_secret_model(message: event_pb2.Event) -> None:
    message.inference_result.model = MARK


SECRETS = [
    restricted(transformation("hide", [LOT], [MARK])),
    restricted(with_file(measurement(80, item=MARK), f"{MARK}.csv", REPORT_DIGEST)),
    restricted(changed(bad_weld(81, "STATOR-9"), _judged_by_secret_model)),
    restricted(measurement(82, item="COIL-1", device=MARK)),
    restricted(association(83, "ADD", "MOTOR-1", MARK)),
]


async def all_that_is_told(ledger: ServedLedger, party: str) -> bytes:
    """Return every answer that a party gets to every question, however it asks."""
    stub = await stub_of(ledger, party)
    kinds = provenance_pb2.EdgeKind.values()[1:]
    end_ms = CREATED_MS + 1
    asked = [
        *(
            getattr(stub, rpc)(provenance_pb2.TraceRequest(item=item, kinds=kinds))
            for rpc in ("TraceBack", "TraceForward")
            for item in (LOT, MARK, "STATOR-9", "MOTOR-1", "COIL-1")
        ),
        *(
            stub.ItemHistory(provenance_pb2.ItemHistoryRequest(item=item))
            for item in (LOT, MARK, "STATOR-9", "COIL-1")
        ),
        *(
            stub.FindEvents(provenance_pb2.FindEventsRequest(**each))
            for each in (
                {"item": MARK}, {"device": MARK}, {"model": MARK}, {"party": AUTHOR},
                {"digest": REPORT_DIGEST}, {"disposition": "non_conformant"},
                {"event_types": [19, 21]}, {"to_ms": end_ms},
            )
        ),
        *(
            stub.SuspectWindow(provenance_pb2.SuspectWindowRequest(name=name, to_ms=end_ms))
            for name in (MARK, LOT, "W07", "cam")
        ),
    ]  # fmt: skip
    said = b""
    for call in asked:
        with contextlib.suppress(grpc.aio.AioRpcError):  # its item may be unknown to them
            async for page in call:
                said += page.SerializeToString()
    for raw in ({"sha256": REPORT_DIGEST}, {"sha256": bytes(32), "name": f"{MARK}.csv"}):
        told = await stub.VerifyRaw(provenance_pb2.VerifyRawRequest(**raw), timeout=CALL_S)
        said += told.SerializeToString()
    return said


@pytest.mark.parametrize("party", [*OUTSIDERS, AUTHOR, LAB, OWNER])
def test_what_a_party_may_not_read_is_told_in_no_answer(
    consortium: FoundedConsortium, tmp_path: Path, party: str
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path, [*EVENTS, *SECRETS]) as ledger:
            said = await all_that_is_told(ledger, party)
            assert (MARK.encode() in said) == (party not in OUTSIDERS)
            for secret in SECRETS:
                assert (secret[2:18] in said) == (party not in OUTSIDERS), "its nonce"

    run(scenario())
