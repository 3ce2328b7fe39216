"""A backup holds the whole ledger, verified, and nothing from which a node could start."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark.client.settings import read_client_settings
from lotmark_node import node_settings
from lotmark_node.consortium.plan import make_plan
from lotmark_node.main import app
from lotmark_node.trial.network import TrialNetwork, free_address
from tests.node.ledger_in_memory import measurements
from tests.node.running_node import NodeProcess
from tests.node.submitting import submit_events

WAIT_MAX_S = 30.0
KEPT = [
    "acceptances.json",
    "backup.json",
    "evidence",
    "genesis.json",
    "ledger.snapshot",
    "node.toml",
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["node", *map(str, arguments)])


def give_port(node: NodeProcess) -> None:
    """Let the node listen where its settings say, so that they tell where it answers."""
    text = node.settings.read_text()
    changed = text.replace('\nlisten = "127.0.0.1:0"', f'\nlisten = "{free_address()}"')
    assert changed != text
    node.settings.write_text(changed)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node with three events and one file of evidence."""
    made = NodeProcess(tmp_path_factory.mktemp("backup") / "consortium", parties=["OEM-A:oem"])
    text = made.settings.read_text()
    made.settings.write_text(
        text.replace('\nlisten = "127.0.0.1:0"', f'\nlisten = "{free_address()}"')
    )
    (made.data / "evidence").mkdir()
    (made.data / "evidence/one.json").write_text("{}")
    made.start()
    submit_events(read_client_settings(made.client("OEM-A", "erp")), measurements(1, 3))
    yield made
    if made.process is not None:
        made.stop()


@pytest.fixture(scope="module")
def made(node: NodeProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "backup"
    done = run("backup", node.settings, folder, "--json")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "backup")
    return tmp_path / "backup"


def test_a_running_nodes_ledger_evidence_and_settings_are_kept(
    node: NodeProcess, made: Path
) -> None:
    assert sorted(path.name for path in made.iterdir()) == KEPT
    manifest = json.loads((made / "backup.json").read_text())
    assert (manifest["node"], manifest["size"]) == ("OEM-A/n1", manifest["signed_size"])
    assert manifest["size"] >= 2 + 5
    assert (made / "evidence/one.json").read_text() == "{}"
    assert (made / "node.toml").read_bytes() == node.settings.read_bytes()


def test_no_private_key_and_no_data_of_the_node_is_in_it(node: NodeProcess, made: Path) -> None:
    secrets = [path.read_bytes() for path in node.folder.rglob("*.key")]
    secrets += [path.read_bytes() for path in node.folder.rglob("key.pem")]
    kept = [path.read_bytes() for path in made.rglob("*") if path.is_file()]

    assert len(secrets) > 5
    assert not any(secret.strip() in content for secret in secrets for content in kept)
    names = {path.name for path in made.rglob("*")}
    assert not names & {"signed-maximum", "journal", "ledger", "keys", "tls", "data"}


def test_a_restored_backup_is_verified_and_starts_no_node(
    node: NodeProcess, copy: Path, tmp_path: Path
) -> None:
    done = run("restore", copy, tmp_path / "read", "--chain-id", node.chain_id.hex())

    assert done.exit_code == 0, done.output
    assert "No node starts from it: OEM-A/n1 had signed a tree of " in done.stdout
    assert sorted(path.name for path in (tmp_path / "read").iterdir()) == sorted(
        {*KEPT} - {"backup.json"}
    )
    settings = node_settings.read_node_settings(tmp_path / "read/node.toml")
    for field in ("data", "proposal_key", "log_key", "cosign_key", "admit_key", "tls_key"):
        assert not getattr(settings, field).exists(), field
    started = run("run", tmp_path / "read/node.toml")
    assert started.exit_code == 2


