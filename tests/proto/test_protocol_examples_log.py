"""Sections 5 and 7 of docs/protocol.md: log and state, recomputed from its text alone."""

import base64
import struct
from itertools import pairwise
from typing import Any

import blake3
import pytest

from tests.proto.protocol_examples import (
    BATCH_DOMAIN,
    CHAIN_ID,
    GENESIS,
    KEYS,
    NODES,
    ORIGIN,
    PURPOSES,
    event_ids,
    example_bytes,
    example_fields,
    example_text,
    leaf_hash,
    leaf_hashes,
    node_hash,
    sha256,
    str8,
    u64,
    verify,
    what_follows,
)

ZERO = bytes(32)
ROLES = {"oem": 1, "supplier": 2}
NEVER = 2**64 - 1
LEAVES = [*(f"leaf.{index}" for index in range(8)), "leaf.receipt"]
CLOSE = struct.Struct(">HQQQQ32s32s32sQ32s32s6I")


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_begins_alike_and_has_its_hash(name: str) -> None:
    raw = example_bytes(name)

    assert raw.startswith(b"lotmark/entry/v1\n")
    assert what_follows(name)["leaf hash"] == leaf_hash(raw)


def test_each_leaf_has_its_kind_index_height_time_outcome_and_payload() -> None:
    created, first, second = 1767600000000, 1767600060250, 1767600120250
    signed, reused = example_bytes("batch.signed_header"), example_bytes("batch.reused")
    one, two = event_ids()
    expected = {
        0: (0, 0, created, 0, CHAIN_ID),
        2: (4, 1, first, 0, signed),
        3: (1, 1, first, 0, u64(2) + b"\0\0" + one),
        4: (1, 1, first, 0, u64(2) + b"\0\1" + two),
        6: (4, 2, second, 11, reused),
        7: (5, 2, second, 0, u64(2) + signed + reused),
    }
    for index, (kind, height, time_ms, outcome, payload) in expected.items():
        head = struct.pack(">BQQQH", kind, index, height, time_ms, outcome)
        assert example_bytes(f"leaf.{index}") == b"lotmark/entry/v1\n" + head + payload


def test_the_closes_chain_tree_state_proposal_and_policy() -> None:
    digests = what_follows("state.rows").values()
    state_0, state_1 = digests
    policy = example_bytes("policy.digest")
    proposal = what_follows("block.proposal")["proposal digest"]
    root_2 = node_hash(*leaf_hashes()[:2])
    zero = (0, ZERO, policy)
    close_0 = CLOSE.pack(1, 0, 1767600000000, NEVER, 0, sha256(b""), ZERO, state_0, *zero, *[0] * 6)
    counts = (1, 0, 2, 0, 0, 0)
    close_1 = CLOSE.pack(1, 1, 1767600060250, 1, 2, root_2, proposal, state_1, *zero, *counts)

    assert CLOSE.size == 226
    assert example_bytes("leaf.1")[44:] == close_0
    assert example_bytes("leaf.5")[44:] == close_1


def test_the_tree_over_six_leaves_has_these_nodes() -> None:
    hashes = leaf_hashes()
    lower = [node_hash(*hashes[at : at + 2]) for at in (0, 2, 4)]
    left = node_hash(lower[0], lower[1])

    nodes = [raw for _, raw in example_fields("tree")]

    assert nodes == [lower[0], lower[1], left, lower[2], node_hash(left, lower[2])]


def test_the_equivocation_convicts_by_two_signatures_under_one_number() -> None:
    numbers = []
    for name in ("batch.signed_header", "batch.reused"):
        signed = example_bytes(name)
        header = signed[2:-64]
        verify("T1-STATOR/press-2 batch", BATCH_DOMAIN + header, signed[-64:])
        numbers.append(header[32:76])  # signer, lane, sequence

    assert numbers[0] == numbers[1]
    assert example_bytes("batch.signed_header") != example_bytes("batch.reused")


def test_the_checkpoint_is_signed_by_the_log_and_both_parties() -> None:
    text = f"{ORIGIN}\n6\n{base64.b64encode(example_fields('tree')[-1][1]).decode()}\n"
    cosigned = f"cosignature/v1\ntime 1767600061\n{text}"
    note = example_text("checkpoint.note")
    lines = note.removeprefix(f"{text}\n").splitlines()
    names = [ORIGIN, *(f"lotmark.invalid/example/{node}" for node in NODES)]
    raws = []
    for line, name in zip(lines, names, strict=True):
        dash, shown, encoded = line.split(" ")
        assert (dash, shown) == ("—", name)
        raws.append(base64.b64decode(encoded))

    assert example_text("checkpoint.cosigned") == cosigned
    assert b"".join(raws) == example_bytes("checkpoint.signatures")
    vkeys = [line.split(" ")[-1] for line in example_text("policy").splitlines()[:3]]
    assert [raw[:4].hex() for raw in raws] == [each.split("+")[1] for each in vkeys]
    verify("OEM-A/n1 log", text.encode(), raws[0][4:])
    for node, raw in zip(NODES, raws[1:], strict=True):
        assert raw[4:12] == u64(1767600061)
        verify(f"{node} cosign", cosigned.encode(), raw[12:])


def rows() -> list[tuple[bytes, bytes]]:
    raws = [raw for _, raw in example_fields("state.rows")]
    return list(zip(raws[::2], raws[1::2], strict=True))


def row_key(table: int, *parts: bytes) -> bytes:
    return bytes([table]) + b"".join(len(part).to_bytes(2) + part for part in parts)


