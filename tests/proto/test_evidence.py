"""Evidence convicts who signed two things that contradict each other, and nobody else."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given

from lotmark import canonical_json
from lotmark.block import Proposal
from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError
from lotmark.evidence import (
    EVIDENCE_SIZE_MAX,
    NoConviction,
    check_evidence,
    checkpoints_evidence,
    histories_evidence,
    proposals_evidence,
)
from lotmark.genesis import chain_id as chain_id_of
from lotmark.genesis import cosigner_name, origin
from lotmark.merkle import consistency_path, leaf_hash, root
from lotmark.signed_note import Note, NoteSignature, sign_note
from tests.proto.damaged_bytes import damaged_or_arbitrary
from tests.proto.sample_genesis import CREATED_MS, GOLDEN, private_key, sample_genesis

GENESIS = sample_genesis()
CHAIN_ID = chain_id_of(GENESIS.to_json())
ORIGIN = origin(GENESIS, CHAIN_ID)
OEM_LOG, T1_LOG = private_key("OEM-A/n1 LOG"), private_key("T1-STATOR/n1 LOG")
OEM_COSIGN, LAB_COSIGN = private_key("OEM-A/n1 COSIGN"), private_key("LAB-17025/n1 COSIGN")
LEADER = private_key("OEM-A/n1 PROPOSAL")
STRANGER = private_key("stranger")
HONEST = [leaf_hash(bytes([index])) for index in range(13)]
FORKED = [*HONEST[:5], leaf_hash(b"another past"), *HONEST[6:]]


def text(leaves: Sequence[bytes], of_origin: str = ORIGIN) -> str:
    return Checkpoint(of_origin, len(leaves), root(leaves)).text()


def as_log(note_text: str, key: PrivateKey = OEM_LOG) -> NoteSignature:
    return sign_note(note_text, ORIGIN, key)


def as_witness(note_text: str, *, party: str, key: PrivateKey, time_s: int = 9) -> NoteSignature:
    name = cosigner_name(GENESIS, party, "n1")
    return cosign(note_text, name=name, private_key=key, time_s=time_s)


def by_log(leaves: Sequence[bytes], key: PrivateKey = OEM_LOG) -> Note:
    return Note(text(leaves), (as_log(text(leaves), key),))


def by_witness(leaves: Sequence[bytes], time_s: int = 9) -> Note:
    signed = text(leaves)
    return Note(signed, (as_witness(signed, party="LAB-17025", key=LAB_COSIGN, time_s=time_s),))


def forked_history(first: Note, second: Note, size: int) -> bytes:
    return histories_evidence(
        CHAIN_ID,
        first,
        second,
        prefix_root=root(FORKED[:size]),
        path=consistency_path(FORKED, size),
    )


def proposal(**changes: object) -> Proposal:
    made = Proposal(
        chain_id=CHAIN_ID,
        key=LEADER.public,
        term=3,
        counter=7,
        time_ms=CREATED_MS,
        base_size=13,
        base_root=root(HONEST),
        batches_root=hashlib.sha256(b"one").digest(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # of any field


def signed(made: Proposal, key: PrivateKey = LEADER) -> tuple[Proposal, bytes]:
    return made, key.sign(made.signed_message())


OTHER_ROOT = hashlib.sha256(b"two").digest()
TWO_CHECKPOINTS = checkpoints_evidence(CHAIN_ID, by_log(HONEST), by_log(FORKED))
TWO_HISTORIES = forked_history(by_witness(HONEST[:7]), by_witness(FORKED), 7)
TWO_PROPOSALS = proposals_evidence(
    CHAIN_ID, signed(proposal()), signed(proposal(batches_root=OTHER_ROOT))
)


def convicted(raw: bytes) -> list[tuple[str, str, bytes]]:
    return [(item.party, item.node, item.key) for item in check_evidence(raw, GENESIS, CHAIN_ID)]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("evidence_checkpoints.json", TWO_CHECKPOINTS),
        ("evidence_histories.json", TWO_HISTORIES),
        ("evidence_proposals.json", TWO_PROPOSALS),
    ],
)
def test_golden_evidence(name: str, raw: bytes) -> None:
    assert (GOLDEN / name).read_bytes() == raw


def test_a_log_key_that_signed_two_trees_of_one_size_convicts_its_holder() -> None:
    (found,) = check_evidence(TWO_CHECKPOINTS, GENESIS, CHAIN_ID)

    assert (found.party, found.node, found.key) == ("OEM-A", "n1", OEM_LOG.public)
    assert found.what == (
        f"signed both size 13 root {root(HONEST).hex()[:16]}… and size 13 root"
        f" {root(FORKED).hex()[:16]}…, two trees of one size"
    )


def test_a_cosign_key_convicts_its_holder_whatever_the_times_of_its_cosignatures() -> None:
    raw = checkpoints_evidence(CHAIN_ID, by_witness(HONEST, 9), by_witness(FORKED, 99))

    assert convicted(raw) == [("LAB-17025", "n1", LAB_COSIGN.public)]


@pytest.mark.parametrize("size", [6, 7, 8, 12])
def test_a_tree_that_does_not_begin_with_one_signed_before_convicts(size: int) -> None:
    raw = forked_history(by_log(HONEST[:size]), by_log(FORKED), size)

    (found,) = check_evidence(raw, GENESIS, CHAIN_ID)

    assert found.key == OEM_LOG.public
    assert "does not begin with the former" in found.what


def test_two_proposals_for_one_place_convict_the_leader() -> None:
    (found,) = check_evidence(TWO_PROPOSALS, GENESIS, CHAIN_ID)

    assert (found.party, found.node, found.key) == ("OEM-A", "n1", LEADER.public)
    assert found.what.endswith("as block 7 of term 3")


def test_everybody_who_signed_both_is_convicted_and_nobody_who_signed_one() -> None:
    notes = []
    for leaves, log_key in ((HONEST, OEM_LOG), (FORKED, T1_LOG)):
        signed_text = text(leaves)
        notes.append(
            Note(
                signed_text,
                (
                    as_log(signed_text, log_key),
                    as_witness(signed_text, party="LAB-17025", key=LAB_COSIGN),
                    as_witness(signed_text, party="OEM-A", key=OEM_COSIGN),
                ),
            )
        )

    assert {key for _, _, key in convicted(checkpoints_evidence(CHAIN_ID, *notes))} == {
        LAB_COSIGN.public,
        OEM_COSIGN.public,
    }


def test_a_forged_line_beside_the_true_one_acquits_nobody() -> None:
    honest = by_log(HONEST)
    forged = replace(honest.signatures[0], signature=bytes(64))
    raw = checkpoints_evidence(
        CHAIN_ID, Note(honest.text, (forged, *honest.signatures)), by_log(FORKED)
    )

    assert convicted(raw) == [("OEM-A", "n1", OEM_LOG.public)]


OTHER_CHAIN = bytes(32)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (checkpoints_evidence(CHAIN_ID, by_log(HONEST), by_log(HONEST)), "one tree of size 13"),
        (checkpoints_evidence(CHAIN_ID, by_witness(HONEST), by_witness(HONEST, 11)), "one tree"),
        (checkpoints_evidence(CHAIN_ID, by_log(HONEST[:7]), by_log(FORKED)), "may both be honest"),
        (checkpoints_evidence(CHAIN_ID, by_log(HONEST), by_log(FORKED, T1_LOG)), "no key of the"),
        (checkpoints_evidence(CHAIN_ID, by_log(HONEST), by_witness(FORKED)), "no key of the"),
        (
            checkpoints_evidence(CHAIN_ID, by_log(HONEST, STRANGER), by_log(FORKED, STRANGER)),
            "no key of the genesis",
        ),
        (
            checkpoints_evidence(
                CHAIN_ID, by_log(HONEST), Note(text(FORKED), by_log(HONEST).signatures)
            ),
            "no key of the genesis",
        ),
        (checkpoints_evidence(OTHER_CHAIN, by_log(HONEST), by_log(FORKED)), "of chain 0000"),
        (
            checkpoints_evidence(
                CHAIN_ID,
                by_log(HONEST),
                Note(text(FORKED, "example.com/log"), by_log(FORKED).signatures),
            ),
            "a checkpoint is of 'example.com/log'",
        ),
        (
            histories_evidence(
                CHAIN_ID,
                by_log(HONEST[:7]),
                by_log(HONEST),
                prefix_root=root(HONEST[:7]),
                path=consistency_path(HONEST, 7),
            ),
            "begins with that of size 7",
        ),
        (
            histories_evidence(
                CHAIN_ID,
                by_log(HONEST[:7]),
                by_log(HONEST),
                prefix_root=root(FORKED[:7]),
                path=consistency_path(FORKED, 7),
            ),
            "not shown",
        ),
        (
            histories_evidence(
                CHAIN_ID,
                by_log(HONEST[:8]),
                by_log(HONEST),
                prefix_root=bytes(32),
                path=consistency_path(HONEST, 8),
            ),
            "not shown",
        ),
        (forked_history(by_log(FORKED), by_log(HONEST[:7]), 7), "not shown"),
        (proposals_evidence(CHAIN_ID, signed(proposal()), signed(proposal())), "the same proposal"),
        (
            proposals_evidence(
                CHAIN_ID, signed(proposal()), signed(proposal(counter=8, batches_root=OTHER_ROOT))
            ),
            "both may be honest",
        ),
        (
            proposals_evidence(
                CHAIN_ID, signed(proposal()), signed(proposal(term=4, batches_root=OTHER_ROOT))
            ),
            "both may be honest",
        ),
        (
            proposals_evidence(
                CHAIN_ID,
                signed(proposal()),
                signed(proposal(chain_id=OTHER_CHAIN, batches_root=OTHER_ROOT)),
            ),
            "another chain",
        ),
        (
            proposals_evidence(
                CHAIN_ID,
                signed(proposal()),
                signed(proposal(batches_root=OTHER_ROOT), STRANGER),
            ),
            "not signed",
        ),
        (
            proposals_evidence(
                CHAIN_ID,
                signed(proposal(key=STRANGER.public), STRANGER),
                signed(proposal(key=STRANGER.public, batches_root=OTHER_ROOT), STRANGER),
            ),
            "no proposal key",
        ),
        (
            proposals_evidence(
                CHAIN_ID,
                signed(proposal(key=OEM_LOG.public), OEM_LOG),
                signed(proposal(key=OEM_LOG.public, batches_root=OTHER_ROOT), OEM_LOG),
            ),
            "no proposal key",
        ),
        (
            proposals_evidence(
                OTHER_CHAIN, signed(proposal()), signed(proposal(batches_root=OTHER_ROOT))
            ),
            "of chain 0000",
        ),
    ],
)
def test_anything_less_is_no_conviction(raw: bytes, reason: str) -> None:
    with pytest.raises(NoConviction, match=f"^no conviction: .*{reason}"):
        check_evidence(raw, GENESIS, CHAIN_ID)


def changed(**members: object) -> bytes:
    document = json.loads(TWO_CHECKPOINTS) | members
    return canonical_json.dump({key: value for key, value in document.items() if value != "gone"})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "JSON"),
        (b"[]", "not an object"),
        (TWO_CHECKPOINTS + b"\n", "evidence|canonical|JSON|encoding"),
        (changed(version=2), "version 2"),
        (changed(kind="rumour"), "of kind 'rumour'"),
        (changed(kind=["checkpoints"]), "of kind"),
        (changed(kind="histories"), "lacks prefix_root"),
        (changed(path=[]), "unknown member"),
        (changed(second="gone"), "lacks second"),
        (changed(chain_id="ab"), "32 bytes"),
        (changed(first="AAAA="), "base64"),
        (changed(first=base64.b64encode(b"no note").decode()), "note"),
        (changed(kind="proposals"), "no block"),
        (b" " * (EVIDENCE_SIZE_MAX + 1), "bytes"),
    ],
)
def test_what_is_no_evidence_is_malformed(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        check_evidence(raw, GENESIS, CHAIN_ID)


def test_a_proposal_with_bytes_behind_it_is_malformed() -> None:
    document = json.loads(TWO_PROPOSALS)
    document["first"] = base64.b64encode(base64.b64decode(document["first"]) + b"\0").decode()

    with pytest.raises(MalformedError, match="batch count 0"):
        check_evidence(canonical_json.dump(document), GENESIS, CHAIN_ID)


def test_the_genesis_of_another_chain_convicts_nobody_and_is_named() -> None:
    with pytest.raises(MalformedError, match=f"the genesis is of chain {CHAIN_ID.hex()}"):
        check_evidence(TWO_CHECKPOINTS, GENESIS, OTHER_CHAIN)


@pytest.mark.parametrize("raw", [TWO_CHECKPOINTS, TWO_HISTORIES, TWO_PROPOSALS])
def test_no_damage_convicts_somebody_else(raw: bytes) -> None:
    guilty = convicted(raw)

    @given(damaged=damaged_or_arbitrary(raw))
    def check(damaged: bytes) -> None:
        try:
            found = convicted(damaged)
        except (MalformedError, NoConviction):
            return
        assert found == guilty

    check()
