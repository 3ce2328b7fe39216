"""A node in a consortium whose genesis names a witness too: nothing is final without it.

The witness does not run here. Its cosignature is made with the key that founding wrote for it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.client import Client
from lotmark.client.settings import read_client_settings
from lotmark.cosignature import cosign
from lotmark.genesis import cosigner_name
from lotmark.key_file import read_key_file
from lotmark.signed_note import Note, format_note, parse_note
from lotmark.tlog_proof import format_proof, parse_proof
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import NodeProcess, lotmark

PROOF_SIZE_MAX = 1 << 20
TIME_S = 1_900_000_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    founded = NodeProcess(
        tmp_path_factory.mktemp("witnessed") / "consortium",
        witnesses=["LAB-17025/w1@127.0.0.1:7404"],  # nobody listens or calls there
    )
    founded.start()
    try:
        yield founded
    finally:
        founded.stop()


@pytest.fixture(scope="module")
def receipt(node: NodeProcess) -> bytes:
    """The receipt of an event, under a checkpoint that the node alone has cosigned."""
    settings = read_client_settings(node.client("OEM-A", "erp"))
    with Client(settings) as client:
        return client.submit(measurement(1)).receipt().result(30)


def cosigned_by_the_witness(node: NodeProcess, receipt: bytes) -> bytes:
    proof = parse_proof(receipt, size_max=PROOF_SIZE_MAX)
    note = parse_note(proof.checkpoint_note)
    cosignature = cosign(
        note.text,
        name=cosigner_name(node.genesis, "LAB-17025", "w1"),
        private_key=read_key_file(node.folder / "LAB-17025/witnesses/w1/keys/cosign.key"),
        time_s=TIME_S,
    )
    final = Note(note.text, (*note.signatures, cosignature))
    return format_proof(replace(proof, checkpoint_note=format_note(final)))


def verify(node: NodeProcess, path: Path, *arguments: str) -> tuple[int, str]:
    done = lotmark("verify", str(path), "--chain-id", node.chain_id.hex(), *arguments)
    return done.returncode, done.stdout


def test_the_node_alone_makes_no_checkpoint_final(node: NodeProcess, receipt: bytes) -> None:
    done = lotmark("node", "status", "--as", str(node.client("OEM-A", "erp")))

    assert done.returncode == 0
    assert "not final: cosigned by OEM-A, 1 of 2 parties, where 2 are needed" in done.stdout


def test_a_receipt_is_final_with_the_witnesss_cosignature_and_not_before(
    node: NodeProcess, receipt: bytes, tmp_path: Path
) -> None:
    before, after = tmp_path / "before.receipt", tmp_path / "after.receipt"
    before.write_bytes(receipt)
    after.write_bytes(cosigned_by_the_witness(node, receipt))
    genesis = ("--genesis", str(node.folder / "genesis.json"))
    first, second = verify(node, before, *genesis), verify(node, after, *genesis)

    assert first[0] == 2
    assert "1 of 2 parties, where 2 are needed" in first[1]
    assert second[0] == 0, second[1]
    assert second[1].rstrip().endswith("as entry 3; cosigned by LAB-17025, OEM-A")


def test_a_snapshot_is_exported_and_said_to_stand_on_too_few_words(
    node: NodeProcess, receipt: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "stator-line.snapshot"
    exported = lotmark("snapshot", "export", str(path), "--as", str(node.client("OEM-A", "erp")))
    exit_code, told = verify(node, path)

    assert exported.returncode == 0, exported.stderr
    assert exit_code == 2
    assert "1 of 2 parties, where 2 are needed" in told
