"""The worked examples of docs/protocol.md, section 13: an item's records, and an epoch's tree."""

from lotmark import item_epochs
from lotmark.item_epochs import NO_RECORD, EndedEpoch, chained, epoch_root, item_hash, item_leaf
from lotmark.merkle import leaf_hash
from tools.protocol_example_fields import Block, Field, Part, cut, domain, following
from tools.protocol_example_ledger import ExampleLedger

_WIRE, _STATOR, _MOTOR = "WIRE-7/L0042", "ST-000001", "M-000001"
_RECORD: tuple[Part, ...] = (("u64", "count"), ("u64", "last index"), (32, "head"))
_FIRST, _SECOND = (
    3,
    4,
)  # entries: the first event names wire and stator, the second stator and motor
_SIZE = 6  # of the log after height 1, with which the example's epoch ends


def item_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the records of items after height 1, and the tree of an epoch that ends there."""
    first, second = (leaf_hash(ledger.leaf_data[index]) for index in (_FIRST, _SECOND))
    once = chained(NO_RECORD, _FIRST, first)
    twice = chained(once, _SECOND, second)
    motor = chained(NO_RECORD, _SECOND, second)
    records = {_WIRE: once, _STATOR: twice, _MOTOR: motor}
    items = sorted((item_hash(name), record) for name, record in records.items())
    ended = EndedEpoch(number=1, chain_first_index=2, first_index=2, size=_SIZE)
    head = ended.head(item_count=len(items), previous_root=item_epochs.ZERO_HASH)
    names = {item_hash(name): name for name in records}
    return {
        "item.records": [
            *_named(once, f"{_WIRE} and {_STATOR} after entry {_FIRST}"),
            *_named(twice, f"{_STATOR} after entry {_SECOND}"),
            *_named(motor, f"{_MOTOR} after entry {_SECOND}"),
        ],
        "item.epoch": [
            *cut(
                head.leaf(),
                domain("lotmark/item-epoch/v1"),
                ("u64", "epoch"),
                ("u8", "holds every item"),
                ("u64", "first entry of the chain"),
                ("u64", "first entry of the epoch"),
                ("u64", "size of the log at its end"),
                ("u64", "items"),
                (32, "root of the epoch before"),
            ),
            following(leaf_hash(head.leaf()), "leaf hash, leaf 0"),
            following(epoch_root(head, items), "root of the epoch's tree of four leaves"),
        ],
        **{
            f"item.leaf.{at}": [
                *cut(
                    item_leaf(hashed, record),
                    domain("lotmark/item-leaf/v1"),
                    (32, f"item hash of {names[hashed]}"),
                    *_RECORD,
                ),
                following(leaf_hash(item_leaf(hashed, record)), f"leaf hash, leaf {at}"),
            ]
            for at, (hashed, record) in enumerate(items, 1)
        },
    }


def _named(record: bytes, what: str) -> list[Field]:
    return [Field(field.raw, f"{field.label}: {what}") for field in cut(record, *_RECORD)]
