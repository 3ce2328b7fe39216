"""Replaying the log gives equal bytes: from any height, in any process, by any hash seed."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.block import parse_block
from lotmark.block_results import leaves, parse_results
from lotmark.entry import parse_close, parse_leaf_data
from lotmark.merkle import leaf_hash
from lotmark.outcome import Outcome
from lotmark_node.state_machine.ledger_state import load_state
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.state_machine.random_history import history, resumed, what_became
from tests.node.state_machine.reading import digest_of_all_rows

ROOT = Path(__file__).parents[3]
BLOCKS = 30
SEEDS = st.integers(0, 7)


def test_random_histories_hold_something_of_everything() -> None:
    counts: Counter[Outcome] = Counter()
    evidence_count = 0
    for seed in range(8):
        for _, results in history(seed, BLOCKS).blocks:
            for result in parse_results(results).batches:
                counts.update(map(Outcome, [result.outcome, *result.event_outcomes]))
                evidence_count += bool(result.evidence)
    outcomes = {
        Outcome.CHAIN_UNKNOWN, Outcome.KEY_UNKNOWN, Outcome.KEY_PARTY_MISMATCH,
        Outcome.KEY_REVOKED, Outcome.SIGNATURE_INVALID, Outcome.LANE_CLOSED,
        Outcome.SEQUENCE_AHEAD, Outcome.SEQUENCE_REUSED, Outcome.BATCH_DUPLICATE,
        Outcome.PREVIOUS_MISMATCH, Outcome.SCHEMA_UNKNOWN, Outcome.ROOT_MISMATCH,
        Outcome.TIME_ABSURD, Outcome.QUOTA_EXCEEDED, Outcome.EVENT_OVERSIZE,
        Outcome.EVENT_MALFORMED, Outcome.EVENT_TYPE_UNKNOWN, Outcome.EVENT_TIME_ABSURD,
        Outcome.KEY_NOT_PERMITTED, Outcome.EVENT_DUPLICATE, Outcome.KEY_ALREADY_REGISTERED,
        Outcome.KEY_NOT_FOUND, Outcome.ACCEPTED,
    }  # fmt: skip
    assert outcomes <= counts.keys(), outcomes - counts.keys()
    assert evidence_count
    assert counts[Outcome.ACCEPTED] > 400, counts


@pytest.mark.parametrize("seed", range(8))
def test_the_state_digest_is_that_of_all_rows_after_every_block(seed: int) -> None:
    whole = history(seed, BLOCKS)
    ledger = LedgerInMemory(whole.genesis)
    assert parse_close(parse_leaf_data(ledger.leaf_data[1])[1]).state_digest == (
        digest_of_all_rows(ledger)
    )
    for raw, _ in whole.blocks:
        close = ledger.apply(raw).results.close
        assert close.state_digest == digest_of_all_rows(ledger), f"height {close.height}"
        assert (close.previous_size, close.previous_root) == (
            ledger.sizes[-2], ledger.root(ledger.sizes[-2]),
        )  # fmt: skip


@settings(max_examples=40)
@given(seed=SEEDS, stop=st.integers(0, BLOCKS))
def test_a_state_that_is_loaded_after_any_block_goes_on_as_the_uninterrupted_one(
    seed: int, stop: int
) -> None:
    whole = history(seed, BLOCKS)
    ledger = resumed(whole, stop)
    before = ledger.state

    ledger.state = load_state(
        ledger.rows,
        ledger.position(),
        chain=before.chain,
    )

    for name in (
        "height",
        "time_ms",
        "close_index",
        "term",
        "counter",
        "bases",
        "quotas",
        "policy_digest",
        "size",
    ):
        assert getattr(ledger.state, name) == getattr(before, name), name
    assert ledger.state.window.__dict__ == before.window.__dict__
    for raw, _ in whole.blocks[stop:]:
        ledger.apply(raw)
    assert what_became(ledger) == what_became(whole)


@pytest.mark.parametrize("seed", range(3))
def test_blocks_and_results_alone_give_back_every_leaf(seed: int) -> None:
    ledger = history(seed, BLOCKS)
    rebuilt = [
        data
        for raw, results in ledger.blocks
        for data, _ in leaves(parse_block(raw).batches, parse_results(results))
    ]
    assert rebuilt == ledger.leaf_data[2:]
    assert [leaf_hash(data) for data in ledger.leaf_data] == ledger.leaf_hashes


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_a_process_with_another_hash_seed_makes_the_same_bytes(hash_seed: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "tests.node.state_machine.random_history", "5", str(BLOCKS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == what_became(history(5, BLOCKS))
