"""Section 13 of docs/protocol.md, recomputed from its text alone."""

from tests.proto.protocol_examples import (
    example_bytes,
    example_fields,
    leaf_hash,
    sha256,
    what_follows,
)

WIRE, STATOR, MOTOR = b"WIRE-7/L0042", b"ST-000001", b"M-000001"


def record(*entries: int) -> bytes:
    """Return the record that events at these entries lead to."""
    head = bytes(32)
    for index in entries:
        head = sha256(b"lotmark/item/v1\n" + head + leaf_hash(example_bytes(f"leaf.{index}")))
    return len(entries).to_bytes(8) + entries[-1].to_bytes(8) + head


RECORDS = {WIRE: record(3), STATOR: record(3, 4), MOTOR: record(4)}


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def test_the_records_follow_from_the_entries() -> None:
    assert example_bytes("item.records") == RECORDS[WIRE] + RECORDS[STATOR] + RECORDS[MOTOR]


def test_the_leaves_are_those_of_the_items_ascending_by_hash() -> None:
    for at, (hashed, name) in enumerate(sorted((sha256(name), name) for name in RECORDS), 1):
        leaf = b"lotmark/item-leaf/v1\n" + hashed + RECORDS[name]

        assert example_bytes(f"item.leaf.{at}") == leaf
        assert what_follows(f"item.leaf.{at}") == {f"leaf hash, leaf {at}": leaf_hash(leaf)}
        assert example_fields(f"item.leaf.{at}")[1][0] == f"item hash of {name.decode()}"


def test_the_root_is_over_the_head_and_the_items() -> None:
    numbers = (2).to_bytes(8) + (2).to_bytes(8) + (6).to_bytes(8) + (3).to_bytes(8)
    head = b"lotmark/item-epoch/v1\n" + (1).to_bytes(8) + b"\0" + numbers + bytes(32)
    leaves = [leaf_hash(example_bytes(f"item.leaf.{at}")) for at in (1, 2, 3)]
    root = node(node(leaf_hash(head), leaves[0]), node(leaves[1], leaves[2]))

    assert example_bytes("item.epoch") == head
    assert list(what_follows("item.epoch").values()) == [leaf_hash(head), root]
