"""Structural verification: every forgery is found, and named where it is."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import merkle
from lotmark.batch import Batch
from lotmark.block import Block, batches_root, encode_block, parse_block, sign_block
from lotmark.block_results import BatchResult, BlockResults, parse_results
from lotmark.ed25519 import PrivateKey
from lotmark.entry import leaf_data, parse_close, parse_leaf_data
from lotmark.genesis import Acceptance, format_acceptances, parse_acceptances
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import Frontier
from lotmark.outcome import Outcome
from lotmark.snapshot import GovernanceEntry, SnapshotStart, parse_manifest
from lotmark.v1 import event_pb2
from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, Fault, Verdict
from tests.node.eventful_ledger import DEVICE, eventful_ledger
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
    rebuilt,
)
from tests.node.snapshot_source import (
    SourceInMemory,
    joined,
    members_of,
    packed,
    pairs_of,
    snapshot_of,
    with_member,
)
from tests.proto.sample_genesis import acceptances_of, private_key

LEDGER = eventful_ledger()
FULL = snapshot_of(LEDGER)
RANGE = snapshot_of(LEDGER, first_height=6)
BLOCKS = "blocks/000000000001.bin"
PROPOSER = private_key("OEM-A/n1 PROPOSAL")


def judged(raw: bytes, chain_id: bytes | None = LEDGER.chain_id) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=chain_id, genesis_json=None)


def fault_in(raw: bytes) -> Fault:
    verdict = judged(raw)
    assert verdict.conclusion is Conclusion.INVALID, verdict.text
    assert verdict.fault is not None, "an invalid file has a fault"
    return verdict.fault


def place_of(fault: Fault) -> tuple[str, int | None, int | None]:
    return fault.rule, fault.height, fault.index


def with_block(height: int, block: bytes) -> bytes:
    """Return the full snapshot with another block."""
    pairs = pairs_of(members_of(FULL)[BLOCKS])
    pairs[height - 1] = block, pairs[height - 1][1]
    return with_member(FULL, BLOCKS, joined(pairs))


def with_results(height: int, change: Callable[[BlockResults], BlockResults]) -> bytes:
    """Return the full snapshot in which the results of a block say something else."""
    pairs = pairs_of(members_of(FULL)[BLOCKS])
    block, results = pairs[height - 1]
    pairs[height - 1] = block, change(parse_results(results)).encode()
    return with_member(FULL, BLOCKS, joined(pairs))


def with_batch_result(height: int, at: int, result: BatchResult) -> bytes:
    def change(results: BlockResults) -> BlockResults:
        batches = [*results.batches[:at], result, *results.batches[at + 1 :]]
        return replace(results, batches=batches)

    return with_results(height, change)


def block_at(height: int) -> Block:
    return parse_block(LEDGER.blocks[height - 1][0])


# --- what is sound


def test_a_full_snapshot_of_a_final_checkpoint_is_valid() -> None:
    verdict = judged(FULL)

    assert verdict.lines() == [
        "structure ✓  signatures 31 ✓  tree ✓  checkpoint 3 of 3 parties ✓",
        "VALID  up to 2025-12-23 00:00:09 UTC (size 53), final, 3 of 3 parties. Not shown by this"
        " file: anything after that time. Rules and state were not executed again; for that:"
        " lotmark verify.",
    ]


@pytest.mark.parametrize("first_height", range(2, 10))
def test_a_range_is_valid_wherever_it_begins(first_height: int) -> None:
    assert judged(snapshot_of(LEDGER, first_height=first_height)).conclusion is Conclusion.VALID


def test_a_ledger_without_blocks_is_valid() -> None:
    ledger = LedgerInMemory()

    assert judged(snapshot_of(ledger), ledger.chain_id).conclusion is Conclusion.VALID


def test_a_single_node_stands_on_its_own_word() -> None:
    ledger = LedgerInMemory(consortium(voters=("OEM-A/n1",), witnesses=()))
    ledger.block([ledger.batch(DEVICE, measurements(0, 3))])
    verdict = judged(snapshot_of(ledger), ledger.chain_id)

    assert verdict.conclusion is Conclusion.VALID
    assert verdict.text.startswith("consistent up to ")
    assert "on the word of one party (OEM-A)" in verdict.text


def test_a_base_eight_blocks_back_is_known_also_in_a_range() -> None:
    ledger = LedgerInMemory()
    for number in range(20):
        back = max(0, number - 7)
        size = ledger.sizes[back]
        batch = ledger.batch(DEVICE, [measurement(number)])
        ledger.block([batch], base_size=size, base_root=ledger.root(size))

    for first_height in (1, 2, 5, 12, 20):
        raw = snapshot_of(ledger, first_height=first_height)
        assert judged(raw, ledger.chain_id).conclusion is Conclusion.VALID


# --- what allows no verdict


def test_without_a_pinned_chain_id_the_file_says_only_what_it_claims() -> None:
    verdict = judged(FULL, None)

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert verdict.chain_id == LEDGER.chain_id
    assert LEDGER.chain_id.hex() in verdict.text


@pytest.mark.parametrize("size", [0, 5, 700, len(FULL) // 2, len(FULL) - 1])
def test_a_file_cut_off_allows_no_verdict(size: int) -> None:
    assert judged(FULL[:size]).conclusion is Conclusion.CANNOT_TELL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"lotmark/snapshot/v1", b"lotmark/snapshot/v2"),
        (b"lotmark/block/v1", b"lotmark/block/v2"),
        (b"lotmark/results/v1", b"lotmark/results/v2"),
    ],
)
def test_an_unknown_version_allows_no_verdict(old: bytes, new: bytes) -> None:
    changed = {name: content.replace(old, new) for name, content in members_of(FULL).items()}
    verdict = judged(packed(changed))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert new.decode() in verdict.text


def test_a_later_protocol_in_a_close_allows_no_verdict() -> None:
    later = with_results(3, lambda old: replace(old, close=replace(old.close, protocol=2)))

    assert judged(later).conclusion is Conclusion.CANNOT_TELL


def test_a_file_that_is_something_else_allows_no_verdict() -> None:
    verdict = judged(b"%PDF-1.7 report")

    assert (verdict.conclusion, verdict.kind) == (Conclusion.CANNOT_TELL, "")


@pytest.mark.parametrize("cosigners", [(), ("OEM-A/n1",), ("OEM-A/n1", "LAB-17025/n1")])
def test_a_missing_quorum_allows_no_verdict(cosigners: tuple[str, ...]) -> None:
    note = LEDGER.checkpoint_note(cosigners=cosigners)
    verdict = judged(snapshot_of(LEDGER, note=note))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert f"{len(cosigners)} of 3 parties, where 3 are needed" in verdict.text


# --- who founded it


def test_a_consortium_of_ones_own_is_an_unknown_chain() -> None:
    own = consortium(witnesses=())
    raw = with_member(FULL, "genesis.json", own.to_json())

    assert fault_in(raw).rule == "chain"


def test_a_snapshot_of_another_chain_is_an_unknown_chain() -> None:
    other = LedgerInMemory(consortium(witnesses=()))
    verdict = judged(snapshot_of(other))

    assert verdict.fault is not None
    assert (verdict.conclusion, verdict.fault.rule) == (Conclusion.INVALID, "chain")
    assert "unknown chain" in verdict.text


def test_a_genesis_that_a_party_never_accepted_is_found() -> None:
    acceptances = acceptances_of(LEDGER.genesis, LEDGER.chain_id)
    fewer = format_acceptances(each for each in acceptances if each.party != "T1-STATOR")

    assert fault_in(with_member(FULL, "acceptances.json", fewer)).rule == "genesis"


def test_an_acceptance_by_another_key_is_found() -> None:
    first, *others = parse_acceptances(LEDGER.acceptance_bytes)
    forged = Acceptance(party=first.party, key=first.key, signature=bytes(64))
    raw = with_member(FULL, "acceptances.json", format_acceptances([forged, *others]))

    assert fault_in(raw).rule == "genesis"


# --- what was left out, moved or changed


def test_a_block_left_out_is_found() -> None:
    members = members_of(FULL)
    pairs = pairs_of(members[BLOCKS])
    manifest = parse_manifest(members["manifest.json"])
    shorter = replace(
        manifest, last_height=8, block_files=(replace(manifest.block_files[0], last_height=8),)
    )
    members |= {"manifest.json": shorter.to_json(), BLOCKS: joined(pairs[:3] + pairs[4:])}

    assert place_of(fault_in(packed(members))) == ("results", 4, None)


def test_the_last_block_left_out_is_found() -> None:
    members = members_of(FULL)
    pairs = pairs_of(members[BLOCKS])
    manifest = parse_manifest(members["manifest.json"])
    shorter = replace(
        manifest, last_height=8, block_files=(replace(manifest.block_files[0], last_height=8),)
    )
    members |= {"manifest.json": shorter.to_json(), BLOCKS: joined(pairs[:8])}
    fault = fault_in(packed(members))

    assert fault.rule == "checkpoint"
    assert "end at size 50" in fault.text


def test_blocks_in_another_order_are_found() -> None:
    pairs = pairs_of(members_of(FULL)[BLOCKS])
    pairs[3], pairs[4] = pairs[4], pairs[3]

    assert place_of(fault_in(with_member(FULL, BLOCKS, joined(pairs)))) == ("results", 4, None)


def forged_block(
    height: int,
    batches: list[Batch],
    *,
    signer: PrivateKey | None = None,
    **proposal: object,
) -> bytes:
    """Return a block with other batches or proposal fields; signed as before, or by `signer`."""
    old = block_at(height)
    made = replace(old.proposal, **proposal)  # type: ignore[arg-type]  # checked by the record
    if signer is None:
        return encode_block(Block(made, old.signature, batches))
    return encode_block(sign_block(signer, made, batches))


def without_an_event(height: int, at: int, **header: Any) -> list[Batch]:
    """Return the batches of a block, one of them without its first event."""
    batches = list(block_at(height).batches)
    batches[at] = rebuilt(batches[at], events=batches[at].events[1:], **header)
    return batches


def test_an_event_left_out_is_not_what_the_proposal_binds() -> None:
    fault = fault_in(with_block(1, forged_block(1, without_an_event(1, 0))))

    assert place_of(fault) == ("proposal", 1, None)
    assert "other batches" in fault.text


def test_an_event_left_out_takes_the_proposer_s_key_to_hide() -> None:
    batches = without_an_event(1, 0)
    fault = fault_in(with_block(1, forged_block(1, batches, batches_root=batches_root(batches))))

    assert place_of(fault) == ("proposal", 1, None)
    assert "does not hold" in fault.text


@pytest.mark.parametrize("rehashed", [False, True])
def test_an_event_left_out_takes_the_author_s_key_to_hide(rehashed: bool) -> None:
    """Even a proposer who signs again cannot make the batch whole."""
    shorter = without_an_event(1, 0)
    header: dict[str, Any] = {}
    if rehashed:
        header = {"event_count": 4, "events_root": merkle.root(shorter[0].event_ids)}
    batches = without_an_event(1, 0, **header)
    block = forged_block(1, batches, signer=PROPOSER, batches_root=batches_root(batches))
    results = parse_results(LEDGER.blocks[0][1])
    first = BatchResult(0, results.batches[0].event_outcomes[1:])
    forged = replace(results, batches=[first, *results.batches[1:]])
    pairs = pairs_of(members_of(FULL)[BLOCKS])
    pairs[0] = block, forged.encode()

    fault = fault_in(with_member(FULL, BLOCKS, joined(pairs)))

    assert place_of(fault) == ("batch", 1, 2)
    assert ("SIGNATURE_INVALID" if rehashed else "COUNT_MISMATCH") in fault.text


def test_a_refusal_made_up_to_hide_a_batch_leads_to_another_root() -> None:
    """Outcomes that take the state to judge are under the checkpoint's root all the same."""
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(DEVICE, [measurement(1)])])
    block, raw = ledger.blocks[0]
    results = parse_results(raw)
    close = replace(results.close, refused_event_count=1)
    batch = BatchResult(0, [Outcome.EVENT_DUPLICATE])
    forged = replace(results, batches=[batch], close=close).encode()
    verdict = judged(
        with_member(snapshot_of(ledger), BLOCKS, joined([(block, forged)])), ledger.chain_id
    )

    assert verdict.conclusion is Conclusion.INVALID
    assert "the entries lead to root" in verdict.text


