"""The demo: the real program from beginning to end, and how chapters are found and told."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lotmark.block import parse_block
from lotmark.merkle import leaf_hash
from lotmark.snapshot_reader import SnapshotReader
from lotmark.v1 import event_pb2
from lotmark.v1.quality_pb2 import VERDICT_NONCONFORMING
from lotmark_node.story import chapters
from lotmark_node.story.chapters.c95_forgeries import fault_in
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.load import STORY, load_document
from lotmark_node.story.play import FACTS, WIDTH_MAX, find_chapters, play
from lotmark_node.story.stage import MARK, Stage
from lotmark_node.story.trial_ledger import TrialLedger
from lotmark_node.story.welds import WELD_COUNT
from tests.shared_vectors import require_shared

PROGRAM = (sys.executable, "-m", "lotmark_node.main")
TIMEOUT_S = 120
EPCIS_DOCUMENTS = 47


def demo(folder: Path, *arguments: str, shared: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo in a folder."""
    return subprocess.run(  # noqa: S603  # our own program
        [*PROGRAM, "demo", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "LOTMARK_TRACEBACK": "", "LOTMARK_SHARED": str(shared)},
    )


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def events_in(snapshot: Path) -> Iterator[event_pb2.Event]:
    reader = SnapshotReader(io.BytesIO(snapshot.read_bytes()))
    for record in reader.blocks():
        for batch in parse_block(record.block).batches:
            for raw in batch.events:
                yield event_pb2.Event.FromString(raw)


class Ran:
    """A demo that has run, without any foreign data."""

    def __init__(self, folder: Path) -> None:
        empty = folder / "empty"
        empty.mkdir()
        self.folder = folder
        self.left = folder / "demo-run"
        self.done = demo(folder, shared=empty)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("demo"))


def test_the_last_line_says_ok_and_the_exit_status_too(ran: Ran) -> None:
    assert ran.done.returncode == 0, ran.done.stdout + ran.done.stderr
    assert ran.done.stderr == ""
    outcome = last_line(ran.done)
    assert {"demo", *FACTS, "seconds"} <= outcome.keys()
    assert outcome["demo"] == "ok"
    assert outcome["verified"] is outcome["tamper_detected"] is True
    assert 0 < outcome["seconds"] < TIMEOUT_S


def test_the_figures_of_the_last_line_are_those_of_the_snapshot(ran: Ran) -> None:
    outcome = last_line(ran.done)
    snapshot = ran.left / "stator-line.snapshot"

    with snapshot.open("rb") as file:
        assert outcome["tree_size"] == SnapshotReader(file).manifest.size
    assert outcome["events"] == len(list(events_in(snapshot)))


def test_models_are_promoted_with_approvals_of_operators_and_vibration_counts(ran: Ran) -> None:
    told = list(events_in(ran.left / "stator-line.snapshot"))
    by_id = {leaf_hash(each.SerializeToString(deterministic=True)): each for each in told}
    promotions = [each.model_promoted for each in told if each.HasField("model_promoted")]

    assert {each.model for each in promotions} == {"weld-light/1", "weld-heavy/1"}
    for promotion in promotions:
        signatures = [by_id[each].operator_signature for each in promotion.approvals]
        assert len({each.credential_id for each in signatures}) == 3
        assert {by_id[each.event_id].model_registered.model for each in signatures} == {
            promotion.model
        }
    for each in told:
        if each.HasField("inference_result"):
            assert "vibration_rms_z_milli" in {used.name for used in each.inference_result.context}
            assert not each.inference_result.missing_context


def test_every_document_of_the_story_and_every_weld_is_on_the_ledger(ran: Ran) -> None:
    told = [without_nonces(event) for event in events_in(ran.left / "stator-line.snapshot")]

    for document in STORY:
        for event in load_document(document.name, lambda: bytes(16)):
            assert without_nonces(event) in told, document
    results = [event.inference_result for event in told if event.HasField("inference_result")]
    assert len({result.feature for result in results}) == WELD_COUNT
    assert len(results) == last_line(ran.done)["inferences"]
    bad = [result for result in results if result.verdict == VERDICT_NONCONFORMING]
    assert {(each.feature, each.model) for each in bad} == {
        ("weld_137", "weld-light/1"),
        ("weld_137", "weld-heavy/1"),
    }
    assert [event.device for event in told if event.HasField("review_verdict")] == [
        "review-station-3"
    ]


