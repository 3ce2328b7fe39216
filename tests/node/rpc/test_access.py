"""Who gets in: by certificate, and by role for each call."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lotmark.certificates import make_ca, make_leaf
from lotmark.genesis import PartyRole
from lotmark.v1 import (
    contract_queries_pb2,
    contract_queries_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    provenance_pb2,
    provenance_pb2_grpc,
)
from lotmark_node.rpc.access import ACCESS
from tests.node.engine.running_engine import run
from tests.node.rpc.served_ledger import (
    ASKS_MAX,
    CALL_S,
    CUT_OFF,
    PARTIES,
    FoundedConsortium,
    served,
)

DAY_MS = 86_400_000
Certificate = tuple[bytes, bytes]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def leaf(
    ca: Certificate,
    party: str,
    chain_id: bytes,
    *,
    made_ms: int | None = None,
    days: int = 5,
) -> Certificate:
    return make_leaf(
        *ca,
        chain_id=chain_id,
        party=party,
        node="erp",
        addresses=[],
        days=days,
        now_ms=now_ms() if made_ms is None else made_ms,
    )


def renamed(consortium: FoundedConsortium, *, ca_of: str, named: str) -> Certificate:
    """Return a certificate in one party's name from another's CA, which `make_leaf` refuses."""
    certificate, ca_key = consortium.ca(ca_of)
    ca = x509.load_pem_x509_certificate(certificate)
    issuer = load_pem_private_key(ca_key, None)
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    uri = f"lotmark:{consortium.chain_id.hex()}/{named}/erp"
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
        )
        .sign(issuer, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), pem


STRANGERS: dict[str, tuple[Callable[[FoundedConsortium], Certificate | None], set[str]]] = {
    "no certificate": (lambda _: None, {"UNAVAILABLE"}),
    "a CA that no party has": (
        lambda found: leaf(
            make_ca("T1-STATOR", "stator-line", now_ms=now_ms()), "T1-STATOR", found.chain_id
        ),
        {"UNAVAILABLE"},
    ),
    "another party's name": (
        lambda found: renamed(found, ca_of="SITE-1", named="OEM-A"), {"UNAUTHENTICATED"},
    ),
    "a party that is no member": (
        lambda found: renamed(found, ca_of="SITE-1", named="STRANGER"), {"UNAUTHENTICATED"},
    ),
    "another chain": (
        lambda found: leaf(found.ca("SITE-1"), "SITE-1", bytes(32)), {"UNAUTHENTICATED"},
    ),
    "a CA's own certificate": (
        lambda found: found.ca("SITE-1"), {"UNAUTHENTICATED", "UNAVAILABLE"},
    ),
    "a certificate that has ended": (
        lambda found: leaf(
            found.ca("SITE-1"), "SITE-1", found.chain_id, made_ms=now_ms() - 9 * DAY_MS, days=1
        ),
        {"UNAUTHENTICATED", "UNAVAILABLE"},
    ),
    "a certificate of tomorrow": (
        lambda found: leaf(
            found.ca("SITE-1"), "SITE-1", found.chain_id, made_ms=now_ms() + 9 * DAY_MS
        ),
        {"UNAUTHENTICATED", "UNAVAILABLE"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_gets_in_nowhere(
    consortium: FoundedConsortium, tmp_path: Path, name: str
) -> None:
    make, statuses = STRANGERS[name]

    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            certificate, key = make(consortium) or (None, None)
            stub = services(await ledger.channel(certificate=certificate, key=key))
            for ask in CALLS.values():
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await ask(stub)
                assert caught.value.code().name in statuses, caught.value.details()
            member = await ledger.stub("SITE-1")
            await member.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S)

    run(scenario())


def test_a_client_refuses_a_node_of_another_party_s_ca(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            certificate, key = consortium.tls("SITE-1")
            channel = await ledger.channel(
                certificate=certificate, key=key, roots=consortium.ca("SITE-1")[0]
            )
            stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    run(scenario())


def _stream_once(call: Any) -> Any:
    return call.read()


CALLS: dict[str, Callable[[Any], Any]] = {
    "SubmitStream": lambda stub: _stream_once(
        stub.SubmitStream(iter([ledger_pb2.SubmitRequest(batches=[b"x"])]), timeout=CALL_S)
    ),
    "Submit": lambda stub: stub.Submit(ledger_pb2.SubmitRequest(), timeout=CALL_S),
    "GetLaneState": lambda stub: stub.GetLaneState(
        ledger_pb2.GetLaneStateRequest(key=bytes(32)), timeout=CALL_S
    ),
    "GetEntry": lambda stub: stub.GetEntry(ledger_pb2.GetEntryRequest(index=0), timeout=CALL_S),
    "GetInclusionProof": lambda stub: stub.GetInclusionProof(
        ledger_pb2.GetInclusionProofRequest(index=0), timeout=CALL_S
    ),
    "GetReceipts": lambda stub: _stream_once(
        stub.GetReceipts(ledger_pb2.GetReceiptsRequest(entry_count=1), timeout=CALL_S)
    ),
    "GetCheckpoint": lambda stub: stub.GetCheckpoint(
        ledger_pb2.GetCheckpointRequest(), timeout=CALL_S
    ),
    "GetGovernance": lambda stub: _stream_once(
        stub.GetGovernance(ledger_pb2.GetGovernanceRequest(), timeout=CALL_S)
    ),
    "GetConsistencyProof": lambda stub: stub.GetConsistencyProof(
        ledger_pb2.GetConsistencyProofRequest(first_size=1), timeout=CALL_S
    ),
    "FindSeals": lambda stub: stub.FindSeals(
        ledger_pb2.FindSealsRequest(item="CU-7"), timeout=CALL_S
    ),
    "Subscribe": lambda stub: _stream_once(
        stub.Subscribe(ledger_pb2.SubscribeRequest(), timeout=CALL_S)
    ),
    "ExportSnapshot": lambda stub: _stream_once(
        stub.ExportSnapshot(ledger_pb2.ExportSnapshotRequest(), timeout=CALL_S)
    ),
    "GetLedger": lambda stub: stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CALL_S),
    "GetNodeStatus": lambda stub: stub.GetNodeStatus(
        ledger_pb2.GetNodeStatusRequest(), timeout=CALL_S
    ),
    "TraceBack": lambda stub: _stream_once(
        stub.TraceBack(provenance_pb2.TraceRequest(item="CU-7"), timeout=CALL_S)
    ),
    "TraceForward": lambda stub: _stream_once(
        stub.TraceForward(provenance_pb2.TraceRequest(item="CU-7"), timeout=CALL_S)
    ),
    "ItemHistory": lambda stub: _stream_once(
        stub.ItemHistory(provenance_pb2.ItemHistoryRequest(item="CU-7"), timeout=CALL_S)
    ),
    "FindEvents": lambda stub: _stream_once(
        stub.FindEvents(provenance_pb2.FindEventsRequest(device="W07"), timeout=CALL_S)
    ),
    "SuspectWindow": lambda stub: _stream_once(
        stub.SuspectWindow(provenance_pb2.SuspectWindowRequest(name="W07", to_ms=1), timeout=CALL_S)
    ),
    "VerifyRaw": lambda stub: stub.VerifyRaw(
        provenance_pb2.VerifyRawRequest(sha256=bytes(32)), timeout=CALL_S
    ),
    "GetItemProof": lambda stub: _stream_once(
        stub.GetItemProof(provenance_pb2.GetItemProofRequest(item="CU-7"), timeout=CALL_S)
    ),
    "ListPackages": lambda stub: stub.ListPackages(
        contract_queries_pb2.ListPackagesRequest(), timeout=CALL_S
    ),
    "GetPackage": lambda stub: stub.GetPackage(
        contract_queries_pb2.GetPackageRequest(name="bills"), timeout=CALL_S
    ),
    "ListClaims": lambda stub: stub.ListClaims(
        contract_queries_pb2.ListClaimsRequest(package="bills"), timeout=CALL_S
    ),
    "GetClaim": lambda stub: stub.GetClaim(
        contract_queries_pb2.GetClaimRequest(package="bills", claim="C-1"), timeout=CALL_S
    ),
    "GetBalances": lambda stub: stub.GetBalances(
        contract_queries_pb2.GetBalancesRequest(package="bills"), timeout=CALL_S
    ),
    "GetStatement": lambda stub: stub.GetStatement(
        contract_queries_pb2.GetStatementRequest(), timeout=CALL_S
    ),
    "StreamRuleReceipts": lambda stub: _stream_once(
        stub.StreamRuleReceipts(contract_queries_pb2.StreamRuleReceiptsRequest(), timeout=CALL_S)
    ),
}


def services(channel: Any) -> Any:
    """Return the calls of all services as those of one."""
    calls = SimpleNamespace()
    for stub in (
        ledger_pb2_grpc.LedgerServiceStub(channel),
        provenance_pb2_grpc.ProvenanceServiceStub(channel),
        contract_queries_pb2_grpc.ContractServiceStub(channel),
    ):
        vars(calls).update(vars(stub))
    return calls


def test_the_table_of_access_and_these_tests_name_every_call_of_the_service() -> None:
    services = (
        ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"],
        provenance_pb2.DESCRIPTOR.services_by_name["ProvenanceService"],
        contract_queries_pb2.DESCRIPTOR.services_by_name["ContractService"],
    )
    names = {method.name for service in services for method in service.methods}

    assert set(ACCESS) == set(CALLS) == names


def test_there_is_a_party_of_every_role_here() -> None:
    roles = {party.partition(":")[2] for party in PARTIES}

    assert roles == {role.name.lower() for role in PartyRole}


@pytest.mark.parametrize("party", [party.partition(":")[0] for party in PARTIES])
def test_each_call_is_open_to_the_roles_of_the_table_and_the_node_s_own_party(
    consortium: FoundedConsortium, tmp_path: Path, party: str
) -> None:
    member = consortium.genesis.party(party)
    assert member is not None

    async def scenario() -> None:
        async with served(consortium, tmp_path) as ledger:
            stub = services(await ledger.channel_of(party))
            for rpc, ask in CALLS.items():
                allowed = member.role in ACCESS[rpc] or party == "OEM-A"
                for _ in range(ASKS_MAX):
                    status, details = await _ended(ask(stub))
                    if details != CUT_OFF:
                        break
                refused = status == grpc.StatusCode.PERMISSION_DENIED
                assert refused == (not allowed), f"{rpc}: {status}"
                assert (f"{party} has role" in details) == refused

    run(scenario())


async def _ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return how a call ended, and what was said."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def test_a_regulator_exports_and_submits_nothing_and_a_supplier_the_other_way_round() -> None:
    regulator = {rpc for rpc, roles in ACCESS.items() if PartyRole.REGULATOR in roles}
    supplier = {rpc for rpc, roles in ACCESS.items() if PartyRole.SUPPLIER in roles}

    assert set(ACCESS) - regulator == {"Submit", "SubmitStream"}
    assert set(ACCESS) - supplier == {"ExportSnapshot"}
