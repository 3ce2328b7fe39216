"""Whoever is shown an item's history tells whether an event was withheld, added, moved, altered."""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.entry import parse_leaf_data
from lotmark.item_epochs import EpochHead, item_hash, parse_epoch_head
from lotmark.item_proof import (
    EpochStep,
    ItemEvent,
    ItemProof,
    TreeItem,
    format_item_proof,
    parse_item_proof,
)
from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, Fault, FaultFound, UndecidedError
from tests.node.chained_ledger import LINK, URN, chained_ledger
from tests.node.engine.proven_items import ProvenItems
from tests.proto.sample_genesis import GOLDEN

ENTRIES = 12
WHOLE = chained_ledger(21, 70, entries=ENTRIES, ms=10**9, items=40)
ABSENT = "NEVER-SEEN"


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvenItems]:
    made = ProvenItems(tmp_path_factory.mktemp("items") / "ledger", WHOLE, entries=ENTRIES)
    made.grow(len(WHOLE.blocks))
    yield made
    made.close()


def item_of(proven: ProvenItems, *, absences: int = 2) -> str:
    """Return an item with complete and newer events that the newest epochs do not hold."""
    for at in range(40):
        proof = proven.proof(f"ST-{at}")
        paths = [event.path is None for event in proof.events]
        if paths.count(True) > 3 and False in paths and len(proof.epochs) > absences:
            return proof.item
    raise AssertionError("no item has such a history")


def fault(proven: ProvenItems, proof: ItemProof) -> Fault:
    with pytest.raises(FaultFound) as raised:
        proven.verify(format_item_proof(proof))
    return raised.value.fault


def with_event(proof: ItemProof, at: int, *events: ItemEvent) -> ItemProof:
    """Return a proof in which others stand in place of one event."""
    return replace(proof, events=[*proof.events[:at], *events, *proof.events[at + 1 :]])


def with_step(proof: ItemProof, at: int, *steps: EpochStep) -> ItemProof:
    """Return a proof in which others stand in place of one epoch."""
    return replace(proof, epochs=[*proof.epochs[:at], *steps, *proof.epochs[at + 1 :]])


def test_a_history_says_up_to_which_entry_it_is_complete(proven: ProvenItems) -> None:
    item = item_of(proven)
    found = proven.verify(proven.raw_proof(item))

    assert [shown.index for shown in found.events] == proven.indexes(item)
    assert found.complete
    assert found.others
    assert found.others[0].index >= found.complete_size > found.complete[-1].index
    assert found.first_index == 2


@pytest.mark.parametrize("at", range(4))
def test_a_withheld_event_is_missed(proven: ProvenItems, at: int) -> None:
    proof = proven.proof(item_of(proven))
    found = fault(proven, with_event(proof, at))

    assert found.rule == "item history"
    assert found.text.endswith("1 withheld")


def test_an_event_that_is_shown_twice_or_beside_is_told(proven: ProvenItems) -> None:
    proof = proven.proof(item_of(proven))
    other = next(
        event
        for number in range(40)
        for event in proven.proof(f"ST-{number}").events
        if event.path is None and event not in proof.events
    )
    events = sorted([*proof.events, other], key=lambda event: index_of(event))

    twice = fault(proven, with_event(proof, 1, proof.events[1], proof.events[1]))
    assert "events stand in the log's order" in twice.text
    beside = fault(proven, replace(proof, events=events))
    assert (beside.rule, beside.index) == ("item event", index_of(other))
    assert beside.text == f"the event does not name {proof.item}"
    hidden = replace(other, event=b"")
    events = sorted([*proof.events, hidden], key=lambda event: index_of(event))
    assert fault(proven, replace(proof, events=events)).text.endswith("1 added")


def index_of(event: ItemEvent) -> int:
    return parse_leaf_data(event.leaf)[0].index


def test_events_in_another_order_are_told(proven: ProvenItems) -> None:
    proof = proven.proof(item_of(proven))
    first, second, *rest = proof.events
    found = fault(proven, replace(proof, events=[second, first, *rest]))

    assert "events stand in the log's order" in found.text


