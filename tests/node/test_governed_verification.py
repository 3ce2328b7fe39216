"""Verifiers follow parties, keys and policies from the genesis alone."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lotmark.block import parse_block
from lotmark.block_results import leaves, parse_results
from lotmark.entry import EntryKind, parse_event_payload, parse_leaf_data
from lotmark.merkle import inclusion_path
from lotmark.snapshot import GovernanceEntry
from lotmark.verify.judge import judge_file
from lotmark.verify.receipt import ReceiptParts, make_receipt
from lotmark.verify.report import Conclusion, Verdict
from lotmark_node.verification.verify import verify_snapshot
from tests.node.governance_events import NEW_PARTY
from tests.node.governed_ledger import COSIGN_KEYS, COSIGNERS, final_note, governed_ledger
from tests.node.snapshot_source import members_of, snapshot_of, with_member

LEDGER = governed_ledger()
NOTE = final_note(LEDGER)
EVENTS = [
    index
    for index, leaf in enumerate(LEDGER.leaf_data)
    if parse_leaf_data(leaf)[0].kind is EntryKind.EVENT
]
GOVERNANCE = LEDGER.governance()


def structure_of(raw: bytes) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=LEDGER.chain_id, genesis_json=None)


def full_of(raw: bytes) -> Verdict:
    return verify_snapshot(io.BytesIO(raw), chain_id=LEDGER.chain_id)


def receipt(
    index: int, *, governance: Sequence[GovernanceEntry] | None = None, note: bytes = NOTE
) -> bytes:
    """Return the receipt of an event entry under the newest checkpoint."""
    head, payload = parse_leaf_data(LEDGER.leaf_data[index])
    batch_index, position, _ = parse_event_payload(payload)
    raw_block, raw_results = LEDGER.blocks[head.height - 1]
    (batch,) = parse_block(raw_block).batches
    results = parse_results(raw_results)
    assert list(leaves([batch], results)), "the block holds the event"
    return make_receipt(
        ReceiptParts(
            event=batch.events[position],
            event_path=inclusion_path(batch.event_ids, position),
            entry=LEDGER.proven(index),
            batch=LEDGER.proven(batch_index),
            close=LEDGER.proven(results.close_index),
            last_close=LEDGER.proven(LEDGER.size - 1),
            governance=GOVERNANCE if governance is None else governance,
            checkpoint_note=note,
        )
    )


def judged(raw: bytes) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=LEDGER.chain_id, genesis_json=LEDGER.genesis_bytes)


@pytest.mark.parametrize("first_height", range(1, LEDGER.height + 1))
def test_a_snapshot_from_any_height_is_valid_at_both_levels(first_height: int) -> None:
    raw = snapshot_of(LEDGER, first_height=first_height, note=NOTE)

    for verdict in (structure_of(raw), full_of(raw)):
        assert verdict.conclusion is Conclusion.VALID, verdict.text
        assert "checkpoint 3 of 3 parties" in verdict.ticks


@pytest.mark.parametrize("left_out", range(len(GOVERNANCE)))
def test_a_range_in_which_something_that_governs_is_left_out_is_found(left_out: int) -> None:
    raw = snapshot_of(LEDGER, first_height=LEDGER.height, note=NOTE)
    entries = [entry for at, entry in enumerate(GOVERNANCE) if at != left_out]
    forged = with_member(
        raw, "governance.bin", b"".join(
            replace(entry, path=_path_before_last_block(entry)).encode() for entry in entries
        )
    )  # fmt: skip

    assert "governance.bin" in members_of(raw)
    assert full_of(forged).conclusion is Conclusion.INVALID


def _path_before_last_block(entry: GovernanceEntry) -> tuple[bytes, ...]:
    index = parse_leaf_data(entry.leaf)[0].index
    return tuple(LEDGER.proven(index, LEDGER.sizes[LEDGER.height - 1]).path)


@pytest.mark.parametrize("index", EVENTS)
def test_every_receipt_is_valid_with_the_genesis_alone(index: int) -> None:
    verdict = judged(receipt(index))

    assert verdict.conclusion is Conclusion.VALID, verdict.text
    assert f"cosigned by OEM-A, T1-STATOR, {NEW_PARTY}" in verdict.text


def test_a_receipt_names_the_party_that_came_later() -> None:
    verdict = judged(receipt(EVENTS[-1]))

    assert verdict.details["party"] == NEW_PARTY


@pytest.mark.parametrize("left_out", range(len(GOVERNANCE)))
def test_what_is_left_out_of_a_receipt_makes_no_other_cosigners_count(left_out: int) -> None:
    entries = [entry for at, entry in enumerate(GOVERNANCE) if at != left_out]

    verdict = judged(receipt(EVENTS[-1], governance=entries))

    # A decision that the last close would make as well changes nothing where it is left out.
    same = verdict.lines() == judged(receipt(EVENTS[-1])).lines()
    assert verdict.conclusion is Conclusion.INVALID or (same and not GOVERNANCE[left_out].event)


def test_cosigners_that_no_longer_count_do_not_make_a_checkpoint_final() -> None:
    old = LEDGER.checkpoint_note(cosigners=["LAB-17025/n1", "OEM-A/n1", "T1-STATOR/n1"])

    verdict = judged(receipt(EVENTS[0], note=old))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert "cosigned by T1-STATOR, 1 of 3 parties" in verdict.text


def test_a_checkpoint_without_the_party_that_came_later_is_not_final() -> None:
    two = LEDGER.checkpoint_note(cosigners=COSIGNERS[:2], cosign_keys=COSIGN_KEYS)

    assert judged(receipt(EVENTS[0], note=two)).conclusion is Conclusion.CANNOT_TELL


def test_a_receipt_of_the_beginning_is_judged_by_the_policy_of_then() -> None:
    size = LEDGER.sizes[1]
    note = LEDGER.checkpoint_note(size=size)
    raw = judge_file(
        io.BytesIO(snapshot_of(LEDGER, last_height=1, note=note)),
        chain_id=LEDGER.chain_id,
        genesis_json=None,
    )

    assert raw.conclusion is Conclusion.VALID
