"""`lotmark trace`, `recall`, `history`, `verify-raw` and `suspect` on the story's ledger."""

import csv
import hashlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client.provenance import ProvenanceReader
from lotmark.client.provenance_records import RawFileAnchors
from lotmark.client.raw_file import verify_raw_file
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.errors import ProofError
from lotmark.v1 import event_pb2
from lotmark_node.commands.history import Completeness
from lotmark_node.main import app
from lotmark_node.story.load import read_file
from lotmark_node.story.welds import STATOR, WELD_COUNT
from tests.node.ledger_in_memory import measurement, transformation
from tests.node.running_node import NodeProcess
from tests.node.story_on_a_node import WIRE, put, story_on_a_node

RAW = "resistivity-CU-20251223-07.csv"
SALT = bytes(range(16))
SALTED = b"a small value: 7"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with story_on_a_node(tmp_path_factory.mktemp("provenance") / "consortium") as running:
        made = [
            transformation("mount", [f"COIL-{number}" for number in range(1, 9)], ["MOTOR-1"]),
            measurement(1, item="https://id.gs1.org/01/04012345000016/21/7"),
            measurement(2, item="https://id.gs1.org/01/04012345000023/21/7"),
            with_salted_file(measurement(3, item="COIL-1")),
            *(transformation(f"cut-{at}", ["BAR"], [f"B{at}-{to}" for to in range(60)])
              for at in range(2)),
        ]  # fmt: skip
        put(running, "OEM-A/erp", [event_pb2.Event.FromString(raw) for raw in made])
        with LedgerSession(read_client_settings(running.client("OEM-A", "erp"))) as session:
            session.checkpoint_over(session.ledger().size - 1)
        yield running


def with_salted_file(raw: bytes) -> bytes:
    message = event_pb2.Event.FromString(raw)
    message.files.add(
        sha256=hashlib.sha256(SALT + SALTED).digest(),
        size=len(SALTED),
        salt=SALT,
        name="small.txt",
        media_type="text/plain",
    )
    return message.SerializeToString(deterministic=True)


def ask(node: NodeProcess, *arguments: str, client: str = "OEM-A/erp") -> Result:
    settings = str(node.client(*client.split("/")))
    return CliRunner().invoke(app, arguments, env={"LOTMARK_CLIENT": settings})


