"""What is in `deploy/` is taken by the tools it is for; tests/network sees that metrics exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.named_metrics import DEPLOY, EDGE_RULES, RULES, board, expressions, named_metrics

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
TOOL_S = 60


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a tool of the system, or skipped
        command, capture_output=True, text=True, timeout=TOOL_S, check=False
    )


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed, so its files were not checked by it")
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    text = unit.read_text()
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    program = command.removeprefix("ExecStart=").split()[0]
    installed = tmp_path / unit.name.replace("@", "@n1")
    installed.write_text(text.replace(program, sys.executable))  # one that is there

    done = run(analyze, "verify", "--man=no", installed)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_there_is_with_little_exposure(unit: Path) -> None:
    (command,) = re.findall(r"^ExecStart=\S+/lotmark (.+)$", unit.read_text(), re.MULTILINE)
    group, verb, settings, *_ = command.split()

    helped = run(sys.executable, "-m", "lotmark_node.main", group, verb, "--help")

    assert (helped.returncode, group in unit.name) == (0, True)
    assert settings.startswith("/etc/lotmark/%i/")
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert line in unit.read_text().splitlines()


def test_there_is_a_unit_for_each_kind_of_process() -> None:
    assert [unit.name for unit in UNITS] == [
        "lotmark-edge@.service",
        "lotmark-node@.service",
        "lotmark-witness@.service",
    ]


@pytest.mark.parametrize("rules", [RULES, EDGE_RULES], ids=lambda rules: rules.name)
def test_prometheus_takes_the_rules(rules: Path) -> None:
    done = run(tool("promtool"), "check", "rules", rules)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_severity_says_what_is_and_what_to_do() -> None:
    alerts = [
        alert for rules in (RULES, EDGE_RULES) for alert in rules.read_text().split("- alert: ")[1:]
    ]

    assert len(alerts) == len({alert.split()[0] for alert in alerts}) == 34
    for alert in alerts:
        assert re.search(r"severity: (page|warning|notice)\}", alert), alert
        assert re.search(r'^\s+summary: ".+"$', alert, re.MULTILINE), alert
        assert re.search(r'^\s+action: ".+"$', alert, re.MULTILINE), alert


def test_the_board_has_panels_beside_each_other_and_each_asks_something() -> None:
    panels = board()["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len(places) == len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_parentheses_of_every_expression_match() -> None:
    for file, found in expressions().items():
        assert found, file
        for expression in found:
            for left, right in ("()", "{}", "[]"):
                assert expression.count(left) == expression.count(right), expression


def test_the_rules_and_the_board_name_our_metrics() -> None:
    assert {"lotmark_role", "lotmark_order_write_seconds", "lotmark_evidence_files"} <= (
        named_metrics()
    )
