"""Structural verification of blocks: what was forged in one is found, and named where it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lotmark import merkle
from lotmark.batch import Batch
from lotmark.block import Block, batches_root, encode_block, parse_block, sign_block
from lotmark.block_results import BatchResult, BlockResults, parse_results
from lotmark.ed25519 import PrivateKey
from lotmark.outcome import Outcome
from lotmark.verify.report import Conclusion
from tests.node.eventful_ledger import DEVICE
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    measurement,
    rebuilt,
)
from tests.node.snapshot_source import (
    joined,
    members_of,
    pairs_of,
    snapshot_of,
    with_member,
)
from tests.proto.judged_snapshots import BLOCKS, FULL, LEDGER, fault_in, judged, place_of
from tests.proto.sample_genesis import private_key

PROPOSER = private_key("OEM-A/n1 PROPOSAL")


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


def test_an_event_left_out_is_missed_in_its_batch() -> None:
    fault = fault_in(with_block(1, forged_block(1, without_an_event(1, 0))))

    assert place_of(fault) == ("batch", 1, 2)
    assert "event outcomes, where 4 belong" in fault.text


def test_a_changed_event_is_named_by_its_batch() -> None:
    batches = list(block_at(2).batches)
    batches[1] = rebuilt(batches[1], events=[measurement(77)])
    fault = fault_in(with_block(2, forged_block(2, batches)))

    assert place_of(fault) == ("batch", 2, 15)
    assert "ACCEPTED is recorded, ROOT_MISMATCH follows" in fault.text


def test_a_changed_event_of_a_refused_batch_is_not_what_the_proposal_binds() -> None:
    batches = list(block_at(3).batches)
    batches[2] = rebuilt(batches[2], events=[measurement(77)])
    fault = fault_in(with_block(3, forged_block(3, batches)))

    assert place_of(fault) == ("proposal", 3, None)
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
        (3, 0, BatchResult(Outcome.STOPPING), "no outcome of a batch"),
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
    [(0, "KEY_NOT_PERMITTED follows"), (1, "CHAIN_UNKNOWN is recorded"), (199, "not in the table")],
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


def test_a_later_protocol_in_a_close_allows_no_verdict() -> None:
    later = with_results(3, lambda old: replace(old, close=replace(old.close, protocol=2)))

    assert judged(later).conclusion is Conclusion.CANNOT_TELL