def test_an_altered_event_is_told(proven: ProvenItems) -> None:
    proof = proven.proof(item_of(proven))
    event = proof.events[1]
    altered = replace(event, event=proof.events[0].event)
    found = fault(proven, with_event(proof, 1, altered))
    assert found.text == "the event is another than the entry names"

    at = len(event.leaf) - 42 - 2 - 1  # the block's time
    leaf = event.leaf[:at] + bytes([event.leaf[at] ^ 1]) + event.leaf[at + 1 :]
    moved = fault(proven, with_event(proof, 1, replace(event, leaf=leaf)))
    assert moved.text.endswith("one is not as it was recorded")


def test_the_history_of_another_item_is_told(proven: ProvenItems) -> None:
    proof = proven.proof(item_of(proven))
    found = fault(proven, replace(proof, item="ST-999"))

    assert found.rule == "item epoch"


def test_an_older_epoch_does_not_pass_for_the_newest(proven: ProvenItems) -> None:
    proof = proven.proof(item_of(proven))
    found = fault(proven, replace(proof, epochs=proof.epochs[1:]))
    newest = parse_epoch_head(proof.epochs[0].head).number

    assert found.text == f"epoch {newest - 1} stands where epoch {newest} belongs"
    cut = fault(proven, replace(proof, epochs=proof.epochs[:1]))
    assert cut.text.startswith(f"the proof ends before epoch {newest - 1}")


def test_an_item_that_is_shown_with_an_older_record_is_told(proven: ProvenItems) -> None:
    """The server goes past the epoch that holds the newest record, to an older one."""
    item = item_of(proven)
    proof = proven.proof(item)
    last = proof.epochs[-1]
    assert last.item is not None
    head = parse_epoch_head(last.head)
    left, right = neighbours(proven, head, last.item.leaf_index)
    passed = replace(last, item=None, left=left, right=right)
    found = fault(proven, with_step(proof, len(proof.epochs) - 1, passed))

    assert "are no neighbours: the item may stand between them" in found.text


def neighbours(
    proven: ProvenItems, head: EpochHead, at: int
) -> tuple[TreeItem | None, TreeItem | None]:
    """Return the items of a tree around a leaf."""
    rows = proven.stored.store.items
    tile = rows.tile_at(head.number, bytes(32))
    tree = rows.tree(head, tile)

    def item(index: int) -> TreeItem | None:
        if not 1 <= index < head.tree_size:
            return None
        hashed, record = tile.items[index - 1]
        return TreeItem(index, hashed, record, tree.inclusion_path(index, head.tree_size))

    return item(at - 1), item(at + 1)


def test_an_item_that_no_event_names_is_proven_absent(proven: ProvenItems) -> None:
    found = proven.verify(proven.raw_proof(ABSENT))

    assert (found.events, found.complete_size > 0) == ([], True)
    assert parse_epoch_head(proven.proof(ABSENT).epochs[-1].head).number == 1


Forgery = Callable[[EpochStep], EpochStep]


@pytest.mark.parametrize(
    ("forge", "text"),
    [
        (lambda step: replace(step, left=None), "are no neighbours"),
        (lambda step: replace(step, right=None), "goes on after leaf"),
        (lambda step: replace(step, left=step.right, right=None), "is not before the item"),
        (lambda step: replace(step, left=None, right=step.left), "is not after the item"),
        (
            lambda step: replace(step, left=replace(step.left, record=bytes(48))),
            "lead to root",
        ),
        (
            lambda step: replace(step, right=replace(step.right, hashed=b"\xff" * 32)),
            "lead to root",
        ),
        (
            lambda step: replace(step, right=replace(step.right, leaf_index=0)),
            "leaf 0 of an epoch's tree is its head",
        ),
        (lambda step: replace(step, item=step.left), "with the record of another item"),
    ],
)
def test_forged_neighbours_prove_nothing(proven: ProvenItems, forge: Forgery, text: str) -> None:
    proof = proven.proof(ABSENT)
    at, step = next(
        (at, step)
        for at, step in enumerate(proof.epochs)
        if step.left is not None and step.right is not None
    )
    found = fault(proven, with_step(proof, at, forge(step)))

    assert (found.rule, text in found.text) == ("item epoch", True), found.text


def test_neighbours_of_another_tree_size_prove_nothing(proven: ProvenItems) -> None:
    proof = proven.proof(ABSENT)
    head = parse_epoch_head(proof.epochs[0].head)
    other = replace(head, item_count=head.item_count + 1).leaf()
    found = fault(proven, with_step(proof, 0, replace(proof.epochs[0], head=other)))

    assert found.rule == "item epoch"


