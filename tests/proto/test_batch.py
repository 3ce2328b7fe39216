"""Batches: what parsing gives back, what it refuses, and what signature and id cover."""

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import ed25519, merkle
from lotmark.batch import (
    BATCH_EVENTS_MAX,
    BATCH_SIZE_MAX,
    Batch,
    BatchHeader,
    ClockState,
    batch_id_of,
    parse_batch,
    parse_header,
    parse_one_batch,
    sign_batch,
)
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from tests.proto.damaged_bytes import damaged_or_arbitrary
from tests.proto.sample_genesis import CREATED_MS, GOLDEN, private_key

KEY = private_key("author")
HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(
    BatchHeader,
    chain_id=HASHES,
    signer=HASHES,
    lane=st.integers(0, 2**32 - 1),
    sequence=U64,
    previous=HASHES,
    replaces=HASHES,
    schema=st.integers(0, 2**16 - 1),
    created_at_ms=U64,
    clock=st.sampled_from(ClockState),
    clock_uncertainty_us=st.integers(0, 2**32 - 1),
    event_count=st.integers(0, 2**16 - 1),
    events_root=HASHES,
    seen_size=U64,
    seen_root=HASHES,
    party=st.from_regex(r"[A-Z0-9][A-Z0-9-]{0,30}", fullmatch=True),
)


def sample_batch(events: tuple[bytes, ...] = (b"one", b"", b"three")) -> Batch:
    return sign_batch(
        KEY,
        events,
        chain_id=hashlib.sha256(b"chain").digest(),
        party="T1-STATOR",
        lane=3,
        sequence=7,
        previous=hashlib.sha256(b"previous").digest(),
        replaces=hashlib.sha256(b"replaced").digest(),
        created_at_ms=CREATED_MS,
        clock=ClockState.SYNCHRONISED,
        clock_uncertainty_us=250,
        seen_size=4_711,
        seen_root=hashlib.sha256(b"seen").digest(),
    )


SAMPLE = sample_batch()


def framed(header: bytes, events: list[bytes], count: int | None = None) -> bytes:
    """Return batch bytes with any header and announced count, its signature all zero."""
    return b"".join(
        [
            struct.pack(">H", len(header)) + header + bytes(64),
            struct.pack(">H", len(events) if count is None else count),
            *[struct.pack(">I", len(event)) + event for event in events],
        ]
    )


def test_the_golden_batch_still_has_its_bytes() -> None:
    assert SAMPLE.raw == bytes.fromhex((GOLDEN / "batch.hex").read_text())


@given(header=HEADERS)
def test_a_header_is_parsed_to_what_was_encoded(header: BatchHeader) -> None:
    assert parse_header(header.encode()) == header


@given(
    events=st.lists(st.binary(max_size=40), min_size=1, max_size=12),
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
)
def test_a_batch_is_found_at_any_place_and_keeps_its_bytes(
    events: list[bytes], before: bytes, after: bytes
) -> None:
    made = sample_batch(tuple(events))

    parsed, end = parse_batch(before + made.raw + after, len(before))

    assert end == len(before) + len(made.raw)
    assert (parsed.raw, parsed.header) == (made.raw, made.header)
    assert list(parsed.events) == events
    assert parsed.event_ids == [merkle.leaf_hash(event) for event in events]
    assert parsed.header.events_root == merkle.root(parsed.event_ids)
    assert parsed.batch_id == made.batch_id == batch_id_of(parsed.header.encode())
    ed25519.verify(KEY.public, parsed.signed_message, parsed.signature)


@settings(max_examples=300)
@given(raw=damaged_or_arbitrary(SAMPLE.raw))
def test_damaged_bytes_raise_a_protocol_error_or_are_another_whole_batch(raw: bytes) -> None:
    try:
        parsed = parse_one_batch(raw)
    except ProtocolError:
        return
    header = parsed.header.encode()
    rebuilt = framed(header, list(parsed.events))
    signature_at = 2 + len(header)
    assert rebuilt[:signature_at] + parsed.signature + rebuilt[signature_at + 64 :] == raw


def test_a_batch_cut_off_at_any_byte_is_refused() -> None:
    for size in range(len(SAMPLE.raw)):
        with pytest.raises(MalformedError):
            parse_one_batch(SAMPLE.raw[:size])


def test_a_byte_after_the_batch_is_refused() -> None:
    with pytest.raises(MalformedError, match="1 bytes follow"):
        parse_one_batch(SAMPLE.raw + b"\0")


@pytest.mark.parametrize("count", [0, BATCH_EVENTS_MAX + 1, 2**16 - 1])
def test_a_batch_of_too_few_or_too_many_events_is_refused(count: int) -> None:
    with pytest.raises(MalformedError, match=f"1 to 256 events, not {count}"):
        parse_one_batch(framed(SAMPLE.header.encode(), [b""] * count))


def test_a_batch_of_exactly_the_largest_size_passes_and_one_byte_more_does_not() -> None:
    header = SAMPLE.header.encode()
    rest = BATCH_SIZE_MAX - len(framed(header, [b""]))

    assert len(parse_one_batch(framed(header, [bytes(rest)])).raw) == BATCH_SIZE_MAX
    with pytest.raises(MalformedError, match=f"at most {BATCH_SIZE_MAX} bytes"):
        parse_one_batch(framed(header, [bytes(rest + 1)]))


def test_an_announced_size_beyond_the_bytes_is_refused_without_reading_on() -> None:
    with pytest.raises(MalformedError, match="cut off"):
        parse_one_batch(framed(SAMPLE.header.encode(), [], count=2) + b"\xff" * 4)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (SAMPLE.header.encode()[:-3], "no party id of 9 bytes"),
        (SAMPLE.header.encode() + b"A", "no party id of 9 bytes"),
        (SAMPLE.header.encode()[:-1] + b"\xc3", "no party id"),
        (SAMPLE.header.encode()[:-1] + b"\n", "no party id"),
        (replace(SAMPLE.header, party="oem").encode(), "no party id"),
        (replace(SAMPLE.header, party="").encode(), "a batch header has"),
        (replace(SAMPLE.header, party="A" * 32).encode(), "a batch header has"),
        (b"", "a batch header has"),
    ],
)
def test_a_header_that_is_none_is_refused(header: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse_header(header)
    with pytest.raises(MalformedError, match=message):
        parse_one_batch(framed(header, [b"event"]))


def test_a_clock_state_that_is_none_is_refused() -> None:
    raw = SAMPLE.header.encode()
    at = struct.calcsize(">32s32sIQ32s32sHQ")
    assert raw[at] == ClockState.SYNCHRONISED

    with pytest.raises(MalformedError, match="clock state 3"):
        parse_header(raw[:at] + b"\x03" + raw[at + 1 :])


@given(at=st.integers(0, len(SAMPLE.header.encode()) - 1), change=st.integers(1, 127))
def test_the_signature_covers_every_byte_of_the_header(at: int, change: int) -> None:
    header = bytearray(SAMPLE.header.encode())
    header[at] ^= change
    assert batch_id_of(bytes(header)) != SAMPLE.batch_id

    with pytest.raises(SignatureError):
        ed25519.verify(KEY.public, b"lotmark/batch/v1\n" + header, SAMPLE.signature)


def test_a_signature_without_the_batch_domain_does_not_hold() -> None:
    header = SAMPLE.header.encode()
    assert SAMPLE.signed_message == b"lotmark/batch/v1\n" + header

    with pytest.raises(SignatureError):
        ed25519.verify(KEY.public, header, SAMPLE.signature)