@pytest.mark.parametrize(
    ("proposal", "message"),
    [
        ({"chain_id": bytes(32)}, "of chain 00"),
        ({"key": private_key("LAB-17025/lims BATCH").public}, "may not propose"),
        ({"time_ms": 1}, "KEY_NOT_YET_VALID"),
        ({"time_ms": 2_000_000_000_000}, "KEY_EXPIRED"),
        ({"term": 0}, "follow term 2"),
        ({"counter": 7}, "follow term 2"),
        ({"base_size": 53}, "newest 8 heads"),
        ({"base_root": bytes(32)}, "newest 8 heads"),
    ],
)
def test_a_proposal_against_the_rules_is_found(proposal: dict[str, object], message: str) -> None:
    batches = list(block_at(5).batches)
    fault = fault_in(with_block(5, forged_block(5, batches, signer=PROPOSER, **proposal)))

    assert place_of(fault) == ("proposal", 5, None)
    assert message in fault.text


def test_a_block_before_its_predecessor_s_time_is_found() -> None:
    batches = list(block_at(5).batches)
    time_ms = block_at(4).proposal.time_ms - 1
    fault = fault_in(with_block(5, forged_block(5, batches, signer=PROPOSER, time_ms=time_ms)))

    assert "is before" in fault.text


def test_bytes_that_are_no_block_are_found() -> None:
    assert place_of(fault_in(with_block(4, b"lotmark/block/v1\n"))) == ("block", 4, None)


