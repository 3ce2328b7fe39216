"""Sections 2 to 4 of docs/protocol.md: genesis, batch and block, recomputed from its text alone."""

import base64
import json
import struct
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
    example_text,
    joined_text,
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


@pytest.mark.parametrize("label", KEYS)
def test_a_key_follows_from_its_label(label: str) -> None:
    private = Ed25519PrivateKey.from_private_bytes(sha256(label.encode()))

    assert private.public_key().public_bytes_raw() == KEYS[label]


def test_the_chain_id_is_the_hash_of_the_genesis_which_is_sorted_and_without_white_space() -> None:
    raw = joined_text("genesis.json")

    assert json.dumps(GENESIS, sort_keys=True, separators=(",", ":")).encode() == raw
    assert sha256(b"lotmark/genesis/v1\n" + raw) == CHAIN_ID


def test_every_party_accepts_the_genesis_with_its_roots() -> None:
    signed = b"lotmark/genesis-accept/v1\n" + CHAIN_ID
    acceptances = json.loads(joined_text("genesis.acceptances"))["acceptances"]
    roots = {key.hex(): label for label, key in KEYS.items() if "root" in label}

    assert example_bytes("genesis.acceptance") == signed
    assert [bytes.fromhex(each["signature"]) for each in acceptances] == list(
        what_follows("genesis.acceptance").values()
    )
    for each in acceptances:
        verify(roots[each["key"]], signed, bytes.fromhex(each["signature"]))


def test_the_ca_certificates_are_signed_by_themselves() -> None:
    for party in GENESIS["parties"]:
        certificate = x509.load_pem_x509_certificate(party["ca"].encode())
        certificate.verify_directly_issued_by(certificate)


def grant_bytes(first: dict[str, Any]) -> bytes:
    types = first["event_types"]
    return b"".join(
        [
            b"lotmark/key-reg/v1\n",
            bytes.fromhex(GENESIS["nonce"] + first["key"]),
            bytes([PURPOSES[first["purpose"]]]),
            u64(first["not_before_ms"]),
            u64(first["not_after_ms"]),
            ZERO,
            str8(first["party"]),
            str8(first["holder"]),
            struct.pack(f">B{len(types)}H", len(types), *types),
        ]
    )


def test_every_first_key_signs_its_grant() -> None:
    labels = {key: label for label, key in KEYS.items()}
    for first in GENESIS["keys"]:
        label = labels[bytes.fromhex(first["key"])]
        verify(label, grant_bytes(first), bytes.fromhex(first["possession"]))
        if label == "T1-STATOR/press-2 batch":
            assert grant_bytes(first) == example_bytes("key.grant")
            assert [bytes.fromhex(first["possession"])] == list(what_follows("key.grant").values())


@pytest.mark.parametrize(
    "name",
    ["key.registration", "key.revocation", "lane.closure", "root.rotation", "proposal.approval"],
)
def test_what_signs_a_statement_about_a_key_holds(name: str) -> None:
    for label, signature in what_follows(name).items():
        verify(label.rpartition("signature of ")[2], example_bytes(name), signature)


def test_the_statements_about_keys_are_made_of_these_fields() -> None:
    key = KEYS["T1-STATOR/press-2 batch"]
    grant, later = example_bytes("key.grant"), example_bytes("key.registration")

    assert later == b"".join(
        [
            grant[:19],
            CHAIN_ID,
            KEYS["T1-STATOR/press-2 batch, 2nd"],
            grant[83:100],
            key,
            grant[132:],
        ]
    )
    assert example_bytes("key.revocation") == b"".join(
        [b"lotmark/key-revoke/v1\n", CHAIN_ID, key, u64(1767600055000), str8("T1-STATOR")]
    )
    assert example_bytes("lane.closure") == b"".join(
        [b"lotmark/lane-close/v1\n", CHAIN_ID, key, (7).to_bytes(4), str8("T1-STATOR")]
    )
    new_root = KEYS["T1-STATOR root 3"]
    assert example_bytes("root.rotation") == b"".join(
        [
            b"lotmark/root-rotate/v1\n",
            CHAIN_ID,
            (1).to_bytes(4),
            b"\1\1",
            new_root,
            str8("T1-STATOR"),
        ]
    )


def test_an_approval_names_the_hash_of_the_proposal() -> None:
    quotas = pb(1, 1_200_000) + pb(2, 200_000_000) + pb(3, 120_000) + pb(4, 1_200_000)
    proposal = example_bytes("proposal")
    hashed = sha256(b"lotmark/governance/v1\n" + CHAIN_ID + proposal)

    assert proposal == pb(1, 1767686400000) + pb(7, quotas)
    assert what_follows("proposal") == {"proposal hash": hashed}
    assert example_bytes("proposal.approval") == b"".join(
        [b"lotmark/approve/v1\n", CHAIN_ID, hashed, str8("T1-STATOR")]
    )


def vkey(name: str, kind: int, key: bytes) -> str:
    key_id = sha256(name.encode() + b"\n" + bytes([kind]) + key)[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(bytes([kind]) + key).decode()}"


