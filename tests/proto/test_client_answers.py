"""What a client makes of a node's answers: nothing that the node has not signed."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.admission import AdmissionAnswer
from lotmark.batch import BATCH_EVENTS_MAX, BATCH_SIZE_MAX, EVENT_SIZE_MAX, Batch, sign_batch
from lotmark.client.answers import (
    AnsweringNode,
    batch_outcome,
    event_results,
    refused_results,
)
from lotmark.client.ledger_records import read_entry
from lotmark.client.submission import cut_batches
from lotmark.ed25519 import PrivateKey
from lotmark.entry import EntryHead, EntryKind, event_payload, leaf_data
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.genesis import chain_id
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import leaf_hash
from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2
from tests.node.ledger_in_memory import consortium, measurements
from tests.proto.sample_genesis import CREATED_MS, grant

GENESIS = consortium()
CHAIN = chain_id(GENESIS.to_json())
NODE = AnsweringNode("OEM-A/n1", CHAIN, GENESIS)
_, ADMIT_KEY = grant("OEM-A", KeyPurpose.ADMIT, "n1")
_, BATCH_KEY = grant("OEM-A", KeyPurpose.BATCH, "erp")
BATCH: Batch = sign_batch(
    BATCH_KEY,
    measurements(1, 3),
    chain_id=CHAIN,
    lane=0,
    sequence=1,
    created_at_ms=CREATED_MS,
    party="OEM-A",
)
TAKEN = AdmissionAnswer(
    batch_id=BATCH.batch_id,
    accepted=True,
    reason=0,
    admitted_at_ms=CREATED_MS,
    due_ms=CREATED_MS + 10_000,
    checkpoint_size=2,
    checkpoint_root=bytes(32),
    node="OEM-A/n1",
)
REFUSED = replace(TAKEN, accepted=False, reason=Outcome.KEY_EXPIRED, due_ms=0)


def admission(
    answer: AdmissionAnswer, *, key: PrivateKey = ADMIT_KEY, detail: str = "", **changed: object
) -> ledger_pb2.SubmitAnswer:
    """Return the message of an answer, changed after it was signed."""
    signed = answer.sign(key, CHAIN)
    fields = {name: getattr(signed, name) for name in signed.__dataclass_fields__}
    return ledger_pb2.SubmitAnswer(
        admission=ledger_pb2.Admission(detail=detail, **{**fields, **changed})
    )


def acknowledgement(
    *, batch_id: bytes = BATCH.batch_id, outcome: int = 0, event_outcomes: Sequence[int] = ()
) -> ledger_pb2.SubmitAnswer:
    return ledger_pb2.SubmitAnswer(
        acknowledgement=ledger_pb2.Acknowledgement(
            batch_id=batch_id,
            batch_index=20,
            height=4,
            time_ms=CREATED_MS,
            outcome=outcome,
            event_outcomes=event_outcomes,
        )
    )


def refusal(answer: ledger_pb2.SubmitAnswer) -> tuple[Outcome, str] | None:
    return NODE.refusal(BATCH, answer.admission)


def test_events_of_an_accepted_batch_stand_behind_its_entry() -> None:
    results = event_results(BATCH, acknowledgement().acknowledgement)

    assert refusal(admission(TAKEN)) is None
    assert [result.index for result in results] == [21, 22, 23]
    assert {(result.height, result.time_ms, result.outcome) for result in results} == {
        (4, CREATED_MS, Outcome.ACCEPTED)
    }


def test_each_event_has_its_own_outcome() -> None:
    told = acknowledgement(event_outcomes=[0, Outcome.EVENT_DUPLICATE, 0])
    results = event_results(BATCH, told.acknowledgement)

    assert [result.outcome for result in results] == [0, Outcome.EVENT_DUPLICATE, 0]
    assert [bool(result.detail) for result in results] == [False, True, False]


def test_a_batch_that_the_log_refused_leaves_its_events_without_entries() -> None:
    told = acknowledgement(outcome=Outcome.QUOTA_EXCEEDED).acknowledgement
    results = refused_results(BATCH, batch_outcome(told), "why")

    assert [result.event_id for result in results] == BATCH.event_ids
    assert {(result.index, result.outcome, result.detail) for result in results} == {
        (None, Outcome.QUOTA_EXCEEDED, "why")
    }


def test_a_signed_refusal_gives_the_nodes_own_words_or_the_tables() -> None:
    own = refusal(admission(REFUSED, detail="KEY_EXPIRED: in 2020"))
    table = refusal(admission(REFUSED))

    assert own == (Outcome.KEY_EXPIRED, "KEY_EXPIRED: in 2020")
    assert table is not None
    assert table[0] is Outcome.KEY_EXPIRED
    assert table[1].startswith("KEY_EXPIRED: the key's validity has ended")


@pytest.mark.parametrize(
    "answer",
    [
        admission(TAKEN, key=PrivateKey.from_seed(bytes(32))),
        admission(TAKEN, due_ms=CREATED_MS + 99_000),
        admission(TAKEN, admitted_at_ms=0),
        admission(TAKEN, checkpoint_size=9),
        admission(TAKEN, accepted=False),
        admission(TAKEN, signature=b""),
        admission(replace(TAKEN, node="T1-STATOR/n1")),
        admission(replace(TAKEN, batch_id=bytes(32))),
        admission(replace(TAKEN, batch_id=hashlib.sha256(b"another").digest())),
        admission(replace(REFUSED, batch_id=hashlib.sha256(b"another").digest())),
        admission(REFUSED, reason=Outcome.KEY_REVOKED),
    ],
    ids=[
        "another key", "later due", "earlier", "other size", "refusal of it", "no signature",
        "another node", "no batch", "another batch", "refusal of another batch", "other reason",
    ],
)  # fmt: skip
def test_an_admission_answer_counts_only_as_the_node_signed_it_about_this_batch(
    answer: ledger_pb2.SubmitAnswer,
) -> None:
    with pytest.raises(SignatureError):
        refusal(answer)


@pytest.mark.parametrize(
    "told",
    [
        acknowledgement(event_outcomes=[0, 0]),
        acknowledgement(outcome=77),
        acknowledgement(event_outcomes=[0, 0, 199]),
    ],
    ids=["too few outcomes", "unknown outcome", "unknown event outcome"],
)
def test_acknowledgements_that_no_node_gives_are_malformed(told: ledger_pb2.SubmitAnswer) -> None:
    read = batch_outcome if told.acknowledgement.outcome else partial(event_results, BATCH)
    with pytest.raises(MalformedError):
        read(told.acknowledgement)


def test_a_refusal_for_an_unknown_reason_is_malformed() -> None:
    with pytest.raises(MalformedError, match="outcome 250, which this release does not know"):
        refusal(admission(replace(REFUSED, reason=250)))


@pytest.mark.parametrize("reason", [0x1_0000, 0xFFFF_FFFF])
def test_a_reason_that_no_answer_has_room_for_is_malformed(reason: int) -> None:
    with pytest.raises(MalformedError, match=f"outcome {reason}, which"):
        refusal(admission(REFUSED, reason=reason))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_checkpoint_whose_root_is_no_hash_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError, match="whose root is no hash"):
        refusal(admission(TAKEN, checkpoint_root=bytes(size)))


def test_a_node_without_an_admit_key_in_the_genesis_cannot_answer() -> None:
    stranger = AnsweringNode("OEM-A/n9", CHAIN, GENESIS)

    with pytest.raises(SignatureError, match="OEM-A/n9 has no admit key in the genesis"):
        stranger.refusal(BATCH, admission(replace(TAKEN, node="OEM-A/n9")).admission)


@given(st.lists(st.integers(0, EVENT_SIZE_MAX), max_size=700))
def test_any_events_are_cut_into_batches_in_order_none_of_them_too_large(sizes: list[int]) -> None:
    events = [bytes(size) for size in sizes]
    groups = list(cut_batches(events))

    assert [event for group in groups for event in group] == events
    for group in groups:
        assert 1 <= len(group) <= BATCH_EVENTS_MAX
    if groups:
        largest = max(groups, key=lambda group: sum(map(len, group)))
        party = "A" * 31
        signed = sign_batch(
            ADMIT_KEY, largest, chain_id=CHAIN, lane=0, sequence=1, created_at_ms=0, party=party
        )
        assert len(signed.raw) <= BATCH_SIZE_MAX


def test_a_batch_is_filled_before_the_next_one_begins() -> None:
    groups = list(cut_batches([bytes(EVENT_SIZE_MAX)] * 127))

    assert [len(group) for group in groups] == [63, 63, 1]
    assert [len(group) for group in cut_batches([b"event"] * 513)] == [256, 256, 1]


EVENT = measurements(5, 1)[0]
HEAD = EntryHead(kind=EntryKind.EVENT, index=21, height=4, time_ms=CREATED_MS)
LEAF = leaf_data(HEAD, event_payload(20, 0, leaf_hash(EVENT)))


def test_an_entry_is_read_with_the_event_that_it_names() -> None:
    entry = read_entry(ledger_pb2.Entry(index=21, leaf_data=LEAF, event=EVENT))

    assert (entry.head, entry.event, entry.event_id) == (HEAD, EVENT, leaf_hash(EVENT))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (ledger_pb2.Entry(index=22, leaf_data=LEAF, event=EVENT), ProofError),
        (ledger_pb2.Entry(index=21, leaf_data=LEAF, event=EVENT + b"\0"), ProofError),
        (ledger_pb2.Entry(index=21, leaf_data=LEAF[:-1], event=EVENT), MalformedError),
        (ledger_pb2.Entry(index=21, leaf_data=b"leaf", event=EVENT), MalformedError),
    ],
    ids=["another index", "another event", "cut payload", "no leaf"],
)
def test_an_entry_whose_parts_do_not_belong_together_is_refused(
    message: ledger_pb2.Entry, error: type[Exception]
) -> None:
    with pytest.raises(error):
        read_entry(message)
