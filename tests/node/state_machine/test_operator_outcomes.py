"""Every outcome of the events about operators, in the order of judgement."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from lotmark.merkle import leaf_hash
from lotmark.operator_grant import OperatorMeaning, signature_challenge
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark.webauthn import RelyingParty
from lotmark_node.state_machine.operator_row import operator_row
from lotmark_node.state_machine.tables import Table
from lotmark_node.trial.software_authenticator import PRESENT, Authenticator
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement
from tests.node.operator_events import (
    DAY_MS,
    DEVICE,
    operator_grant,
    registered,
    revoked,
    signature,
    with_body,
)
from tests.node.state_machine.reading import batch_outcomes, event_outcomes, rows, usage
from tests.proto.sample_genesis import CREATED_MS

MES, ERP, LAB = "T1-STATOR/mes", "OEM-A/erp", "LAB-17025/lims"
OTHER_DEVICE = Authenticator("operator 8")
RECORD, OTHER_RECORD = measurement(1), measurement(2)

Make = Callable[[LedgerInMemory], bytes]


@dataclass(frozen=True)
class Case:
    """An event, and events that were accepted in blocks before it."""

    outcome: Outcome
    event: Make
    before: tuple[Make, ...] = (registered,)
    after_ms: int = 0  # how much later its block is


def _granted(**fields: object) -> Make:
    """Return a registration by a grant with other fields, signed by everybody as it is."""
    return lambda ledger: registered(ledger, replace(operator_grant(), **fields))  # type: ignore[arg-type]  # by the record


def _changed_registration(change: Callable[[event_pb2.Event], object]) -> Make:
    def make(ledger: LedgerInMemory) -> bytes:
        message = event_pb2.Event.FromString(registered(ledger))
        change(message)
        return message.SerializeToString(deterministic=True)

    return make


def _relying_party(**fields: str) -> RelyingParty:
    return replace(DEVICE.relying_party, **fields)  # type: ignore[arg-type]  # by the record


def _approval(ledger: LedgerInMemory) -> bytes:
    return signature(ledger, RECORD)


def _of_another_chain(ledger: LedgerInMemory) -> bytes:
    challenge = signature_challenge(bytes(32), OperatorMeaning.APPROVE, leaf_hash(RECORD))
    return signature(ledger, RECORD, assertion=DEVICE.sign(challenge))


def _asserted(**options: object) -> Make:
    """Return a signature whose assertion an odd authenticator or page made."""

    def make(ledger: LedgerInMemory) -> bytes:
        challenge = signature_challenge(ledger.chain_id, OperatorMeaning.APPROVE, leaf_hash(RECORD))
        return signature(ledger, RECORD, assertion=DEVICE.sign(challenge, **options))  # type: ignore[arg-type]  # handed on

    return make


def _with_false_signature(ledger: LedgerInMemory) -> bytes:
    challenge = signature_challenge(ledger.chain_id, OperatorMeaning.APPROVE, leaf_hash(RECORD))
    return signature(ledger, RECORD, assertion=OTHER_DEVICE.sign(challenge))


def _unsigned_revocation(ledger: LedgerInMemory) -> bytes:
    message = event_pb2.Event.FromString(revoked(ledger))
    del message.operator_revocation.roots[1:]
    return message.SerializeToString(deterministic=True)


CASES: dict[str, Case] = {
    "a registration": Case(Outcome.ACCEPTED, registered, ()),
    "a registration without meanings": Case(
        Outcome.OPERATOR_GRANT_INVALID, _granted(meanings=()), ()
    ),
    "a registration whose meanings do not ascend": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _granted(meanings=(OperatorMeaning.APPROVE, OperatorMeaning.AUTHOR)),
        (),
    ),
    "a registration of an unknown meaning": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _changed_registration(
            lambda made: made.operator_registration.grant.meanings.append(
                5  # type: ignore[arg-type]  # none that there is
            )
        ),
        (),
    ),
    "a registration that ends before it begins": Case(
        Outcome.OPERATOR_GRANT_INVALID, _granted(not_after_ms=CREATED_MS), ()
    ),
    "a registration of a short credential id": Case(
        Outcome.OPERATOR_GRANT_INVALID, _granted(credential_id=bytes(15)), ()
    ),
    "a registration of a long credential id": Case(
        Outcome.OPERATOR_GRANT_INVALID, _granted(credential_id=bytes(1_001)), ()
    ),
    "a registration of a page without TLS": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _granted(relying_party=_relying_party(origin="http://quality.example")),
        (),
    ),
    "a registration of a page of another domain": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _granted(relying_party=_relying_party(origin="https://evil-quality.example")),
        (),
    ),
    "a registration without a party": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _changed_registration(lambda made: made.operator_registration.grant.ClearField("party")),
        (),
    ),
    "a registration without possession": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _changed_registration(lambda made: made.operator_registration.ClearField("possession")),
        (),
    ),
    "a registration with another device's possession": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        lambda ledger: registered(ledger, operator_grant(), device=OTHER_DEVICE),
        (),
    ),
    "a registration with a possession of something else": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        lambda ledger: registered(ledger, possession=DEVICE.sign(bytes(32))),
        (),
    ),
    "a grant changed after it was signed": Case(
        Outcome.OPERATOR_GRANT_INVALID,
        _changed_registration(
            lambda made: setattr(made.operator_registration.grant, "role", "plant-manager")
        ),
        (),
    ),
    "a registration for a party that is no member": Case(
        Outcome.PARTY_UNKNOWN,
        lambda ledger: registered(ledger, operator_grant(party="STRANGER"), roots_of="OEM-A"),
        (),
    ),
    "a registration by the roots of another party": Case(
        Outcome.ROOTS_INSUFFICIENT, lambda ledger: registered(ledger, roots_of="OEM-A"), ()
    ),
    "a registration by one root of two": Case(
        Outcome.ROOTS_INSUFFICIENT,
        _changed_registration(
            lambda made: made.operator_registration.roots.__delitem__(slice(1, None))
        ),
        (),
    ),
    "a second registration of a credential": Case(
        Outcome.CREDENTIAL_ALREADY_REGISTERED, _granted(role="painter")
    ),
    "a registration of another party's credential": Case(
        Outcome.CREDENTIAL_ALREADY_REGISTERED,
        lambda ledger: registered(ledger, operator_grant(party="OEM-A")),
    ),
    "a registration of a revoked credential": Case(
        Outcome.CREDENTIAL_ALREADY_REGISTERED,
        lambda ledger: registered(ledger, nonce="again"),
        (registered, revoked),
    ),
    "a revocation": Case(Outcome.ACCEPTED, revoked),
    "a revocation of a credential that nobody has": Case(Outcome.CREDENTIAL_UNKNOWN, revoked, ()),
    "a revocation of another party's credential": Case(
        Outcome.CREDENTIAL_UNKNOWN, lambda ledger: revoked(ledger, party="OEM-A")
    ),
    "a second revocation": Case(
        Outcome.CREDENTIAL_REVOKED,
        lambda ledger: revoked(ledger, compromised_since_ms=5),
        (registered, revoked),
    ),
    "a revocation by one root of two": Case(Outcome.ROOTS_INSUFFICIENT, _unsigned_revocation),
    "a signature": Case(Outcome.ACCEPTED, _approval),
    "a signature of an event that is not there": Case(
        Outcome.ACCEPTED, lambda ledger: signature(ledger, b"on another day")
    ),
    "a signature with a credential that nobody has": Case(
        Outcome.CREDENTIAL_UNKNOWN, _approval, ()
    ),
    "a signature with a revoked credential": Case(
        Outcome.CREDENTIAL_REVOKED, _approval, (registered, revoked)
    ),
    "a signature before the credential is valid": Case(
        Outcome.CREDENTIAL_NOT_YET_VALID,
        _approval,
        (_granted(not_before_ms=CREATED_MS + DAY_MS // 2),),
    ),
    "a signature at the end of its validity": Case(
        Outcome.CREDENTIAL_EXPIRED, _approval, after_ms=DAY_MS
    ),
    "a signature with a meaning that is not granted": Case(
        Outcome.MEANING_NOT_PERMITTED,
        lambda ledger: signature(ledger, RECORD, meaning=OperatorMeaning.RELEASE),
    ),
    "a signature that was made for another event": Case(
        Outcome.CHALLENGE_MISMATCH,
        lambda ledger: with_body(signature(ledger, OTHER_RECORD), event_id=leaf_hash(RECORD)),
    ),
    "a signature that was made with another meaning": Case(
        Outcome.CHALLENGE_MISMATCH,
        lambda ledger: with_body(
            signature(ledger, RECORD, meaning=OperatorMeaning.REVIEW), meaning=3
        ),
    ),
    "a signature that was made for another chain": Case(
        Outcome.CHALLENGE_MISMATCH, _of_another_chain
    ),
    "a signature with the assertion of the registration": Case(
        Outcome.CHALLENGE_MISMATCH,
        lambda ledger: signature(ledger, RECORD, assertion=DEVICE.sign(bytes(32))),
    ),
    "a signature without the user's verification": Case(
        Outcome.USER_NOT_VERIFIED, _asserted(flags=PRESENT)
    ),
    "a signature on another page": Case(
        Outcome.ORIGIN_MISMATCH, _asserted(origin="https://evil.example")
    ),
    "a signature for another relying party": Case(
        Outcome.ORIGIN_MISMATCH, _asserted(rp_id="evil.example")
    ),
    "a signature whose client data no browser writes": Case(
        Outcome.ASSERTION_MALFORMED, _asserted(client_data_json=b"{}")
    ),
    "a signature of another device": Case(
        Outcome.ASSERTION_SIGNATURE_INVALID, _with_false_signature
    ),
}


def test_every_outcome_of_operators_is_reached() -> None:
    reached = {case.outcome for case in CASES.values()}

    assert reached >= {outcome for outcome in Outcome if 140 <= outcome < 200}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("holder", [MES, ERP])
def test_an_event_of_operators_is_judged_whoever_carries_it(name: str, holder: str) -> None:
    case = CASES[name]
    ledger = LedgerInMemory()
    for make in case.before:
        assert event_outcomes(ledger.block([ledger.batch(MES, [make(ledger)])])) == [0]
    before = rows(ledger, Table.OPERATOR)

    time_ms = ledger.state.time_ms + case.after_ms
    effects = ledger.block([ledger.batch(holder, [case.event(ledger)])], time_ms=time_ms)

    assert event_outcomes(effects) == [case.outcome]
    writes = case.outcome is Outcome.ACCEPTED and "signature" not in name
    assert (rows(ledger, Table.OPERATOR) != before) == writes


def test_a_credential_is_in_force_from_the_next_block_and_revoked_from_the_next_one() -> None:
    ledger = LedgerInMemory()
    events = [registered(ledger), _approval(ledger)]
    early = ledger.block([ledger.batch(MES, events)])
    last = ledger.block(
        [
            ledger.batch(MES, [signature(ledger, RECORD, nonce="1"), revoked(ledger)]),
            ledger.batch(ERP, [signature(ledger, RECORD, nonce="2")]),
        ]
    )
    late = ledger.block([ledger.batch(MES, [signature(ledger, RECORD, nonce="3")])])

    assert event_outcomes(early) == [Outcome.ACCEPTED, Outcome.CREDENTIAL_NOT_YET_VALID]
    assert event_outcomes(last) == [Outcome.ACCEPTED] * 3
    assert event_outcomes(late) == [Outcome.CREDENTIAL_REVOKED]
    row = operator_row(ledger.rows, DEVICE.credential_id)
    assert row is not None
    assert (row.from_height, row.revoked_height) == (2, 3)


def test_each_operator_of_a_shift_signs_for_himself_and_a_revoked_one_no_more() -> None:
    ledger = LedgerInMemory()
    devices = [Authenticator(f"operator {number}") for number in range(32)]
    made = [registered(ledger, device=device) for device in devices]
    ledger.block([ledger.batch(MES, made)])
    ledger.block([ledger.batch(MES, [revoked(ledger, devices[5])])])

    events = [signature(ledger, RECORD, device=device, nonce=device.seed) for device in devices]
    outcomes = event_outcomes(ledger.block([ledger.batch(MES, events)]))

    expected = [Outcome.ACCEPTED] * 32
    expected[5] = Outcome.CREDENTIAL_REVOKED
    assert outcomes == expected


def test_what_operators_sign_is_billed_to_the_party_that_sends_it() -> None:
    """Else a batch would cost its reader 256 checks and its sender one."""
    ledger = LedgerInMemory(consortium(quota_signatures=12))
    ledger.block([ledger.batch(MES, [registered(ledger)])])
    used = usage(ledger, "T1-STATOR").signatures
    false = [
        with_body(signature(ledger, RECORD, nonce=f"{number}"), event_id=bytes(32))
        for number in range(10)
    ]
    first = ledger.block([ledger.batch(LAB, false)])

    assert used == 2
    assert event_outcomes(first) == [Outcome.CHALLENGE_MISMATCH] * 10
    assert usage(ledger, "LAB-17025").signatures == 11
    more = [measurement(number) for number in range(3)]
    outcomes = [batch_outcomes(ledger.block([ledger.batch(LAB, [raw])]))[0] for raw in more]
    assert outcomes == [Outcome.ACCEPTED, Outcome.QUOTA_EXCEEDED, Outcome.QUOTA_EXCEEDED]


def test_a_signature_that_needs_no_check_costs_none() -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(LAB, [_approval(ledger)])])

    assert usage(ledger, "LAB-17025").signatures == 1
