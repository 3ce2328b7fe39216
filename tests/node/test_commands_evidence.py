"""`lotmark evidence`: what a court reads, and by which exit status a script tells."""

import json
from pathlib import Path

import pytest

from lotmark.genesis import chain_id as chain_id_of
from tests.node.running_node import lotmark
from tests.proto.sample_genesis import GOLDEN, private_key

GENESIS = GOLDEN / "genesis.json"
CHAIN_ID = chain_id_of(GENESIS.read_bytes()).hex()
CHECKPOINTS = GOLDEN / "evidence_checkpoints.json"


def arguments(file: Path, *, genesis: Path = GENESIS, chain_id: str = CHAIN_ID) -> list[str]:
    return ["evidence", "verify", str(file), "--genesis", str(genesis), "--chain-id", chain_id]


@pytest.mark.parametrize(
    ("name", "holder", "key", "what"),
    [
        ("evidence_checkpoints.json", "OEM-A/n1", "OEM-A/n1 LOG", "signed both size 13 root "),
        ("evidence_histories.json", "LAB-17025/n1", "LAB-17025/n1 COSIGN", "cosigned both size 7"),
        ("evidence_proposals.json", "OEM-A/n1", "OEM-A/n1 PROPOSAL", "proposed both "),
    ],
)
def test_one_sentence_says_who_signed_what_twice(
    name: str, holder: str, key: str, what: str
) -> None:
    done = lotmark(*arguments(GOLDEN / name))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"CONVICTED  {holder} {what}")
    assert done.stdout.endswith(f", by key {private_key(key).public.hex()}\n")


def test_a_program_reads_one_document() -> None:
    done = lotmark(*arguments(CHECKPOINTS), "--json")

    (found,) = json.loads(done.stdout)["convicted"]
    assert (found["party"], found["node"]) == ("OEM-A", "n1")


def test_one_thing_signed_once_convicts_nobody(tmp_path: Path) -> None:
    document = json.loads(CHECKPOINTS.read_bytes())
    twice = CHECKPOINTS.read_bytes().replace(
        document["second"].encode(), document["first"].encode()
    )
    (tmp_path / "same.json").write_bytes(twice)

    done = lotmark(*arguments(tmp_path / "same.json"))
    told = lotmark(*arguments(tmp_path / "same.json"), "--json")

    assert (done.returncode, done.stdout) == (
        1,
        "no conviction: both are of the one tree of size 13\n",
    )
    assert (told.returncode, json.loads(told.stdout)["convicted"]) == (1, [])


def test_what_cannot_be_judged_is_told_from_what_convicts_nobody(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a":1}')
    other_chain = lotmark(*arguments(CHECKPOINTS, chain_id="ab" * 32))
    no_chain = lotmark(*arguments(CHECKPOINTS, chain_id="ab"))
    no_evidence = lotmark(*arguments(tmp_path / "other.json"))
    no_genesis = lotmark(*arguments(CHECKPOINTS, genesis=tmp_path / "other.json"))
    no_file = lotmark(*arguments(tmp_path / "missing.json"))
    unpinned = lotmark(*arguments(CHECKPOINTS)[:-2])

    for done in (other_chain, no_chain, no_evidence, no_genesis, no_file, unpinned):
        assert (done.returncode, done.stdout) == (2, "")
    assert "the genesis is of chain" in other_chain.stderr
    assert "is no chain id" in no_chain.stderr
    assert "evidence lacks version" in no_evidence.stderr
    assert "Give the ledger's own genesis.json" in no_genesis.stderr
    assert "--chain-id" in unpinned.stderr
