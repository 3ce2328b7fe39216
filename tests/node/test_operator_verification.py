"""Operators' signatures in snapshots: what both levels confirm, catch and flag."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lotmark.block_results import BatchResult, parse_results
from lotmark.merkle import leaf_hash
from lotmark.operator_grant import OperatorMeaning, signature_challenge
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark.verify.report import Conclusion
from lotmark_node.state_machine.tables import Table
from lotmark_node.trial.software_authenticator import (
    BACKUP_ELIGIBLE,
    PRESENT,
    VERIFIED,
    Authenticator,
)
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.operator_events import (
    DEVICE,
    operator_grant,
    registered,
    revoked,
    signature,
    with_body,
)
from tests.node.snapshot_source import joined, members_of, pairs_of, snapshot_of, with_member
from tests.node.test_reexecution import fault_in, flags_of, structure_of, verified
from tests.proto.judged_snapshots import place_of

MES = "T1-STATOR/mes"
RECORD = measurement(1)


def founded(*events: Callable[[LedgerInMemory], bytes]) -> LedgerInMemory:
    """Return a ledger with one block for each of these events."""
    ledger = LedgerInMemory()
    for make in events:
        effects = ledger.block([ledger.batch(MES, [make(ledger)])])
        assert list(effects.results.batches[0].event_outcomes) == [0]
    return ledger


def signed(ledger: LedgerInMemory) -> bytes:
    return signature(ledger, RECORD)


def test_signatures_before_in_and_after_the_start_of_a_range_are_confirmed() -> None:
    ledger = founded(registered, signed, revoked, lambda _: RECORD)

    for first_height in range(1, 5):
        raw = snapshot_of(ledger, first_height=first_height)
        assert structure_of(raw, ledger) is Conclusion.VALID
        assert verified(raw, ledger).conclusion is Conclusion.VALID, verified(raw, ledger).text
    assert flags_of(ledger) == {}


def accepted_falsely(ledger: LedgerInMemory, raw: bytes) -> bytes:
    """Return a snapshot in which dishonest nodes accept an event that is to be refused."""
    effects = ledger.block([ledger.batch(MES, [raw])])
    assert effects.results.batches[0].event_outcomes[0] != Outcome.ACCEPTED
    pairs = [*ledger.blocks]
    block, results = pairs[-1]
    accepted = replace(parse_results(results), batches=[BatchResult(0, [0])]).encode()
    pairs[-1] = block, accepted
    return with_member(snapshot_of(ledger), "blocks/000000000001.bin", joined(pairs))


def _by_nobody(ledger: LedgerInMemory) -> bytes:
    return signature(ledger, RECORD, device=Authenticator("nobody"))


def _for_another(ledger: LedgerInMemory) -> bytes:
    return with_body(signed(ledger), event_id=bytes(32))


def _without_verification(ledger: LedgerInMemory) -> bytes:
    message = event_pb2.Event.FromString(signed(ledger))
    assertion = message.operator_signature.assertion
    data = assertion.authenticator_data
    assertion.authenticator_data = data[:32] + bytes([PRESENT]) + data[33:]
    return message.SerializeToString(deterministic=True)


def _released(ledger: LedgerInMemory) -> bytes:
    return signature(ledger, RECORD, meaning=OperatorMeaning.RELEASE)


def _again(ledger: LedgerInMemory) -> bytes:
    return registered(ledger, replace(operator_grant(), role="painter"))


def _by_other_roots(ledger: LedgerInMemory) -> bytes:
    return registered(ledger, device=Authenticator("other"), roots_of="OEM-A")


def _of_nothing(ledger: LedgerInMemory) -> bytes:
    return revoked(ledger, Authenticator("nobody"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_by_nobody, "CREDENTIAL_UNKNOWN"),
        (_for_another, "CHALLENGE_MISMATCH"),
        (_without_verification, "USER_NOT_VERIFIED"),
        (_released, "MEANING_NOT_PERMITTED"),
        (_again, "a second time"),
        (_by_other_roots, "is no root of the party"),
        (_of_nothing, "no such credential"),
    ],
)
def test_what_dishonest_nodes_accept_of_operators_is_caught_by_structure_alone(
    make: Callable[[LedgerInMemory], bytes], words: str
) -> None:
    ledger = founded(registered)
    raw = accepted_falsely(ledger, make(ledger))
    fault = fault_in(raw, ledger)

    assert structure_of(raw, ledger) is Conclusion.INVALID
    assert place_of(fault) == ("event", 2, ledger.sizes[1] + 1)
    assert words in fault.text


def test_a_signature_accepted_after_the_revocation_is_caught_by_structure_alone() -> None:
    ledger = founded(registered, revoked)
    fault = fault_in(accepted_falsely(ledger, signed(ledger)), ledger)

    assert "CREDENTIAL_REVOKED" in fault.text


def test_an_operator_event_left_out_of_a_range_is_found_by_the_state() -> None:
    ledger = founded(registered, lambda _: RECORD)
    raw = with_member(snapshot_of(ledger, first_height=2), "governance.bin", b"")
    fault = fault_in(raw, ledger)

    assert structure_of(raw, ledger) is Conclusion.VALID
    assert (fault.rule, fault.height) == ("state", 1)
    assert DEVICE.credential_id.hex() in fault.text


def test_the_state_of_a_range_holds_the_row_of_every_credential() -> None:
    ledger = founded(registered, revoked, lambda _: RECORD)
    rows = pairs_of(members_of(snapshot_of(ledger, first_height=3))["state.bin"])

    assert [key[3:] for key, _ in rows if key[0] == Table.OPERATOR] == [DEVICE.credential_id]


def test_a_counter_that_does_not_grow_is_flagged() -> None:
    device = Authenticator("counting", counter=5)
    ledger = founded(lambda ledger: registered(ledger, device=device))
    for counter in (6, 7, 7, 3, 8):
        device.counter = counter
        raw = signature(ledger, RECORD, device=device, nonce=f"{counter} {ledger.height}")
        ledger.block([ledger.batch(MES, [raw])])

    assert flags_of(ledger) == {"signature counter": (2, ledger.sizes[3] + 1)}


def test_an_authenticator_that_does_not_count_is_not_flagged_for_it() -> None:
    ledger = founded(registered, signed, lambda ledger: signature(ledger, RECORD, nonce="2"))

    assert flags_of(ledger) == {}


def test_credentials_that_are_copied_or_in_wrong_hands_are_flagged() -> None:
    ledger = founded(registered)
    synchronised = DEVICE.sign(_challenge(ledger), flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE)
    raw = signature(ledger, RECORD, assertion=synchronised)
    ledger.block([ledger.batch(MES, [raw])])
    since_ms = ledger.state.time_ms
    ledger.block([ledger.batch(MES, [revoked(ledger, compromised_since_ms=since_ms)])])

    assert flags_of(ledger) == {
        "synchronised credential": (1, ledger.sizes[1] + 1),
        "compromised credential": (1, ledger.sizes[1] + 1),
    }


def _challenge(ledger: LedgerInMemory) -> bytes:
    return signature_challenge(ledger.chain_id, OperatorMeaning.APPROVE, leaf_hash(RECORD))


def test_one_key_under_two_credential_ids_is_flagged() -> None:
    second = replace(operator_grant(), credential_id=bytes(range(32)))
    ledger = founded(registered, lambda ledger: registered(ledger, second))

    assert flags_of(ledger) == {"shared credential key": (2, None)}
