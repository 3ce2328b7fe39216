"""`lotmark submit`: documents become entries, and what does not is named with its reason."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client import Client, LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.merkle import leaf_hash
from lotmark.verify.receipt import verify_receipt
from lotmark_node.main import app
from lotmark_node.trial.network import free_address
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


def told(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    events: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return events


def ledger_size(node: NodeProcess) -> int:
    with LedgerSession(read_client_settings(node.client("T1-STATOR", "mes"))) as session:
        return session.ledger().size


def test_a_repeat_makes_no_second_fact_and_names_the_first_entries(
    node: NodeProcess, documents: Path
) -> None:
    arguments = (str(documents / "two.toml"), "--receipt-dir", str(documents / "receipts"))
    first = told(submit(node, *arguments, "--json"))
    size = ledger_size(node)
    second = told(submit(node, *arguments, "--json"))
    text = submit(node, *arguments)

    assert ledger_size(node) == size, "it was looked up, and not sent again"
    assert [each["outcome"] for each in second] == ["EVENT_DUPLICATE"] * 2
    same = ("event_id", "index", "height", "time_ms", "receipt")
    assert [[each[name] for name in same] for each in second] == [
        [each[name] for name in same] for each in first
    ]
    assert text.exit_code == 0
    for line, each in zip(text.stdout.splitlines(), first, strict=True):
        assert f"{each['event_id']}  entry {each['index']} " in line
        assert "  already on the ledger  " in line


def test_what_was_made_of_a_document_is_kept_beside_it(node: NodeProcess, documents: Path) -> None:
    (event,) = told(submit(node, str(documents / "one.json"), "--json"))
    kept = json.loads((documents / "one.json.events").read_text())

    raw = (documents / "one.json").read_bytes()
    assert kept["document_sha256"] == hashlib.sha256(raw).hexdigest()
    assert [leaf_hash(bytes.fromhex(each)).hex() for each in kept["events"]] == [event["event_id"]]
    assert not list(documents.glob("*.part"))


@pytest.mark.parametrize("change", ["document", "file beside it", "--again"])
def test_a_change_or_again_makes_new_facts(node: NodeProcess, documents: Path, change: str) -> None:
    path = documents / "two.toml"
    first = told(submit(node, str(path), "--json"))
    if change == "document":
        path.write_text(path.read_text().replace("17.241", "17.242"))
    elif change == "file beside it":
        (documents / "raw.csv").write_text("t;rho\n0;17.242\n")
    new = told(submit(node, str(path), "--json", *(["--again"] * (change == "--again"))))
    repeat = told(submit(node, str(path), "--json"))

    assert [each["outcome"] for each in new] == ["ACCEPTED"] * 2
    assert not {each["event_id"] for each in new} & {each["event_id"] for each in first}
    assert [each["index"] for each in repeat] == [each["index"] for each in new]


def test_a_document_with_its_own_nonce_needs_nothing_beside_it(
    node: NodeProcess, documents: Path
) -> None:
    path = documents / "one.json"
    path.write_text(json.dumps({**RECEIPT, "nonce": "5e" * 16}))
    first, second = (told(submit(node, str(path), "--json")) for _ in range(2))
    again = submit(node, str(path), "--again")

    assert (first[0]["outcome"], second[0]["outcome"]) == ("ACCEPTED", "EVENT_DUPLICATE")
    assert first[0]["index"] == second[0]["index"]
    assert not (documents / "one.json.events").exists()
    assert again.exit_code == 2
    assert "carries the nonces of its events, so it makes no others" in again.stderr


def test_where_the_events_cannot_be_kept_nothing_is_sent_unless_again(
    node: NodeProcess, documents: Path
) -> None:
    path = documents / "one.json"
    (documents / "one.json.events").mkdir()  # also root cannot put a file there
    (documents / "one.json.events" / "x").touch()
    again = submit(node, str(path), "--again", "--json")
    refused = submit(node, str(path))

    assert told(again)[0]["outcome"] == "ACCEPTED"
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert not list(documents.glob("*.part"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere, so nothing refuses")
def test_a_folder_that_may_not_be_written_is_refused_with_the_remedy(
    node: NodeProcess, documents: Path
) -> None:
    documents.chmod(0o500)
    refused = submit(node, str(documents / "one.json"))
    again = submit(node, str(documents / "one.json"), "--again")
    documents.chmod(0o700)

    assert (refused.exit_code, refused.stdout, again.exit_code) == (2, "", 0)
    assert "one.json.events cannot be written (Permission denied), so a repeat" in refused.stderr
    assert "--again" in refused.stderr


def test_kept_events_that_cannot_be_read_are_not_taken_for_none(
    node: NodeProcess, documents: Path
) -> None:
    (documents / "one.json.events").write_text('{"events": []}')
    done = submit(node, str(documents / "one.json"))

    assert (done.exit_code, done.stdout) == (2, "")
    assert "one.json.events does not say which events were made of its document" in done.stderr
    assert "--again" in done.stderr


def test_a_file_that_is_named_twice_is_refused(documents: Path) -> None:
    path = documents / "one.json"
    done = CliRunner().invoke(app, ["submit", str(path), f"{documents}/./one.json", "--check"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert "one.json is named twice. Name each file once." in done.stderr


def test_a_program_gets_every_id_whole(node: NodeProcess, documents: Path) -> None:
    done = submit(node, str(documents / "one.json"), "--json")
    answer = json.loads(done.stdout)
    (event,) = answer["events"]

    counts = ("accepted_count", "duplicate_count", "refused_count")
    assert [answer[name] for name in counts] == [1, 0, 0]
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
    events = told(done)

    assert sorted(map(str, folder.iterdir())) == sorted(event["receipt"] for event in events)
    for event in events:
        path = folder / f"entry-{event['index']}.receipt"
        found = verify_receipt(
            path.read_bytes(), genesis_json=node.genesis.to_json(), chain_id=node.chain_id
        )
        assert found.event_id.hex() == event["event_id"]


def test_a_check_of_one_event_is_told_in_the_singular_and_writes_nothing(documents: Path) -> None:
    before = sorted(documents.iterdir())
    done = CliRunner().invoke(app, ["submit", str(documents / "one.json"), "--check"])

    assert done.stdout.splitlines()[-1].startswith("1 event keeps every rule that")
    assert sorted(documents.iterdir()) == before


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


def test_an_outbox_that_another_process_has_open_is_not_used_and_another_one_is(
    node: NodeProcess, documents: Path
) -> None:
    path = node.client("T1-STATOR", "mes")
    other = documents / "other.db"
    with Client(read_client_settings(path)):
        done = lotmark("submit", str(documents / "one.json"), "--as", str(path))
        beside = lotmark(
            "submit", str(documents / "one.json"), "--as", str(path), "--outbox", str(other)
        )

    assert (done.returncode, done.stdout) == (2, "")
    assert "outbox.db is in use by another process; wait until it is done, or" in done.stderr
    assert (beside.returncode, beside.stderr) == (0, "")


def test_what_no_node_takes_waits_and_the_next_submit_sends_it(
    node: NodeProcess, documents: Path
) -> None:
    path = node.client("T1-STATOR", "mes").with_name("offline.toml")
    text = node.client("T1-STATOR", "mes").read_text().replace(node.address, free_address())
    path.write_text(text)
    for _ in range(2):
        offline = lotmark("submit", str(documents / "one.json"), "--as", str(path))

        assert (offline.returncode, offline.stdout) == (3, "")
        assert "cannot be reached: Connection refused" in offline.stderr
        assert "1 event in " in offline.stderr
        assert "outbox.db will be sent by the next `lotmark submit`." in offline.stderr
    other = told(submit(node, str(documents / "two.toml"), "--json"))
    waited = told(submit(node, str(documents / "one.json"), "--json"))

    assert [each["outcome"] for each in other] == ["ACCEPTED"] * 2
    assert waited[0]["outcome"] == "EVENT_DUPLICATE", "it went before the two others"
    assert waited[0]["index"] < other[0]["index"]


def test_a_missing_file_is_named(node: NodeProcess) -> None:
    done = submit(node, "nowhere.toml")

    assert (done.exit_code, done.stderr) == (2, "nowhere.toml: No such file or directory\n")
