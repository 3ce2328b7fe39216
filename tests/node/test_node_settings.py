"""A node's settings: the file, the environment that overrides it, and every mistake in either."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark.client.settings import SettingsError
from lotmark_node.node_settings import NodeSettings, read_node_settings

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
@given(at=st.integers(0, 450), put=st.binary(max_size=4), cut=st.integers(0, 4))
def test_any_file_gives_settings_or_a_settings_error(
    tmp_path: Path, at: int, put: bytes, cut: int
) -> None:
    path = write(tmp_path / "node.toml", SAMPLE)
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + put + raw[at + cut :])
    with suppress(SettingsError):
        assert read_node_settings(path).data.is_absolute()
