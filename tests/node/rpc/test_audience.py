"""What a caller outside an event's audience gets of it: nothing, whatever is asked, as a class."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.key_grant import KeyGrant, KeyPurpose, grant_to_message, statement
from lotmark.merkle import leaf_hash
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, governance_pb2, ledger_pb2, peer_pb2, peer_pb2_grpc, quality_pb2
from lotmark.verify.receipt import parse_receipt
from lotmark_node.compose import now_ms
from lotmark_node.engine.refusal_log import LINES_PER_MINUTE_MAX
from lotmark_node.rpc.refused_calls import RefusedFor
from tests.node.engine.running_engine import run, until
from tests.node.ledger_in_memory import event, measurement
from tests.node.rpc.served_ledger import (
    ASKS_MAX,
    CALL_S,
    CUT_OFF,
    FoundedConsortium,
    ServedLedger,
    served,
)
from tests.node.rpc.test_access import leaf

MARK = "SECRET-7"  # stands in every event that is not for all
DIGEST = bytes(range(32))  # of a report whose seal is not for all
AUTHOR, IN_AUDIENCE, OWNER = "T1-STATOR", "LAB-17025", "OEM-A"
OUTSIDERS = ("SITE-1", "NOTARY", "REG-EU")


def for_lab(raw: bytes) -> bytes:
    """Return the event with an audience."""
    message = event_pb2.Event.FromString(raw)
    message.audience.append(IN_AUDIENCE)
    return message.SerializeToString(deterministic=True)


PLAIN = measurement(1)
SECRET = for_lab(measurement(2, item=MARK))
# Refused events stay on record with their bytes: one that comes twice, one whose audience is odd.
STRANGE = event_pb2.Event.FromString(for_lab(measurement(3, item=MARK)))
STRANGE.audience.append("NOBODY")
NO_EVENT = b"\xff" + MARK.encode()
SEAL = for_lab(
    event(
        nonce="seal",
        items=[(MARK, event_pb2.ITEM_ROLE_SUBJECT)],
        report_seal=quality_pb2.ReportSeal(
            report=MARK,
            laboratory=AUTHOR,
            test="resistivity",
            report_digest=DIGEST,
            verdict=quality_pb2.VERDICT_CONFORMING,
        ),
    )
)
EVENTS = [PLAIN, SECRET, SECRET, STRANGE.SerializeToString(deterministic=True), NO_EVENT, SEAL]
OUTCOMES = [
    Outcome.ACCEPTED,
    Outcome.ACCEPTED,
    Outcome.EVENT_DUPLICATE,
    Outcome.PARTY_UNKNOWN,
    Outcome.EVENT_MALFORMED,
    Outcome.ACCEPTED,
]


class Filled:
    """A ledger with events that are not for all, and the batch that brought them."""

    def __init__(self, ledger: ServedLedger, batch: bytes) -> None:
        self.ledger, self.batch = ledger, batch
        self.size = ledger.engine.state.size


@asynccontextmanager
async def filled(consortium: FoundedConsortium, data: Path) -> AsyncIterator[Filled]:
    async with served(consortium, data) as ledger:
        batch = ledger.author(AUTHOR).batch(EVENTS)
        (placed,) = await ledger.put(batch, party=AUTHOR)
        assert list(placed.event_outcomes) == OUTCOMES
        size = ledger.engine.state.size
        await until(lambda: ledger.engine.checkpoint().head.size == size)
        yield Filled(ledger, batch.raw)


Ask = Callable[[Any, Filled], Sequence[Any]]  # stub, ledger -> calls


def _entries(stub: Any, filled: Filled) -> list[Any]:
    by_index = [ledger_pb2.GetEntryRequest(index=index) for index in range(filled.size)]
    by_id = [ledger_pb2.GetEntryRequest(event_id=leaf_hash(raw)) for raw in EVENTS]
    return [stub.GetEntry(request, timeout=CALL_S) for request in (*by_index, *by_id)]


def _subscriptions(stub: Any, filled: Filled) -> list[Any]:
    filters: list[dict[str, Any]] = [
        {}, {"all_kinds": True}, {"event_types": [19]}, {"item": MARK}, {"parties": [AUTHOR]},
        {"item": MARK, "event_types": [19], "parties": [AUTHOR]},
    ]  # fmt: skip
    return [stub.Subscribe(ledger_pb2.SubscribeRequest(**each), timeout=CALL_S) for each in filters]


# Every call there is, with every way to ask for an event.
ASKS: dict[str, Ask] = {
    "SubmitStream": lambda stub, filled: [
        stub.SubmitStream(iter([ledger_pb2.SubmitRequest(batches=[filled.batch])]), timeout=CALL_S)
    ],
    "Submit": lambda stub, filled: [
        stub.Submit(ledger_pb2.SubmitRequest(batches=[filled.batch]), timeout=CALL_S)
    ],
    "GetLaneState": lambda stub, filled: [
        stub.GetLaneState(
            ledger_pb2.GetLaneStateRequest(key=filled.ledger.consortium.batch_key(AUTHOR).public),
            timeout=CALL_S,
        )
    ],
    "GetEntry": _entries,
    "GetInclusionProof": lambda stub, filled: [
        stub.GetInclusionProof(ledger_pb2.GetInclusionProofRequest(index=index), timeout=CALL_S)
        for index in range(filled.size)
    ],
    "GetReceipts": lambda stub, filled: [
        stub.GetReceipts(
            ledger_pb2.GetReceiptsRequest(first_index=0, entry_count=1_000), timeout=CALL_S
        )
    ],
    "GetCheckpoint": lambda stub, filled: [
        stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=CALL_S)
    ],
    "GetGovernance": lambda stub, filled: [
        stub.GetGovernance(ledger_pb2.GetGovernanceRequest(everything=everything), timeout=CALL_S)
        for everything in (False, True)
    ],
    "GetConsistencyProof": lambda stub, filled: [
        stub.GetConsistencyProof(
            ledger_pb2.GetConsistencyProofRequest(first_size=1), timeout=CALL_S
        )
    ],
    "Subscribe": _subscriptions,
    "FindSeals": lambda stub, filled: [
        stub.FindSeals(ledger_pb2.FindSealsRequest(**each), timeout=CALL_S)
        for each in ({"item": MARK}, {"report_digest": DIGEST})
    ],
    "ExportSnapshot": lambda stub, filled: [
        stub.ExportSnapshot(ledger_pb2.ExportSnapshotRequest(), timeout=CALL_S)
    ],
    "GetLedger": lambda stub, filled: [
        stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S)
    ],
    "GetNodeStatus": lambda stub, filled: [
        stub.GetNodeStatus(ledger_pb2.GetNodeStatusRequest(), timeout=CALL_S)
    ],
    "Exchange": lambda stub, filled: [
        stub.Exchange(iter([peer_pb2.ExchangeRequest()]), timeout=CALL_S)
    ],
    "Forward": lambda stub, filled: [
        stub.Forward(iter([peer_pb2.ForwardRequest(batches=[filled.batch])]), timeout=CALL_S)
    ],
    "FetchBlocks": lambda stub, filled: [
        stub.FetchBlocks(peer_pb2.FetchBlocksRequest(from_height=1, count=9), timeout=CALL_S)
    ],
    "ShareCheckpoint": lambda stub, filled: [
        stub.ShareCheckpoint(peer_pb2.ShareCheckpointRequest(note=b"x"), timeout=CALL_S)
    ],
    "ReadIndex": lambda stub, filled: [stub.ReadIndex(peer_pb2.ReadIndexRequest(), timeout=CALL_S)],
}
PEER_CALLS = [each.name for each in peer_pb2.DESCRIPTOR.services_by_name["PeerService"].methods]
LEDGER_CALLS = [
    each.name for each in ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].methods
]
# Whole blocks, for regulators and the owner: docs/access.md, "Snapshots".
OPEN_TO_REGULATORS = "ExportSnapshot"


async def told(call: Any, filled: Filled) -> tuple[bytes, grpc.StatusCode]:
    """Return all that a call gives, serialised, with what it is told at the end."""
    said = b""
    try:
        if hasattr(call, "__aiter__"):
            async for response in call:
                said += response.SerializeToString()
                if isinstance(response, ledger_pb2.Receipt):  # its events are in base64
                    parts = parse_receipt(response.proof)
                    said += parts.event
                if getattr(response, "next_index", 0) >= filled.size:
                    call.cancel()  # a subscription would wait for more
                    break
        else:
            said += (await call).SerializeToString()
    except grpc.aio.AioRpcError as error:
        metadata = repr([*(error.trailing_metadata() or ())]).encode()
        return said + (error.details() or "").encode() + metadata, error.code()
    return said, grpc.StatusCode.OK


async def asked(filled: Filled, party: str, rpc: str) -> tuple[bytes, set[grpc.StatusCode]]:
    """Return all that a party is told by one RPC, however it asks."""
    stub: Any = await filled.ledger.stub(party)
    if rpc in PEER_CALLS:
        stub = peer_pb2_grpc.PeerServiceStub(await filled.ledger.channel_of(party))
    for _ in range(ASKS_MAX):
        answers = [await told(call, filled) for call in ASKS[rpc](stub, filled)]
        said = b"".join(said for said, _ in answers)
        if CUT_OFF.encode() not in said:
            break
    return said, {status for _, status in answers}


def test_every_call_of_both_services_is_asked_here() -> None:
    assert list(ASKS) == [*LEDGER_CALLS, *PEER_CALLS]


@pytest.mark.parametrize("party", OUTSIDERS)
def test_no_call_tells_an_outsider_what_is_not_for_it(
    consortium: FoundedConsortium, tmp_path: Path, party: str
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            for rpc in ASKS:
                if (party, rpc) == ("REG-EU", OPEN_TO_REGULATORS):
                    continue
                said, _ = await asked(ledger, party, rpc)
                assert MARK.encode() not in said, rpc
                assert SECRET[2:18] not in said, f"{rpc}: the nonce"

    run(scenario())


@pytest.mark.parametrize("party", [AUTHOR, IN_AUDIENCE, OWNER])
def test_the_same_calls_tell_it_to_whom_it_is_for(
    consortium: FoundedConsortium, tmp_path: Path, party: str
) -> None:
    """Or the test above would pass for calls that tell nobody anything."""

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            telling = [
                rpc for rpc in LEDGER_CALLS if SECRET[2:18] in (await asked(ledger, party, rpc))[0]
            ]
        snapshots = [OPEN_TO_REGULATORS] if party == OWNER else []
        assert telling == ["GetEntry", "GetReceipts", "Subscribe", *snapshots]

    run(scenario())


@pytest.mark.parametrize("party", [*OUTSIDERS, AUTHOR, IN_AUDIENCE, OWNER])
def test_the_service_of_voters_is_closed_to_every_client(
    consortium: FoundedConsortium, tmp_path: Path, party: str
) -> None:
    """Also to one of the party that runs the node: its blocks hold all events."""

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            for rpc in PEER_CALLS:
                said, statuses = await asked(ledger, party, rpc)
                assert statuses == {grpc.StatusCode.PERMISSION_DENIED}, rpc
                assert f"{party}/erp is no other voter".encode() in said

    run(scenario())


@pytest.mark.parametrize(
    ("party", "chain", "closed", "reason"),
    [
        ("SITE-1", "own", [OPEN_TO_REGULATORS, *PEER_CALLS], RefusedFor.ACCESS),
        ("REG-EU", "own", ["SubmitStream", "Submit", *PEER_CALLS], RefusedFor.ACCESS),
        ("SITE-1", "another", [*LEDGER_CALLS, *PEER_CALLS], RefusedFor.IDENTITY),
    ],
)
def test_every_refused_call_is_counted_and_logged_without_what_it_carried(
    consortium: FoundedConsortium,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    party: str,
    chain: str,
    closed: Sequence[str],
    reason: RefusedFor,
) -> None:
    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            if chain == "another":
                certificate, key = leaf(consortium.ca(party), party, bytes(32))
                stranger = await ledger.ledger.channel(certificate=certificate, key=key)
                ledger.ledger.use_channel(party, stranger)
            for rpc in ASKS:
                await asked(ledger, party, rpc)
            counts = ledger.ledger.identities.refused.counts
            assert {rpc for _, rpc in counts} == set(closed)
            assert {why for why, _ in counts} == {reason}

    with caplog.at_level(logging.WARNING, logger="lotmark_node.rpc"):
        run(scenario())
    lines = [vars(record) for record in caplog.records if record.msg == "call refused"]
    assert 1 <= len(lines) <= LINES_PER_MINUTE_MAX
    for line in lines:
        assert line["reason"] == reason.value
        assert party in line["text"]
        told = repr(line)
        assert not any(word in told for word in (MARK, "PRIVATE KEY", "BEGIN CERTIFICATE"))


def registration(consortium: FoundedConsortium, key: PrivateKey) -> bytes:
    """Return an event that registers a batch key of the author, for the laboratory's eyes."""
    granted = KeyGrant(
        key=key.public,
        party=AUTHOR,
        purpose=KeyPurpose.BATCH,
        holder=MARK,
        not_before_ms=now_ms() - 60_000,
        not_after_ms=now_ms() + 86_400_000,
    )
    signed = statement(granted, consortium.chain_id)
    files = (consortium.folder / AUTHOR / "roots").glob("*.key")
    roots = sorted(map(read_key_file, files), key=lambda root: root.public)
    body = governance_pb2.KeyRegistration(
        grant=grant_to_message(granted),
        possession=key.sign(signed),
        roots=[
            governance_pb2.KeySignature(key=root.public, signature=root.sign(signed))
            for root in roots
        ],
    )
    return for_lab(event(key_registration=body, nonce="registration"))