def key_value(purpose: int, first: int, last: int, *, party: str, holder: str, types: Any) -> bytes:
    head = struct.pack(">BQQQQQ", purpose, 0, NEVER, 0, first, last)
    return head + str8(party) + str8(holder) + struct.pack(f">B{len(types)}H", len(types), *types)


APPROVAL_RULES = {
    b"add_party": 1,
    b"remove_party": 3,
    b"add_cosigner": 1,
    b"remove_cosigner": 3,
    b"change_rule": 2,
    b"change_quotas": 1,
}


FOUNDED = (1, 2, 3, 12, 16)  # tables


def founding_rows() -> dict[bytes, bytes]:
    made = {row_key(12): example_text("policy").encode()}
    for name, value in GENESIS["parameters"].items():
        made[row_key(1, name.encode())] = u64(value)
    made[row_key(1, b"cosigners_changed_ms")] = u64(0)
    for name, rule in APPROVAL_RULES.items():
        made[row_key(1, b"approve_" + name)] = u64(rule)
    for party in GENESIS["parties"]:
        roots = [bytes.fromhex(key) for key in party["roots"]["keys"]]
        head = bytes([ROLES[party["role"]]]) + u64(0) + u64(NEVER) + bytes(4)
        head += bytes([party["roots"]["threshold"], len(roots)])
        value = head + b"".join(roots) + party["ca"].encode()
        made[row_key(2, party["id"].encode())] = value
        for root in roots:
            made[row_key(3, root)] = key_value(
                6, 0, NEVER, party=party["id"], holder="root", types=[]
            )
    for first in GENESIS["keys"]:
        made[row_key(3, bytes.fromhex(first["key"]))] = key_value(
            PURPOSES[first["purpose"]],
            int(first["not_before_ms"]),
            int(first["not_after_ms"]),
            party=first["party"],
            holder=first["holder"],
            types=first["event_types"],
        )
        if first["purpose"] != "batch":
            found_by = (first["party"].encode(), bytes([PURPOSES[first["purpose"]]]))
            key = bytes.fromhex(first["key"])
            made[row_key(16, *found_by, first["holder"].encode(), key)] = b"\1"
    return made


def test_the_rows_of_height_0_follow_from_the_genesis() -> None:
    found = {key: value for key, value in rows() if key[0] in FOUNDED}

    assert found == founding_rows()


def test_the_rows_of_block_1_follow_from_its_batch() -> None:
    key, batch = KEYS["T1-STATOR/press-2 batch"], example_bytes("batch.bytes")
    batch_id = what_follows("batch.header")["batch id"]
    wire, stator, motor = b"WIRE-7/L0042", b"ST-000001", b"M-000001"
    consumed, mounted = b"\1" + str8("1.840") + str8("KGM"), b"\3" + str8("") + str8("")
    head = u64(0) + u64(2) + node_hash(*leaf_hashes()[:2]) + u64(1) + u64(1)
    recent = (2).to_bytes(4) + b"".join(event_ids()) + (1).to_bytes(2) + u64(2)
    size, party = len(batch), b"T1-STATOR"
    state_keys = 1 + 2  # lane, edges
    minute = 1767600060250 // 60_000
    expected = {
        row_key(4, key, (7).to_bytes(4)): u64(1) + batch_id + u64(2) + b"\0",
        row_key(5, u64(1)): recent + example_bytes("batch.signed_header"),
        row_key(6): b"\1" + head,
        row_key(8, stator, u64(3), wire): consumed,
        row_key(8, motor, u64(4), stator): mounted,
        row_key(10, party): b"".join(map(u64, (1, 0, 2, 0, size))),
        row_key(11, party): b"".join(map(u64, (minute, 2, size, 1, state_keys))),
    }

    assert {row: value for row, value in rows() if row[0] not in FOUNDED} == expected


def element(key: bytes, value: bytes) -> list[int]:
    raw = b"lotmark/state/v1\n" + len(key).to_bytes(4) + key + value
    return list(struct.unpack("<1024H", blake3.blake3(raw).digest(length=2048)))


def lanes_of(chosen: list[tuple[bytes, bytes]]) -> bytes:
    elements = [element(*row) for row in chosen]
    return struct.pack("<1024H", *(sum(lane) % 2**16 for lane in zip(*elements, strict=True)))


def digest(lanes: bytes) -> bytes:
    return blake3.blake3(b"lotmark/lanes/v1\n" + lanes).digest()


def test_the_state_digests_are_those_of_the_rows() -> None:
    all_rows = rows()
    founded = [row for row in all_rows if row[0][0] in FOUNDED]

    assert all(lower < upper for (lower, _), (upper, _) in pairwise(all_rows))
    assert list(what_follows("state.rows").values()) == [
        digest(lanes_of(founded)),
        digest(lanes_of(all_rows)),
    ]


def test_the_digest_of_two_rows_comes_from_the_sum_of_their_elements() -> None:
    parents = [row for row in rows() if row[0][0] == 8]
    total = lanes_of(parents)

    for number, row in enumerate(parents, 1):
        name = f"state.element.{number}"
        length = len(row[0]).to_bytes(4)
        assert example_bytes(name) == b"lotmark/state/v1\n" + length + b"".join(row)
        assert list(what_follows(name).values()) == [struct.pack("<16H", *element(*row)[:16])]
    assert example_bytes("state.sum") == total[:32]
    assert list(what_follows("state.sum").values()) == [digest(total), digest(bytes(2048))]
