"""API keys: what the file keeps, what it refuses, and how the command line changes it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark_node.http.api_keys import KEYS_MAX, ApiKeyFile, May, Service, parse_rights
from lotmark_node.http.errors import ApiKeyFileError
from lotmark_node.main import app
from tests.node.http.http_node import CLIENT, NODE, PARTY, serve_http
from tests.node.running_node import NodeProcess

ERP = Service("LAB-17025", "erp", bytes(32).hex())


def made(keys: ApiKeyFile, name: str, *, may: str = May.SEAL, per_minute: int = 60) -> str:
    return keys.make(name, ERP, may=parse_rights(may), per_minute=per_minute, now_ms=1)


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeyFile:
    return ApiKeyFile(tmp_path / "api-keys.json")


def test_a_key_is_found_by_what_was_shown_and_by_nothing_near_it(keys: ApiKeyFile) -> None:
    secret = made(keys, "erp", may=May.READ, per_minute=7)

    found = keys.find(secret, ERP)
    assert found is not None
    assert (found.name, found.may, found.per_minute) == ("erp", frozenset({May.READ}), 7)
    for other in ("", secret[:-1], f"{secret}x", secret.upper(), found.digest):
        assert keys.find(other, ERP) is None


def test_a_key_has_256_random_bits_and_the_file_its_digest_only(
    keys: ApiKeyFile, tmp_path: Path
) -> None:
    secrets = [made(keys, f"k{number}") for number in range(3)]

    assert len(set(secrets)) == 3
    assert {len(secret) for secret in secrets} == {len("lmk_") + 43}  # base64 of 32 bytes
    written = (tmp_path / "api-keys.json").read_text()
    assert not [secret for secret in secrets if secret in written or secret[4:] in written]


@pytest.mark.parametrize(
    "service",
    [
        Service("OEM-A", "erp", ERP.batch_key),
        Service(ERP.party, "lims", ERP.batch_key),
        Service(ERP.party, "erp", "11" * 32),
    ],
)
def test_a_key_is_good_for_its_own_service_only(keys: ApiKeyFile, service: Service) -> None:
    assert keys.find(made(keys, "erp"), service) is None


def test_a_running_reader_sees_new_and_revoked_keys_of_another_process(
    keys: ApiKeyFile, tmp_path: Path
) -> None:
    reader = ApiKeyFile(tmp_path / "api-keys.json")
    assert reader.find("lmk_x", ERP) is None
    secret = made(keys, "erp")
    assert reader.find(secret, ERP) is not None
    keys.revoke("erp", now_ms=2)

    assert reader.find(secret, ERP) is None
    (tmp_path / "api-keys.json").unlink()
    assert reader.find(secret, ERP) is None


@pytest.mark.parametrize(
    ("name", "per_minute", "reason"),
    [
        ("erp", 60, "has a key erp; give this one another name"),
        ("ERP!", 60, "'ERP!' is no name of a key"),
        ("../x", 60, "'../x' is no name of a key"),
        ("x" * 40, 60, "is no name of a key"),
        ("other", 0, "0 requests a minute is not 1 to 60000"),
        ("other", 60_001, "60001 requests a minute is not 1 to 60000"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    keys: ApiKeyFile, name: str, per_minute: int, reason: str
) -> None:
    made(keys, "erp")

    with pytest.raises(ApiKeyFileError, match=reason):
        made(keys, name, per_minute=per_minute)
    assert [key.name for key in keys.all()] == ["erp"]


def test_the_file_has_a_bound(keys: ApiKeyFile, tmp_path: Path) -> None:
    made(keys, "k0")
    path = tmp_path / "api-keys.json"
    (first,) = json.loads(path.read_text())["keys"]
    many = [{**first, "name": f"k{number}"} for number in range(KEYS_MAX)]
    path.write_text(json.dumps({"keys": many}))

    with pytest.raises(ApiKeyFileError, match=f"has {KEYS_MAX} keys, of {KEYS_MAX} at most"):
        made(keys, "one-more")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("{", "is no file of API keys"),
        ("[]", "api keys is an array, not an object"),
        ('{"keys": [{}]}', "lacks name"),
        ("[" * 100_000, "is no file of API keys"),
    ],
)
def test_a_damaged_file_lets_nobody_in_and_is_not_overwritten(
    keys: ApiKeyFile, tmp_path: Path, raw: str, reason: str
) -> None:
    path = tmp_path / "api-keys.json"
    path.write_text(raw)
    path.chmod(0o600)

    for act in (lambda: keys.find("x", ERP), lambda: made(keys, "erp")):
        with pytest.raises(ApiKeyFileError, match=reason):
            act()
    assert path.read_text() == raw


def test_a_file_that_others_may_read_is_not_used(keys: ApiKeyFile, tmp_path: Path) -> None:
    made(keys, "erp")
    (tmp_path / "api-keys.json").chmod(0o644)

    with pytest.raises(ApiKeyFileError, match="has mode 0644"):
        keys.all()


# The command line


@pytest.fixture
def node(tmp_path: Path) -> NodeProcess:
    """Found a consortium whose node serves HTTP; it is not started."""
    made_node = NodeProcess(
        tmp_path / "c", parties=(f"{PARTY}:laboratory",), clients=(CLIENT,), node=NODE
    )
    serve_http(made_node, "http://127.0.0.1:0")
    return made_node


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["node", "api-key", *map(str, arguments)])


def test_a_key_is_made_listed_and_revoked_by_its_name(node: NodeProcess) -> None:
    empty = run("list", node.settings)
    assert empty.stdout.startswith("There is no key yet: lotmark node api-key new")
    shown = run("new", node.settings, "erp", "--per-minute", "9")
    secret, told = shown.stdout.splitlines()
    assert secret.startswith("lmk_")
    assert told == f"This is key erp, for {PARTY}/erp. It is not shown again."
    run("new", node.settings, "board", "--read-only")

    listed = run("list", node.settings).stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [
        ["erp", "seal", "9/min"],
        ["board", "read", "120/min"],
    ]
    assert secret not in "".join(listed)
    assert run("revoke", node.settings, "erp").exit_code == 0
    assert "REVOKED" in run("list", node.settings).stdout.splitlines()[0]
    again = run("revoke", node.settings, "erp")
    assert again.exit_code == 2
    assert "has no key 'erp' in force" in again.stderr


def test_a_node_without_an_endpoint_has_no_keys_and_is_told_how_to_get_one(
    tmp_path: Path,
) -> None:
    plain = NodeProcess(tmp_path / "c", parties=(f"{PARTY}:laboratory",), node=NODE)

    done = run("new", plain.settings, "erp")
    assert done.exit_code == 2
    assert "has no HTTP endpoint; in node.toml write http_listen =" in done.stderr


def test_a_client_of_another_party_is_no_service_of_a_node(tmp_path: Path) -> None:
    node = NodeProcess(
        tmp_path / "c",
        parties=(f"{PARTY}:laboratory", "OEM-A:oem"),
        clients=("OEM-A/erp",),
        node=NODE,
    )
    client = node.client("OEM-A", "erp")
    client.write_text(client.read_text().replace(':0"', ':7401"'))
    lines = f'http_listen = "http://127.0.0.1:0"\nhttp_client = "{client}"\n'
    node.settings.write_text(lines + node.settings.read_text())

    done = run("new", node.settings, "erp")
    assert done.exit_code == 2
    assert f"is of OEM-A, but {NODE} seals for its own party alone" in done.stderr
