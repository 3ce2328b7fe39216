"""`lotmark init`: it founds, says what comes next, and answers mistakes in one line."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark.client.settings import read_client_settings
from lotmark.genesis import chain_id, parse_genesis
from lotmark_node.main import app
from lotmark_node.node_settings import read_node_settings
from lotmark_node.witness.settings import read_witness_settings


def init(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


def test_init_just_works_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = init("demo")
    settings = read_node_settings(Path("demo/OEM-A/nodes/n1/node.toml"))
    raw = settings.genesis.read_bytes()

    assert done.exit_code == 0, done.output
    assert f"chain id {chain_id(raw).hex()}" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: lotmark node run demo/OEM-A/nodes/n1/node.toml"
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert [party.id for party in parse_genesis(raw).parties] == [
        "LAB-17025",
        "OEM-A",
        "T1-STATOR",
        "T2-CU-JX",
    ]
    assert {str(path.relative_to("demo").parent) for path in Path("demo").rglob("client.toml")} == {
        "OEM-A/clients/erp",
        "T1-STATOR/clients/line-l3",
        "T1-STATOR/clients/aoi-cam07",
        "T1-STATOR/clients/edge-l3",
        "T1-STATOR/clients/review",
        "T2-CU-JX/clients/erp",
        "LAB-17025/clients/lims",
    }


def test_programs_get_one_document_with_every_settings_file(tmp_path: Path) -> None:
    done = init(str(tmp_path / "demo"), "--json")
    document = json.loads(done.stdout)

    assert done.exit_code == 0
    assert done.stdout.count("\n") == 1
    assert document["consortium"] == "stator-line"
    assert document["next"].startswith("lotmark node run ")
    for party in document["parties"]:
        for node in party["nodes"]:
            assert read_node_settings(Path(node["settings"])).listen == node["address"]
        for client in party["clients"]:
            settings = read_client_settings(Path(client["settings"]))
            assert (settings.party, settings.holder) == (party["id"], client["holder"])
            assert settings.chain_id.hex() == document["chain_id"]


def test_a_consortium_is_founded_as_the_options_say(tmp_path: Path) -> None:
    done = init(
        str(tmp_path / "it is mine"),
        "--consortium=wires",
        "--party=A:oem:2/3",
        "--party=B:supplier",
        "--node=A/n1@127.0.0.1:7401",
        "--client=B/cam:measurement,gap",
    )
    genesis = parse_genesis((tmp_path / "it is mine" / "genesis.json").read_bytes())

    assert done.exit_code == 0, done.output
    assert f"Next: lotmark node run '{tmp_path}/it is mine/A/nodes/n1/node.toml'" in done.stdout
    assert genesis.consortium == "wires"
    assert [(party.id, party.threshold) for party in genesis.parties] == [("A", 2), ("B", 1)]
    assert len(genesis.voters) == 1
    assert [first.grant.event_types for first in genesis.keys if first.grant.holder == "cam"] == [
        (19, 29)
    ]


def test_a_network_of_three_voters_and_a_witness_takes_one_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = init("demo", "--network")
    genesis = parse_genesis(Path("demo/genesis.json").read_bytes())

    assert done.exit_code == 0, done.output
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert "  LAB-17025  laboratory  witness w1@127.0.0.1:7404, lims" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-5:] == [
        "Next:",
        "  lotmark node run demo/OEM-A/nodes/n1/node.toml",
        "  lotmark node run demo/T1-STATOR/nodes/n1/node.toml",
        "  lotmark node run demo/T2-CU-JX/nodes/n1/node.toml",
        "  lotmark witness run demo/LAB-17025/witnesses/w1/witness.toml",
    ]
    assert [f"{voter.party}/{voter.node}" for voter in genesis.voters] == [
        "OEM-A/n1",
        "T1-STATOR/n1",
        "T2-CU-JX/n1",
    ]


def test_nodes_and_witnesses_are_those_of_the_options(tmp_path: Path) -> None:
    done = init(
        str(tmp_path / "demo"),
        "--node=OEM-A/n1@127.0.0.1:7501",
        "--node=OEM-A/n2@127.0.0.1:7502",
        "--witness=LAB-17025/w1@127.0.0.1:7503",
        "--witness=T2-CU-JX/w1@127.0.0.1:7504",
        "--json",
    )
    document = json.loads(done.stdout)
    witnesses = [witness for party in document["parties"] for witness in party["witnesses"]]

    assert done.exit_code == 0, done.output
    assert [node["address"] for party in document["parties"] for node in party["nodes"]] == [
        "127.0.0.1:7501",
        "127.0.0.1:7502",
    ]
    assert [(each["name"], each["address"]) for each in witnesses] == [
        ("w1", "127.0.0.1:7504"),
        ("w1", "127.0.0.1:7503"),
    ]
    for each in witnesses:
        assert read_witness_settings(Path(each["settings"])).listen == each["address"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--party=OEM-A"], "party 'OEM-A' has no role; write ID:ROLE"),
        (["--party=oem-a:oem"], "party 'oem-a' is not a party's id"),
        (["--party=A:oem", "--party=A:oem"], "party 'A' is planned twice; leave one out"),
        (["--node=n1"], "node 'n1' is not PARTY/NAME@HOST:PORT"),
        (["--node=X/n1@127.0.0.1:1"], "X/n1 belongs to no party; add the party 'X'"),
        (["--node=OEM-A/n1@here"], "address 'here' is not host:port"),
        (
            ["--node=OEM-A/n1@127.0.0.1:0", "--node=OEM-A/n2@127.0.0.1:2"],
            "OEM-A/n1 is to listen at 127.0.0.1:0, but others must know its port beforehand",
        ),
        (["--witness=w1"], "witness 'w1' is not PARTY/NAME@HOST:PORT"),
        (["--witness=OEM-A/n1@127.0.0.1:1"], "OEM-A/n1 is a node and a witness"),
        (["--network", "--node=OEM-A/n1@127.0.0.1:1"], "--network names all parties, nodes and"),
        (["--network", "--party=A:oem"], "Leave it out, or leave out --party, --node and"),
        (["--network", "--witness=OEM-A/w1@127.0.0.1:1"], "--network names all parties, nodes"),
        (["--client=erp"], "client 'erp' is not PARTY/NAME"),
        (["--client=OEM-A/erp:all"], "'all', which is no event type"),
        (["--client=OEM-A/n1"], "OEM-A/n1 is a node and a client"),
        (["--consortium=My Line"], "consortium 'My Line' is not a name"),
    ],
)
def test_wrong_use_is_answered_in_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], reason: str
) -> None:
    done = init(str(tmp_path / "demo"), *arguments)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    first = init(str(tmp_path / "demo"))
    before = (tmp_path / "demo" / "genesis.json").read_bytes()
    second = init(str(tmp_path / "demo"))

    assert (first.exit_code, second.exit_code) == (0, 2)
    assert second.stderr == (
        f"{tmp_path}/demo is not empty; name a folder that is empty or does not exist\n"
    )
    assert (tmp_path / "demo" / "genesis.json").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere, so nothing refuses")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = init(str(tmp_path / "demo"))

    assert done.exit_code == 2
    assert done.stderr == f"{tmp_path}/demo: Permission denied\n"


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = init(str(tmp_path / "file" / "demo"))

    assert done.exit_code == 2
    assert done.stderr == f"{tmp_path}/file/demo: Not a directory\n"


def test_init_needs_a_folder() -> None:
    assert init().exit_code == 2
