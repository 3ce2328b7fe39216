"""Certificates: what a real TLS handshake takes, and what only `peer_identity` refuses."""

import ipaddress
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from lotmark.ca_certificate import load_ca
from lotmark.certificates import (
    LEAF_DAYS_MAX,
    PeerIdentity,
    make_ca,
    make_leaf,
    peer_identity,
    tls_name,
)
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from tests.proto.sample_genesis import CREATED_MS, GOLDEN, sample_genesis

NOW_MS = time.time_ns() // 1_000_000  # TLS libraries read the real clock
DAY_MS = 86_400_000
CHAIN = bytes(range(32))
PARTIES = ("LAB-17025", "OEM-A", "T1-STATOR")
CAS = {party: make_ca(party, "stator-line", now_ms=NOW_MS) for party in PARTIES}
STRANGER = make_ca("OEM-A", "stator-line", now_ms=NOW_MS)
GENESIS = replace(
    sample_genesis(),
    parties=tuple(
        replace(party, ca_pem=CAS[party.id][0].decode()) for party in sample_genesis().parties
    ),
)
Pair = tuple[bytes, bytes]


def leaf(
    party: str,
    node: str = "n1",
    *,
    ca: Pair | None = None,
    chain_id: bytes = CHAIN,
    days: int = 30,
    now_ms: int = NOW_MS,
) -> Pair:
    return make_leaf(
        *(ca or CAS[party]),
        chain_id=chain_id,
        party=party,
        node=node,
        addresses=("127.0.0.1", "::1", "n1.example.com"),
        days=days,
        now_ms=now_ms,
    )


def identity(certificate: bytes, *, now_ms: int = NOW_MS) -> PeerIdentity:
    return peer_identity(certificate, GENESIS.ca_certificates(), CHAIN, now_ms=now_ms)


# --- what stands in a certificate ---


