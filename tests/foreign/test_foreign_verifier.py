"""A second verifier, in another language and from the document alone, finds what ours finds."""

import hashlib
import json
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.foreign.operator_ledgers import LIES, ledger_with_lie, ledger_with_operators
from tests.node.ruled_history import RULED_HEIGHT, ruled_history
from tests.node.snapshot_source import snapshot_of
from tests.node.test_ruled_verification import (
    FIRST,
    FORGERIES,
    MALFORMED,
    RESULTS,
    resealed,
    unsealed,
)
from tests.npm_packages import node_with_packages, run

FOLDER = Path(__file__).parent
DEMO_TIMEOUT_S = 120
VERIFY_TIMEOUT_S = 60
FLIP_SEED = 20_260_105


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the foreign verifier printed, and its exit status."""

    status: int
    verdict: str
    size: int | None
    height: int | None
    fault: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What `lotmark demo` left."""

    folder: Path
    chain_id: str
    tree_size: int

    @property
    def snapshot(self) -> Path:
        return self.folder / "stator-line.snapshot"


@pytest.fixture(scope="session")
def node() -> str:
    """Return the Node.js that has the packages of the foreign verifier beside it."""
    return node_with_packages(FOLDER)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("foreign") / "demo"
    shared = tmp_path_factory.mktemp("shared")  # empty: the story without the example documents
    command = [sys.executable, "-m", "lotmark_node.main", "demo", str(folder)]
    done = run(command, folder=FOLDER, timeout_s=DEMO_TIMEOUT_S, shared=shared)
    assert done.returncode == 0, done.stdout + done.stderr
    genesis = (folder / "consortium" / "genesis.json").read_bytes()
    return Demo(
        folder=folder,
        chain_id=hashlib.sha256(b"lotmark/genesis/v1\n" + genesis).hexdigest(),
        tree_size=json.loads(done.stdout.splitlines()[-1])["tree_size"],
    )


def answer_on(node: str, file: Path, *options: str) -> Answer:
    command = [node, "verifier.mjs", str(file), *options]
    done = run(command, folder=FOLDER, timeout_s=VERIFY_TIMEOUT_S)
    assert done.returncode in (0, 1, 2), done.stderr
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    del answer["reason"]
    return Answer(status=done.returncode, **answer)


def test_the_foreign_verifier_accepts_what_the_demo_wrote(node: str, demo: Demo) -> None:
    answer = answer_on(node, demo.snapshot, "--chain-id", demo.chain_id)

    assert (answer.status, answer.verdict, answer.fault) == (0, "valid", None)
    assert answer.size == demo.tree_size


@pytest.mark.parametrize(
    ("forgery", "rule"),
    [("flipped-bit", "batch"), ("event-removed", "proposal")],
)
def test_the_foreign_verifier_names_the_rule_that_a_forgery_breaks(
    node: str, demo: Demo, forgery: str, rule: str
) -> None:
    file = demo.folder / "forged" / f"{forgery}.snapshot"

    answer = answer_on(node, file, "--chain-id", demo.chain_id)

    assert (answer.status, answer.verdict) == (1, "fault")
    assert answer.fault is not None
    assert answer.fault["rule"] == rule
    assert answer.fault["height"] == 4  # the block of report 4711, which both forge
    assert answer.fault["text"]


def test_a_ledger_of_the_same_names_is_not_the_one_that_was_pinned(node: str, demo: Demo) -> None:
    file = demo.folder / "forged" / "false-consortium.snapshot"

    answer = answer_on(node, file, "--chain-id", demo.chain_id)

    assert (answer.status, answer.verdict) == (1, "fault")
    assert answer.fault is not None
    assert answer.fault["rule"] == "chain"


def test_without_a_pinned_chain_id_nothing_can_be_told(node: str, demo: Demo) -> None:
    answer = answer_on(node, demo.snapshot)

    assert (answer.status, answer.verdict) == (2, "cannot tell")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.999, 1.0])
def test_of_a_file_that_is_cut_off_nothing_can_be_told(
    node: str, demo: Demo, tmp_path: Path, kept: float
) -> None:
    content = demo.snapshot.read_bytes()
    cut = tmp_path / "cut.snapshot"
    cut.write_bytes(content[: min(int(kept * len(content)), len(content) - 1)])

    answer = answer_on(node, cut, "--chain-id", demo.chain_id)

    assert (answer.status, answer.verdict) == (2, "cannot tell")


def test_a_byte_behind_the_end_is_a_fault(node: str, demo: Demo, tmp_path: Path) -> None:
    longer = tmp_path / "longer.snapshot"
    longer.write_bytes(demo.snapshot.read_bytes() + b"\0")

    answer = answer_on(node, longer, "--chain-id", demo.chain_id)

    assert (answer.status, answer.verdict) == (1, "fault")