# --- results that do not follow


@pytest.mark.parametrize(
    ("height", "at", "result", "message"),
    [
        (3, 0, BatchResult(Outcome.KEY_UNKNOWN), "KEY_UNKNOWN is recorded, ACCEPTED follows"),
        (3, 0, BatchResult(Outcome.SIGNATURE_INVALID), "ACCEPTED follows"),
        (3, 0, BatchResult(Outcome.ROOT_MISMATCH), "ACCEPTED follows"),
        (3, 1, BatchResult(Outcome.KEY_REVOKED), "ACCEPTED follows"),
        (3, 2, BatchResult(Outcome.ACCEPTED, [0]), "KEY_UNKNOWN follows"),
        (3, 3, BatchResult(Outcome.ACCEPTED, [0]), "SIGNATURE_INVALID follows"),
        (3, 3, BatchResult(Outcome.QUOTA_EXCEEDED), "SIGNATURE_INVALID follows"),
        (3, 6, BatchResult(Outcome.ACCEPTED, [0]), "SCHEMA_UNKNOWN follows"),
        (7, 0, BatchResult(Outcome.ACCEPTED, [0]), "KEY_REVOKED follows"),
        (3, 0, BatchResult(15), "not in the table"),
        (3, 0, BatchResult(Outcome.EVENT_MALFORMED), "no outcome of a batch"),
        (3, 0, BatchResult(Outcome.OVERLOADED), "no outcome of a batch"),
        (3, 0, BatchResult(Outcome.ACCEPTED, [0, 0]), "2 event outcomes, where 1"),
        (3, 2, BatchResult(Outcome.KEY_UNKNOWN, [0]), "1 event outcomes, where 0"),
        (3, 0, BatchResult(Outcome.ACCEPTED, [0], b"x"), "evidence of a reused number"),
    ],
)
def test_an_outcome_that_does_not_follow_is_found(
    height: int, at: int, result: BatchResult, message: str
) -> None:
    fault = fault_in(with_batch_result(height, at, result))

    assert (fault.rule, fault.height) == ("batch", height)
    assert fault.index is not None
    assert message in fault.text


