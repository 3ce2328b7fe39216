"""Who gets in follows the ledger: parties come and go while the node runs."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from lotmark.batch import sign_batch
from lotmark.certificates import make_ca, make_leaf
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.outcome import Outcome
from lotmark.v1 import governance_pb2, ledger_pb2, ledger_pb2_grpc
from lotmark_node.compose import now_ms
from tests.node.engine.running_engine import run
from tests.node.governance_events import NewParty, approval, hash_of, proposal, proposing
from tests.node.ledger_in_memory import measurement
from tests.node.rpc.served_ledger import CALL_S, FoundedConsortium, ServedLedger, served
from tests.proto.sample_genesis import private_key

NEW = "T2-CU-JX"
PARTIES = ("LAB-17025", "NOTARY", "OEM-A", "REG-EU", "SITE-1", "T1-STATOR")


def roots(consortium: FoundedConsortium, party: str) -> list[PrivateKey]:
    """Return a founder's root keys."""
    return [read_key_file(path) for path in sorted((consortium.folder / party).glob("roots/*.key"))]


async def decide(
    ledger: ServedLedger, asked: governance_pb2.Proposal, approving: tuple[str, ...]
) -> None:
    """Have parties approve a proposal."""
    engine, consortium = ledger.engine, ledger.consortium
    hashed = hash_of(engine, asked)
    events = [proposing(engine, asked, approving[0], roots=roots(consortium, approving[0]))]
    events += [
        approval(engine, hashed, party, roots=roots(consortium, party)) for party in approving[1:]
    ]
    author = ledger.author("SITE-1", lane=now_ms() % 1_000_000)
    (told,) = await ledger.put(author.batch(events), party="SITE-1")
    assert list(told.event_outcomes) in ([], [Outcome.ACCEPTED] * len(events))


async def joined(ledger: ServedLedger) -> "ledger_pb2_grpc.LedgerServiceAsyncStub":
    """Take in a party, and return the service as its client calls it."""
    ca = make_ca(NEW, "stator-line", now_ms=now_ms())
    chain_id = ledger.consortium.chain_id
    certificate, key = make_leaf(
        *ca, chain_id=chain_id, party=NEW, node="erp", addresses=[], days=5, now_ms=now_ms()
    )
    channel = await ledger.channel(certificate=certificate, key=key)
    stub: ledger_pb2_grpc.LedgerServiceAsyncStub = ledger_pb2_grpc.LedgerServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S)
    addition = NewParty(ca_pem=ca[0].decode()).addition(chain_id)
    asked = proposal(ledger.engine, now_ms() + 86_400_000, add_party=addition)
    await decide(ledger, asked, PARTIES[:4])
    # The channel tries again by itself, a moment after it was turned away.
    await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S, wait_for_ready=True)
    return stub


def removal(ledger: ServedLedger) -> governance_pb2.Proposal:
    """Return a proposal that the new party leaves."""
    leaving = governance_pb2.PartyRemoval(party=NEW)
    return proposal(ledger.engine, now_ms() + 86_400_000, remove_party=leaving)


def test_a_party_that_joined_connects_and_submits_while_the_node_runs(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await joined(ledger)
            batch = sign_batch(
                private_key(f"{NEW}/erp BATCH"),
                [measurement(1)],
                chain_id=consortium.chain_id,
                party=NEW,
                lane=0,
                sequence=1,
                previous=bytes(32),
                created_at_ms=now_ms(),
            )
            request = ledger_pb2.SubmitRequest(batches=[batch.raw])
            response = await stub.Submit(request, timeout=CALL_S)

            assert [answer.WhichOneof("answer") for answer in response.answers] == [
                "admission", "acknowledgement",
            ]  # fmt: skip
            assert not response.answers[1].acknowledgement.outcome

    run(scenario())


def test_a_removed_party_s_calls_are_refused_and_its_streams_end(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = await joined(ledger)
            following = stub.Subscribe(ledger_pb2.SubscribeRequest())
            sending = stub.SubmitStream()
            await following.read()
            await sending.write(ledger_pb2.SubmitRequest())
            await decide(ledger, removal(ledger), PARTIES)

            for stream in (following, sending):
                async with asyncio.timeout(CALL_S):
                    assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED
                    assert "no member" in str(await stream.details())
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED

    run(scenario())


def test_another_member_s_streams_go_on(consortium: FoundedConsortium, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            await joined(ledger)
            stub = await ledger.stub("T1-STATOR")
            following = stub.Subscribe(ledger_pb2.SubscribeRequest())
            await decide(ledger, removal(ledger), PARTIES)
            author = ledger.author("T1-STATOR", lane=9)
            await ledger.put(author.batch([measurement(5)]))

            size = ledger.engine.state.size
            async with asyncio.timeout(CALL_S):
                async for told in following:
                    if told.next_index >= size:
                        break

    run(scenario())


def test_the_members_are_read_again_after_a_restart(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            await joined(ledger)
        async with served(consortium, tmp_path) as ledger:
            assert NEW in ledger.engine.membership.members
            assert ledger.engine.membership.members[NEW].role == 2

    run(scenario())
