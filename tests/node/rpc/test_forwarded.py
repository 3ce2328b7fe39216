"""What another voter forwards to a leader, and is told of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lotmark.outcome import Outcome
from lotmark.v1 import peer_pb2
from lotmark_consensus.raft.grpc_wire import GrpcWire
from lotmark_node.rpc import peer_service
from lotmark_node.rpc.peer_service import PeerService
from tests.node.engine.running_engine import run, until
from tests.node.rpc.served_ledger import FoundedConsortium, dial_nobody, served

WAITING_MAX = 3
MESSAGES = 20


def test_a_voter_that_reads_no_refusals_is_not_read_either(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_service, "REFUSALS_WAITING_MAX", WAITING_MAX)
    taken = 0

    async def requests() -> AsyncIterator[peer_pb2.ForwardRequest]:
        nonlocal taken
        for _ in range(MESSAGES):
            taken += 1
            yield peer_pb2.ForwardRequest(batches=[b"no batch"])

    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            wire = GrpcWire(asyncio.get_running_loop(), consortium.chain_id, dial_nobody)
            service = PeerService(ledger.engine, ledger.identities, wire)
            refusals: asyncio.Queue[peer_pb2.ForwardResponse | None] = asyncio.Queue()
            reading = asyncio.create_task(service._take_forwarded(requests(), refusals))
            await until(lambda: refusals.qsize() > WAITING_MAX)
            await asyncio.sleep(0)
            assert (taken, reading.done()) == (WAITING_MAX + 1, False)

            told = []
            while (refusal := await refusals.get()) is not None:
                told.append(Outcome(refusal.reason))
                refusals.task_done()
            assert await reading is None
        assert told == [Outcome.BATCH_MALFORMED] * MESSAGES

    run(scenario())