@pytest.mark.parametrize(
    ("code", "message"),
    [(0, "may not sign transformation"), (1, "no outcome of an event"), (199, "no outcome")],
)
def test_an_event_outcome_that_does_not_follow_is_found(code: int, message: str) -> None:
    result = BatchResult(0, [0, Outcome.EVENT_DUPLICATE, code])
    fault = fault_in(with_batch_result(3, 5, result))

    assert place_of(fault) == ("event", 3, 28)
    assert message in fault.text


def evidence() -> bytes:
    return parse_results(LEDGER.blocks[2][1]).batches[1].evidence


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (lambda old: old[:-1], "cut off"),
        (lambda old: old + b"\0", "bytes follow"),
        (lambda old: b"\xff" * 8 + old[8:], "do not share one number"),
        (lambda old: old[:8] + block_at(3).batches[1].signed_header * 2, "do not share one number"),
        (lambda old: old[:8] + block_at(3).batches[0].signed_header * 2, "of another batch"),
        (lambda old: old[:300] + bytes([old[300] ^ 1]) + old[301:], "does not hold"),
    ],
)
def test_evidence_that_convicts_nobody_is_found(
    forged: Callable[[bytes], bytes], message: str
) -> None:
    result = BatchResult(Outcome.SEQUENCE_REUSED, (), forged(evidence()))
    fault = fault_in(with_batch_result(3, 1, result))

    assert place_of(fault) == ("batch", 3, 20)
    assert message in fault.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 4),
        ("time_ms", 7),
        ("previous_close_index", 3),
        ("previous_size", 3),
        ("previous_root", bytes(32)),
        ("proposal_digest", bytes(32)),
        ("item_epoch", 1),
        ("item_root", b"\1" * 32),
        ("policy_digest", bytes(32)),
        ("batch_count", 3),
        ("refused_batch_count", 3),
        ("event_count", 3),
        ("refused_event_count", 3),
        ("receipt_count", 3),
        ("equivocation_count", 3),
    ],
)
def test_a_close_that_does_not_follow_is_found(name: str, value: Any) -> None:
    def change(results: BlockResults) -> BlockResults:
        return replace(results, close=replace(results.close, **{name: value}))

    fault = fault_in(with_results(3, change))

    assert place_of(fault) == ("close", 3, 31)
    assert fault.text.startswith(f"{name} is ")