def told(node: NodeProcess, *arguments: str) -> Any:
    done = ask(node, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# trace


def test_a_trace_is_a_tree_that_a_person_reads(node: NodeProcess) -> None:
    done = ask(node, "trace", "ST2601120001234")
    first, *lines, last = done.stdout.splitlines()

    assert (done.exit_code, done.stderr) == (0, "")
    assert re.fullmatch(
        r"ST2601120001234  winding  T1-STATOR  2026-01-12  at height [0-9]+, final", first
    )
    assert lines[:3] == [
        "├─ CU-20251223-07  lot, 1.84 kg of 400 kg  T2-CU-JX  2025-12-23",
        "│  ├─ resistivity_20c 17.241 ±0.004 nOhm.m  CONFORMING  by lims  LAB-17025  2025-12-23",
        "│  ├─ 4012345LAB-R12  used  2025-12-23",
    ]
    assert "│  ├─ report 4711  resistivity  CONFORMING  LAB-17025  sealed 2025-12-23" in lines
    tree = "\n".join(lines)
    assert "⚠ model weld-light/3  weld_1 to weld_192  192 times" in tree
    assert "⚠ weld_137 COLD_SOLDER 0.994  NONCONFORMING" in tree
    assert "confirmed by operator" in tree
    assert "received by T1-STATOR  8 inspected, 0 nonconforming  CONFORMING" in tree
    assert max(map(len, [first, *lines, last])) <= 100
    assert last.endswith("read and proven, on the word of one party (OEM-A)")


def test_a_trace_forward_leads_from_the_lot_to_the_stator(node: NodeProcess) -> None:
    done = ask(node, "trace", "lot:04012345000016.CU-20251223-07", "--forward")

    assert done.stdout.startswith("CU-20251223-07  lot, 400 kg  T2-CU-JX  2025-12-23  at height ")
    assert "├─ ST2601120001234  1.84 kg  T1-STATOR  2026-01-12" in done.stdout


def test_many_alike_are_one_line(node: NodeProcess) -> None:
    lines = ask(node, "trace", "MOTOR-1").stdout.splitlines()

    assert any("COIL-2 to COIL-8  7 alike" in line for line in lines), "COIL-1 was measured"
    assert sum("COIL" in line for line in lines) == 2


def test_programs_get_the_whole_trace_with_what_is_proven(node: NodeProcess) -> None:
    document = told(node, "trace", WIRE, "--forward")
    same = json.loads(ask(node, "trace", WIRE, "--forward", "--format", "json").stdout)

    assert {name: same[name] for name in same if name != "time_ms"} == {
        name: document[name] for name in document if name != "time_ms"
    }
    assert (document["item"], document["direction"], document["final"]) == (WIRE, "forward", True)
    assert document["nodes"][0] == {"number": 0, "id": WIRE, "depth": 0}
    assert document["complete"]
    assert all(edge["proven"] for edge in document["edges"])
    (stator,) = [edge for edge in document["edges"] if edge["kind"] == "consumed"]
    assert stator["quantity"] == {"value": "1.84", "unit": "KGM"}
    assert document["nodes"][stator["to"]]["id"] == STATOR


def test_graphs_say_at_which_height_they_were_made(node: NodeProcess) -> None:
    mermaid = ask(node, "trace", STATOR, "--format", "mermaid").stdout.splitlines()
    dot = ask(node, "trace", STATOR, "--format", "dot").stdout.splitlines()

    assert re.fullmatch("%% at height [0-9]+, final", mermaid[0])
    assert mermaid[1] == "flowchart LR"
    assert '  n1 -->|"consumed, 1.84 kg"| n0' in mermaid
    assert re.fullmatch("// at height [0-9]+, final", dot[0])
    assert (dot[1], dot[-1]) == ("digraph trace {", "}")


def test_a_partial_trace_says_so_and_what_to_type_to_go_on(node: NodeProcess) -> None:
    done = ask(node, "trace", "BAR", "--forward", "--nodes", "50")
    note = done.stdout.splitlines()[-1]
    names = []
    arguments = ["trace", "BAR", "--forward", "--nodes", "50", "--json"]
    while True:
        document = json.loads(ask(node, *arguments).stdout)
        names += [each["id"] for each in document["nodes"]]
        if document["complete"]:
            break
        assert document["cut_short"] == "nodes_max 50"
        arguments = [*arguments[:5], "--resume", document["resume"], "--json"]

    assert note.startswith("Partial: nodes_max 50. Go on: lotmark trace BAR --forward --resume ")
    again = shlex.split(note.partition("Go on: lotmark ")[2])
    assert ask(node, *again).stdout.splitlines()[0].startswith("BAR  at height ")
    assert sorted(names) == sorted(["BAR", *(f"B{at}-{to}" for at in range(2) for to in range(60))])
    deep = ask(node, "trace", STATOR, "--depth", "1").stdout.splitlines()[-1]
    assert deep == "Partial: depth_max 1: there may be more beyond."


def test_something_else_is_nothing_to_go_on_with(node: NodeProcess) -> None:
    for resume in ("zz", "00"):
        done = ask(node, "trace", "BAR", "--resume", resume)
        assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("command", ["trace", "recall", "history"])
def test_an_unknown_item_is_a_no_with_the_height(node: NodeProcess, command: str) -> None:
    done = ask(node, command, "ST-NONE")

    assert (done.exit_code, done.stdout) == (1, "")
    assert re.match("no event up to height [0-9]+ names item 'ST-NONE'", done.stderr)


@pytest.mark.parametrize("command", ["trace", "recall", "history"])
def test_a_name_of_several_items_is_wrong_use_and_they_are_listed(
    node: NodeProcess, command: str
) -> None:
    items = [f"https://id.gs1.org/01/040123450000{end}/21/7" for end in (16, 23)]
    done = ask(node, command, "7")
    for_programs = ask(node, command, "7", "--json")

    assert (done.exit_code, done.stdout) == (2, "")
    assert all(item in done.stderr for item in items)
    assert for_programs.exit_code == 2
    assert json.loads(for_programs.stdout) == {"candidates": items}


@pytest.mark.parametrize("command", ["trace", "recall", "history"])
@pytest.mark.parametrize("typed", ["lot:CU-7", "https://id.gs1.org/01/04012345000017/10/A", ""])
def test_a_name_that_is_none_is_wrong_use_and_is_sent_nowhere(command: str, typed: str) -> None:
    done = CliRunner().invoke(app, [command, typed], env={"LOTMARK_CLIENT": "none.toml"})

    assert (done.exit_code, done.stdout) == (2, "")
    assert "none.toml" not in done.stderr


# proofs


def verified(node: NodeProcess, file: Path) -> Any:
    arguments = ["verify", str(file), "--chain-id", node.chain_id.hex(), "--json"]
    genesis = ["--genesis", str(node.folder / "genesis.json")]
    done = CliRunner().invoke(app, [*arguments, *genesis])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_trace_s_proof_is_verified_offline_and_links_the_same_items(
    node: NodeProcess, tmp_path: Path
) -> None:
    file = tmp_path / "stator.answer"
    done = ask(node, "trace", STATOR, "--format", "dot", "--proof", str(file))
    document = told(node, "trace", STATOR, "--proof", str(tmp_path / "again.answer"))
    typed = done.stdout.splitlines()[1].partition("Check it: lotmark ")[2]
    as_typed = CliRunner().invoke(app, shlex.split(typed))
    found = verified(node, file)
    names = [each["id"] for each in document["nodes"]]
    parts = {
        (names[each["to"]], names[each["from"]])
        for each in document["edges"]
        if each["kind"] in ("consumed", "mounted")
    }

    assert as_typed.exit_code == 0, as_typed.output
    assert found["question"] == {
        "trace": "back", "item": STATOR, "depth": "0", "size": str(document["size"]),
    }  # fmt: skip
    assert {(each["source"], each["product"]) for each in found["links"]} == parts
    assert len(parts) == 5  # four lots in the stator, and the sensor on its welder
    assert document["proof"]["receipts"] == len(found["events"])
    again = ask(node, "trace", STATOR, "--proof", str(file))
    assert (again.exit_code, again.stdout) == (2, "")
    assert "is not overwritten" in again.stderr


def test_a_history_s_proof_holds_its_events_and_the_item_s_own_proof(
    node: NodeProcess, tmp_path: Path
) -> None:
    file = tmp_path / "lot.answer"
    document = told(node, "history", WIRE, "--proof", str(file))
    found = verified(node, file)

    assert document["proof"] == {"file": str(file), "receipts": 7, "item_proofs": 1}
    assert [int(each["index"]) for each in found["events"]] == [
        each["index"] for each in document["events"]
    ]
    (history,) = found["histories"]
    assert history["item"] == WIRE


# recall


def test_a_recall_lists_what_holds_the_lot(node: NodeProcess) -> None:
    done = ask(node, "recall", "CU-20251223-07")
    first, *lines = done.stdout.splitlines()

    assert first.startswith(
        "CU-20251223-07  is in 1 item, 1 of them in nothing further  at height "
    )
    assert lines == ["ST2601120001234  consumed CU-20251223-07  1.84 kg  T1-STATOR  2026-01-12"]


def test_a_recall_keeps_to_its_days(node: NodeProcess) -> None:
    def count(*days: str) -> int:
        return len(told(node, "recall", WIRE, *days)["items"])

    assert count("--since", "2026-01-12", "--until", "2026-01-13") == 1
    assert count("--since", "2026-01-12T08:00:00.124Z") == 0
    assert count("--until", "2026-01-12T08:00:00.123Z") == 0
    wrong = ask(node, "recall", WIRE, "--since", "last week")
    assert (wrong.exit_code, wrong.stdout) == (2, "")


def test_a_spreadsheet_gets_every_item(node: NodeProcess) -> None:
    done = ask(node, "recall", "BAR", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    text = ask(node, "recall", "BAR").stdout.splitlines()

    assert {row["item"] for row in rows} == {f"B{at}-{to}" for at in range(2) for to in range(60)}
    assert {(row["kind"], row["through"], row["depth"]) for row in rows} == {
        ("consumed", "BAR", "1")
    }
    assert text[-1] == "… 80 more: --csv lists all"


# history


def test_a_history_is_every_event_of_the_item_proven(node: NodeProcess) -> None:
    done = ask(node, "history", "CU-20251223-07")
    first, *lines, last, complete, _ = done.stdout.splitlines()
    document = told(node, "history", WIRE)

    assert first.startswith(f"{WIRE}  at height ")
    assert [line.split()[4] for line in lines] == [
        "lot_created", "measurement", "report_seal", "shipment", "material_receipt",
        "incoming_inspection", "transformation",
    ]  # fmt: skip
    assert last == "7 proven, on the word of one party (OEM-A)"
    assert max(map(len, lines)) <= 100
    assert [each["event"]["type"] for each in document["events"]][:2] == [
        "lot_created", "measurement",
    ]  # fmt: skip
    assert document["events"][0]["party"] == "T2-CU-JX"
    assert document["complete"]
    assert complete.startswith(f"{WIRE}: 7 events shown; not provably all, as the")
    assert document["completeness"]["left_out"] == []
    assert [int(each["index"]) for each in document["completeness"]["proof"]["events"]] == [
        each["index"] for each in document["events"]
    ]


def test_an_event_that_a_node_leaves_out_is_named(node: NodeProcess) -> None:
    with LedgerSession(read_client_settings(node.client("OEM-A", "erp"))) as session:
        reader = ProvenanceReader(session)
        found = reader.history(WIRE)
        short = replace(found, events=[*found.events[:2], *found.events[3:]])

        assert Completeness(reader, found).left_out == []
        assert Completeness(reader, short).left_out == [found.events[2].index]


def test_a_part_of_a_history_says_where_it_goes_on(node: NodeProcess) -> None:
    part = ask(node, "history", WIRE, "--events", "5").stdout.splitlines()[-1]
    rest = ask(node, *shlex.split(part.partition("Go on: lotmark ")[2])).stdout.splitlines()

    assert part.startswith("Partial: there is more. Go on: lotmark history ")
    assert [line.split()[4] for line in rest[1:-1]] == ["incoming_inspection", "transformation"]


# verify-raw


def test_a_file_that_was_anchored_matches_and_is_told_by_whom(
    node: NodeProcess, tmp_path: Path
) -> None:
    file = tmp_path / RAW
    file.write_bytes(read_file(RAW))
    done = ask(node, "verify-raw", str(file), "--item", "CU-20251223-07")
    renamed = file.rename(tmp_path / "other-name.csv")
    document = told(node, "verify-raw", str(renamed))

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"MATCH  {file}  at height ")
    assert "measurement of CU-20251223-07 +1 by LAB-17025" in done.stdout
    assert "report seal of CU-20251223-07 by LAB-17025" in done.stdout
    assert (document["state"], len(document["anchors"])) == ("match", 2)
    assert document["anchors"][0]["party"] == "LAB-17025"
    assert document["sha256"] == hashlib.sha256(read_file(RAW)).hexdigest()


def test_another_content_under_the_name_is_a_mismatch(node: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / RAW
    file.write_bytes(read_file(RAW) + b"\n")
    done = ask(node, "verify-raw", str(file))

    assert done.exit_code == 1
    assert done.stdout.startswith(f"MISMATCH  {file}  at height ")
    assert "A file of this name is anchored with another content:" in done.stdout


def test_a_file_that_nobody_anchored_is_unknown(node: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "nobody-s.csv"
    file.write_bytes(b"")
    done = ask(node, "verify-raw", str(file))
    about = ask(node, "verify-raw", str(file), "--item", WIRE)
    missing = ask(node, "verify-raw", str(tmp_path / "none"))

    assert done.exit_code == about.exit_code == missing.exit_code == 2
    assert done.stdout.startswith(f"UNKNOWN  {file}  at height ")
    assert f"No event about {WIRE} that you may read anchors it" in about.stdout
    assert missing.stderr.startswith(f"{tmp_path / 'none'} is no file.")


@pytest.mark.parametrize(
    ("content", "exit_code"), [(SALTED, 0), (SALTED[::-1], 1), (SALTED + b"!", 1)]
)
def test_a_salted_digest_is_compared_with_the_salt_of_its_event(
    node: NodeProcess, tmp_path: Path, content: bytes, exit_code: int
) -> None:
    file = tmp_path / "small.txt"
    file.write_bytes(content)
    done = ask(node, "verify-raw", str(file))
    document = json.loads(ask(node, "verify-raw", str(file), "--json").stdout)

    assert done.exit_code == exit_code, done.output
    assert [each["is_salted"] for each in document["anchors"]] == [True]
    assert "with a salt" in done.stdout


def test_a_report_s_own_digest_is_found_in_its_seal(node: NodeProcess, tmp_path: Path) -> None:
    certificate = tmp_path / "renamed.xml"
    certificate.write_bytes(read_file("dcc-88-12.xml"))
    done = ask(node, "verify-raw", str(certificate))

    assert (done.exit_code, "calibration of 4012345W07-CURRENT" in done.stdout) == (0, True)


class _Mistaken(ProvenanceReader):
    """A reader whose node says that the lot's first event anchors whatever is asked about."""

    def raw_file(self, sha256: bytes, **_: Any) -> RawFileAnchors:
        found = self.history(WIRE, events_max=1)
        return RawFileAnchors(head=found.head, same_digest=found.events, same_name=[], more=False)


def test_an_event_that_anchors_something_else_is_no_match(
    node: NodeProcess, tmp_path: Path
) -> None:
    file = tmp_path / "any.csv"
    file.write_bytes(b"any")
    with (
        LedgerSession(read_client_settings(node.client("OEM-A", "erp"))) as session,
        pytest.raises(ProofError, match="does not anchor this content"),
    ):
        verify_raw_file(_Mistaken(session), file)


# suspect


def test_a_window_lists_what_the_camera_saw(node: NodeProcess) -> None:
    window = ("--from", "2026-01-12", "--to", "2026-01-13")
    done = ask(node, "suspect", "aoi-cam07", *window)
    document = told(node, "suspect", "aoi-cam07", *window)
    before = told(node, "suspect", "aoi-cam07", "--from", "2026-01-11", "--to", "2026-01-12")
    unknown = ask(node, "suspect", "nobody", *window)

    assert done.stdout.startswith("aoi-cam07  touched 1 item  at height ")
    assert "ST2601120001234  2026-01-12 08:06:01 to 2026-01-12 08:10:00" in done.stdout
    assert [each["event_count"] for each in document["items"]] == [WELD_COUNT + 1]
    assert before["items"] == []
    assert unknown.exit_code == 1
