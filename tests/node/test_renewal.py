"""Certificates are renewed with the party's CA, and running processes take them as they run."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from lotmark.certificates import certificate_not_after_ms, tls_name
from lotmark.client import Client
from lotmark.client.settings import NodeAddress, read_client_settings
from lotmark.genesis import PartyRole, parse_genesis
from lotmark.invitation import Invitation
from lotmark.network_address import split_address
from lotmark_node import compose
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.join import make_joining
from lotmark_node.consortium.plan import make_plan
from lotmark_node.findings import Health
from lotmark_node.main import app
from lotmark_node.node_settings import read_node_settings
from lotmark_node.peer_certificates import check_holder
from lotmark_node.tls_pair import RenewedPair
from lotmark_node.witness import process as witness_process
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import NodeProcess
from tests.node.submitting import result_of, submit_events

DAY_MS = 86_400_000
WAIT_MAX_S = 30.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def renew(settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["key", "renew-cert", str(settings), *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plan = make_plan(
        "renewed", [], ["OEM-A/n1@127.0.0.1:7401"], ["OEM-A/erp"], ["LAB-17025/w1@127.0.0.1:7404"]
    )
    found_consortium(tmp_path / "consortium", plan, now_ms=now_ms())
    return tmp_path / "consortium"


@pytest.mark.parametrize(
    ("settings", "certificate", "addresses"),
    [
        ("OEM-A/nodes/n1/node.toml", "tls/cert.pem", ["127.0.0.1"]),
        ("LAB-17025/witnesses/w1/witness.toml", "tls/cert.pem", ["127.0.0.1"]),
        ("OEM-A/clients/erp/client.toml", "cert.pem", []),
    ],
)
def test_a_renewed_certificate_names_the_same_and_has_a_new_key(
    folder: Path, settings: str, certificate: str, addresses: list[str]
) -> None:
    path = (folder / settings).parent / certificate
    old = x509.load_pem_x509_certificate(path.read_bytes())
    done = renew(folder / settings, "--days", "100", "--json")
    new = x509.load_pem_x509_certificate(path.read_bytes())
    document = json.loads(done.stdout)

    assert done.exit_code == 0, done.output
    names = x509.SubjectAlternativeName
    assert set(new.extensions.get_extension_for_class(names).value) == set(
        old.extensions.get_extension_for_class(names).value
    )
    assert new.public_key() != old.public_key()
    assert abs(document["not_after_ms"] - now_ms() - 100 * DAY_MS) < 60_000
    assert (document["certificate"], document["addresses"]) == (str(path), addresses)
    assert [each.name for each in path.parent.glob("*.new")] == []


def test_a_party_that_joined_later_renews_with_its_own_ca(folder: Path, tmp_path: Path) -> None:
    genesis = (folder / "genesis.json").read_bytes()
    node = NodeAddress(party="OEM-A", node="n1", address="127.0.0.1:7401")
    invitation = Invitation(
        party="T4-SPRINGS",
        role=PartyRole.SUPPLIER,
        sponsor="OEM-A",
        genesis=genesis,
        nodes=(node,),
    )
    joining = make_joining(
        tmp_path / "T4-SPRINGS",
        invitation,
        parse_genesis(genesis),
        holder="erp",
        root_count=1,
        threshold=1,
        passphrase=None,
        now_ms=now_ms(),
    )
    before = (joining.client.parent / "cert.pem").read_bytes()

    done = renew(joining.client, "--days", "100")
    foreign = renew(joining.client, "--ca", str(folder / "OEM-A" / "ca"))

    assert done.exit_code == 0, done.output
    assert (joining.client.parent / "cert.pem").read_bytes() != before
    assert check_holder(joining.client, now_ms=now_ms()).health is Health.GOOD
    assert foreign.exit_code != 0
    assert "is not the CA certificate of T4-SPRINGS; name the folder" in foreign.stderr


def test_addresses_can_be_named_anew(folder: Path) -> None:
    done = renew(
        folder / "OEM-A/nodes/n1/node.toml", "--address", "n1.oem.example", "--address", "10.0.0.7",
        "--json",
    )  # fmt: skip

    assert json.loads(done.stdout)["addresses"] == ["n1.oem.example", "10.0.0.7"]


def test_another_partys_ca_is_refused_and_nothing_is_changed(folder: Path) -> None:
    settings = folder / "OEM-A/nodes/n1/node.toml"
    before = (settings.parent / "tls/cert.pem").read_bytes()
    done = renew(settings, "--ca", str(folder / "T1-STATOR/ca"))

    assert done.exit_code == 2
    assert "is not the CA certificate of OEM-A; name the folder" in done.stderr
    assert (settings.parent / "tls/cert.pem").read_bytes() == before


def test_a_ca_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "OEM-A/ca/ca.key").chmod(0o644)
    done = renew(folder / "OEM-A/nodes/n1/node.toml")

    assert (done.exit_code, "chmod 600" in done.stderr) == (2, True)


def pair_of(folder: Path) -> tuple[RenewedPair, Path]:
    settings_file = folder / "OEM-A/nodes/n1/node.toml"
    settings = read_node_settings(settings_file)
    genesis, _ = compose.read_consortium(settings)
    return RenewedPair(settings.tls_owner, genesis, now_ms), settings_file


def test_a_pair_is_taken_once_when_both_files_fit(folder: Path) -> None:
    pair, settings_file = pair_of(folder)
    assert not pair.renew()
    first = pair.current
    key = settings_file.parent / "tls/key.pem"
    old_key = key.read_bytes()
    renew(settings_file)
    new_key = key.read_bytes()

    key.write_bytes(old_key)  # between the two writes of whoever copies them
    assert not pair.renew()
    assert pair.current == first
    key.write_bytes(new_key)

    assert pair.renew()
    assert pair.current.key == new_key
    assert not pair.renew()


def test_a_pair_that_others_would_refuse_is_not_taken(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair, settings_file = pair_of(folder)
    first = pair.current
    erp = folder / "OEM-A/clients/erp"
    for name in ("cert.pem", "key.pem"):
        (settings_file.parent / "tls" / name).write_bytes((erp / name).read_bytes())

    assert not pair.renew()
    assert pair.current == first
    assert "is the certificate of OEM-A/erp" in vars(caplog.records[-1])["reason"]


def test_a_node_with_a_certificate_that_others_refuse_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "OEM-A/nodes/n1/tls/key.pem").chmod(0o644)
    pair_of(folder)

    assert caplog.records[-1].message == "others will refuse this node's certificate"


def shown_certificate(address: str, server_name: str, client: Path, ca: Path) -> x509.Certificate:
    """Return the certificate that a process shows to whoever connects now."""

    async def ask() -> bytes:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(client / "cert.pem", client / "key.pem")
        context.set_alpn_protocols(["h2"])
        host, port = split_address(address)
        _, writer = await asyncio.open_connection(
            host, port, ssl=context, server_hostname=server_name
        )
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        return shown

    return x509.load_der_x509_certificate(asyncio.run(ask()))


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_MAX_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.05)  # another process's state, which nothing announces


def test_a_running_node_shows_a_renewed_certificate_and_its_calls_go_on(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    node.start()
    try:
        client = node.client("OEM-A", "erp")
        settings = read_client_settings(client)
        name = tls_name("OEM-A", "n1", node.chain_id)
        ca = node.folder / "OEM-A/ca/ca.pem"

        def shown() -> x509.Certificate:
            return shown_certificate(node.address, name, client.parent, ca)

        before = shown()
        with Client(settings) as caller:
            result_of(caller.submit(measurement(1)))
            done = node.lotmark("key", "renew-cert", str(node.settings))
            assert done.returncode == 0, done.stderr
            path = node.settings.parent / "tls/cert.pem"
            renewed = x509.load_pem_x509_certificate(path.read_bytes())
            assert renewed != before
            until(lambda: shown() == renewed)
            result_of(caller.submit(measurement(2)))  # over the connection from before
        submit_events(settings, [measurement(3)])
        told = node.lotmark("network", "status", "--as", str(client), "--json")
    finally:
        node.stop()

    (standing,) = json.loads(told.stdout)["nodes"]
    ends_ms = certificate_not_after_ms(path.read_bytes())
    assert standing["certificate_days"] == (ends_ms - now_ms()) // DAY_MS
    assert any("certificate renewed" in line for line in node.log)


def test_how_often_files_are_looked_at_is_what_the_command_says() -> None:
    assert compose.RENEWAL_CHECK_S == witness_process.RENEWAL_CHECK_S == 10
