"""A client's settings file: what it may say, and what every mistake in it is answered with."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark.client.settings import SettingsError, read_client_settings
from lotmark.errors import MalformedError, ProtocolError
from lotmark.network_address import split_address

SAMPLE = {
    "chain_id": bytes(range(32)).hex(),
    "party": "T2-CU-JX",
    "holder": "erp",
    "node_party": "OEM-A",
    "node_name": "n1",
    "node_address": "127.0.0.1:7401",
    "batch_key": "batch.key",
    "certificate": "tls/cert.pem",
    "certificate_key": "/etc/lotmark/key.pem",
    "genesis": "../../../genesis.json",
}


def write(path: Path, values: dict[str, str], *more: str) -> Path:
    lines = [*(f"{key} = {json.dumps(value)}" for key, value in values.items()), *more]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_settings_are_read_with_paths_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "T2-CU-JX" / "clients" / "erp"
    folder.mkdir(parents=True)
    found = read_client_settings(write(folder / "client.toml", SAMPLE, "# the end"))

    assert found.chain_id == bytes(range(32))
    assert (found.party, found.holder) == ("T2-CU-JX", "erp")
    assert (found.node_party, found.node_name) == ("OEM-A", "n1")
    assert found.node_address == "127.0.0.1:7401"
    assert found.batch_key == folder / "batch.key"
    assert found.certificate == folder / "tls/cert.pem"
    assert found.certificate_key == Path("/etc/lotmark/key.pem")
    assert found.genesis.resolve() == (tmp_path / "genesis.json").resolve()
    assert found.outbox_file == folder / "outbox.db"


def test_the_outbox_may_be_elsewhere(tmp_path: Path) -> None:
    other = write(tmp_path / "client.toml", {**SAMPLE, "outbox": "/var/lib/lotmark/erp.db"})

    assert read_client_settings(other).outbox_file == Path("/var/lib/lotmark/erp.db")
    for value in ("3", '""'):
        path = write(tmp_path / "client.toml", SAMPLE, f"outbox = {value}")
        with pytest.raises(SettingsError, match="outbox is"):
            read_client_settings(path)


def test_a_relative_name_of_the_file_gives_complete_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "client.toml", SAMPLE)
    monkeypatch.chdir(tmp_path)

    assert read_client_settings(Path("client.toml")).batch_key == tmp_path / "batch.key"


@pytest.mark.parametrize("key", SAMPLE)
def test_every_key_is_needed_and_is_a_string(tmp_path: Path, key: str) -> None:
    path = tmp_path / "client.toml"
    rest = {name: value for name, value in SAMPLE.items() if name != key}

    with pytest.raises(SettingsError, match=rf'{path}: key {key} is missing; add .* {key} = "'):
        read_client_settings(write(path, rest))
    with pytest.raises(SettingsError, match=f"{path}: {key} is no string; write its value in quo"):
        read_client_settings(write(path, rest, f"{key} = 7"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("chain_id", "0" * 63, "not 64 lower-case hex digits"),
        ("chain_id", "A" * 64, "not 64 lower-case hex digits"),
        ("party", "t2", "party's id"),
        ("holder", "an erp", "holder"),
        ("node_party", "", "party's id"),
        ("node_name", "N1", "node's name"),
        ("node_address", "127.0.0.1", "host:port"),
        ("node_address", "127.0.0.1:0", "port 0; give the port"),
        ("batch_key", "", "no path"),
        ("genesis", "a\0b", "no path"),
    ],
)
def test_a_value_that_is_not_possible_is_refused_with_the_file_and_a_remedy(
    tmp_path: Path, key: str, value: str, reason: str
) -> None:
    path = write(tmp_path / "client.toml", {**SAMPLE, key: value})

    with pytest.raises(SettingsError, match=f"{path}: .*{reason}"):
        read_client_settings(path)


OTHERS = '[other_nodes]\n"T2-CU-JX/n1" = "127.0.0.1:7403"\n"OEM-A/n2" = "n2.example.com:7401"'


def test_nodes_to_call_instead_come_in_the_files_order_after_the_first(tmp_path: Path) -> None:
    found = read_client_settings(write(tmp_path / "client.toml", SAMPLE, OTHERS))
    each = list(found.each_node())

    assert [(one.node_party, one.node_name, one.node_address) for one in each] == [
        ("OEM-A", "n1", "127.0.0.1:7401"),
        ("T2-CU-JX", "n1", "127.0.0.1:7403"),
        ("OEM-A", "n2", "n2.example.com:7401"),
    ]
    assert {(one.party, one.batch_key, one.other_nodes) for one in each} == {
        ("T2-CU-JX", found.batch_key, ())
    }


def test_a_client_of_one_node_calls_that_one_alone(tmp_path: Path) -> None:
    found = read_client_settings(write(tmp_path / "client.toml", SAMPLE))

    assert found.other_nodes == ()
    assert list(found.each_node()) == [found]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            'other_nodes = ["OEM-A/n2"]',
            'other_nodes is no table; write "PARTY/NAME" lines under it',
        ),
        ('[other_nodes]\nn2 = "127.0.0.1:1"', "other_nodes: 'n2' is not PARTY/NAME, such as"),
        ('[other_nodes]\n"oem/n2" = "127.0.0.1:1"', "other_nodes: party 'oem' is not a party's id"),
        ('[other_nodes]\n"OEM-A/N2" = "127.0.0.1:1"', "other_nodes: node 'N2' is not a node's"),
        ('[other_nodes]\n"OEM-A/n2" = 7402', "other_nodes: OEM-A/n2 has no string as its address"),
        ('[other_nodes]\n"OEM-A/n2" = "n2"', "other_nodes: address 'n2' is not host:port"),
        ('[other_nodes]\n"OEM-A/n2" = "127.0.0.1:0"', "other_nodes: OEM-A/n2 has port 0; give the"),
        (
            '[other_nodes]\n"OEM-A/n1" = "127.0.0.1:1"',
            "other_nodes names OEM-A/n1, which is called",
        ),
    ],
)
def test_nodes_to_call_instead_that_are_not_possible_are_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    path = tmp_path / "client.toml"

    with pytest.raises(SettingsError, match=f"^{path}: {reason}"):
        read_client_settings(write(path, SAMPLE, table))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"party = ", "no TOML"),
        (b"\xff", "no TOML in UTF-8"),
        (b'party = "A"\nparty = "A"', "no TOML"),
        (b"party = " + b"[" * 30_000, "no TOML"),
        (b"party = 0x" + b"f" * 30_000, "missing"),
        (
            b"passphrase = 1",
            "key 'passphrase' is unknown; remove it, or use one of ",
        ),
        (b"#" * 70_000, "over 65536 bytes"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(
    tmp_path: Path, raw: bytes, reason: str
) -> None:
    path = tmp_path / "client.toml"
    path.write_bytes(raw)

    with pytest.raises(SettingsError, match=f"{path}.*{reason}"):
        read_client_settings(path)


@pytest.mark.parametrize("name", ["missing.toml", "", "\0"])
def test_a_file_that_cannot_be_read_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: .*name the settings file"):
        read_client_settings(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 500), put=st.binary(max_size=4), cut=st.integers(0, 4))
def test_any_file_gives_settings_or_a_protocol_error(
    tmp_path: Path, at: int, put: bytes, cut: int
) -> None:
    path = write(tmp_path / "client.toml", SAMPLE, OTHERS)
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + put + raw[at + cut :])
    try:
        assert len(read_client_settings(path).chain_id) == 32
    except ProtocolError:
        return


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:7401", "127.0.0.1", 7401),
        ("[::1]:0", "::1", 0),
        ("[::ffff:10.0.0.1]:65535", "::ffff:10.0.0.1", 65535),
        ("n1.oem-a.example.com:443", "n1.oem-a.example.com", 443),
        ("localhost:80", "localhost", 80),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "host:port"),
        ("7401", "host:port"),
        (":7401", "host:port"),
        ("host:", "host:port"),
        ("host:http", "host:port"),
        ("host:-1", "host:port"),
        ("host:123456", "host:port"),
        ("host:65536", "beyond 65535"),
        ("::1:7401", "host:port"),
        ("[::1:7401", "host:port"),
        ("[::g]:1", "host:port"),
        ("[1:2]:1", "no possible IP address"),
        ("256.0.0.1:1", "no possible IP address"),
        ("1.2.3:1", "no possible IP address"),
        ("https://host:1", "host:port"),
        ("ho st:1", "host:port"),
        ("host:1\n", "host:port"),
        ("host:\N{ARABIC-INDIC DIGIT ONE}", "host:port"),
    ],
)
def test_what_is_no_address_is_refused(address: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        split_address(address)
