"""Every outcome of a batch is reached, in the order of judgement; which of them move the lane."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lotmark.batch import ZERO_HASH, Batch
from lotmark.key_grant import KeyPurpose
from lotmark.outcome import CONSUMES_NUMBER_FROM, Outcome
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
    rebuilt,
)
from tests.node.state_machine.reading import (
    batch_key,
    batch_outcomes,
    counters,
    event_outcomes,
    lane,
)
from tests.proto.sample_genesis import CREATED_MS, grant, private_key

ERP = "OEM-A/erp"
TIME_MIN_MS, TIME_END_MS = 946_684_800_000, 4_102_444_800_000
BRIEF, BRIEF_END_MS = "OEM-A/brief", CREATED_MS + 100_000
EVENTS = measurements(500, 2)


@dataclass(frozen=True)
class Case:
    """A ledger's history, then the batch that is judged."""

    outcome: Outcome
    prepare: Callable[[LedgerInMemory], None]
    batch: Callable[[LedgerInMemory], Batch]
    time_ms: int | None = None


def nothing(ledger: LedgerInMemory) -> None:
    """The ledger as it was founded."""


def three_batches(ledger: LedgerInMemory) -> None:
    ledger.block([ledger.batch(ERP, [measurement(number)]) for number in range(3)])


def brief_key(ledger: LedgerInMemory) -> None:
    """Register a key that is valid until BRIEF_END_MS."""
    granted, key = grant("OEM-A", KeyPurpose.BATCH, "brief")
    registered = ledger.registration_of(replace(granted, not_after_ms=BRIEF_END_MS), key)
    ledger.block([ledger.batch(ERP, [registered])])


def revoked(ledger: LedgerInMemory) -> None:
    ledger.block([ledger.batch("OEM-A/erp", [ledger.revocation("OEM-A", batch_key(ERP))], lane=9)])


def closed(ledger: LedgerInMemory) -> None:
    three_batches(ledger)
    ledger.block([ledger.batch(ERP, [ledger.lane_closure("OEM-A", batch_key(ERP), 0)], lane=9)])


def full_minute(ledger: LedgerInMemory) -> None:
    assert ledger.genesis.parameters.quota_events == 5
    ledger.block([ledger.batch(ERP, measurements(0, 4))], time_ms=CREATED_MS)


def next_batch(**header: Any) -> Callable[[LedgerInMemory], Batch]:
    return lambda ledger: ledger.batch(ERP, EVENTS, **header)


def other(ledger: LedgerInMemory, sequence: int) -> Batch:
    """Return another batch under a number that was used."""
    return ledger.batch(ERP, EVENTS, sequence=sequence, previous=ZERO_HASH)


def first_again(ledger: LedgerInMemory) -> Batch:
    """Return the batch that `three_batches` sent first, byte by byte."""
    return LedgerInMemory(ledger.genesis).batch(ERP, [measurement(0)])


