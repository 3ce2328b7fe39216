"""What an item proof proves: that these are all events that name an item, up to an entry.

The close that ends a checkpoint's tree names the root of an epoch; epochs lead back to the one that
holds the item's record; the record's head follows from the events alone. So one event that is left
out, added, altered or moved leads to another head. What came after the epoch is shown only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from lotmark.checkpoint import Checkpoint
from lotmark.entry import EntryHead, EntryKind, parse_close, parse_event_payload, parse_leaf_data
from lotmark.errors import MalformedError, ProofError
from lotmark.genesis import Genesis
from lotmark.item_epochs import (
    NO_RECORD,
    EpochHead,
    ItemRecord,
    chained,
    is_full,
    item_hash,
    item_leaf,
    parse_epoch_head,
    parse_record,
)
from lotmark.item_name import canonical_item
from lotmark.item_proof import EpochStep, ItemEvent, ItemProof, TreeItem, parse_item_proof
from lotmark.merkle import leaf_hash, verify_inclusion
from lotmark.v1 import event_pb2
from lotmark.verify.checkpoints import CheckpointFindings
from lotmark.verify.founding import given_genesis
from lotmark.verify.governance_chain import check_governed_checkpoint
from lotmark.verify.report import blaming


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """An event that names the item, in the order of the log."""

    index: int
    height: int
    time_ms: int
    event: bytes  # empty: withheld from whoever got the proof


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFindings:
    """What an item proof proves; on whose word, its `checkpoint` says.

    Events from entry `first_index` to before `complete_size` are all there are. Others are on the
    ledger, and there may be more of them.
    """

    item: str
    epoch: int  # whose root the newest close names; 0: none yet, so nothing is complete
    first_index: int  # where the chain of items begins
    complete_size: int
    complete: Sequence[ShownEvent]
    others: Sequence[ShownEvent]
    checkpoint: CheckpointFindings

    @property
    def events(self) -> list[ShownEvent]:
        """All of them, in the order of the log."""
        return sorted((*self.complete, *self.others), key=lambda shown: shown.index)


def verify_item_proof(
    raw: bytes, *, genesis_json: bytes, chain_id: bytes, genesis_name: str = "the genesis"
) -> HistoryFindings:
    """Check an item proof and return what it proves.

    Args:
        raw: The proof.
        genesis_json: The genesis of the ledger.
        chain_id: The pinned chain id, from a source the reader trusts.
        genesis_name: What a message calls the genesis, such as its path.

    Raises:
        FaultFound: Something in it does not hold.
        UndecidedError: It is cut off or of an unknown version, or the genesis is not that of the
            pinned chain.
    """
    founding = given_genesis(genesis_json, chain_id, name=genesis_name)
    with blaming("item proof"):
        proof = parse_item_proof(raw)
        if canonical_item(proof.item) != proof.item:
            raise MalformedError(f"{proof.item[:60]!a} is not the canonical name of an item")
    return _verify(proof, founding, chain_id)


def _verify(proof: ItemProof, founding: Genesis, chain_id: bytes) -> HistoryFindings:
    governed = check_governed_checkpoint(
        founding,
        chain_id,
        proof.checkpoint_note,
        close=proof.last_close,
        entries=proof.governance,
    )
    close = parse_close(parse_leaf_data(proof.last_close.leaf)[1])
    hashed = item_hash(proof.item)
    with blaming("item epoch", height=close.height):
        newest, record = _follow(proof.epochs, hashed, close.item_epoch, close.item_root)
    first_index = newest.chain_first_index if newest else 0
    complete_size = newest.size if newest else 0
    complete: list[ShownEvent] = []
    others: list[ShownEvent] = []
    previous = -1
    for event in proof.events:
        with blaming("item event"):
            head, _ = parse_leaf_data(event.leaf)
        with blaming("item event", height=head.height, index=head.index):
            if head.index <= previous:
                raise ProofError(f"it follows entry {previous}; events stand in the log's order")
            previous = head.index
            _check_event(event, proof.item)
            is_chained = first_index <= head.index < complete_size
            _check_place(event, head, governed.findings.checkpoint, is_chained=is_chained)
        shown = ShownEvent(head.index, head.height, head.time_ms, event.event)
        (complete if is_chained else others).append(shown)
    with blaming("item history", index=record.last_index if record.count else None):
        chained_leaves = [event.leaf for event in proof.events if event.path is None]
        _check_head(chained_leaves, record, complete_size)
    return HistoryFindings(
        item=proof.item,
        epoch=close.item_epoch,
        first_index=first_index,
        complete_size=complete_size,
        complete=complete,
        others=others,
        checkpoint=governed.findings,
    )


def _follow(
    steps: Sequence[EpochStep], hashed: bytes, epoch: int, root: bytes
) -> tuple[EpochHead | None, ItemRecord]:
    """Follow epochs back to the one that knows the item; return the newest, and the record.

    Args:
        steps: From the newest epoch on.
        hashed: The item's hash.
        epoch: The one that the close names.
        root: Of its tree.
    """
    newest: EpochHead | None = None
    record = NO_RECORD
    rest = iter(steps)
    while epoch:
        step = next(rest, None)
        if step is None:
            raise ProofError(f"the proof ends before epoch {epoch}, whose tree may hold the item")
        head = parse_epoch_head(step.head)
        if head.number != epoch:
            raise ProofError(f"epoch {head.number} stands where epoch {epoch} belongs")
        verify_inclusion(leaf_hash(step.head), 0, head.tree_size, step.head_path, root)
        newest = newest or head
        if step.item is not None:
            record = _present(step.item, step, hashed, head, root)
            break
        _check_absent(step, hashed, head, root)
        if is_full(epoch):
            break
        epoch, root = epoch - 1, head.previous_root
    if next(rest, None) is not None:
        raise MalformedError("epochs follow that nothing depends on")
    return newest, parse_record(record)


def _present(item: TreeItem, step: EpochStep, hashed: bytes, head: EpochHead, root: bytes) -> bytes:
    if item.hashed != hashed:
        raise ProofError(f"epoch {head.number} is shown with the record of another item")
    if step.left is not None or step.right is not None:
        raise MalformedError("neighbours stand beside the item that they would show to be absent")
    _check_inclusion(item, head, root)
    return item.record


def _check_absent(step: EpochStep, hashed: bytes, head: EpochHead, root: bytes) -> None:
    """Check that the item would stand between two leaves that follow each other."""
    left_index = 0
    if step.left is not None:
        _check_inclusion(step.left, head, root)
        left_index = step.left.leaf_index
        if step.left.hashed >= hashed:
            raise ProofError(f"in epoch {head.number} the left neighbour is not before the item")
    if step.right is None:
        if left_index != head.tree_size - 1:
            raise ProofError(
                f"epoch {head.number} goes on after leaf {left_index}, where its end is shown"
            )
        return
    _check_inclusion(step.right, head, root)
    if step.right.hashed <= hashed:
        raise ProofError(f"in epoch {head.number} the right neighbour is not after the item")
    if step.right.leaf_index != left_index + 1:
        raise ProofError(
            f"in epoch {head.number} leaves {left_index} and {step.right.leaf_index} are no"
            " neighbours: the item may stand between them"
        )


def _check_inclusion(item: TreeItem, head: EpochHead, root: bytes) -> None:
    if item.leaf_index == 0:
        raise MalformedError("leaf 0 of an epoch's tree is its head, not an item")
    leaf = leaf_hash(item_leaf(item.hashed, item.record))
    verify_inclusion(leaf, item.leaf_index, head.tree_size, item.path, root)


def _check_event(event: ItemEvent, item: str) -> None:
    """Check that an entry is of an accepted event, of this one, and that it names the item."""
    head, payload = parse_leaf_data(event.leaf)
    if head.kind is not EntryKind.EVENT or head.outcome:
        raise ProofError("it is no entry of an accepted event")
    _, _, event_id = parse_event_payload(payload)
    if not event.event:
        return
    if event_id != leaf_hash(event.event):
        raise ProofError("the event is another than the entry names")
    try:
        message = event_pb2.Event.FromString(event.event)
    except DecodeError as error:
        raise MalformedError(f"{len(event.event)} bytes are no protobuf event") from error
    if all(canonical_item(each.id) != item for each in message.items):
        raise ProofError(f"the event does not name {item}")


def _check_place(
    event: ItemEvent, head: EntryHead, checkpoint: Checkpoint, *, is_chained: bool
) -> None:
    if is_chained != (event.path is None):
        raise MalformedError(
            "an entry has a path if, and only if, the item's record does not cover it"
        )
    if event.path is not None:
        verify_inclusion(
            leaf_hash(event.leaf), head.index, checkpoint.size, event.path, checkpoint.root
        )


def _check_head(leaves: Sequence[bytes], record: ItemRecord, size: int) -> None:
    """Check that the events lead to the record's head."""
    if len(leaves) != record.count:
        what = "withheld" if len(leaves) < record.count else "added"
        raise ProofError(
            f"{len(leaves)} events are shown up to entry {size - 1}, the ledger has {record.count}"
            f" of this item: {abs(len(leaves) - record.count)} {what}"
        )
    computed = NO_RECORD
    for leaf in leaves:
        head, _ = parse_leaf_data(leaf)
        computed = chained(computed, head.index, leaf_hash(leaf))
    if parse_record(computed) != record:
        found = parse_record(computed)
        raise ProofError(
            f"the events lead to head {found.head.hex()} at entry {found.last_index}, the ledger"
            f" has {record.head.hex()} at entry {record.last_index}: one is not as it was recorded"
        )
