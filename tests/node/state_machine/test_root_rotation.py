"""A party's roots change places, and the keys of its nodes do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lotmark.key_grant import NEVER, ROTATION_OVERLAP_MS, KeyPurpose
from lotmark.key_rules import (
    NODE_KEYS_MAX,
    NODE_KEYS_UNREVOKED_MAX,
    ROOT_ROTATIONS_MAX,
)
from lotmark.outcome import Outcome
from lotmark.state_rows import Table, key_row, party_row
from lotmark.tlog_policy import parse_policy
from lotmark_node.state_machine.ledger_state import read_policy
from lotmark_node.state_machine.transition import BlockInvalid
from tests.node.governance_events import roots_of, rotation, successor
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.state_machine.reading import event_outcomes, rows
from tests.proto.sample_genesis import CREATED_MS, grant, private_key

MES = "T1-STATOR/mes"
OLD = roots_of("T1-STATOR")  # of which two speak for the party
NEW = [private_key("T1-STATOR new root 1"), private_key("T1-STATOR new root 2")]
Make = Callable[[LedgerInMemory], bytes]


def outcome_of(ledger: LedgerInMemory, event: bytes) -> Outcome:
    """Return what becomes of an event in the next block."""
    (outcome,) = event_outcomes(ledger.block([ledger.batch(MES, [event])]))
    return Outcome(outcome)


def test_new_roots_speak_for_the_party_at_once_and_the_old_ones_no_more() -> None:
    ledger = LedgerInMemory()
    rotate = rotation(ledger, "T1-STATOR", NEW, threshold=2)
    by_old = ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2")

    effects = ledger.block([ledger.batch(MES, [rotate, by_old])])

    assert event_outcomes(effects) == [Outcome.ACCEPTED, Outcome.ROOTS_INSUFFICIENT]
    row = party_row(ledger.rows, "T1-STATOR")
    assert row is not None
    assert (row.generation, row.threshold) == (1, 2)
    assert set(row.roots) == {key.public for key in NEW}
    for key in OLD:
        retired = key_row(ledger.rows, key.public)
        assert retired is not None
        assert retired.revoked_height == 2


def test_new_roots_register_keys() -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(MES, [rotation(ledger, "T1-STATOR", NEW, threshold=2)])])
    granted, key = grant("T1-STATOR", KeyPurpose.BATCH, "press-2")

    made = ledger.registration_of(granted, key, roots=NEW)

    assert outcome_of(ledger, made) is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (lambda led: rotation(led, "T1-STATOR", NEW, signers=[OLD[0], *NEW]), 111),
        (lambda led: rotation(led, "T1-STATOR", NEW, signers=[*OLD, NEW[0]]), 111),
        (lambda led: rotation(led, "T1-STATOR", NEW, signers=NEW), 111),
        (lambda led: rotation(led, "T1-STATOR", NEW, signers=OLD), 111),
        (lambda led: rotation(led, "T1-STATOR", NEW, signers=[*OLD, *NEW, OLD[0]]), 111),
        (
            lambda led: rotation(
                led, "T1-STATOR", [*OLD, NEW[0]], threshold=4, signers=[*OLD[:2], NEW[0]]
            ),
            111,
        ),
        (
            lambda led: rotation(
                led, "T1-STATOR", NEW, signers=[*OLD, *NEW, *roots_of("OEM-A")]
            ),
            111,
        ),
        (lambda led: rotation(led, "T1-STATOR", NEW, threshold=3), 110),
        (lambda led: rotation(led, "T1-STATOR", NEW, threshold=0), 110),
        (lambda led: rotation(led, "T1-STATOR", []), 110),
        (lambda led: rotation(led, "T1-STATOR", NEW, generation=0), 110),
        (lambda led: rotation(led, "T1-STATOR", NEW, generation=2), 110),
        (lambda led: rotation(led, "T1-STATOR", [*NEW, *roots_of("OEM-A")]), 112),
        (lambda led: rotation(led, "NOBODY", NEW, signers=NEW), 108),
    ],
    ids=[
        "one old root of two", "a new root does not sign", "no old root", "no new root",
        "a signature twice", "fewer new roots than their threshold", "a root of another party",
        "a threshold above their number", "no threshold", "no roots", "an old generation",
        "a later generation", "the roots of another party", "a party that is no member",
    ],
)  # fmt: skip
def test_a_rotation_that_breaks_a_rule_is_refused(make: Make, outcome: int) -> None:
    ledger = LedgerInMemory()
    before = rows(ledger, Table.PARTY, Table.KEY)

    assert outcome_of(ledger, make(ledger)) is Outcome(outcome)
    assert rows(ledger, Table.PARTY, Table.KEY) == before


def test_a_statement_of_an_earlier_rotation_is_worth_nothing_when_the_roots_are_the_same() -> None:
    ledger = LedgerInMemory()
    first = rotation(ledger, "T1-STATOR", OLD, threshold=1)
    assert outcome_of(ledger, first) is Outcome.ACCEPTED
    second = rotation(ledger, "T1-STATOR", OLD, threshold=3, generation=2)
    assert outcome_of(ledger, second) is Outcome.ACCEPTED

    again = rotation(ledger, "T1-STATOR", OLD, threshold=1, generation=1, signers=OLD[:2])

    assert outcome_of(ledger, again) is Outcome.GRANT_INVALID


def test_a_retired_root_does_not_come_back() -> None:
    ledger = LedgerInMemory()
    assert outcome_of(ledger, rotation(ledger, "T1-STATOR", NEW)) is Outcome.ACCEPTED

    back = rotation(ledger, "T1-STATOR", OLD, generation=2, signers=[*OLD, *NEW])

    assert outcome_of(ledger, back) is Outcome.KEY_ALREADY_REGISTERED


def test_a_revocation_names_the_past_and_holds_from_its_own_height() -> None:
    ledger = LedgerInMemory()
    key = private_key("T1-STATOR/aoi-cam07 BATCH").public
    ledger.block([ledger.batch("T1-STATOR/aoi-cam07", [measurement(1)])])
    back_dated = ledger.revocation("T1-STATOR", key, compromised_since_ms=CREATED_MS - 1)

    assert outcome_of(ledger, back_dated) is Outcome.ACCEPTED
    row = key_row(ledger.rows, key)
    assert row is not None
    assert (row.revoked_height, row.compromised_since_ms) == (3, CREATED_MS - 1)


def test_a_voter_proposes_under_its_new_key_and_no_more_under_the_revoked_one() -> None:
    ledger = LedgerInMemory()
    old = private_key("OEM-A/n1 PROPOSAL")
    new = private_key("OEM-A/n1 PROPOSAL 2nd")
    register = successor(ledger, "OEM-A", KeyPurpose.PROPOSAL, "n1")
    too_early = ledger.revocation("OEM-A", old.public)
    same_block = ledger.block([ledger.batch(MES, [register, too_early])], key=old)
    revoke = ledger.block([ledger.batch(MES, [ledger.revocation("OEM-A", old.public)])], key=new)

    assert event_outcomes(same_block) == [Outcome.ACCEPTED, Outcome.KEY_NEEDED]
    assert event_outcomes(revoke) == [Outcome.ACCEPTED]
    with pytest.raises(BlockInvalid, match="KEY_REVOKED"):
        ledger.block(key=old)
    ledger.block(key=new)


def test_of_two_successors_the_last_one_cannot_be_revoked() -> None:
    ledger = LedgerInMemory()
    old = private_key("OEM-A/n1 PROPOSAL").public
    new = private_key("OEM-A/n1 PROPOSAL 2nd").public
    ledger.block([ledger.batch(MES, [successor(ledger, "OEM-A", KeyPurpose.PROPOSAL, "n1")])])
    both = [ledger.revocation("OEM-A", new), ledger.revocation("OEM-A", old)]

    effects = ledger.block([ledger.batch(MES, both)])

    assert event_outcomes(effects) == [Outcome.ACCEPTED, Outcome.KEY_NEEDED]


@pytest.mark.parametrize("purpose", [KeyPurpose.LOG, KeyPurpose.ADMIT])
def test_keys_that_others_take_from_the_genesis_are_not_replaced(purpose: KeyPurpose) -> None:
    ledger = LedgerInMemory()
    made = successor(ledger, "OEM-A", purpose, "n1")
    revoke = ledger.revocation("OEM-A", private_key(f"OEM-A/n1 {purpose.name}").public)

    assert outcome_of(ledger, made) is Outcome.GRANT_INVALID
    assert outcome_of(ledger, revoke) is Outcome.KEY_NOT_FOUND


def test_a_node_s_key_does_not_replace_that_of_another_node() -> None:
    ledger = LedgerInMemory()
    made = successor(ledger, "OEM-A", KeyPurpose.PROPOSAL, "n1")
    moved, key = grant("T1-STATOR", KeyPurpose.PROPOSAL, "n2")
    old = private_key("T1-STATOR/n1 PROPOSAL").public
    other_node = ledger.registration_of(replace(moved, replaces=old), key)
    ledger.block([ledger.batch(MES, [made])])

    assert outcome_of(ledger, other_node) is Outcome.KEY_NOT_FOUND


def test_the_policy_names_both_cosign_keys_until_the_old_one_is_revoked() -> None:
    ledger = LedgerInMemory()
    old = private_key("OEM-A/n1 COSIGN").public
    new = private_key("OEM-A/n1 COSIGN 2nd").public
    before = ledger.state.policy_digest

    ledger.block([ledger.batch(MES, [successor(ledger, "OEM-A", KeyPurpose.COSIGN, "n1")])])
    both = parse_policy(read_policy(ledger.rows))
    assert ledger.state.policy_digest != before
    named = {each.vkey.public_key: each.name for each in both.witnesses}
    assert named[old] == f"OEM-A/n1/{old.hex()}"
    assert named[new] == f"OEM-A/n1/{new.hex()}"
    assert next(each for each in both.groups if each.name == "final").threshold == 3

    ledger.block([ledger.batch(MES, [ledger.revocation("OEM-A", old)])])
    one = {
        each.vkey.public_key: each.name for each in parse_policy(read_policy(ledger.rows)).witnesses
    }
    assert old not in one
    assert one[new] == "OEM-A/n1"


def test_the_root_rows_are_never_in_force_without_their_party() -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(MES, [rotation(ledger, "T1-STATOR", [OLD[0], NEW[0]])])])

    kept = key_row(ledger.rows, OLD[0].public)
    assert kept is not None
    assert kept.revoked_height == NEVER


def test_a_party_rotates_its_roots_a_bounded_number_of_times() -> None:
    ledger = LedgerInMemory()
    for generation in range(1, ROOT_ROTATIONS_MAX + 1):
        again = rotation(ledger, "T1-STATOR", OLD, threshold=2, generation=generation)
        assert outcome_of(ledger, again) is Outcome.ACCEPTED

    more = rotation(ledger, "T1-STATOR", OLD, threshold=2, generation=ROOT_ROTATIONS_MAX + 1)

    assert outcome_of(ledger, more) is Outcome.GRANT_INVALID


def test_a_node_has_a_bounded_number_of_keys_at_once_and_ever() -> None:
    ledger = LedgerInMemory()
    unrevoked = [private_key("OEM-A/n1 COSIGN").public]  # which all the others replace
    for number in range(1, NODE_KEYS_MAX):
        made = successor(ledger, "OEM-A", KeyPurpose.COSIGN, "n1", label=str(number))
        if len(unrevoked) == NODE_KEYS_UNREVOKED_MAX:
            assert outcome_of(ledger, made) is Outcome.GRANT_INVALID
            revoke = ledger.revocation("OEM-A", unrevoked.pop())
            assert outcome_of(ledger, revoke) is Outcome.ACCEPTED
        assert outcome_of(ledger, made) is Outcome.ACCEPTED
        unrevoked.append(private_key(f"OEM-A/n1 COSIGN {number}").public)
    assert outcome_of(ledger, ledger.revocation("OEM-A", unrevoked[-1])) is Outcome.ACCEPTED

    more = successor(ledger, "OEM-A", KeyPurpose.COSIGN, "n1", label="one too many")

    assert outcome_of(ledger, more) is Outcome.GRANT_INVALID


@pytest.mark.parametrize(
    ("field", "after_ms", "outcome"),
    [
        ("not_before_ms", 1, Outcome.GRANT_INVALID),
        ("not_before_ms", 0, Outcome.ACCEPTED),
        ("not_after_ms", ROTATION_OVERLAP_MS, Outcome.GRANT_INVALID),
        ("not_after_ms", ROTATION_OVERLAP_MS + 1, Outcome.ACCEPTED),
    ],
)
def test_a_node_s_new_key_is_in_force_as_soon_and_as_long_as_the_old_one(
    field: str, after_ms: int, outcome: Outcome
) -> None:
    ledger = LedgerInMemory()
    granted, key = grant("OEM-A", KeyPurpose.PROPOSAL, "n1", label="OEM-A/n1 PROPOSAL 2nd")
    block_ms = ledger.state.time_ms + 1_000
    old = private_key("OEM-A/n1 PROPOSAL").public
    validity: Any = {field: block_ms + after_ms}

    made = ledger.registration_of(replace(granted, replaces=old, **validity), key)

    assert outcome_of(ledger, made) is outcome
