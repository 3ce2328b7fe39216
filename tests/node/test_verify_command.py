"""`lotmark verify`: what a regulator sees, and by which exit status a script tells."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lotmark.verify.receipt import ReceiptParts, make_receipt
from tests.node.eventful_ledger import DEVICE, eventful_ledger
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement
from tests.node.snapshot_source import snapshot_of

LEDGER = eventful_ledger()
TIMEOUT_S = 60
PROGRAM = """
import sys
for library in filter(None, sys.argv.pop(1).split(",")):
    sys.modules[library] = None  # what Python itself does with a module that is not there
from lotmark_node.main import main
main()
"""


def run(*arguments: str, missing: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", PROGRAM, missing, "verify", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("snapshot") / "stator-line.snapshot"
    path.write_bytes(snapshot_of(LEDGER))
    return str(path)


def test_a_regulator_reads_one_line_of_ticks_and_one_verdict(snapshot: str) -> None:
    done = run(snapshot, "--chain-id", LEDGER.chain_id.hex())
    ticks, note, verdict = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (0, "")
    assert ticks == (
        "structure ✓  signatures 31 ✓  tree ✓  checkpoint 3 of 3 parties ✓  re-executed 9 blocks ✓"
    )
    assert note.startswith("NOTE  2 events are disputed: key ")
    assert verdict == (
        "VALID  up to 2025-12-23 00:00:09 UTC (size 53), final, 3 of 3 parties. Not shown by this"
        " file: anything after that time."
    )


def test_a_program_reads_one_document(snapshot: str) -> None:
    done = run(snapshot, "--chain-id", LEDGER.chain_id.hex(), "--json")
    document = json.loads(done.stdout)

    assert (document["conclusion"], document["level"], document["size"]) == ("valid", "full", "53")
    assert document["flags"][0]["kind"] == "compromised key"


def test_a_forgery_is_named_where_it_is(tmp_path: Path) -> None:
    forged = bytearray(snapshot_of(LEDGER))
    nonce = measurement(6)[2:18]
    forged[forged.index(nonce)] ^= 1
    path = tmp_path / "forged.snapshot"
    path.write_bytes(forged)
    done = run(str(path), "--chain-id", LEDGER.chain_id.hex())

    assert done.returncode == 1
    assert done.stdout.startswith(
        "INVALID  entry 11 (height 2): batch: outcome ACCEPTED is recorded"
    )


def test_a_foreign_consortium_is_an_unknown_chain(tmp_path: Path) -> None:
    path = tmp_path / "foreign.snapshot"
    path.write_bytes(snapshot_of(LedgerInMemory(consortium(witnesses=()))))
    done = run(str(path), "--chain-id", LEDGER.chain_id.hex())

    assert done.returncode == 1
    assert "INVALID  chain: unknown chain" in done.stdout


def test_a_single_node_s_ledger_stands_on_the_word_of_one_party(tmp_path: Path) -> None:
    ledger = LedgerInMemory(consortium(voters=("OEM-A/n1",), witnesses=()))
    ledger.block([ledger.batch(DEVICE, [measurement(1)])])
    path = tmp_path / "single.snapshot"
    path.write_bytes(snapshot_of(ledger))
    done = run(str(path), "--chain-id", ledger.chain_id.hex())

    assert done.returncode == 0
    assert "VALID  consistent up to 2025-12-23 00:00:01 UTC (size 5); on the word of one party" in (
        done.stdout
    )
    assert "(OEM-A)" in done.stdout
    assert "re-executed 1 block ✓" in done.stdout


def test_without_a_chain_id_there_is_no_verdict_but_the_claim(snapshot: str) -> None:
    done = run(snapshot)

    assert done.returncode == 2
    assert done.stdout.startswith("CANNOT TELL  no chain id is pinned.")
    assert LEDGER.chain_id.hex() in done.stdout


def test_a_file_cut_off_allows_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "cut.snapshot"
    path.write_bytes(snapshot_of(LEDGER)[:20_000])
    done = run(str(path), "--chain-id", LEDGER.chain_id.hex())

    assert done.returncode == 2
    assert done.stdout.startswith("CANNOT TELL  ")


@pytest.mark.parametrize("chain_id", ["12", "no hex"])
def test_a_chain_id_that_is_none_is_refused(snapshot: str, chain_id: str) -> None:
    done = run(snapshot, "--chain-id", chain_id)

    assert (done.returncode, done.stdout) == (2, "")
    assert "is no chain id" in done.stderr
    assert "neither from the file nor from a node" in done.stderr


@pytest.mark.parametrize("level", ["structure", "full"])
def test_a_genesis_beside_a_snapshot_is_refused(snapshot: str, tmp_path: Path, level: str) -> None:
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(LEDGER.genesis_bytes)
    chain_id = LEDGER.chain_id.hex()
    done = run(snapshot, "--chain-id", chain_id, "--genesis", str(genesis), "--level", level)

    assert done.returncode == 2
    assert done.stdout.startswith("CANNOT TELL  ")
    assert "leave --genesis out" in done.stdout


def test_the_full_level_says_which_extra_it_needs(snapshot: str) -> None:
    chain_id = LEDGER.chain_id.hex()
    full = run(snapshot, "--chain-id", chain_id, missing="numpy")
    structure = run(snapshot, "--chain-id", chain_id, "--level", "structure", missing="numpy")

    assert (full.returncode, full.stdout) == (2, "")
    assert "lotmark[verify]" in full.stderr
    assert structure.returncode == 0
    assert "not executed again; for that: lotmark verify --level full." in structure.stdout


def test_a_receipt_is_verified_with_the_genesis(tmp_path: Path) -> None:
    ledger = LedgerInMemory()
    batch = ledger.batch(DEVICE, [measurement(1)])
    ledger.block([batch])
    receipt, genesis = tmp_path / "report-4711.receipt", tmp_path / "genesis.json"
    genesis.write_bytes(ledger.genesis_bytes)

    receipt.write_bytes(
        make_receipt(
            ReceiptParts(
                event=batch.events[0],
                event_path=[],
                entry=ledger.proven(3),
                batch=ledger.proven(2),
                close=ledger.proven(4),
                last_close=ledger.proven(4),
                checkpoint_note=ledger.checkpoint_note(),
            )
        )
    )
    arguments = [str(receipt), "--chain-id", ledger.chain_id.hex()]
    without_genesis = run(*arguments)
    done = run(*arguments, "--genesis", str(genesis))
    foreign = tmp_path / "foreign.json"
    foreign.write_bytes(consortium(witnesses=()).to_json())
    with_foreign = run(*arguments, "--genesis", str(foreign))

    assert without_genesis.returncode == 2
    assert "--genesis" in without_genesis.stdout
    assert done.returncode == 0
    assert done.stdout.startswith("VALID  T1-STATOR signed it 2025-12-23 00:00:00.000 UTC")
    assert with_foreign.returncode == 2
    assert with_foreign.stdout.startswith(f"CANNOT TELL  {foreign} founds chain ")
