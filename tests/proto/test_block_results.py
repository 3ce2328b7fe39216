"""Block results: with the block they give back every leaf, and nothing else parses as some."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.block_results import (
    BatchResult,
    BlockResults,
    leaf_hashes,
    leaves,
    parse_results,
)
from lotmark.entry import (
    EntryKind,
    RuleReceiptPayload,
    equivocation_payload,
    parse_close,
    parse_leaf_data,
    parse_rule_receipt,
)
from lotmark.errors import MalformedError, ProtocolError
from lotmark.merkle import leaf_hash
from lotmark.outcome import Outcome
from tests.proto.damaged_bytes import damaged_or_arbitrary
from tests.proto.sample_genesis import GOLDEN
from tests.proto.test_batch import U64, sample_batch
from tests.proto.test_entry import CLOSE, CLOSES

OUTCOMES = st.integers(0, 2**16 - 1)
RESULTS = st.builds(
    BlockResults,
    first_index=U64,
    batches=st.lists(
        st.builds(
            BatchResult,
            outcome=OUTCOMES,
            event_outcomes=st.lists(OUTCOMES, max_size=5).map(tuple),
            evidence=st.binary(max_size=20),
        ),
        max_size=5,
    ),
    close=CLOSES,
    receipts=st.lists(st.binary(max_size=30), max_size=4),
)

BATCHES = [
    sample_batch((b"one", b"two")),
    sample_batch((b"three",)),
    sample_batch((b"four",)),
    sample_batch((b"five",)),
]
SAMPLE = BlockResults(
    9,
    [
        BatchResult(0, (0, Outcome.EVENT_DUPLICATE)),
        BatchResult(Outcome.TIME_ABSURD),
        BatchResult(
            Outcome.SEQUENCE_REUSED,
            evidence=equivocation_payload(9, BATCHES[0].signed_header, BATCHES[2].signed_header),
        ),
        BatchResult(0, (Outcome.EVENT_MALFORMED,)),
    ],
    CLOSE,
    [RuleReceiptPayload(9, 0, b'{"a":1}').encode(), RuleReceiptPayload(2, 7, b"{}").encode()],
)


def test_the_golden_results_still_have_their_bytes() -> None:
    assert SAMPLE.encode() == bytes.fromhex((GOLDEN / "block_results.hex").read_text())


@given(made=RESULTS)
def test_results_are_parsed_to_what_was_encoded(made: BlockResults) -> None:
    assert parse_results(made.encode()) == made


def test_the_leaves_stand_in_the_order_of_the_batches_then_rule_receipts_then_the_close() -> None:
    made = list(leaves(BATCHES, SAMPLE))
    heads = [parse_leaf_data(data)[0] for data, _ in made]

    assert [head.index for head in heads] == list(range(9, SAMPLE.close_index + 1))
    assert [(head.kind, head.outcome) for head in heads] == [
        (EntryKind.BATCH, 0),
        (EntryKind.EVENT, 0),
        (EntryKind.EVENT, Outcome.EVENT_DUPLICATE),
        (EntryKind.BATCH, Outcome.TIME_ABSURD),
        (EntryKind.BATCH, Outcome.SEQUENCE_REUSED),
        (EntryKind.EQUIVOCATION, 0),
        (EntryKind.BATCH, 0),
        (EntryKind.EVENT, Outcome.EVENT_MALFORMED),
        (EntryKind.RULE_RECEIPT, 0),
        (EntryKind.RULE_RECEIPT, 0),
        (EntryKind.BLOCK_CLOSE, 0),
    ]
    assert [at for at, (_, event) in enumerate(made) if event] == [1, 2, 7]
    assert [event for _, event in made if event] == [b"one", b"two", b"five"]
    receipts = [parse_leaf_data(data)[1] for data, _ in made[8:10]]
    assert receipts == SAMPLE.receipts
    assert [parse_rule_receipt(each).event_index for each in receipts] == [10, 10]
    assert SAMPLE.first_receipt_index == 9 + 8
    assert {(head.height, head.time_ms) for head in heads} == {(CLOSE.height, CLOSE.time_ms)}
    assert parse_close(parse_leaf_data(made[-1][0])[1]) == CLOSE


def test_the_quick_hashes_are_those_of_the_leaves() -> None:
    assert leaf_hashes(BATCHES, SAMPLE) == [leaf_hash(data) for data, _ in leaves(BATCHES, SAMPLE)]


@settings(max_examples=300)
@given(raw=damaged_or_arbitrary(SAMPLE.encode()))
def test_damaged_bytes_raise_a_protocol_error_or_are_other_whole_results(raw: bytes) -> None:
    try:
        parsed = parse_results(raw)
    except ProtocolError:
        return
    assert parsed.encode() == raw


def test_results_cut_off_at_any_byte_or_with_one_more_are_refused() -> None:
    raw = SAMPLE.encode()
    for size in range(len(raw)):
        with pytest.raises(MalformedError):
            parse_results(raw[:size])
    with pytest.raises(MalformedError, match="227 bytes stand where"):
        parse_results(raw + b"\0")


def test_results_of_another_version_are_refused() -> None:
    with pytest.raises(MalformedError, match="version 1"):
        parse_results(SAMPLE.encode().replace(b"/v1\n", b"/v2\n", 1))
    with pytest.raises(MalformedError, match="protocol 9"):
        parse_results(replace(SAMPLE, close=replace(CLOSE, protocol=9)).encode())
