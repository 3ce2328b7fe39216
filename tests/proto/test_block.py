"""Blocks: what parsing gives back, its bounds, and what the batches root binds."""

import hashlib
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import ed25519
from lotmark.batch import Batch, sign_batch
from lotmark.block import (
    BLOCK_EVENTS_MAX,
    BLOCK_SIZE_MAX,
    Proposal,
    batches_root,
    encode_block,
    parse_block,
    sign_block,
)
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from tests.proto.damaged_bytes import damaged_or_arbitrary
from tests.proto.sample_genesis import CREATED_MS, GOLDEN, private_key

AUTHOR, LEADER = private_key("author"), private_key("leader")
CHAIN_ID = hashlib.sha256(b"chain").digest()


def batch(events: list[bytes], sequence: int = 1) -> Batch:
    return sign_batch(
        AUTHOR,
        events,
        chain_id=CHAIN_ID,
        party="OEM-A",
        lane=0,
        sequence=sequence,
        created_at_ms=CREATED_MS,
    )


def proposal(batches: list[Batch]) -> Proposal:
    return Proposal(
        chain_id=CHAIN_ID,
        key=LEADER.public,
        term=2,
        counter=9,
        time_ms=CREATED_MS + 5,
        base_size=17,
        base_root=hashlib.sha256(b"base").digest(),
        batches_root=batches_root(batches),
    )


def block(batches: list[Batch]) -> bytes:
    return encode_block(sign_block(LEADER, proposal(batches), batches))


SAMPLE_BATCHES = [batch([b"one", b"two"]), batch([b"three"], sequence=2)]
SAMPLE = block(SAMPLE_BATCHES)


def test_the_golden_block_still_has_its_bytes() -> None:
    assert bytes.fromhex((GOLDEN / "block.hex").read_text()) == SAMPLE


@given(sizes=st.lists(st.integers(1, 5), max_size=6))
def test_a_block_is_parsed_to_what_was_made(sizes: list[int]) -> None:
    batches = [batch([bytes([at])] * size, at + 1) for at, size in enumerate(sizes)]
    raw = block(batches)

    parsed = parse_block(raw)

    assert parsed.proposal == proposal(batches)
    assert [each.raw for each in parsed.batches] == [each.raw for each in batches]
    assert encode_block(parsed) == raw
    ed25519.verify(LEADER.public, parsed.proposal.signed_message(), parsed.signature)


@settings(max_examples=300)
@given(raw=damaged_or_arbitrary(SAMPLE))
def test_damaged_bytes_raise_a_protocol_error_or_are_another_whole_block(raw: bytes) -> None:
    try:
        parsed = parse_block(raw)
    except ProtocolError:
        return
    assert encode_block(parsed) == raw


def test_a_block_cut_off_at_any_byte_is_refused() -> None:
    for size in range(len(SAMPLE)):
        with pytest.raises(MalformedError):
            parse_block(SAMPLE[:size])


def test_a_byte_after_the_last_batch_is_refused() -> None:
    with pytest.raises(MalformedError, match="1 bytes follow"):
        parse_block(SAMPLE + b"\0")


def test_a_block_of_another_version_is_refused() -> None:
    with pytest.raises(MalformedError, match="no block of version 1"):
        parse_block(SAMPLE.replace(b"/v1\n", b"/v2\n", 1))


def test_a_block_of_exactly_the_most_events_passes_and_one_more_does_not() -> None:
    full = [batch([b"x"] * 250, number) for number in range(1, 1 + BLOCK_EVENTS_MAX // 250)]

    assert sum(len(each.events) for each in parse_block(block(full)).batches) == BLOCK_EVENTS_MAX
    with pytest.raises(MalformedError, match=f"at most {BLOCK_EVENTS_MAX} events, not 2001"):
        parse_block(block([*full, batch([b"x"], 99)]))


def test_a_block_of_exactly_the_largest_size_passes_and_one_byte_more_does_not() -> None:
    thirds = [batch([bytes(1_000_000)], number) for number in range(1, 5)]
    rest = BLOCK_SIZE_MAX - len(block([*thirds, batch([b""], 5)]))

    assert len(encode_block(parse_block(block([*thirds, batch([bytes(rest)], 5)])))) == (
        BLOCK_SIZE_MAX
    )
    with pytest.raises(MalformedError, match="no block"):
        parse_block(block([*thirds, batch([bytes(rest + 1)], 5)]))


def test_the_digest_and_the_signature_cover_every_field_of_the_proposal() -> None:
    made = proposal(SAMPLE_BATCHES)
    signature = sign_block(LEADER, made, SAMPLE_BATCHES).signature
    others = [
        Proposal(**{**asdict(made), name: bytes(32) if isinstance(value, bytes) else value + 1})
        for name, value in asdict(made).items()
    ]
    assert len({made.digest(), *[other.digest() for other in others]}) == 1 + len(others)
    for other in others:
        with pytest.raises(SignatureError):
            ed25519.verify(LEADER.public, other.signed_message(), signature)


def test_the_batches_root_binds_every_byte_that_batches_carry() -> None:
    first, second = SAMPLE_BATCHES
    sent = Batch(first.raw, first.signed_header, first.events)
    other_signature = Batch(b"", first.signed_header[:-1] + b"\0", first.events)
    other_event = Batch(b"", first.signed_header, [b"one", b"TWO"])
    fewer_events = Batch(b"", first.signed_header, [b"one"])
    roots = [
        batches_root(batches)
        for batches in (
            [sent, second],
            [second, sent],
            [sent],
            [],
            [sent, second, second],
            [other_signature, second],
            [other_event, second],
            [fewer_events, second],
        )
    ]
    assert len(set(roots)) == len(roots)