def without_nonces(event: event_pb2.Event) -> event_pb2.Event:
    copy = event_pb2.Event()
    copy.CopyFrom(event)
    copy.nonce = b""
    return copy


def _next(lines: list[str]) -> int:
    """Return which line says that commands follow."""
    return next(at for at, line in enumerate(lines) if line.startswith("Type next"))


def test_every_chapter_is_told_in_lines_that_fit_a_terminal(ran: Ran) -> None:
    lines = ran.done.stdout.splitlines()
    story = lines[: _next(lines)]

    assert max(map(len, story)) <= WIDTH_MAX
    for number, chapter in enumerate(find_chapters(), start=1):
        assert any(line.startswith(f"{number:2}  {chapter.TITLE}") for line in story)
    assert any("left out: GS1's example documents are not at" in line for line in story)


def test_the_refusals_are_told_with_the_ledgers_own_words(ran: Ran) -> None:
    told = " ".join(ran.done.stdout.split())

    assert "KEY_NOT_PERMITTED: the key may not sign events of this type. Sign with a key" in told
    assert "EVENT_DUPLICATE: an equal event is on the log. Nothing to do: the first one" in told


def test_the_three_forgers_are_caught_each_for_what_he_did(ran: Ran) -> None:
    told = " ".join(ran.done.stdout.split())

    assert (
        "is flipped: CAUGHT entry 11 (height 4): batch: outcome ACCEPTED is recorded, ROOT_MISMATCH"
        " follows from the bytes"
    ) in told
    assert "every hash made anew: CAUGHT block 4: proposal: the signature over" in told
    assert "UNKNOWN CHAIN" in told