def test_another_state_digest_leads_to_another_root() -> None:
    def change(results: BlockResults) -> BlockResults:
        return replace(results, close=replace(results.close, state_digest=bytes(32)))

    fault = fault_in(with_results(9, change))

    assert fault.rule == "checkpoint"
    assert "the entries lead to root" in fault.text


def test_results_of_other_entries_are_found() -> None:
    fault = fault_in(with_results(3, lambda old: replace(old, first_index=17)))

    assert place_of(fault) == ("results", 3, None)


# --- keys


def test_an_accepted_registration_without_the_roots_is_found() -> None:
    """A ledger of dishonest nodes only: every signature of theirs holds."""
    ledger = LedgerInMemory()
    event = event_pb2.Event.FromString(
        ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2")
    )
    del event.key_registration.roots[:]
    forged = event.SerializeToString(deterministic=True)
    ledger.block([ledger.batch("T1-STATOR/mes", [forged])])
    block, raw = ledger.blocks[0]
    results = parse_results(raw)
    assert list(results.batches[0].event_outcomes) == [Outcome.ROOTS_INSUFFICIENT]
    accepted = replace(results, batches=[BatchResult(0, [0])]).encode()
    verdict = judged(
        with_member(snapshot_of(ledger), BLOCKS, joined([(block, accepted)])), ledger.chain_id
    )

    assert verdict.fault is not None
    assert place_of(verdict.fault) == ("event", 1, 3)
    assert "0 root signatures" in verdict.text


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda entries: [*entries, entries[0]], "no accepted event after"),
        (lambda entries: [replace(entries[0], event=b"")], "another than the entry names"),
        (lambda entries: [replace(entries[0], path=entries[0].path[1:])], "a path for leaf"),
        (lambda entries: [replace(entries[0], leaf=entries[0].leaf[:-1])], "payload has 42 bytes"),
        (lambda entries: [replace(entries[0], leaf=b"x")], "no leaf"),
    ],
)
def test_governance_that_is_not_under_the_root_is_found(
    forge: Callable[[list[GovernanceEntry]], list[GovernanceEntry]], message: str
) -> None:
    entries = forge(list(SourceInMemory(LEDGER).governance(5)))
    content = b"".join(entry.encode() for entry in entries)
    fault = fault_in(with_member(RANGE, "governance.bin", content))

    assert fault.rule == "governance"
    assert message in fault.text


def test_a_range_without_the_registration_of_a_signer_is_found() -> None:
    fault = fault_in(with_member(snapshot_of(LEDGER, first_height=5), "governance.bin", b""))

    assert place_of(fault) == ("batch", 5, 35)
    assert "KEY_UNKNOWN" in fault.text


# --- where a range begins


@pytest.mark.parametrize(
    "forge",
    [
        lambda start: replace(start, close_path=start.close_path[1:]),
        lambda start: replace(start, close_leaf=start.close_leaf[:-1] + b"\1"),
        lambda start: replace(start, close_leaf=LEDGER.leaf_data[34]),
        lambda start: replace(start, frontier=Frontier(39, [bytes(32), *start.frontier.nodes[1:]])),
    ],
)
def test_a_start_that_is_not_the_log_s_is_found(
    forge: Callable[[SnapshotStart], SnapshotStart],
) -> None:
    start = forge(SourceInMemory(LEDGER).start(5))
    fault = fault_in(with_member(RANGE, "start.bin", start.encode()))

    assert (fault.rule, fault.height) == ("start", 5)