def test_newer_events_need_their_way_to_the_checkpoint(proven: ProvenItems) -> None:
    proof = proven.proof(item_of(proven))
    newest = proof.events[-1]
    assert newest.path is not None
    without = fault(proven, with_event(proof, len(proof.events) - 1, replace(newest, path=None)))
    assert "an entry has a path if, and only if" in without.text
    older = proof.events[0]
    withheld = with_event(proof, 0, replace(older, path=newest.path))
    assert "an entry has a path if, and only if" in fault(proven, withheld).text
    wrong = replace(newest, path=[bytes(32), *newest.path[1:]])
    assert "lead to root" in fault(proven, with_event(proof, len(proof.events) - 1, wrong)).text


def test_a_proof_of_another_chain_or_checkpoint_is_refused(proven: ProvenItems) -> None:
    proof = proven.proof(ABSENT)
    note = proven.checkpoint(len(WHOLE.blocks) - 1).note
    assert fault(proven, replace(proof, checkpoint_note=note)).rule in ("governance", "policy")
    close = replace(proof.last_close, leaf=proof.last_close.leaf[:-1] + b"\1")
    assert fault(proven, replace(proof, last_close=close)).rule == "policy"
    with pytest.raises(FaultFound, match="is not the canonical name"):
        proven.verify(format_item_proof(replace(proof, item=URN)))


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_what_is_proven(proven: ProvenItems, place: float, bit: int) -> None:
    raw = proven.raw_proof(item_of(proven))
    at = min(len(raw) - 1, int(place * len(raw)))
    flipped = raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
    honest = proven.verify(raw)
    with suppress(FaultFound, UndecidedError):
        assert proven.verify(flipped).events == honest.events


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1))
def test_a_proof_that_is_cut_off_has_no_verdict(proven: ProvenItems, place: float) -> None:
    raw = proven.raw_proof(item_of(proven))
    cut = raw[: max(len(b"lotmark/item-proof/v1\n"), int(place * (len(raw) - 1)))]

    with pytest.raises(UndecidedError, match="cut off"):
        proven.verify(cut)


def test_a_later_version_has_no_verdict(proven: ProvenItems) -> None:
    raw = proven.raw_proof(ABSENT).replace(b"item-proof/v1\n", b"item-proof/v2\n", 1)
    with pytest.raises(UndecidedError, match="does not know"):
        proven.verify(raw)
    with pytest.raises(FaultFound, match="1 bytes follow the last event"):
        proven.verify(proven.raw_proof(ABSENT) + b"\0")


def test_the_bytes_of_a_proof_are_pinned(proven: ProvenItems) -> None:
    pinned = bytes.fromhex((GOLDEN / "item_proof.hex").read_text())

    assert proven.raw_proof(LINK, 9) == pinned
    assert format_item_proof(parse_item_proof(pinned)) == pinned
    assert proven.verify(pinned).complete
    assert item_hash(LINK) == item_hash(URN)


def test_the_judge_words_a_history(proven: ProvenItems) -> None:
    item = item_of(proven)
    raw = proven.raw_proof(item)
    verdict = judge_file(io.BytesIO(raw), chain_id=WHOLE.chain_id, genesis_json=WHOLE.genesis_bytes)
    found = proven.verify(raw)

    assert verdict.conclusion is Conclusion.VALID
    assert verdict.kind == "item_proof"
    assert verdict.text.startswith(
        f"{item}: all {len(found.complete)} events up to entry {found.complete_size - 1:,}"
    )
    assert f"{len(found.others)} newer" in verdict.text
    unpinned = judge_file(io.BytesIO(raw), chain_id=None, genesis_json=WHOLE.genesis_bytes)
    assert unpinned.conclusion is Conclusion.CANNOT_TELL
    assert unpinned.chain_id == WHOLE.chain_id
    never = proven.raw_proof(ABSENT)
    absent = judge_file(
        io.BytesIO(never), chain_id=WHOLE.chain_id, genesis_json=WHOLE.genesis_bytes
    )
    assert absent.text.startswith(f"{ABSENT}: no event names it up to entry")