def test_the_commands_at_the_end_do_what_they_say(ran: Ran) -> None:
    lines = ran.done.stdout.splitlines()
    runs, *others = (shlex.split(line) for line in lines[_next(lines) + 1 : -1])

    assert runs[-3:-1] == ["network", "run"]
    with subprocess.Popen(  # noqa: S603  # what the demo printed
        runs, cwd=ran.folder, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as network:
        try:
            assert network.stdout is not None
            assert "Ctrl-C ends them" in network.stdout.readline()
            told = "".join(_output(words, ran.folder) for words in others)
        finally:
            network.send_signal(signal.SIGINT)
        assert network.wait(TIMEOUT_S) == 0
    assert told.count("VALID  ") == 2
    assert "report 4711" in told
    assert "is in 412 items" in told
    assert "measurement W07/current: 1 observations" in told
    assert "MATCH: the file is there" in told


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(  # noqa: S603  # what the demo printed
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", ["flipped-bit", "event-removed", "false-consortium"])
def test_what_a_forger_left_is_refused_by_the_command_line_as_well(name: str, ran: Ran) -> None:
    with (ran.left / "stator-line.snapshot").open("rb") as file:
        chain_id = SnapshotReader(file).manifest.chain_id.hex()
    forged = ran.left / "forged" / f"{name}.snapshot"

    done = subprocess.run(  # noqa: S603  # our own program
        [*PROGRAM, "verify", str(forged), "--chain-id", chain_id],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout.startswith("INVALID  ")


def test_a_forgery_that_is_not_caught_or_for_another_reason_fails_the_demo(ran: Ran) -> None:
    sound = ran.left / "stator-line.snapshot"
    with sound.open("rb") as file:
        chain_id = SnapshotReader(file).manifest.chain_id

    with pytest.raises(StoryFailed, match=r"line\.snapshot was not caught: up to"):
        fault_in(sound, chain_id, rules=("proposal",), height=3)
    with pytest.raises(StoryFailed, match="breaks rule tree in block 3, but is told: entry 11"):
        fault_in(ran.left / "forged/flipped-bit.snapshot", chain_id, rules=("tree",), height=3)


def test_a_node_that_does_not_start_is_told_with_its_own_last_words(tmp_path: Path) -> None:
    ledger = TrialLedger(tmp_path / "consortium", voters=("OEM-A/n1",), witnesses=())
    (key,) = ledger.folder.glob("*/nodes/*/tls/key.pem")
    key.unlink()

    with pytest.raises(StoryFailed, match=r"OEM-A/n1 did not start: .*key\.pem: No such file"):
        ledger.start()


def test_no_node_of_the_demo_runs_on(ran: Ran) -> None:
    logs = list(ran.left.rglob("node.log"))

    assert len(logs) == 4  # with that of the false consortium
    for log in logs:
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert events[-1] == "ledger stopped"


def test_the_settings_that_are_left_name_the_port_that_was_free(ran: Ran) -> None:
    settings = [*ran.left.rglob("node.toml"), *ran.left.rglob("client.toml")]

    assert settings
    for path in settings:
        assert "127.0.0.1:" in path.read_text()
        assert not re.search(r'^(listen|node_address) .*:0"', path.read_text(), re.MULTILINE)


def test_gs1s_documents_go_on_the_ledger_and_the_one_that_cannot_be_read_by_its_digest(
    tmp_path: Path,
) -> None:
    shared = require_shared("data/gs1-epcis/JSON").parents[2]

    done = demo(tmp_path, "--json", shared=shared)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 1
    documents = [
        event.epcis_document
        for event in events_in(tmp_path / "demo-run/stator-line.snapshot")
        if event.HasField("epcis_document")
    ]
    assert len(documents) == EPCIS_DOCUMENTS
    assert [each.event_count for each in documents if not each.document] == [0]


def test_a_second_run_takes_the_place_of_the_first(ran: Ran, tmp_path: Path) -> None:
    folder = tmp_path / "demo-run"
    folder.mkdir()
    shutil.copy(ran.left / MARK, folder)
    (folder / "of an earlier run").touch()

    with Stage(folder, tmp_path):
        assert [path.name for path in folder.iterdir()] == [MARK]


def test_a_folder_that_is_no_demos_is_left_alone_and_the_last_line_says_failed(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "demo-run" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep")

    done = demo(tmp_path, shared=tmp_path)

    assert done.returncode == 1
    assert last_line(done) == {
        "demo": "failed",
        "reason": "demo-run is there and is no demo's; move it away or name another folder",
    }
    assert done.stdout.count("\n") == 1, "nothing is promised before the folder is checked"
    assert mine.read_text() == "keep"


def add_chapter(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text(f"TITLE = 'of {name}'\n\ndef run(stage):\n    {body}\n")


def test_a_new_file_is_a_new_chapter_told_in_the_order_of_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chapters, "__path__", [str(tmp_path)])
    facts = dict.fromkeys(FACTS, 1)
    add_chapter(tmp_path, "c20_second", f"stage.facts.update({facts}); return 'and \\x1b[2J then'")
    add_chapter(tmp_path, "c10_first", "return 'one\\ntwo'")
    told: list[str] = []

    with Stage(tmp_path / "run", tmp_path) as stage:
        play(stage, told.append)

    assert told == [
        " 1  of c10_first one\n                 two",
        " 2  of c20_second and ?[2J then",
    ]


def test_a_story_that_did_not_show_every_fact_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chapters, "__path__", [str(tmp_path)])
    facts = {**dict.fromkeys(FACTS, 1), "tamper_detected": False}
    add_chapter(tmp_path, "c30_careless", f"stage.facts.update({facts}); return 'all is well'")

    with (
        Stage(tmp_path / "run", tmp_path) as stage,
        pytest.raises(StoryFailed, match="no chapter has shown tamper_detected"),
    ):
        play(stage, lambda _: None)
