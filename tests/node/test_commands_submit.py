"""`lotmark submit`: documents become entries, and what does not is named with its reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lotmark.client.submission import sole_signer
from lotmark.verify.receipt import verify_receipt
from lotmark_node.main import app
from tests.node.running_node import NodeProcess, lotmark, node_process
from tests.shared_vectors import require_shared

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes", "T1-STATOR/cam:measurement")
LOT = "https://id.gs1.org/01/04012345000016/10/CU-7"
MEASUREMENT = f"""
[[event]]
type = "measurement"
device = "lims"
time = "2025-12-23T09:14:07.312Z"
uncertainty_us = 2000
capture = "SENSOR_DIRECT"
items = [{{ id = "{LOT}", role = "SUBJECT" }}]
files = [{{ path = "raw.csv", media_type = "text/csv" }}]
[event.measurement]
feature = "resistivity"
value = "17.241"
unit = "nOhm.m"
verdict = "CONFORMING"
method = "four-terminal-dc"
"""
RECEIPT = {
    "type": "material_receipt",
    "device": "erp",
    "time": "2025-12-23T10:00:00Z",
    "uncertainty_us": 1_000_000,
    "capture": "MANUAL",
    "items": [{"id": LOT, "role": "SUBJECT"}],
    "material_receipt": {"supplier": "T1-STATOR", "delivery_note": "DN-7"},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("submit") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    (tmp_path / "raw.csv").write_text("t;rho\n0;17.241\n")
    (tmp_path / "two.toml").write_text(2 * MEASUREMENT)
    (tmp_path / "one.json").write_text(json.dumps(RECEIPT))
    return tmp_path


def submit(node: NodeProcess, *arguments: str, holder: str = "mes") -> Result:
    client = str(node.client("T1-STATOR", holder))
    return CliRunner().invoke(app, ["submit", *arguments], env={"LOTMARK_CLIENT": client})


def test_each_event_of_each_document_gets_a_line_with_its_entry(
    node: NodeProcess, documents: Path
) -> None:
    done = submit(node, str(documents / "two.toml"), str(documents / "one.json"))
    lines = [line.split() for line in done.stdout.splitlines()]

    assert (done.exit_code, done.stderr) == (0, "")
    assert [line[0] for line in lines] == ["measurement", "measurement", "material_receipt"]
    assert [(line[2], line[4]) for line in lines] == [("entry", "accepted")] * 3
    first = int(lines[0][3])
    assert [int(line[3]) for line in lines] == [first, first + 1, first + 2]


def test_a_program_gets_every_id_whole(node: NodeProcess, documents: Path) -> None:
    done = submit(node, str(documents / "one.json"), "--json", "--lane", "3")
    told = json.loads(done.stdout)
    (event,) = told["events"]

    assert (told["accepted_count"], told["refused_count"]) == (1, 0)
    assert event["file"] == str(documents / "one.json")
    assert (event["type"], event["outcome"], event["detail"]) == (
        "material_receipt",
        "ACCEPTED",
        "",
    )
    assert len(bytes.fromhex(event["event_id"])) == 32
    assert event["receipt"] is None


def test_receipts_are_written_beside_each_other_and_hold(
    node: NodeProcess, documents: Path
) -> None:
    folder = documents / "receipts"
    done = submit(node, str(documents / "two.toml"), "--receipt-dir", str(folder), "--json")
    told = json.loads(done.stdout)["events"]

    assert done.exit_code == 0
    assert sorted(map(str, folder.iterdir())) == sorted(event["receipt"] for event in told)
    for event in told:
        path = folder / f"entry-{event['index']}.receipt"
        found = verify_receipt(
            path.read_bytes(), genesis_json=node.genesis.to_json(), chain_id=node.chain_id
        )
        assert found.event_id.hex() == event["event_id"]


def test_check_sends_nothing_and_needs_no_client(documents: Path) -> None:
    paths = [str(documents / "two.toml"), str(documents / "one.json")]
    done = CliRunner().invoke(app, ["submit", *paths, "--check"], env={"LOTMARK_CLIENT": ""})

    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == (
        "3 events keep every rule that can be checked here; nothing was sent"
    )


def test_a_document_that_breaks_a_rule_is_named_and_none_of_the_others_is_sent(
    node: NodeProcess, documents: Path
) -> None:
    (documents / "bad.toml").write_text(MEASUREMENT.replace('"17.241"', '"17,241"'))
    before = json.loads(node.lotmark("log", "head", "--as", str(node.client("OEM-A", "erp")),
                                     "--json").stdout)["size"]  # fmt: skip
    done = submit(node, str(documents / "two.toml"), str(documents / "bad.toml"))
    after = node.lotmark("log", "head", "--as", str(node.client("OEM-A", "erp")), "--json")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"{documents}/bad.toml: event[0].measurement.value" in done.stderr
    assert "17,241" in done.stderr
    assert json.loads(after.stdout)["size"] == before


def test_an_event_that_the_ledger_refuses_makes_the_answer_no(
    node: NodeProcess, documents: Path
) -> None:
    done = submit(node, str(documents / "one.json"), str(documents / "two.toml"), holder="cam")
    refused, *accepted = done.stdout.splitlines()

    assert done.exit_code == 1
    assert refused.endswith(
        "KEY_NOT_PERMITTED: the key may not sign events of this type. Sign with a key that may,"
        " or register one."
    )
    assert [line.rsplit(maxsplit=1)[-1] for line in accepted] == ["accepted", "accepted"]


def test_epcis_documents_need_what_they_do_not_say_and_then_go_in(
    node: NodeProcess, tmp_path: Path
) -> None:
    source = require_shared("data/gs1-epcis/JSON/Example_9.6.3-AggregationEvent.jsonld")
    document = tmp_path / "aggregation.jsonld"
    document.write_bytes(source.read_bytes())
    without = submit(node, str(document))
    done = submit(
        node, str(document), "--capture", "manual", "--uncertainty-us", "1000000", "--json"
    )

    assert (without.exit_code, without.stdout) == (2, "")
    assert "EPCIS does not say how its facts were captured" in without.stderr
    assert "Add --capture sensor-direct|manual|historical and --uncertainty-us" in without.stderr
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["events"][0]["type"] == "epcis_document"


def test_what_another_process_is_submitting_with_is_not_signed_with(
    node: NodeProcess, documents: Path
) -> None:
    with sole_signer(node.client("T1-STATOR", "mes").parent / "batch.key"):
        done = lotmark(
            "submit", str(documents / "one.json"), "--as", str(node.client("T1-STATOR", "mes"))
        )

    assert (done.returncode, done.stdout) == (2, "")
    assert "now; wait until it is done, or give each a key of its own\n" in done.stderr


def test_a_missing_file_is_named(node: NodeProcess) -> None:
    done = submit(node, "nowhere.toml")

    assert (done.exit_code, done.stderr) == (2, "nowhere.toml: No such file or directory\n")
