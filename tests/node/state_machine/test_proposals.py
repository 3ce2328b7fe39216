"""Every rule of proposals: a ledger stops before a block that breaks one, and changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lotmark.block import BASES_MAX, Block, batches_root, encode_block, parse_block
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateChanges
from lotmark_node.state_machine.tables import parse_heads
from lotmark_node.state_machine.transition import BlockInvalid, apply_block
from tests.node.ledger_in_memory import LedgerInMemory, measurement, rebuilt
from tests.node.state_machine.reading import rows
from tests.proto.sample_genesis import CREATED_MS, KEYS_UNTIL_MS, private_key

ERP = "OEM-A/erp"


def grown(height: int = 3) -> LedgerInMemory:
    ledger = LedgerInMemory()
    for number in range(height):
        ledger.block([ledger.batch(ERP, [measurement(number)])])
    return ledger


def proposed(**proposal: Any) -> Callable[[LedgerInMemory], bytes]:
    return lambda ledger: ledger.propose([ledger.batch(ERP, [measurement(99)])], **proposal)


def unsigned(ledger: LedgerInMemory) -> bytes:
    block = parse_block(proposed()(ledger))
    return encode_block(Block(block.proposal, bytes(64), block.batches))


def signed_for_another_chain(ledger: LedgerInMemory) -> bytes:
    """Return a good block in which the signature of a proposal of another chain stands."""
    block = parse_block(proposed()(ledger))
    other = replace(block.proposal, chain_id=bytes(32))
    key = private_key("OEM-A/n1 PROPOSAL")
    return encode_block(Block(block.proposal, key.sign(other.signed_message()), block.batches))


def with_other_batches(
    change: Callable[[LedgerInMemory, Block], list[Any]],
) -> Callable[[LedgerInMemory], bytes]:
    def make(ledger: LedgerInMemory) -> bytes:
        block = parse_block(proposed()(ledger))
        return encode_block(Block(block.proposal, block.signature, change(ledger, block)))

    return make


INVALID: dict[str, tuple[Callable[[LedgerInMemory], bytes], str]] = {
    "another chain": (proposed(chain_id=bytes(32)), "is of chain 0000"),
    "a key that nobody registered": (proposed(key=private_key("nobody")), "may not propose"),
    "a log key": (proposed(key=private_key("OEM-A/n1 LOG")), "may not propose"),
    "a batch key": (proposed(key=private_key("OEM-A/erp BATCH")), "may not propose"),
    "a root key": (proposed(key=private_key("OEM-A root 1")), "may not propose"),
    "a key that has expired": (proposed(time_ms=KEYS_UNTIL_MS), "KEY_EXPIRED"),
    "no signature": (unsigned, "signature of block 4 does not hold"),
    "a signature for another chain": (signed_for_another_chain, "does not hold"),
    "a time before the newest block's": (proposed(time_ms=CREATED_MS + 2_999), "before block 3"),
    "the counter of the newest block": (proposed(counter=3), "counter 3 after term 1"),
    "a counter left out": (proposed(counter=5), "counter 5 after term 1"),
    "counter 0": (proposed(counter=0), "counter 0"),
    "an older term": (proposed(term=0, counter=1), "term 0"),
    "a newer term that goes on counting": (proposed(term=2, counter=4), "term 2 and counter 4"),
    "a newer term from 0": (proposed(term=2, counter=0), "term 2 and counter 0"),
    "a base of another root": (proposed(base_root=bytes(32)), "none of the newest 8 heads"),
    "a base inside a block": (proposed(base_size=4), "none of the newest 8 heads"),
    "a base of the empty tree": (proposed(base_size=0, base_root=bytes(32)), "none of the newest"),
    "a base that is not there yet": (proposed(base_size=10**6), "none of the newest 8 heads"),
    "another batches root": (proposed(batches_root=bytes(32)), "other batches"),
    "a batch taken out": (with_other_batches(lambda _, block: []), "other batches"),
    "a batch doubled": (
        with_other_batches(lambda _, block: [*block.batches, *block.batches]),
        "other batches",
    ),
    "an event changed": (
        with_other_batches(lambda _, block: [rebuilt(block.batches[0], events=[b"x"])]),
        "other batches",
    ),
    "a batch signature changed": (
        with_other_batches(lambda _, block: [rebuilt(block.batches[0], signature=bytes(64))]),
        "other batches",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_block_that_breaks_a_rule_is_invalid_and_changes_nothing(name: str) -> None:
    make, said = INVALID[name]
    ledger = grown()
    before = dict(rows(ledger)), ledger.root(), ledger.state.lanes.tobytes(), ledger.state.time_ms

    with pytest.raises(BlockInvalid, match=said):
        ledger.apply(make(ledger))

    after = dict(rows(ledger)), ledger.root(), ledger.state.lanes.tobytes(), ledger.state.time_ms
    assert after == before
    ledger.block([])
    assert ledger.height == 4


VALID: dict[str, dict[str, Any]] = {
    "the same time as the newest block": {"time_ms": CREATED_MS + 3_000},
    "a far later time": {"time_ms": KEYS_UNTIL_MS - 1},
    "another voter": {"voter": "T1-STATOR/n1"},
    "a newer term from 1": {"term": 2, "counter": 1},
    "a much newer term from 1": {"term": 2**63, "counter": 1},
}


@pytest.mark.parametrize("name", VALID)
def test_a_block_at_the_edge_of_a_rule_is_applied(name: str) -> None:
    ledger = grown()

    ledger.apply(proposed(**VALID[name])(ledger))

    assert ledger.height == 4


def test_a_base_may_be_any_of_the_newest_eight_heads_and_none_before() -> None:
    ledger = grown(12)
    sizes = ledger.sizes[:]
    for back in range(BASES_MAX):
        size = sizes[-1 - back]
        raw = ledger.propose([], base_size=size, base_root=ledger.root(size))
        probe = grown(12)
        probe.apply(raw)
    size = sizes[-1 - BASES_MAX]
    with pytest.raises(BlockInvalid, match="none of the newest 8 heads"):
        ledger.block([], base_size=size, base_root=ledger.root(size))


def test_the_head_row_holds_the_heads_before_the_block_and_its_turn() -> None:
    ledger = grown(12)
    raw = ledger.rows.get(b"\x06")
    assert raw is not None

    heads, term, counter = parse_heads(raw)

    assert [head.height for head in heads] == list(range(4, 12))
    assert [(head.size, head.root) for head in heads] == [
        (size, ledger.root(size)) for size in ledger.sizes[4:12]
    ]
    assert (term, counter) == (1, 12)


def test_an_empty_block_is_one_close() -> None:
    ledger = grown()
    size = ledger.size

    effects = ledger.block([])

    assert ledger.size == size + 1
    close = effects.results.close
    assert (close.batch_count, close.event_count) == (0, 0)
    assert (close.previous_size, close.previous_root) == (size, ledger.root(size))
    assert close.previous_close_index == size - 1
    assert parse_block(ledger.blocks[-1][0]).proposal.batches_root == batches_root([])


def test_effects_that_are_not_committed_leave_the_state_as_it_was() -> None:
    ledger = grown()
    raw = ledger.propose([ledger.batch(ERP, [measurement(50)])])
    block = parse_block(raw)
    before = dict(rows(ledger)), ledger.state.lanes.tobytes(), ledger.state.size
    first = apply_block(ledger.state, block, [PreparedBatch(each) for each in block.batches])
    second = apply_block(ledger.state, block, [PreparedBatch(each) for each in block.batches])

    assert (dict(rows(ledger)), ledger.state.lanes.tobytes(), ledger.state.size) == before
    assert first.results.encode() == second.results.encode()
    assert first.changes == second.changes


def test_changes_show_what_was_and_what_is_for_rows_that_differ_alone() -> None:
    ledger = grown()
    changes = StateChanges(ledger.rows)
    key, value = next(ledger.rows.rows(b"\x02"))
    changes.put(key, value)
    changes.put(b"\x07new", b"1")
    changes.put(b"\x07gone", b"1")
    changes.delete(b"\x07gone")
    changes.delete(b"\x07never")
    policy = ledger.rows.get(b"\x0c")
    changes.delete(b"\x0c")

    assert changes.changed() == [(b"\x07new", None, b"1"), (b"\x0c", policy, None)]
    assert changes.get(b"\x0c") is None
    assert ledger.rows.get(b"\x0c") == policy
