"""`lotmark config`: what settings come to, from where, and what is wrong in which line."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client.settings import KEYS as CLIENT_KEYS
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.main import app
from lotmark_node.node_settings import NodeSettings
from lotmark_node.settings_files import SettingsKind, settings_kind

NODE = "OEM-A/nodes/n1/node.toml"
WITNESS = "LAB-17025/witnesses/w1/witness.toml"
CLIENT = "OEM-A/clients/erp/client.toml"


@pytest.fixture(autouse=True)
def no_settings_around_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in NodeSettings.model_fields:
        monkeypatch.delenv(f"LOTMARK_{key.upper()}", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plan = make_plan(
        "configured",
        [],
        ["OEM-A/n1@127.0.0.1:7401", "T1-STATOR/n1@127.0.0.1:7402"],
        ["OEM-A/erp"],
        ["LAB-17025/w1@127.0.0.1:7404"],
    )
    found_consortium(tmp_path / "consortium", plan, now_ms=time.time_ns() // 1_000_000)
    return tmp_path / "consortium"


def config(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["config", *map(str, arguments)])


def shown(path: Path) -> dict[str, dict[str, Any]]:
    done = config("show", path, "--json")
    assert done.exit_code == 0, done.output
    return {each["key"]: each for each in json.loads(done.stdout)["settings"]}


def problems(path: Path) -> list[dict[str, str]]:
    done = config("check", path, "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code == 0) == document["good"] == (not document["problems"])
    found: list[dict[str, str]] = document["problems"]
    return found


def line_of(path: Path, start: str) -> int:
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(start))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("name", [NODE, WITNESS, CLIENT])
def test_what_init_writes_can_be_used_and_is_shown_with_its_lines(folder: Path, name: str) -> None:
    path = folder / name
    assert problems(path) == []

    for key, each in shown(path).items():
        if each["source"] == "file":
            start = key.split(".", 1)[-1]
            quoted = f'"{start}"' if "/" in start else start
            assert each["line"] == line_of(path, f"{quoted} "), key


def test_each_kind_is_told_from_its_keys(folder: Path) -> None:
    assert [settings_kind(folder / name) for name in (NODE, WITNESS, CLIENT)] == [
        SettingsKind.NODE, SettingsKind.WITNESS, SettingsKind.CLIENT,
    ]  # fmt: skip


def test_the_environment_is_named_where_it_overrides_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTMARK_LISTEN", "0.0.0.0:9000")
    values = shown(folder / NODE)

    assert (values["listen"]["value"], values["listen"]["source"]) == (
        "0.0.0.0:9000",
        "environment",
    )
    assert values["listen"]["line"] is None
    assert values["party"]["source"] == "file"
    assert values["peers.T1-STATOR/n1"]["value"] == "127.0.0.1:7402"


def test_what_is_not_set_is_shown_as_that(folder: Path) -> None:
    path = folder / NODE
    replace(path, "metrics_listen", "# metrics_listen")
    value = shown(path)["metrics_listen"]

    assert (value["value"], value["source"], value["line"]) == (None, "default", None)
    assert "metrics_listen" in config("show", path).stdout
    assert "(not set)  # default" in config("show", path).stdout


def test_no_secret_is_shown(folder: Path) -> None:
    for name in (NODE, WITNESS, CLIENT):
        path = folder / name
        text = config("show", path).stdout
        for secret in [*path.parent.rglob("*.key"), *path.parent.rglob("key.pem")]:
            lines = secret.read_text().split("\n")
            assert not any(line and line in text for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "start", "words"),
    [
        ("127.0.0.1:7401", "127.0.0.1", "listen", "is not host:port"),
        ('= "OEM-A"', '= "oem a"', "party", "oem a"),
        ("127.0.0.1:7402", "127.0.0.1:0", '"T1-STATOR/n1"', "has port 0"),
        ("keys/log.key", "keys/no.key", "log_key", "does not exist; name the right file"),
        ('"keys/log.key"', "7", "log_key", "is no string; write its value in quotes"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    folder: Path, old: str, new: str, start: str, words: str
) -> None:
    path = folder / NODE
    replace(path, old, new)
    (problem, *_) = problems(path)

    assert problem["place"] == f"{path}:{line_of(path, start)}"
    assert words in problem["text"]


def test_every_mistake_is_named_at_once(folder: Path) -> None:
    path = folder / NODE
    replace(path, "127.0.0.1:7401", "nowhere")
    replace(path, '= "n1"', '= "N 1"')

    assert len(problems(path)) == 2


def test_a_mistake_of_grammar_is_named_with_its_line(folder: Path) -> None:
    path = folder / NODE
    replace(path, '= "n1"', "= n1")
    (problem,) = problems(path)

    assert problem["place"] == f"{path}:{line_of(path, 'node ')}"


def test_an_unknown_key_is_named_with_its_line(folder: Path) -> None:
    for name in (NODE, WITNESS, CLIENT):
        path = folder / name
        path.write_text('colour = "blue"\n' + path.read_text())
        (problem,) = problems(path)
        assert problem["place"] == f"{path}:1"


def test_peers_that_the_genesis_does_not_have_are_found(folder: Path) -> None:
    path = folder / NODE
    replace(path, '"T1-STATOR/n1"', '"T1-STATOR/n9"')
    (problem,) = problems(path)

    assert "voter T1-STATOR/n1 has no address in the settings of OEM-A/n1" in problem["text"]


def test_a_file_of_no_kind_and_one_that_is_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('colour = "blue"\n')

    assert (
        "start from a file that `lotmark init` wrote"
        in problems(tmp_path / "other.toml")[0]["text"]
    )
    assert "cannot be read" in problems(tmp_path / "none.toml")[0]["text"]


def test_every_key_that_a_client_may_have_is_shown_under_its_own_name(folder: Path) -> None:
    path = folder / CLIENT
    default = shown(path)["outbox"]
    path.write_text(f'outbox = "/var/lib/lotmark/erp.db"\n{path.read_text()}')
    set_here = shown(path)["outbox"]

    assert (default["value"], default["source"]) == (str(path.with_name("outbox.db")), "default")
    assert (set_here["value"], set_here["source"]) == ("/var/lib/lotmark/erp.db", "file")
    assert set_here["line"] == 1
    assert {key.partition(".")[0] for key in shown(path)} <= set(CLIENT_KEYS)
    assert problems(path) == []
