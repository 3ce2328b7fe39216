"""A node's settings: the file, the environment that overrides it, and every mistake in either."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark.client.settings import SettingsError
from lotmark_node.node_settings import NodeSettings, check_peers, read_node_settings
from tests.node.ledger_in_memory import consortium

SAMPLE = {
    "party": "OEM-A",
    "node": "n1",
    "listen": "127.0.0.1:7401",
    "data": "data",
    "genesis": "../../../genesis.json",
    "acceptances": "../../../acceptances.json",
    "tls_certificate": "tls/cert.pem",
    "tls_key": "/etc/lotmark/key.pem",
    "proposal_key": "keys/proposal.key",
    "log_key": "keys/log.key",
    "cosign_key": "keys/cosign.key",
    "admit_key": "keys/admit.key",
}


@pytest.fixture(autouse=True)
def no_settings_around_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in NodeSettings.model_fields:
        monkeypatch.delenv(f"LOTMARK_{key.upper()}", raising=False)


def write(path: Path, values: dict[str, str], *more: str) -> Path:
    lines = [*(f"{key} = {json.dumps(value)}" for key, value in values.items()), *more]
    path.write_text("\n".join(lines) + "\n")
    return path


def without(key: str) -> dict[str, str]:
    return {name: value for name, value in SAMPLE.items() if name != key}


def test_settings_are_read_with_paths_relative_to_the_file(tmp_path: Path) -> None:
    found = read_node_settings(write(tmp_path / "node.toml", SAMPLE))

    assert (found.party, found.node, found.listen) == ("OEM-A", "n1", "127.0.0.1:7401")
    assert found.data == tmp_path / "data"
    assert found.tls_key == Path("/etc/lotmark/key.pem")
    assert found.genesis.resolve() == (tmp_path / "../../../genesis.json").resolve()


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LOTMARK_LISTEN", "0.0.0.0:9000")
    monkeypatch.setenv("LOTMARK_DATA", "elsewhere")
    monkeypatch.setenv("LOTMARK_NODE", "")  # as good as not set
    monkeypatch.setenv("LOTMARK_SHARED", "of no concern")
    found = read_node_settings(write(tmp_path / "node.toml", SAMPLE))

    assert found.listen == "0.0.0.0:9000"
    assert found.data == tmp_path / "here" / "elsewhere"
    assert found.node == "n1"


def test_the_environment_can_bring_what_the_file_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTMARK_LISTEN", "127.0.0.1:1")

    assert read_node_settings(write(tmp_path / "n.toml", without("listen"))).listen == "127.0.0.1:1"


@pytest.mark.parametrize("key", SAMPLE)
def test_every_key_is_needed_and_is_a_string(tmp_path: Path, key: str) -> None:
    path = tmp_path / "node.toml"

    with pytest.raises(SettingsError, match=rf"^{path}: key {key} is missing; add .*LOTMARK_"):
        read_node_settings(write(path, without(key)))
    with pytest.raises(SettingsError, match=f"^{path}: {key} is no string; write its value in q"):
        read_node_settings(write(path, without(key), f"{key} = 7"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("party", "oem", "party's id"),
        ("node", "N1", "node's name"),
        ("listen", "7401", "host:port"),
        ("data", "", "data is '', no path; name a file or folder"),
        ("genesis", "a\0b", "no path"),
    ],
)
def test_a_value_that_is_not_possible_is_refused_with_the_file(
    tmp_path: Path, key: str, value: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=rf"node\.toml: .*{reason}"):
        read_node_settings(write(tmp_path / "node.toml", {**SAMPLE, key: value}))


def test_a_bad_value_from_the_environment_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTMARK_LISTEN", "7401")

    with pytest.raises(SettingsError, match=r"^LOTMARK_LISTEN: address '7401' is not host:port"):
        read_node_settings(write(tmp_path / "node.toml", SAMPLE))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "node.toml", {**without("data"), "party": "x", "listen": "y"})

    with pytest.raises(SettingsError) as caught:
        read_node_settings(path)
    assert [line.split(" ")[1] for line in str(caught.value).splitlines()] == [
        "party",
        "address",
        "key",
    ]


# --- whom the node calls ---

PEERS = '[peers]\n"T1-STATOR/n1" = "n1.t1.example.com:7401"\n"OEM-A/n2" = "[::1]:7402"'
WITNESSES = '[witnesses]\n"LAB-17025/w1" = "https://w1.lab.example.com:7404"'


def test_peers_and_witnesses_are_tables_of_addresses(tmp_path: Path) -> None:
    found = read_node_settings(write(tmp_path / "node.toml", SAMPLE, PEERS, WITNESSES))

    assert found.peers == {"T1-STATOR/n1": "n1.t1.example.com:7401", "OEM-A/n2": "[::1]:7402"}
    assert found.witnesses == {"LAB-17025/w1": "https://w1.lab.example.com:7404"}
    assert found.name == "OEM-A/n1"


def test_a_node_may_have_neither_peers_nor_witnesses(tmp_path: Path) -> None:
    found = read_node_settings(write(tmp_path / "node.toml", SAMPLE))

    assert (found.peers, found.witnesses) == ({}, {})


def test_the_environment_overrides_plain_keys_beside_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTMARK_LISTEN", "0.0.0.0:9000")
    found = read_node_settings(write(tmp_path / "node.toml", SAMPLE, PEERS))

    assert (found.listen, len(found.peers)) == ("0.0.0.0:9000", 2)


@pytest.mark.parametrize("value", ["OEM-A/n2", '{"OEM-A/n2": "127.0.0.1:1"}', "{"])
def test_a_table_in_the_environment_is_refused_and_not_half_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LOTMARK_PEERS", value)

    with pytest.raises(SettingsError, match=r"^LOTMARK_PEERS: peers is no table .* in the file$"):
        read_node_settings(write(tmp_path / "node.toml", SAMPLE, PEERS))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('peers = "OEM-A/n2"', r'peers is no table of strings; write \[peers\] and lines "PARTY/N'),
        ('[peers]\n"OEM-A/n2" = 7402', "peers is no table of strings"),
        ('[peers]\nn2 = "127.0.0.1:1"', "peers: 'n2' is not PARTY/NAME, such as OEM-A/n1"),
        ('[peers]\n"oem/n2" = "127.0.0.1:1"', "peers: party 'oem' is not a party's id"),
        ('[peers]\n"OEM-A/N2" = "127.0.0.1:1"', "peers: node 'N2' is not a node's name"),
        ('[peers]\n"OEM-A/n2" = "here"', "peers: address 'here' is not host:port"),
        ('[peers]\n"OEM-A/n2" = "127.0.0.1:0"', "peers: OEM-A/n2 has port 0; give the port it"),
        (
            '[peers]\n"OEM-A/n2" = "127.0.0.1:1"\n"OEM-A/n3" = "127.0.0.1:1"',
            "peers: OEM-A/n2 and OEM-A/n3 are both at 127.0.0.1:1",
        ),
        (
            '[peers]\n"OEM-A/n1" = "127.0.0.1:1"',
            "peers names OEM-A/n1, which is this node itself; remove that line",
        ),
        (
            '[witnesses]\n"OEM-A/w1" = "127.0.0.1:1"',
            "witnesses: '127.0.0.1:1' is not https://HOST:PORT, such as https://127.0.0.1:7404",
        ),
        ('[witnesses]\n"OEM-A/w1" = "http://127.0.0.1:1"', "witnesses: .* is not https://HOST"),
        ('[witnesses]\n"OEM-A/w1" = "https://127.0.0.1"', "witnesses: .* is not host:port"),
        ('[witnesses]\n"OEM-A/w1" = "https://127.0.0.1:0"', "witnesses: OEM-A/w1 has port 0"),
        ('[witnesses]\n"OEM-A/n1" = "https://127.0.0.1:1"', "witnesses names OEM-A/n1, which is t"),
    ],
)
def test_a_table_that_is_not_possible_is_refused_with_the_file(
    tmp_path: Path, table: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{tmp_path}/node\.toml: {reason}"):
        read_node_settings(write(tmp_path / "node.toml", SAMPLE, table))


GENESIS = consortium(
    voters=("OEM-A/n1", "T1-STATOR/n1", "T1-STATOR/n2"), witnesses=("LAB-17025/w1",)
)
OTHERS = {"T1-STATOR/n1": "127.0.0.1:7402", "T1-STATOR/n2": "127.0.0.1:7403"}


def settings_with(tmp_path: Path, **changed: object) -> NodeSettings:
    found = read_node_settings(write(tmp_path / "node.toml", SAMPLE))
    return found.model_copy(update={"peers": OTHERS, **changed})


def test_a_node_that_can_find_every_other_voter_may_start(tmp_path: Path) -> None:
    check_peers(settings_with(tmp_path), GENESIS)
    check_peers(
        settings_with(tmp_path, witnesses={"LAB-17025/w1": "https://127.0.0.1:7404"}), GENESIS
    )
    check_peers(settings_with(tmp_path, peers={}), consortium(voters=("OEM-A/n1",)))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"peers": {"T1-STATOR/n2": "127.0.0.1:7403"}},
            "voter T1-STATOR/n1 has no address in the settings of OEM-A/n1; add a line"
            ' "T1-STATOR/n1" = "HOST:PORT" under [peers]',
        ),
        (
            {"peers": {**OTHERS, "LAB-17025/w1": "127.0.0.1:7404"}},
            "LAB-17025/w1 has an address under [peers] but is no voter of the genesis; remove that"
            " line",
        ),
        (
            {"witnesses": {"T1-STATOR/n1": "https://127.0.0.1:7402"}},
            "T1-STATOR/n1 has an address under [witnesses] but by the genesis it votes, and"
            " cosigns as a voter; remove that line",
        ),
        (
            {"node": "n9"},
            "OEM-A/n9 is no voter of the genesis, which has OEM-A/n1, T1-STATOR/n1, T1-STATOR/n2;"
            " name the right genesis, party and node in the node's settings",
        ),
    ],
)
def test_who_cannot_be_found_or_does_not_belong_is_named(
    tmp_path: Path, changed: dict[str, object], reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_peers(settings_with(tmp_path, **changed), GENESIS)
    assert str(caught.value) == reason


# The later ones are words of the settings library, which must not reach it.
@pytest.mark.parametrize("key", ["tls_cert", "Party", "_env_file", "_env_prefix", "self"])
def test_an_unknown_key_is_refused(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "node.toml", SAMPLE, f'{key} = "x"')

    with pytest.raises(SettingsError, match=f"key '{key}' is unknown; remove it, or use one of pa"):
        read_node_settings(path)


def test_a_file_that_is_no_settings_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"

    with pytest.raises(SettingsError, match=f"^{path} cannot be read: No such file"):
        read_node_settings(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=f"^{path} is no TOML"):
        read_node_settings(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 600), put=st.binary(max_size=4), cut=st.integers(0, 4))
def test_any_file_gives_settings_or_a_settings_error(
    tmp_path: Path, at: int, put: bytes, cut: int
) -> None:
    path = write(tmp_path / "node.toml", SAMPLE, PEERS, WITNESSES)
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + put + raw[at + cut :])
    with suppress(SettingsError):
        assert read_node_settings(path).data.is_absolute()


HTTP = {**SAMPLE, "http_client": "../../clients/erp/client.toml"}


@pytest.mark.parametrize(
    ("url", "address", "is_tls"),
    [
        ("http://127.0.0.1:7480", "127.0.0.1:7480", False),
        ("http://127.8.8.8:7480", "127.8.8.8:7480", False),
        ("http://[::1]:7480", "[::1]:7480", False),
        ("http://localhost:0", "localhost:0", False),
        ("https://0.0.0.0:7480", "0.0.0.0:7480", True),
        ("https://n1.example.com:7480", "n1.example.com:7480", True),
    ],
)
def test_http_is_served_in_clear_on_this_machine_and_with_tls_anywhere(
    tmp_path: Path, url: str, address: str, is_tls: bool
) -> None:
    found = read_node_settings(write(tmp_path / "node.toml", {**HTTP, "http_listen": url}))

    assert found.http is not None
    assert (found.http.address, found.http.is_tls) == (address, is_tls)
    assert found.http_client == tmp_path / "../../clients/erp/client.toml"
    assert read_node_settings(write(tmp_path / "without.toml", SAMPLE)).http is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "http://0.0.0.0:7480",
            "would take API keys in clear from other machines; write https://0",
        ),
        ("http://[::]:7480", "would take API keys in clear"),
        ("http://10.1.2.3:7480", "which shows the node's certificate, or listen at 127.0.0.1"),
        ("http://localhost.example.com:7480", "would take API keys in clear"),
        ("http://127.0.0.1.example.com:7480", "would take API keys in clear"),
        ("127.0.0.1:7480", "is not http://HOST:PORT or https://HOST:PORT"),
        ("ftp://127.0.0.1:7480", "is not http://HOST:PORT"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://user@127.0.0.1:7480", "is not host:port"),
    ],
)
def test_an_http_address_that_is_none_or_not_safe_is_refused(
    tmp_path: Path, url: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_node_settings(write(tmp_path / "node.toml", {**HTTP, "http_listen": url}))

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("given_keys", "lacking"),
    [
        ({"http_listen": "http://127.0.0.1:7480"}, "http_client"),
        ({"http_client": "client.toml"}, "http_listen"),
    ],
)
def test_the_http_endpoint_needs_an_address_and_a_client(
    tmp_path: Path, given_keys: dict[str, str], lacking: str
) -> None:
    with pytest.raises(SettingsError, match=f"the HTTP endpoint needs {lacking} too"):
        read_node_settings(write(tmp_path / "node.toml", {**SAMPLE, **given_keys}))
