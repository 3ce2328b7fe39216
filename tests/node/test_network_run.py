"""`lotmark network run` on real processes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import TrialNetwork, free_address

STOP_MAX_S = 60


def running(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "lotmark_node.main", "network", "run", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_all_nodes_of_a_trial_run_until_they_are_told_to_end(tmp_path: Path) -> None:
    plan = make_plan(
        "trial",
        (),
        [f"OEM-A/n1@{free_address()}"],
        ["OEM-A/erp"],
        [f"LAB-17025/w1@{free_address()}"],
    )
    trial = TrialNetwork(tmp_path / "consortium", plan)
    with running(trial.folder) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        answers = trial.status("OEM-A/n1", trial.client_settings("OEM-A/erp"))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=STOP_MAX_S)

    assert told == {"running": ["LAB-17025/w1", "OEM-A/n1"]}
    assert answers is not None
    assert (process.returncode, errors) == (0, "")


def test_a_folder_without_nodes_is_named_with_what_to_name(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        _, errors = process.communicate(timeout=STOP_MAX_S)

    assert process.returncode == 2
    assert "holds no PARTY/nodes/NODE/node.toml; name the folder" in errors
