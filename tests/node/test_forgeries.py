"""Forged snapshots are sound but for what a forger cannot make, which gives them away."""

import io

import pytest

from lotmark.batch import ZERO_HASH
from lotmark.block import batches_root, parse_block
from lotmark.block_results import leaf_hashes, parse_results
from lotmark.checkpoint import parse_checkpoint
from lotmark.errors import SignatureError
from lotmark.genesis import policy_text
from lotmark.merkle import leaf_hash, root
from lotmark.signed_note import parse_note
from lotmark.snapshot_reader import SnapshotReader
from lotmark.verify.checkpoints import check_checkpoint
from lotmark.verify.report import Conclusion, Verdict
from lotmark_node.story.forgeries import with_flipped_bit, without_event
from lotmark_node.verification.verify import verify_snapshot
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement
from tests.node.snapshot_source import snapshot_of

HOLDER, OTHER = "T1-STATOR/mes", "OEM-A/erp"
BLOCKS = 4
FORGED_HEIGHT = 2


def event_number(height: int, position: int) -> bytes:
    return measurement(10 * height + position)


def ledger() -> LedgerInMemory:
    """Return a ledger of four blocks, each with a batch of three events and one of one event."""
    made = LedgerInMemory()
    for height in range(1, BLOCKS + 1):
        three = made.batch(HOLDER, [event_number(height, at) for at in range(3)])
        one = made.batch(
            OTHER, [event_number(height, 3)], seen_size=made.size, seen_root=made.root()
        )
        made.block([three, one])
    return made


def judged(snapshot: bytes, chain_id: bytes) -> Verdict:
    return verify_snapshot(io.BytesIO(snapshot), chain_id=chain_id)


def test_the_untouched_snapshot_holds() -> None:
    made = ledger()

    assert judged(snapshot_of(made), made.chain_id).conclusion is Conclusion.VALID


@pytest.mark.parametrize("height", range(1, BLOCKS + 1))
def test_a_flipped_bit_of_an_event_is_caught_at_its_batch_whose_signed_root_binds_it(
    height: int,
) -> None:
    made = ledger()
    nonce_and_more = event_number(height, 1)[:40]

    verdict = judged(with_flipped_bit(snapshot_of(made), nonce_and_more), made.chain_id)

    assert verdict.conclusion is Conclusion.INVALID
    assert verdict.fault is not None
    assert (verdict.fault.rule, verdict.fault.height) == ("batch", height)
    assert verdict.fault.index == made.sizes[height - 1]
    assert "ROOT_MISMATCH follows from the bytes" in verdict.fault.text


def test_a_flipped_bit_changes_one_byte_and_no_other() -> None:
    snapshot = snapshot_of(ledger())
    forged = with_flipped_bit(snapshot, event_number(FORGED_HEIGHT, 1))

    assert len(forged) == len(snapshot)
    assert sum(ours != theirs for ours, theirs in zip(forged, snapshot, strict=True)) == 1


def removed_event() -> bytes:
    return event_number(FORGED_HEIGHT, 1)


def test_a_removed_event_is_caught_in_its_block_by_a_signature_that_does_not_hold() -> None:
    made = ledger()
    forged = without_event(snapshot_of(made), leaf_hash(removed_event()))

    verdict = judged(forged, made.chain_id)

    assert verdict.conclusion is Conclusion.INVALID
    assert verdict.fault is not None
    assert (verdict.fault.rule, verdict.fault.height) == ("proposal", FORGED_HEIGHT)
    assert "signature" in verdict.fault.text
    assert "does not hold" in verdict.fault.text


def test_of_a_removed_event_no_byte_is_left() -> None:
    snapshot = snapshot_of(ledger())
    forged = without_event(snapshot, leaf_hash(removed_event()))

    assert removed_event() in snapshot
    assert removed_event() not in forged
    assert leaf_hash(removed_event()) not in forged


def test_without_the_event_every_hash_fits_every_other_again() -> None:
    made = ledger()
    reader = SnapshotReader(
        io.BytesIO(without_event(snapshot_of(made), leaf_hash(removed_event())))
    )
    frontier = reader.start.frontier
    heads = [(frontier.size, frontier.root())]
    lanes: dict[tuple[bytes, int], bytes] = {}
    for record in reader.blocks():
        block, results = parse_block(record.block), parse_results(record.results)
        proposal, close = block.proposal, results.close
        assert (proposal.base_size, proposal.base_root) in heads
        assert proposal.batches_root == batches_root(block.batches)
        assert close.proposal_digest == proposal.digest()
        assert (close.previous_size, close.previous_root) == heads[-1]
        assert close.event_count == sum(len(batch.events) for batch in block.batches)
        assert results.first_index == frontier.size == close.previous_close_index + 1
        for batch in block.batches:
            header = batch.header
            assert header.events_root == root(batch.event_ids)
            assert header.event_count == len(batch.events)
            assert header.previous == lanes.get((header.signer, header.lane), ZERO_HASH)
            assert not header.seen_size or (header.seen_size, header.seen_root) in heads
            lanes[header.signer, header.lane] = batch.batch_id
        frontier.extend(leaf_hashes(block.batches, results))
        heads.append((frontier.size, frontier.root()))
    checkpoint = parse_checkpoint(parse_note(reader.checkpoint_note()).text)

    assert frontier.size == reader.manifest.size == checkpoint.size == made.size - 1
    assert frontier.root() == checkpoint.root


def test_the_self_made_checkpoint_of_a_forger_is_signed_by_nobody() -> None:
    made = ledger()
    snapshot = snapshot_of(made)
    forged = SnapshotReader(io.BytesIO(without_event(snapshot, leaf_hash(removed_event()))))
    for _ in forged.blocks():
        """The checkpoint stands behind them."""

    with pytest.raises(SignatureError, match="does not hold"):
        check_checkpoint(
            made.state.chain,
            policy_text(made.genesis, made.chain_id),
            forged.checkpoint_note(),
        )


def test_a_ledger_of_the_same_names_holds_by_itself_and_is_another_chain_to_who_pinned_one() -> (
    None
):
    made = ledger()
    other = LedgerInMemory(consortium(quota_events=made.genesis.parameters.quota_events + 1))
    other.block([other.batch(HOLDER, [measurement(1)])])
    snapshot = snapshot_of(other)

    assert [party.id for party in other.genesis.parties] == [
        party.id for party in made.genesis.parties
    ]
    assert judged(snapshot, other.chain_id).conclusion is Conclusion.VALID
    verdict = judged(snapshot, made.chain_id)
    assert verdict.conclusion is Conclusion.INVALID
    assert verdict.fault is not None
    assert verdict.fault.rule == "chain"
    assert other.chain_id.hex() in verdict.fault.text
    assert made.chain_id.hex() in verdict.fault.text