def test_a_certificate_names_its_node_for_both_directions() -> None:
    certificate = x509.load_pem_x509_certificate(leaf("T1-STATOR", "n2")[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"lotmark:{CHAIN.hex()}/T1-STATOR/n2"
    ]
    assert names.get_values_for_type(x509.DNSName) == [
        "n2.t1-stator.0001020304050607.lotmark.invalid",
        "n1.example.com",
    ]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    assert tls_name("T1-STATOR", "n2", CHAIN) == "n2.t1-stator.0001020304050607.lotmark.invalid"


@pytest.mark.parametrize("days", [0, LEAF_DAYS_MAX + 1])
def test_a_certificate_for_too_long_or_no_time_is_refused(days: int) -> None:
    with pytest.raises(MalformedError, match=f"use 1 to {LEAF_DAYS_MAX}"):
        leaf("OEM-A", days=days)


@pytest.mark.parametrize(
    ("ca", "reason"),
    [
        ((CAS["OEM-A"][0], CAS["T1-STATOR"][1]), "not that of OEM-A's CA certificate"),
        ((CAS["OEM-A"][0], b"no key"), "no unencrypted key"),
        ((b"no certificate", CAS["OEM-A"][1]), "no self-signed certificate"),
        ((b"\xff", CAS["OEM-A"][1]), "no self-signed certificate"),
        (leaf("OEM-A"), "self-signed|own key"),
    ],
)
def test_only_a_ca_with_its_own_key_issues(ca: Pair, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        leaf("OEM-A", ca=ca)


def self_issued(*, ca: bool | None, own_signature: bool = True) -> str:
    """Return a certificate that names itself as its issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = key if own_signature else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "X CA")])
    now = datetime.fromtimestamp(NOW_MS // 1000, tz=UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    return builder.sign(signer, SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (self_issued(ca=None), "does not say that it is a CA's"),
        (self_issued(ca=False), "says that it is not a CA's"),
        (self_issued(ca=True, own_signature=False), "not signed by its own key"),
        (CAS["OEM-A"][0].decode().replace("\n", "\r\n"), "nothing around it"),
    ],
)
def test_what_is_no_ca_certificate_is_refused(pem: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=f"the CA certificate of X .*{reason}"):
        load_ca(pem, party="X")


def test_a_self_signed_ca_is_taken() -> None:
    load_ca(self_issued(ca=True), party="X")


# --- who a peer is ---


def test_a_peer_is_who_its_partys_ca_says() -> None:
    assert identity(leaf("OEM-A")[0]) == PeerIdentity(party="OEM-A", node="n1")
    assert identity(leaf("T1-STATOR", "aoi-cam07")[0]).node == "aoi-cam07"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (leaf("OEM-A", ca=CAS["T1-STATOR"])[0], "OEM-A/n1 was not issued by the CA of OEM-A"),
        (leaf("OEM-A", ca=STRANGER)[0], "OEM-A/n1 was not issued by the CA of OEM-A"),
        (leaf("OEM-B", ca=CAS["OEM-A"])[0], "OEM-B is no party"),
        (leaf("OEM-A", chain_id=bytes(32))[0], "is for chain 0000.*, not 0001"),
        (leaf("OEM-A", "N1")[0], "names .*not one"),
        (leaf("oem-a", ca=CAS["OEM-A"])[0], "names .*not one"),
        (CAS["OEM-A"][0], "names nobody"),
        (b"", "names nobody"),
        (b"\xff\x00", "names nobody"),
    ],
)
def test_a_peer_that_is_not_whom_it_claims_is_refused(certificate: bytes, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        identity(certificate)


def uri_certificate(*uris: str, ca: bool) -> bytes:
    """Return a certificate by OEM-A's CA with these URI names."""
    issuer_key, issuer = CAS["OEM-A"][1], x509.load_pem_x509_certificate(CAS["OEM-A"][0])
    signer = load_pem_private_key(issuer_key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    return (
        x509.CertificateBuilder(issuer.subject, x509.Name([]), key.public_key(), 1)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .sign(signer, SHA256())
        .public_bytes(Encoding.PEM)
    )


OEM_URI = f"lotmark:{CHAIN.hex()}/OEM-A/n1"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (uri_certificate(OEM_URI, ca=True), "is a CA's"),
        (uri_certificate(OEM_URI, f"lotmark:{CHAIN.hex()}/OEM-A/n2", ca=False), "not one"),
        (uri_certificate(OEM_URI + "/x", ca=False), "not one"),
        (uri_certificate("https://example.com", ca=False), "not one"),
    ],
)
def test_a_certificate_that_says_too_much_is_refused(certificate: bytes, reason: str) -> None:
    assert identity(uri_certificate(OEM_URI, ca=False)).party == "OEM-A"
    with pytest.raises(SignatureError, match=reason):
        identity(certificate)


@pytest.mark.parametrize("days_later", [-3, 31])
def test_a_certificate_out_of_its_time_is_refused(days_later: int) -> None:
    with pytest.raises(SignatureError, match=r"OEM-A/n1 is valid from .* renew it"):
        identity(leaf("OEM-A", days=30)[0], now_ms=NOW_MS + days_later * DAY_MS)


def test_a_certificate_does_not_outlive_its_ca() -> None:
    later_ms = NOW_MS + 21 * 365 * DAY_MS

    with pytest.raises(SignatureError, match="OEM-A's CA is valid from"):
        identity(leaf("OEM-A", now_ms=later_ms)[0], now_ms=later_ms)


GOLDEN_LEAF = (GOLDEN / "leaf.pem").read_bytes()
GOLDEN_GENESIS = replace(
    GENESIS,
    parties=(
        GENESIS.parties[0],
        replace(GENESIS.parties[1], ca_pem=(GOLDEN / "leaf-ca.pem").read_text()),
    ),
)


def test_a_certificate_of_the_first_release_still_names_its_node() -> None:
    assert peer_identity(
        GOLDEN_LEAF, GOLDEN_GENESIS.ca_certificates(), CHAIN, now_ms=CREATED_MS + DAY_MS
    ) == PeerIdentity(party="OEM-A", node="n1")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(at=st.integers(0, len(GOLDEN_LEAF) - 1), put=st.binary(max_size=2))
def test_a_changed_certificate_is_refused_or_names_the_same_peer(at: int, put: bytes) -> None:
    changed = GOLDEN_LEAF[:at] + put + GOLDEN_LEAF[at + 1 :]
    try:
        found = peer_identity(changed, GOLDEN_GENESIS.ca_certificates(), CHAIN, now_ms=CREATED_MS)
    except ProtocolError:
        return
    assert found == PeerIdentity(party="OEM-A", node="n1")


# --- a real handshake ---

WHO = "/test.Health/Who"


class WhoHandler(grpc.GenericRpcHandler):
    """Answers whom it sees at the other end, or says why nobody."""

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return grpc.unary_unary_rpc_method_handler(self._answer)

    @staticmethod
    def _answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            # A list of one at run time, whatever the type stubs say.
            shown = cast("list[bytes]", context.auth_context()["x509_pem_cert"])
            peer = identity(shown[0])
        except SignatureError as error:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        return f"{peer.party}/{peer.node}".encode()


@contextmanager
def serving(own: Pair) -> Iterator[int]:
    """Serve on loopback, taking connections from all parties of the genesis; yield the port."""
    credentials = grpc.ssl_server_credentials(
        [(own[1], own[0])],
        root_certificates="".join(party.ca_pem for party in GENESIS.parties).encode(),
        require_client_auth=True,
    )
    server = grpc.server(ThreadPoolExecutor(2), handlers=[WhoHandler()])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def ask(port: int, own: Pair, *, expected: tuple[str, str]) -> str:
    """Call as a node that expects another, and trusts its party's CA alone."""
    party, node = expected
    credentials = grpc.ssl_channel_credentials(CAS[party][0], own[1], own[0])
    name = (("grpc.ssl_target_name_override", tls_name(party, node, CHAIN)),)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, name) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(WHO)
        return call(b"", timeout=10).decode()