@pytest.mark.parametrize("name", ["ledger.snapshot", "evidence/one.json", "genesis.json"])
def test_any_changed_or_missing_file_is_found(
    node: NodeProcess, copy: Path, tmp_path: Path, name: str
) -> None:
    raw = bytearray((copy / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / name).write_bytes(raw)
    changed = run("restore", copy, tmp_path / "read", "--chain-id", node.chain_id.hex())
    (copy / name).unlink()
    missing = run("restore", copy, tmp_path / "read", "--chain-id", node.chain_id.hex())

    assert (changed.exit_code, missing.exit_code) == (2, 2)
    assert f"{name} is not as it was written; use another copy" in changed.stderr
    assert f"{name} is missing, or was not backed up" in missing.stderr
    assert not (tmp_path / "read").exists()


def test_a_ledger_that_was_swapped_with_its_digest_is_found(
    node: NodeProcess, copy: Path, tmp_path: Path
) -> None:
    """Whoever changes both is caught by the signatures."""
    raw = bytearray((copy / "ledger.snapshot").read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / "ledger.snapshot").write_bytes(raw)
    manifest = json.loads((copy / "backup.json").read_text())
    manifest["digests"]["ledger.snapshot"] = hashlib.sha256(raw).hexdigest()
    (copy / "backup.json").write_text(json.dumps(manifest))
    done = run("restore", copy, tmp_path / "read", "--chain-id", node.chain_id.hex())

    assert (done.exit_code, "ledger.snapshot: INVALID" in done.stderr) == (2, True)


def test_a_backup_of_another_chain_is_refused(copy: Path, tmp_path: Path) -> None:
    done = run("restore", copy, tmp_path / "read", "--chain-id", "ab" * 32)

    assert (done.exit_code, "another one" in done.stderr) == (2, True)


def test_a_folder_in_use_is_left_alone(node: NodeProcess, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine").write_text("mine")
    backed_up = run("backup", node.settings, tmp_path / "used")
    restored = run("restore", copy, tmp_path / "used", "--chain-id", node.chain_id.hex())

    assert (backed_up.exit_code, restored.exit_code) == (2, 2)
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["mine"]


def test_a_node_that_does_not_answer_leaves_no_half_backup(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    text = node.settings.read_text()
    node.settings.write_text(
        text.replace('\nlisten = "127.0.0.1:0"', f'\nlisten = "{free_address()}"')
    )
    done = run("backup", node.settings, tmp_path / "backup")

    assert done.exit_code == 3
    assert list((tmp_path / "backup").iterdir()) == []


def test_a_voter_that_comes_back_with_its_keys_and_no_data_is_refused_by_its_peers(
    tmp_path: Path,
) -> None:
    """What no backup does, an operator may still try: the others remember."""
    names = ("OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1")
    plan = make_plan(
        "emptied",
        [],
        [f"{name}@{free_address()}" for name in names],
        ["OEM-A/erp"],
        [f"LAB-17025/w1@{free_address()}"],
    )
    trial = TrialNetwork(tmp_path / "consortium", plan)
    try:
        trial.start()
        client = trial.client_settings("OEM-A/erp")
        submit_events(client, measurements(1, 2))
        leader = trial.leader(client)
        emptied = next(name for name in reversed(names) if name != leader)
        trial.voters[emptied].kill()
        data = trial.node_settings(emptied).with_name("data")
        shutil.rmtree(data)
        data.mkdir()
        trial.voters[emptied].launch()
        trial.voters[emptied].wait_ready()

        end_s = time.monotonic() + WAIT_MAX_S
        logs = [trial.voters[name].log for name in names]
        while not any("older copy" in log.read_text(errors="replace") for log in logs):
            assert time.monotonic() < end_s, "nobody refused it"
            time.sleep(0.05)  # another process's state, which nothing announces
        submit_events(client, measurements(3, 2))
        status = trial.status(emptied, client)
        assert status is not None
        assert (status.size, status.signed_size) == (2, 2), "the founding entries, and no more"
    finally:
        trial.stop()