def test_a_receipt_shows_its_signer_s_registration_whatever_the_audience_of_that(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    """Without it nobody could verify the receipt: docs/access.md says so."""
    key = PrivateKey.from_seed(bytes(31) + b"\7")

    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            registered = registration(consortium, key)
            (placed,) = await ledger.put(ledger.author(AUTHOR).batch([registered]), party=AUTHOR)
            assert not any(placed.event_outcomes)
            made = ledger.author(AUTHOR).batch([measurement(9)], key=key)
            (placed,) = await ledger.put(made, party=AUTHOR)
            index = placed.batch_index + 1
            await until(lambda: ledger.engine.checkpoint().head.size > index)
            stub = await ledger.stub("SITE-1")
            entry = await stub.GetEntry(
                ledger_pb2.GetEntryRequest(event_id=leaf_hash(registered)), timeout=CALL_S
            )
            receipts = stub.GetReceipts(
                ledger_pb2.GetReceiptsRequest(first_index=index, entry_count=1), timeout=CALL_S
            )
            shown = [receipt.proof async for receipt in receipts]

        assert entry.withheld
        (governance,) = [parse_receipt(proof).governance for proof in shown]
        assert [each.event for each in governance] == [registered]

    run(scenario())


def test_what_is_asked_at_once_by_all_is_kept_apart(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    """Callers share one loop and one cache of identities."""

    async def scenario() -> None:
        async with filled(consortium, tmp_path) as ledger:
            parties = [*OUTSIDERS, AUTHOR, IN_AUDIENCE, OWNER] * 4
            answers = await asyncio.gather(*(asked(ledger, party, "GetEntry") for party in parties))
            for party, (said, _) in zip(parties, answers, strict=True):
                assert (SECRET[2:18] in said) == (party not in OUTSIDERS)

    run(scenario())