def test_no_flipped_byte_leaves_a_snapshot_valid(node: str, demo: Demo, tmp_path: Path) -> None:
    print(f"seed {FLIP_SEED}")  # noqa: T201 - a run that fails says with which seed
    chance = random.Random(FLIP_SEED)  # noqa: S311 - which bytes are flipped is no secret
    content = demo.snapshot.read_bytes()
    flipped = tmp_path / "flipped.snapshot"
    passed: list[int] = []
    for offset in chance.sample(range(len(content)), 50):
        change = bytes([content[offset] ^ chance.randrange(1, 256)])
        flipped.write_bytes(content[:offset] + change + content[offset + 1 :])
        if answer_on(node, flipped, "--chain-id", demo.chain_id).verdict == "valid":
            passed.append(offset)

    assert passed == []


def answer_on_bytes(node: str, raw: bytes, folder: Path) -> Answer:
    """Return what is said of a snapshot of the ledger with rule packages."""
    file = folder / "ruled.snapshot"
    file.write_bytes(raw)
    return answer_on(node, file, "--chain-id", ruled_history().chain_id.hex())


def test_the_foreign_verifier_accepts_a_ledger_with_rule_packages(
    node: str, tmp_path: Path
) -> None:
    answer = answer_on_bytes(node, snapshot_of(ruled_history()), tmp_path)

    assert (answer.status, answer.verdict, answer.fault) == (0, "valid", None)
    assert (answer.size, answer.height) == (ruled_history().size, RULED_HEIGHT)


@pytest.mark.parametrize("name", MALFORMED)
def test_the_foreign_verifier_finds_a_rule_receipt_without_its_form_whoever_signed_it(
    node: str, tmp_path: Path, name: str
) -> None:
    forge, _ = MALFORMED[name]
    post, remind = RESULTS.receipts
    answer = answer_on_bytes(node, resealed([post, forge(remind)]), tmp_path)

    assert (answer.status, answer.verdict) == (1, "fault")
    assert answer.fault is not None
    assert answer.fault["rule"] == "rule receipt"
    assert (answer.fault["height"], answer.fault["index"]) == (RULED_HEIGHT, FIRST + 1)


@pytest.mark.parametrize("name", FORGERIES)
def test_the_foreign_verifier_finds_a_rule_receipt_that_was_changed_afterwards(
    node: str, tmp_path: Path, name: str
) -> None:
    forge, _, _ = FORGERIES[name]
    receipts = forge(*RESULTS.receipts)
    close = replace(RESULTS.close, receipt_count=len(receipts))

    forged = [replace(RESULTS, receipts=receipts, close=close), replace(RESULTS, receipts=receipts)]
    for results in forged:
        answer = answer_on_bytes(node, unsealed(results), tmp_path)
        assert (answer.status, answer.verdict) == (1, "fault")
        assert answer.fault is not None
        assert answer.fault["rule"] in {"close", "tree", "manifest", "checkpoint"}


def test_no_flipped_byte_leaves_a_ledger_with_rule_packages_valid(
    node: str, tmp_path: Path
) -> None:
    print(f"seed {FLIP_SEED}")  # noqa: T201 - a run that fails says with which seed
    chance = random.Random(FLIP_SEED)  # noqa: S311 - which bytes are flipped is no secret
    content = snapshot_of(ruled_history())
    passed: list[int] = []
    for offset in chance.sample(range(len(content)), 30):
        change = bytes([content[offset] ^ chance.randrange(1, 256)])
        flipped = content[:offset] + change + content[offset + 1 :]
        if answer_on_bytes(node, flipped, tmp_path).verdict == "valid":
            passed.append(offset)

    assert passed == []


def test_the_foreign_verifier_accepts_a_ledger_whose_operators_come_sign_and_go(
    node: str, tmp_path: Path
) -> None:
    ledger = ledger_with_operators()
    file = tmp_path / "operators.snapshot"
    file.write_bytes(snapshot_of(ledger))

    answer = answer_on(node, file, "--chain-id", ledger.chain_id.hex())

    assert (answer.status, answer.verdict, answer.fault) == (0, "valid", None)
    assert (answer.size, answer.height) == (ledger.size, ledger.height)


@pytest.mark.parametrize("name", LIES)
def test_the_foreign_verifier_finds_a_lie_about_operators_whoever_signed_it(
    node: str, tmp_path: Path, name: str
) -> None:
    blocks, words = LIES[name]
    ledger, raw = ledger_with_lie(blocks)
    file = tmp_path / "lie.snapshot"
    file.write_bytes(raw)

    answer = answer_on(node, file, "--chain-id", ledger.chain_id.hex())

    assert (answer.status, answer.verdict) == (1, "fault")
    assert answer.fault is not None
    assert answer.fault["rule"] == "event"
    assert (answer.fault["height"], answer.fault["index"]) == (ledger.height, ledger.size - 2)
    assert words in answer.fault["text"]
