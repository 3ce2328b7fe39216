"""Every accepted event moves the heads of its items, and closes name the roots of epochs."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.block import parse_block
from lotmark.block_results import leaf_hashes, parse_results
from lotmark.item_epochs import (
    TOUCHES_MAX,
    EpochHead,
    EpochRule,
    RunningEpoch,
    item_hash,
    parse_epoch_head,
    parse_record,
    parse_running_epoch,
)
from lotmark.merkle import Frontier
from lotmark.snapshot import parse_manifest
from lotmark.state_rows import ProposalStatus, parse_proposal_row, proposal_key
from lotmark.v1 import governance_pb2
from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, Verdict
from lotmark_node.state_machine.ledger_state import load_state
from lotmark_node.verification.verify import verify_snapshot
from tests.node.chained_ledger import LINK, URN, chained_ledger, grow, reckon
from tests.node.governance_events import approval, hash_of, proposal, proposing
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.snapshot_source import joined, members_of, packed, pairs_of, snapshot_of

MES = "T1-STATOR/mes"


def closes(ledger: LedgerInMemory) -> list[tuple[int, bytes]]:
    """Return epoch and root that the close of each block names."""
    found = [parse_results(results).close for _, results in ledger.blocks]
    return [(close.item_epoch, close.item_root) for close in found]


def verified(raw: bytes, ledger: LedgerInMemory) -> Verdict:
    return verify_snapshot(io.BytesIO(raw), chain_id=ledger.chain_id)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1_000), entries=st.integers(1, 30), ms=st.integers(1, 20_000))
def test_the_chain_is_what_the_log_alone_makes_it(seed: int, entries: int, ms: int) -> None:
    ledger = chained_ledger(seed, 30, entries=entries, ms=ms)
    expected = reckon(ledger, entries=entries, ms=ms)

    assert closes(ledger) == expected.closes
    store = ledger.state.items.store
    records = {item: parse_record(store.records({item})[item]) for item in expected.records}
    assert {
        item: (record.count, record.last_index, record.head) for item, record in records.items()
    } == expected.records


def test_every_64th_epoch_holds_every_item() -> None:
    ledger = chained_ledger(5, 140, entries=1, items=40)
    expected = reckon(ledger, entries=1, ms=10_000)

    assert closes(ledger) == expected.closes
    assert closes(ledger)[-1][0] > 128


def test_nothing_is_named_where_no_item_is_chained() -> None:
    ledger = LedgerInMemory()
    grow(ledger, 1, 20)

    assert set(closes(ledger)) == {(0, bytes(32))}
    assert ledger.state.items.running is None


def test_the_root_of_an_epoch_stands_from_the_close_that_ends_the_next_one_on() -> None:
    ledger = chained_ledger(3, 0, entries=4, ms=10**9)
    for number in range(12):  # 3 entries a block: 2 blocks an epoch
        ledger.block([ledger.batch(MES, [measurement(number)])])

    assert [epoch for epoch, _ in closes(ledger)] == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    roots = [root for _, root in closes(ledger)]
    assert roots[2] == bytes(32)
    assert roots[3] == roots[4] != roots[5] == roots[6] != bytes(32)


def test_two_names_of_one_item_are_one_chain() -> None:
    ledger = chained_ledger(0, 0)
    ledger.block([ledger.batch(MES, [measurement(1, item=URN), measurement(2, item=LINK)])])

    assert item_hash(URN) == item_hash(LINK)
    record = parse_record(ledger.state.items.store.records({item_hash(URN)})[item_hash(URN)])
    assert (record.count, record.last_index) == (2, 4)


def test_events_that_are_refused_move_no_head() -> None:
    ledger = chained_ledger(0, 0)
    same = measurement(1, item="A")
    ledger.block([ledger.batch(MES, [same, same, b"no event"])])
    ledger.block([ledger.batch(MES, [same])])

    record = parse_record(ledger.state.items.store.records({item_hash("A")})[item_hash("A")])
    assert (record.count, record.last_index) == (1, 3)


@pytest.mark.parametrize(
    ("changed", "ends"),
    [
        ({}, False),
        ({"size": 110}, True),
        ({"size": 109, "time_ms": 1_049}, False),
        ({"time_ms": 1_050}, True),
        ({"touches": TOUCHES_MAX}, True),
        ({"touches": TOUCHES_MAX - 1}, False),
    ],
)
def test_an_epoch_ends_by_entries_or_time_or_touches(changed: dict[str, int], ends: bool) -> None:
    place = {"size": 105, "time_ms": 1_010, "touches": 5, **changed}
    running = RunningEpoch(
        chain_first_index=2, first_index=100, start_ms=1_000, touches=place.pop("touches")
    )

    assert running.ends(EpochRule(entries=10, ms=50), **place) is ends


@pytest.mark.parametrize("height", range(1, 40, 3))
def test_a_ledger_goes_on_alike_from_its_rows_and_records(height: int) -> None:
    whole = chained_ledger(9, 40)
    ledger = LedgerInMemory(whole.genesis)
    for block, _ in whole.blocks[:height]:
        ledger.apply(block)
    store = ledger.state.items.store
    ledger.state = load_state(ledger.rows, ledger.position(), chain=ledger.state.chain, items=store)
    for block, _ in whole.blocks[height:]:
        ledger.apply(block)

    assert ledger.blocks == whole.blocks


def started(ledger: LedgerInMemory, *, entries: int = 12, ms: int = 10_000) -> int:
    """Let the parties begin the chain; return the height at whose end that was decided."""
    start = governance_pb2.ItemChainStart(epoch_entries=entries, epoch_ms=ms)
    asked = proposal(ledger, start_item_chain=start)
    ledger.block([ledger.batch(MES, [proposing(ledger, asked, "OEM-A")])])
    ledger.block([ledger.batch(MES, [approval(ledger, hash_of(ledger, asked), "T1-STATOR")])])
    raw = ledger.rows.get(proposal_key(hash_of(ledger, asked)))
    assert raw is not None
    assert parse_proposal_row(raw).status is ProposalStatus.ACTIVATED
    return ledger.height


def test_the_parties_begin_the_chain_of_a_ledger_that_was_founded_without() -> None:
    ledger = LedgerInMemory()
    grow(ledger, 1, 10)
    height = started(ledger)
    grow(ledger, 2, 30)
    expected = reckon(ledger, entries=12, ms=10_000, start=height)

    assert closes(ledger) == expected.closes
    assert closes(ledger)[-1][0] > 3
    assert verified(snapshot_of(ledger), ledger).conclusion is Conclusion.VALID
    for first_height in (2, height, height + 1, height + 2, height + 9):
        verdict = verified(snapshot_of(ledger, first_height=first_height), ledger)
        assert verdict.conclusion is Conclusion.VALID, verdict.text


@pytest.mark.parametrize(
    "changed", [{"epoch_entries": 0}, {"epoch_ms": 0}, {"epoch_entries": 0, "epoch_ms": 0}]
)
def test_no_chain_begins_with_epochs_that_never_end(changed: dict[str, int]) -> None:
    ledger = LedgerInMemory()
    values = {"epoch_entries": 5, "epoch_ms": 5, **changed}
    asked = proposal(ledger, start_item_chain=governance_pb2.ItemChainStart(**values))
    effects = ledger.block([ledger.batch(MES, [proposing(ledger, asked, "OEM-A")])])

    assert effects.results.batches[0].event_outcomes == [121]


def test_a_chain_that_runs_is_not_begun_again() -> None:
    ledger = chained_ledger(1, 5)
    start = governance_pb2.ItemChainStart(epoch_entries=5, epoch_ms=5)
    asked = proposal(ledger, start_item_chain=start)
    effects = ledger.block([ledger.batch(MES, [proposing(ledger, asked, "OEM-A")])])

    assert effects.results.batches[0].event_outcomes == [121]


def forged(ledger: LedgerInMemory, **close: object) -> bytes:
    """Return a snapshot whose last close is another, which every cosigner has signed."""
    raw = snapshot_of(ledger)
    members = members_of(raw)
    name = next(name for name in members if name.startswith("blocks/"))
    *pairs, (block, results) = pairs_of(members[name])
    honest = parse_results(results)
    lying = replace(honest, close=replace(honest.close, **close))  # type: ignore[arg-type]
    members[name] = joined([*pairs, (block, lying.encode())])
    frontier = Frontier()
    frontier.extend(ledger.leaf_hashes[: ledger.sizes[-2]])
    frontier.extend(leaf_hashes(parse_block(block).batches, lying))
    manifest = replace(parse_manifest(members["manifest.json"]), size=frontier.size)
    members["manifest.json"] = manifest.to_json()
    members["checkpoint.txt"] = ledger.checkpoint_note(size=frontier.size, root=frontier.root())
    return packed(members)


def ending_ledger(*, ends: bool) -> LedgerInMemory:
    """Return a ledger whose last block ends the fifth epoch, or leaves it open."""
    ledger = chained_ledger(3, 0, entries=4, ms=10**9)
    for number in range(10 if ends else 9):
        ledger.block([ledger.batch(MES, [measurement(number)])])
    return ledger


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("change", [-1, 1])
def test_the_structure_tells_a_close_that_names_another_epoch(ends: bool, change: int) -> None:
    ledger = ending_ledger(ends=ends)
    raw = forged(ledger, item_epoch=(4 if ends else 3) + change)
    verdict = judge_file(io.BytesIO(raw), chain_id=ledger.chain_id, genesis_json=None)

    assert verdict.fault is not None
    assert (verdict.fault.rule, verdict.fault.height) == ("close", ledger.height)
    assert "item_epoch" in verdict.fault.text


def test_the_structure_tells_a_root_that_changes_within_an_epoch() -> None:
    ledger = ending_ledger(ends=False)
    raw = forged(ledger, item_root=b"\1" * 32)
    verdict = judge_file(io.BytesIO(raw), chain_id=ledger.chain_id, genesis_json=None)

    assert verdict.fault is not None
    assert "item_root" in verdict.fault.text


def test_execution_tells_a_root_that_leaves_an_event_out() -> None:
    ledger = ending_ledger(ends=True)
    raw = forged(ledger, item_root=b"\1" * 32)
    structure = judge_file(io.BytesIO(raw), chain_id=ledger.chain_id, genesis_json=None)
    verdict = verified(raw, ledger)

    assert structure.conclusion is Conclusion.VALID
    assert verdict.fault is not None
    assert (verdict.fault.rule, verdict.fault.height) == ("item root", ledger.height)
    assert verdict.fault.index == ledger.size - 1


def test_a_range_says_on_whose_word_its_roots_stand() -> None:
    ledger = chained_ledger(4, 30)
    for first_height in range(1, 30):
        verdict = verified(snapshot_of(ledger, first_height=first_height), ledger)
        assert verdict.conclusion is Conclusion.VALID, verdict.text
        assert ("Roots of items' histories on the word of 3 parties" in verdict.text) == (
            first_height > 1
        )


def test_heads_and_running_epochs_are_read_back() -> None:
    head = EpochHead(
        number=64,
        chain_first_index=2,
        first_index=7,
        size=9,
        item_count=3,
        previous_root=b"\7" * 32,
    )
    running = RunningEpoch(
        number=9, chain_first_index=2, first_index=7, start_ms=5, touches=3, root=b"\1" * 32
    )

    assert parse_epoch_head(head.leaf()) == head
    assert parse_running_epoch(running.encode()) == running