def test_a_start_of_another_log_leads_nowhere() -> None:
    """One that holds together in itself contradicts the first block's close."""
    other = LedgerInMemory()
    for _ in range(5):
        other.block([])
    start = SourceInMemory(other).start(5)
    raw = with_member(with_member(RANGE, "start.bin", start.encode()), "governance.bin", b"")

    assert fault_in(raw).height == 6


def test_a_genesis_entry_made_up_is_found() -> None:
    start = SourceInMemory(LEDGER).start(0)
    close = parse_close(parse_leaf_data(start.close_leaf)[1])
    head = parse_leaf_data(start.close_leaf)[0]
    forged_leaf = leaf_data(head, replace(close, batch_count=1).encode())
    hashes = [LEDGER.leaf_hashes[0], merkle.leaf_hash(forged_leaf)]
    frontier = Frontier()
    frontier.extend(hashes)
    forged = SnapshotStart(frontier, forged_leaf, tuple(hashes[:1]))
    fault = fault_in(with_member(FULL, "start.bin", forged.encode()))

    assert place_of(fault) == ("start", 0, None)
    assert "batch_count is 1" in fault.text


# --- checkpoints


def with_note(note: bytes) -> bytes:
    return with_member(FULL, "checkpoint.txt", note)


def test_a_checkpoint_of_another_size_is_found() -> None:
    fault = fault_in(with_note(LEDGER.checkpoint_note(size=50)))

    assert fault.rule == "checkpoint"
    assert "the checkpoint is of size 50" in fault.text


def test_a_checkpoint_of_another_root_is_found() -> None:
    fault = fault_in(with_note(LEDGER.checkpoint_note(root=bytes(32))))

    assert "the entries lead to root" in fault.text


def test_a_checkpoint_of_another_ledger_is_found() -> None:
    other = LedgerInMemory(consortium(witnesses=()))

    assert fault_in(with_note(other.checkpoint_note())).rule == "checkpoint"


@pytest.mark.parametrize("line", range(1, 5))
def test_a_signature_of_a_checkpoint_that_does_not_hold_is_found(line: int) -> None:
    lines = LEDGER.checkpoint_note().split(b"\n")
    forged = lines[3 + line]
    at = len(forged) - 20
    lines[3 + line] = forged[:at] + bytes([forged[at] ^ 1]) + forged[at + 1 :]

    assert fault_in(with_note(b"\n".join(lines))).rule == "checkpoint"


# --- any change at all


@pytest.mark.parametrize("original", [FULL, RANGE], ids=["full", "range"])
@settings(deadline=None)
@given(data=st.data())
def test_no_changed_byte_leaves_a_file_valid(original: bytes, data: st.DataObject) -> None:
    members = members_of(original)
    unseen = original.find(members.get("state.bin", b"\0" * 513))
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    is_state = 0 <= unseen <= at < unseen + len(members.get("state.bin", b""))
    verdict = judged(bytes(changed))

    assert is_state or verdict.conclusion is not Conclusion.VALID


# --- the program


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "lotmark.verify", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_the_program_answers_people_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "stator-line.snapshot"
    path.write_bytes(FULL)
    people = run_program(str(path), "--chain-id", LEDGER.chain_id.hex())
    programs = run_program(str(path), "--chain-id", LEDGER.chain_id.hex(), "--json")

    assert (people.returncode, people.stderr) == (0, "")
    assert people.stdout.splitlines() == judged(FULL).lines()
    assert json.loads(programs.stdout) == judged(FULL).to_json()


def test_the_program_says_by_its_exit_status_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "forged.snapshot"
    path.write_bytes(with_note(LEDGER.checkpoint_note(size=50)))
    forged = run_program(str(path), "--chain-id", LEDGER.chain_id.hex())
    unpinned = run_program(str(path))
    missing = run_program(str(tmp_path / "none"), "--chain-id", LEDGER.chain_id.hex())

    assert (forged.returncode, unpinned.returncode, missing.returncode) == (1, 2, 2)
    assert forged.stdout.startswith("INVALID  checkpoint: ")
    assert "none" in missing.stderr


def test_the_program_needs_no_heavy_library() -> None:
    code = (
        "import sys; import lotmark.verify.__main__;"
        "print([n for n in ('numpy', 'typer', 'rich', 'grpc', 'rocksdict') if n in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "[]\n"