def test_nodes_of_two_parties_know_each_other_after_a_handshake() -> None:
    with serving(leaf("OEM-A")) as port:
        seen = ask(port, leaf("T1-STATOR", "aoi-cam07"), expected=("OEM-A", "n1"))

    assert seen == "T1-STATOR/aoi-cam07"


@pytest.mark.parametrize(
    ("own", "status"),
    [
        # The TLS library refuses what no party's CA issued.
        (leaf("OEM-A", ca=STRANGER), grpc.StatusCode.UNAVAILABLE),
        (leaf("T1-STATOR", now_ms=NOW_MS - 60 * DAY_MS), grpc.StatusCode.UNAVAILABLE),
        # It lets a party's CA speak for another; peer_identity does not.
        (leaf("OEM-A", ca=CAS["T1-STATOR"]), grpc.StatusCode.UNAUTHENTICATED),
        (leaf("T1-STATOR", chain_id=bytes(32)), grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_a_caller_that_is_not_whom_it_claims_is_refused(own: Pair, status: grpc.StatusCode) -> None:
    with serving(leaf("OEM-A")) as port, pytest.raises(grpc.RpcError) as caught:
        ask(port, own, expected=("OEM-A", "n1"))

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is status


@pytest.mark.parametrize(
    "served",
    [
        leaf("OEM-A", "n2"),  # another node of the party
        leaf("OEM-A", chain_id=bytes(32)),  # another consortium of the party
        leaf("OEM-A", ca=CAS["T1-STATOR"]),  # another party that names this one
        leaf("OEM-A", ca=STRANGER),
    ],
)
def test_a_server_that_is_not_whom_the_caller_expects_is_refused(served: Pair) -> None:
    with serving(served) as port, pytest.raises(grpc.RpcError) as caught:
        ask(port, leaf("T1-STATOR"), expected=("OEM-A", "n1"))

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
