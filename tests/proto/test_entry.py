"""Entries: golden leaves of every kind, and what parsing gives back and refuses."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.entry import (
    NO_INDEX,
    PROTOCOL,
    BlockClose,
    EntryHead,
    EntryKind,
    RuleReceiptPayload,
    equivocation_payload,
    event_leaf_hashes,
    event_payload,
    leaf_data,
    parse_close,
    parse_event_payload,
    parse_leaf_data,
    parse_rule_receipt,
)
from lotmark.errors import MalformedError, ProtocolError
from lotmark.merkle import EMPTY_ROOT, leaf_hash
from lotmark.outcome import Outcome
from tests.proto.damaged_bytes import damaged_or_arbitrary
from tests.proto.sample_genesis import CREATED_MS, GOLDEN
from tests.proto.test_batch import HASHES, SAMPLE, U64, sample_batch

U32 = st.integers(0, 2**32 - 1)
HEADS = st.builds(
    EntryHead,
    kind=st.sampled_from(EntryKind),
    index=U64,
    height=U64,
    time_ms=U64,
    outcome=st.integers(0, 2**16 - 1),
)
CLOSES = st.builds(
    BlockClose,
    protocol=st.just(PROTOCOL),
    height=U64,
    time_ms=U64,
    previous_close_index=U64,
    previous_size=U64,
    previous_root=HASHES,
    proposal_digest=HASHES,
    state_digest=HASHES,
    item_epoch=U64,
    item_root=HASHES,
    policy_digest=HASHES,
    batch_count=U32,
    refused_batch_count=U32,
    event_count=U32,
    refused_event_count=U32,
    receipt_count=U32,
    equivocation_count=U32,
)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


GENESIS_CLOSE = BlockClose(
    height=0,
    time_ms=CREATED_MS,
    previous_close_index=NO_INDEX,
    previous_size=0,
    previous_root=EMPTY_ROOT,
    proposal_digest=bytes(32),
    state_digest=digest("state"),
    policy_digest=digest("policy"),
)
CLOSE = replace(
    GENESIS_CLOSE,
    height=3,
    previous_close_index=8,
    previous_size=9,
    previous_root=digest("root"),
    proposal_digest=digest("proposal"),
    batch_count=5,
    refused_batch_count=4,
    event_count=3,
    refused_event_count=2,
    equivocation_count=1,
)


def head(kind: EntryKind, index: int, outcome: int = 0) -> EntryHead:
    return EntryHead(kind=kind, index=index, height=3, time_ms=CREATED_MS + 3, outcome=outcome)


def golden_leaves() -> Mapping[str, bytes]:
    """Return one leaf of each kind, and one that is refused."""
    genesis = EntryHead(kind=EntryKind.GENESIS, index=0, height=0, time_ms=CREATED_MS)
    twin = sample_batch((b"other",))
    equivocation = equivocation_payload(12, SAMPLE.signed_header, twin.signed_header)
    event = event_payload(9, 2, SAMPLE.event_ids[2])
    duplicate = Outcome.EVENT_DUPLICATE
    return {
        "GENESIS": leaf_data(genesis, digest("chain")),
        "EVENT": leaf_data(head(EntryKind.EVENT, 12), event),
        "EVENT refused": leaf_data(head(EntryKind.EVENT, 12, duplicate), event),
        "RULE_RECEIPT": leaf_data(head(EntryKind.RULE_RECEIPT, 13), bytes(10) + b"{}"),
        "BLOCK_CLOSE": leaf_data(head(EntryKind.BLOCK_CLOSE, 16), CLOSE.encode()),
        "BATCH": leaf_data(head(EntryKind.BATCH, 9), SAMPLE.signed_header),
        "EQUIVOCATION": leaf_data(head(EntryKind.EQUIVOCATION, 15), equivocation),
    }


def test_the_golden_leaves_of_every_kind_still_have_their_bytes_and_hashes() -> None:
    lines = (GOLDEN / "leaves.txt").read_text().splitlines()

    assert lines == [
        f"{name}: {leaf.hex()} {leaf_hash(leaf).hex()}" for name, leaf in golden_leaves().items()
    ]
    assert {name.split()[0] for name in golden_leaves()} == set(EntryKind.__members__)


@given(made=HEADS, payload=st.binary(max_size=60))
def test_a_leaf_is_parsed_to_what_was_made(made: EntryHead, payload: bytes) -> None:
    assert parse_leaf_data(leaf_data(made, payload)) == (made, payload)


@given(close=CLOSES)
def test_a_close_is_parsed_to_what_was_encoded(close: BlockClose) -> None:
    assert parse_close(close.encode()) == close


def test_a_close_has_the_size_that_the_document_says() -> None:
    assert len(CLOSE.encode()) == 226


@given(batch_index=U64, position=st.integers(0, 2**16 - 1), event_id=HASHES)
def test_an_event_payload_is_parsed_to_what_was_made(
    batch_index: int, position: int, event_id: bytes
) -> None:
    made = event_payload(batch_index, position, event_id)

    assert parse_event_payload(made) == (batch_index, position, event_id)


@given(
    batch_index=st.integers(0, 2**63),
    height=U64,
    time_ms=U64,
    events=st.lists(st.tuples(HASHES, st.integers(0, 2**16 - 1)), max_size=5),
)
def test_the_quick_event_hashes_are_those_of_the_leaves(
    batch_index: int, height: int, time_ms: int, events: list[tuple[bytes, int]]
) -> None:
    slow = [
        leaf_hash(
            leaf_data(
                EntryHead(
                    kind=EntryKind.EVENT,
                    index=batch_index + 1 + at,
                    height=height,
                    time_ms=time_ms,
                    outcome=outcome,
                ),
                event_payload(batch_index, at, event_id),
            )
        )
        for at, (event_id, outcome) in enumerate(events)
    ]
    ids, outcomes = [event_id for event_id, _ in events], [outcome for _, outcome in events]

    assert event_leaf_hashes(batch_index, height, time_ms, ids, outcomes) == slow


@given(
    batch_index=U64, position=st.integers(0, 2**16 - 1), document=st.binary(min_size=1, max_size=20)
)
def test_a_rule_receipt_s_payload_is_parsed_to_what_was_made(
    batch_index: int, position: int, document: bytes
) -> None:
    made = RuleReceiptPayload(batch_index, position, document)

    assert made.encode() == batch_index.to_bytes(8) + position.to_bytes(2) + document
    assert parse_rule_receipt(made.encode()) == made
    assert made.event_index == batch_index + 1 + position


@pytest.mark.parametrize("size", range(11))
def test_a_rule_receipt_without_a_document_is_refused(size: int) -> None:
    with pytest.raises(MalformedError, match=f"more than 10 bytes, not {size}"):
        parse_rule_receipt(bytes(size))


PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (parse_leaf_data, golden_leaves()["EVENT"]),
    (parse_close, CLOSE.encode()),
    (parse_event_payload, event_payload(9, 2, bytes(32))),
    (parse_rule_receipt, RuleReceiptPayload(9, 2, b"{}").encode()),
]


@pytest.mark.parametrize(("parse", "whole"), PARSERS, ids=["leaf", "close", "event", "receipt"])
def test_damaged_bytes_raise_nothing_but_protocol_errors(
    parse: Callable[[bytes], object], whole: bytes
) -> None:
    @settings(max_examples=150)
    @given(raw=damaged_or_arbitrary(whole))
    def run(raw: bytes) -> None:
        try:
            parse(raw)
        except ProtocolError:
            return

    run()


def test_a_leaf_of_an_unknown_kind_or_version_is_refused() -> None:
    leaf = golden_leaves()["GENESIS"]

    with pytest.raises(MalformedError, match="entry kind 6"):
        parse_leaf_data(leaf.replace(b"/v1\n\x00", b"/v1\n\x06"))
    with pytest.raises(MalformedError, match="version 1"):
        parse_leaf_data(leaf.replace(b"/v1\n", b"/v2\n"))


def test_a_close_of_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(MalformedError, match="protocol 2 is not known"):
        parse_close(replace(CLOSE, protocol=2).encode())