CASES: dict[str, Case] = {
    "accepted": Case(Outcome.ACCEPTED, nothing, next_batch()),
    "accepted after others": Case(Outcome.ACCEPTED, three_batches, next_batch()),
    "accepted in a lane of its own": Case(Outcome.ACCEPTED, three_batches, next_batch(lane=4)),
    "another chain": Case(Outcome.CHAIN_UNKNOWN, nothing, next_batch(chain_id=bytes(32))),
    "a key that nobody registered": Case(
        Outcome.KEY_UNKNOWN, nothing, next_batch(key=private_key("nobody"))
    ),
    "a party that is not the key's": Case(
        Outcome.KEY_PARTY_MISMATCH, nothing, next_batch(party="T1-STATOR")
    ),
    "a party that does not exist": Case(
        Outcome.KEY_PARTY_MISMATCH, nothing, next_batch(party="NOBODY-7")
    ),
    "a root key": Case(
        Outcome.KEY_PURPOSE_WRONG, nothing, next_batch(key=private_key("OEM-A root 1"))
    ),
    "a proposal key": Case(
        Outcome.KEY_PURPOSE_WRONG, nothing, next_batch(key=private_key("OEM-A/n1 PROPOSAL"))
    ),
    "a key registered in this block": Case(
        Outcome.KEY_NOT_YET_VALID,
        nothing,
        lambda ledger: ledger.batch("OEM-A/erp-2", EVENTS),
    ),
    "the last moment of a key": Case(
        Outcome.ACCEPTED,
        brief_key,
        lambda ledger: ledger.batch(BRIEF, EVENTS),
        time_ms=BRIEF_END_MS - 1,
    ),
    "the first moment after a key": Case(
        Outcome.KEY_EXPIRED,
        brief_key,
        lambda ledger: ledger.batch(BRIEF, EVENTS),
        time_ms=BRIEF_END_MS,
    ),
    "a revoked key": Case(Outcome.KEY_REVOKED, revoked, next_batch()),
    "a signature of zeros": Case(
        Outcome.SIGNATURE_INVALID,
        nothing,
        lambda ledger: rebuilt(ledger.batch(ERP, EVENTS), signature=bytes(64)),
    ),
    "a header changed after signing": Case(
        Outcome.SIGNATURE_INVALID,
        nothing,
        lambda ledger: rebuilt(ledger.batch(ERP, EVENTS), clock_uncertainty_us=1),
    ),
    "a closed lane": Case(Outcome.LANE_CLOSED, closed, next_batch()),
    "a batch of before, in a lane closed since": Case(Outcome.LANE_CLOSED, closed, first_again),
    "one number left out": Case(Outcome.SEQUENCE_AHEAD, three_batches, next_batch(sequence=5)),
    "the largest number": Case(
        Outcome.SEQUENCE_AHEAD, three_batches, next_batch(sequence=2**64 - 1)
    ),
    "a number used for other bytes": Case(
        Outcome.SEQUENCE_REUSED, three_batches, lambda ledger: other(ledger, 2)
    ),
    "number 0": Case(Outcome.SEQUENCE_REUSED, nothing, lambda ledger: other(ledger, 0)),
    "the same batch again": Case(Outcome.BATCH_DUPLICATE, three_batches, first_again),
    "another previous batch": Case(
        Outcome.PREVIOUS_MISMATCH, three_batches, next_batch(previous=bytes(32))
    ),
    "a previous batch of a first one": Case(
        Outcome.PREVIOUS_MISMATCH, nothing, next_batch(previous=b"\1" * 32)
    ),
    "schema 0": Case(Outcome.SCHEMA_UNKNOWN, nothing, next_batch(schema=0)),
    "schema 2": Case(Outcome.SCHEMA_UNKNOWN, nothing, next_batch(schema=2)),
    "a count too high": Case(
        Outcome.COUNT_MISMATCH,
        nothing,
        lambda ledger: _signed_otherwise(ledger, event_count=3),
    ),
    "a count of none": Case(
        Outcome.COUNT_MISMATCH,
        nothing,
        lambda ledger: _signed_otherwise(ledger, event_count=0),
    ),
    "another root": Case(
        Outcome.ROOT_MISMATCH,
        nothing,
        lambda ledger: _signed_otherwise(ledger, events_root=bytes(32)),
    ),
    "an event changed on its way": Case(
        Outcome.ROOT_MISMATCH,
        nothing,
        lambda ledger: rebuilt(ledger.batch(ERP, EVENTS), events=[EVENTS[0], EVENTS[1] + b"x"]),
    ),
    "a time before 2000": Case(
        Outcome.TIME_ABSURD, nothing, next_batch(created_at_ms=TIME_MIN_MS - 1)
    ),
    "a time in seconds": Case(
        Outcome.TIME_ABSURD, nothing, next_batch(created_at_ms=CREATED_MS // 1_000)
    ),
    "a time after 2099": Case(Outcome.TIME_ABSURD, nothing, next_batch(created_at_ms=TIME_END_MS)),
    "the last possible time": Case(
        Outcome.ACCEPTED, nothing, next_batch(created_at_ms=TIME_END_MS - 1)
    ),
    "more events than the minute has left": Case(
        Outcome.QUOTA_EXCEEDED, full_minute, next_batch(), time_ms=CREATED_MS + 1
    ),
}  # fmt: skip


def _signed_otherwise(ledger: LedgerInMemory, **header: Any) -> Batch:
    """Return a batch whose author signs another header than follows from its events."""
    made = ledger.batch(ERP, EVENTS)
    encoded = replace(made.header, **header).encode()
    signature = private_key(f"{ERP} BATCH").sign(b"lotmark/batch/v1\n" + encoded)
    return rebuilt(made, signature=signature, **header)


def founded(case: Case) -> LedgerInMemory:
    quota_events = 5 if case.outcome == Outcome.QUOTA_EXCEEDED else 1_000
    ledger = LedgerInMemory(consortium(quota_events=quota_events))
    case.prepare(ledger)
    return ledger


def judged_batches(ledger: LedgerInMemory, case: Case) -> list[Batch]:
    """Return the batches of the judged block; the case's own is the last."""
    batches = []
    if case.outcome == Outcome.KEY_NOT_YET_VALID:
        registered = ledger.registration("OEM-A", KeyPurpose.BATCH, "erp-2")
        batches.append(ledger.batch(ERP, [registered]))
    return [*batches, case.batch(ledger)]


def test_every_outcome_that_a_batch_can_have_on_the_log_is_reached() -> None:
    reached = {case.outcome for case in CASES.values()}

    assert reached == {outcome for outcome in Outcome if outcome < 100}


@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_judged(name: str) -> None:
    case = CASES[name]
    ledger = founded(case)

    effects = ledger.block(judged_batches(ledger, case), time_ms=case.time_ms)

    assert batch_outcomes(effects)[-1] == case.outcome


@pytest.mark.parametrize("name", CASES)
def test_a_refused_batch_takes_its_number_from_code_20_on_and_leaves_no_events(name: str) -> None:
    case = CASES[name]
    ledger = founded(case)
    batches = judged_batches(ledger, case)
    header = batches[-1].header
    before = ledger.state.reader.get(_lane_key(header.signer, header.lane))
    entries_before = ledger.size

    effects = ledger.block(batches, time_ms=case.time_ms)

    after = ledger.state.reader.get(_lane_key(header.signer, header.lane))
    result = effects.results.batches[-1]
    if case.outcome and case.outcome < CONSUMES_NUMBER_FROM:
        assert after == before
    else:
        assert after is not None
        assert int.from_bytes(after[:8], "big") == header.sequence
        assert after[8:40] == batches[-1].batch_id
    if case.outcome:
        assert list(result.event_outcomes) == []
    assert ledger.size == entries_before + 1 + sum(
        each.entry_count for each in effects.results.batches
    )


def _lane_key(signer: bytes, number: int) -> bytes:
    return b"\x04\x00\x20" + signer + b"\x00\x04" + number.to_bytes(4)


def test_an_outbox_goes_on_after_a_refusal_that_took_the_number() -> None:
    ledger = LedgerInMemory()
    refused = ledger.batch(ERP, EVENTS, schema=9)
    effects = ledger.block([refused, ledger.batch(ERP, EVENTS)])

    assert batch_outcomes(effects) == [Outcome.SCHEMA_UNKNOWN, Outcome.ACCEPTED]
    assert event_outcomes(effects) == [Outcome.ACCEPTED] * 2, "nothing of the first one counted"
    assert lane(ledger, ERP).sequence == 2


def test_an_outbox_sends_the_same_number_again_after_a_refusal_below_20() -> None:
    ledger = LedgerInMemory()
    unsigned = rebuilt(ledger.batch(ERP, EVENTS), signature=bytes(64))
    again = LedgerInMemory(ledger.genesis).batch(ERP, EVENTS)
    effects = ledger.block([unsigned, again])

    assert batch_outcomes(effects) == [Outcome.SIGNATURE_INVALID, Outcome.ACCEPTED]


# One batch breaks two rules; the one that stands first in docs/protocol.md, section 6, counts.
NOBODY = private_key("nobody")
ORDER: dict[str, tuple[dict[str, Any], Outcome]] = {
    "chain before key": ({"chain_id": bytes(32), "key": NOBODY}, Outcome.CHAIN_UNKNOWN),
    "key before party": ({"key": NOBODY, "party": "T1-STATOR"}, Outcome.KEY_UNKNOWN),
    "party before purpose": (
        {"key": private_key("OEM-A root 1"), "party": "T1-STATOR"}, Outcome.KEY_PARTY_MISMATCH,
    ),
    "sequence before previous": ({"sequence": 9, "previous": b"\1" * 32}, Outcome.SEQUENCE_AHEAD),
    "previous before schema": ({"previous": b"\1" * 32, "schema": 2}, Outcome.PREVIOUS_MISMATCH),
    "schema before time": ({"schema": 2, "created_at_ms": 0}, Outcome.SCHEMA_UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDER)
def test_the_first_broken_rule_is_the_outcome(name: str) -> None:
    header, outcome = ORDER[name]
    ledger = LedgerInMemory()

    assert batch_outcomes(ledger.block([next_batch(**header)(ledger)])) == [outcome]


def test_a_revoked_key_is_revoked_also_when_it_has_expired() -> None:
    ledger = LedgerInMemory()
    brief_key(ledger)
    ledger.block([ledger.batch(ERP, [ledger.revocation("OEM-A", batch_key(BRIEF))])])
    effects = ledger.block([ledger.batch(BRIEF, EVENTS)], time_ms=BRIEF_END_MS)

    assert batch_outcomes(effects) == [Outcome.KEY_REVOKED]


def test_validity_stands_before_the_signature_and_the_signature_before_the_lane() -> None:
    ledger = LedgerInMemory()
    brief_key(ledger)
    ledger.block([ledger.batch(ERP, [ledger.lane_closure("OEM-A", batch_key(BRIEF), 0)])])
    unsigned = rebuilt(ledger.batch(BRIEF, EVENTS), signature=bytes(64))

    assert batch_outcomes(ledger.block([unsigned])) == [Outcome.SIGNATURE_INVALID]
    assert batch_outcomes(ledger.block([unsigned], time_ms=BRIEF_END_MS)) == [Outcome.KEY_EXPIRED]


def test_schema_count_root_time_and_quota_stand_in_this_order() -> None:
    ledger = LedgerInMemory(consortium(quota_events=1))
    faults = {"schema": 2, "event_count": 9, "events_root": bytes(32), "created_at_ms": 0}
    found, previous = [], ZERO_HASH
    for sequence, first in enumerate([*faults, None], 1):
        made = _signed_otherwise(ledger, **faults, sequence=sequence, previous=previous)
        found += batch_outcomes(ledger.block([made]))
        previous = made.batch_id
        if first:
            del faults[first]

    assert found == [
        Outcome.SCHEMA_UNKNOWN,
        Outcome.COUNT_MISMATCH,
        Outcome.ROOT_MISMATCH,
        Outcome.TIME_ABSURD,
        Outcome.QUOTA_EXCEEDED,
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_party_is_billed_for_batches_that_took_their_number_or_left_evidence(name: str) -> None:
    case = CASES[name]
    ledger = founded(case)
    batches = judged_batches(ledger, case)
    before = counters(ledger, "OEM-A").batches

    effects = ledger.block(batches, time_ms=case.time_ms)

    billed = counters(ledger, "OEM-A").batches - before
    result = effects.results.batches[-1]
    consumes = not result.outcome or result.outcome >= CONSUMES_NUMBER_FROM
    assert billed == len(batches) - 1 + (consumes or bool(result.evidence))