def test_the_policy_follows_from_the_genesis() -> None:
    lines = [f"log {vkey(ORIGIN, 1, KEYS['OEM-A/n1 log'])}"]
    for node in NODES:
        key = KEYS[f"{node} cosign"]
        lines.append(f"witness {node} {vkey(f'lotmark.invalid/example/{node}', 4, key)}")
    lines += ["group OEM-A any OEM-A/n1", "group T1-STATOR any T1-STATOR/n1"]
    lines += ["group final 2 OEM-A T1-STATOR", "quorum final"]

    assert example_text("policy") == "".join(f"{line}\n" for line in lines)
    assert example_bytes("policy.digest") == sha256(example_text("policy").encode())


HEADER = struct.Struct(">32s32sIQ32s32sHQBIH32sQ32s")


def varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def pb(number: int, value: int | str | bytes) -> bytes:
    """Return a protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def test_the_events_are_protobuf_with_ascending_fields() -> None:
    wire = pb(1, "WIRE-7/L0042") + pb(2, 2) + pb(3, pb(1, "1.840") + pb(2, "KGM"))
    wound, stator = (pb(1, "ST-000001") + pb(2, role) for role in (3, 5))
    motor = pb(1, "M-000001") + pb(2, 4)
    bodies = [
        pb(5, wire) + pb(5, wound) + pb(21, pb(1, "winding") + pb(2, "R-17")),
        pb(5, motor)
        + pb(5, stator)
        + pb(7, "OEM-A")
        + pb(7, "T1-STATOR")
        + pb(23, pb(1, 1) + pb(2, "assembly")),
    ]
    for number, body in enumerate(bodies, 1):
        at_ms = 1767600040000 + 1000 * number
        time = pb(1, at_ms) + pb(2, at_ms) + pb(3, 2000)
        nonce = sha256(f"event {number}".encode())[:16]
        head = pb(1, nonce) + pb(2, "press-2") + pb(3, time) + pb(4, 1)
        assert example_bytes(f"event.{number}") == head + body


def test_the_batch_is_signed_over_its_events() -> None:
    header = example_bytes("batch.header")
    party = header[HEADER.size :]
    chain_id, signer, lane, sequence, previous, again, schema, *rest = HEADER.unpack_from(header)
    _, clock, uncertainty_us, count, root, seen_size, seen_root = rest

    assert [what_follows(f"event.{number}")["event id"] for number in (1, 2)] == event_ids()
    assert (chain_id, signer, lane, sequence) == (CHAIN_ID, KEYS["T1-STATOR/press-2 batch"], 7, 1)
    assert (previous, again, schema, clock, uncertainty_us, count) == (ZERO, ZERO, 1, 1, 1500, 2)
    assert (root, seen_size, party) == (node_hash(*event_ids()), 2, str8("T1-STATOR"))
    assert seen_root == node_hash(*leaf_hashes()[:2])
    assert what_follows("batch.header")["batch id"] == sha256(BATCH_DOMAIN + header)
    signed = example_bytes("batch.signed_header")
    assert signed[:-64] == len(header).to_bytes(2) + header
    verify("T1-STATOR/press-2 batch", BATCH_DOMAIN + header, signed[-64:])


def test_the_batch_bytes_are_the_signed_header_and_the_events() -> None:
    events = [example_bytes(f"event.{number}") for number in (1, 2)]
    framed = b"".join(len(event).to_bytes(4) + event for event in events)
    raw = example_bytes("batch.bytes")

    assert raw == example_bytes("batch.signed_header") + (2).to_bytes(2) + framed
    assert list(what_follows("batch.bytes").values()) == [sha256(raw)]


def test_the_admission_answer_is_signed_by_the_admit_key() -> None:
    answer = example_bytes("admission")
    batch_id = what_follows("batch.header")["batch id"]
    root = node_hash(*leaf_hashes()[:2])
    times = u64(1767600060125) + u64(1767600070125)

    assert answer == b"".join(
        [
            b"lotmark/admit/v1\n",
            CHAIN_ID,
            batch_id,
            b"\1\0\0",
            times,
            u64(2),
            root,
            str8("OEM-A/n1"),
        ]
    )
    verify("OEM-A/n1 admit", answer, what_follows("admission")["signature of OEM-A/n1 admit"])


def test_the_block_is_a_signed_proposal_and_its_batch() -> None:
    leaf = example_bytes("batch.signed_header") + (2).to_bytes(2) + node_hash(*event_ids())
    proposal = b"".join(
        [
            CHAIN_ID,
            KEYS["OEM-A/n1 proposal"],
            *map(u64, (1, 1, 1767600060250, 2)),
            node_hash(*leaf_hashes()[:2]),
            leaf_hash(leaf),
        ]
    )
    signed = b"lotmark/proposal/v1\n" + proposal
    raw = example_bytes("block.bytes")
    domain, signature = b"lotmark/block/v1\n", raw[17 + 160 : 17 + 160 + 64]

    assert example_bytes("block.batches_leaf") == leaf
    assert list(what_follows("block.batches_leaf").values()) == [leaf_hash(leaf)]
    assert example_bytes("block.proposal") == proposal
    assert what_follows("block.proposal")["proposal digest"] == sha256(signed)
    assert raw == domain + proposal + signature + (1).to_bytes(2) + example_bytes("batch.bytes")
    assert list(what_follows("block.bytes").values()) == [sha256(raw)]
    verify("OEM-A/n1 proposal", signed, signature)
