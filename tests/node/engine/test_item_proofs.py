"""What a node proves of an item is exactly what its log holds."""

from collections.abc import Iterator

import pytest

from lotmark.block_results import parse_results
from lotmark.v1 import event_pb2
from lotmark_node.engine import item_proofs
from lotmark_node.engine.errors import NotOnLedger, StoreCorrupt
from lotmark_node.engine.item_proofs import ProofTooLarge
from tests.node.chained_ledger import LINK, chained_ledger
from tests.node.engine.proven_items import ProvenItems

ENTRIES = 12
WHOLE = chained_ledger(21, 260, entries=ENTRIES, ms=10**9, items=40)
ITEMS = [LINK, *(f"ST-{at}" for at in range(40)), "NEVER-SEEN", "", "ST-999"]


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvenItems]:
    made = ProvenItems(tmp_path_factory.mktemp("items") / "ledger", WHOLE, entries=ENTRIES)
    yield made
    made.close()


def test_every_item_is_proven_under_every_checkpoint(proven: ProvenItems) -> None:
    newest = 0
    for height in range(1, len(WHOLE.blocks) + 1):
        proven.grow(height)
        close = parse_results(WHOLE.blocks[height - 1][1]).close
        newest = max(newest, close.item_epoch)
        size = WHOLE.sizes[height]
        for item in ITEMS[height % 5 :: 5]:
            found = proven.verify(proven.raw_proof(item))
            due = [index for index in proven.indexes(item) if index < size]

            assert [shown.index for shown in found.events] == due
            assert [shown.index for shown in found.complete] == [
                index for index in due if index < found.complete_size
            ]
            assert found.epoch == close.item_epoch
            assert (found.complete_size > 0) == (close.item_epoch > 0)
    assert newest > 64, "full trees were gone back to"


def test_an_older_checkpoint_is_proven_as_long_as_its_trees_are_kept(proven: ProvenItems) -> None:
    proven.grow(len(WHOLE.blocks))
    kept = [height for height in range(1, len(WHOLE.blocks)) if _is_kept(height)]

    for height in kept[::9]:
        found = proven.verify(proven.raw_proof("ST-3", height))
        assert found.checkpoint.checkpoint.size == WHOLE.sizes[height]


def _is_kept(height: int) -> bool:
    return parse_results(WHOLE.blocks[height - 1][1]).close.item_epoch >= 1


def test_a_tree_that_is_not_kept_is_said(proven: ProvenItems) -> None:
    proven.grow(len(WHOLE.blocks))
    proven.stored.store.items.drop_trees(5)
    height = next(height for height in range(1, 200) if _is_kept(height))

    with pytest.raises(NotOnLedger, match="the tree of item epoch 1 is not kept any more"):
        proven.raw_proof("ST-3", height)


def test_an_index_that_lacks_an_event_makes_no_proof(proven: ProvenItems) -> None:
    proven.grow(len(WHOLE.blocks))
    indexes = proven.indexes("ST-3")

    with pytest.raises(StoreCorrupt, match="rebuild the index"):
        proven.maker.make("ST-3", indexes[1:], proven.checkpoint(len(WHOLE.blocks)))


def test_more_events_than_fit_are_refused(
    proven: ProvenItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven.grow(len(WHOLE.blocks))
    monkeypatch.setattr(item_proofs, "ITEM_PROOF_SIZE_MAX", 1_000)

    with pytest.raises(ProofTooLarge, match="more events than the 1000 bytes"):
        proven.raw_proof("ST-3")


def test_what_somebody_may_not_read_keeps_its_place_without_content(proven: ProvenItems) -> None:
    proven.grow(len(WHOLE.blocks))
    hidden = set(proven.indexes("ST-3")[1::3])
    raw = proven.maker.make(
        "ST-3",
        proven.indexes("ST-3"),
        proven.checkpoint(len(WHOLE.blocks)),
        may_read=lambda entry: entry.index not in hidden,
    )
    found = proven.verify(raw)

    assert {shown.index for shown in found.events if not shown.event} == hidden
    assert [shown.index for shown in found.events] == proven.indexes("ST-3")
    named = [event_pb2.Event.FromString(shown.event) for shown in found.events if shown.event]
    assert all("ST-3" in [item.id for item in event.items] for event in named)
