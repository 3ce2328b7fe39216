"""Grants of operators' credentials: what is one, and that no two share a statement."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.errors import MalformedError, ProtocolError
from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS
from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    check_grant,
    grant_from_message,
    grant_to_message,
    possession_challenge,
    revocation_statement,
    signature_challenge,
    statement,
)
from lotmark_node.trial.software_authenticator import Authenticator
from tests.proto.sample_genesis import CREATED_MS

CHAIN_ID = bytes(range(32))
DEVICE = Authenticator("operator 7")
SAMPLE = OperatorGrant(
    party="T1-STATOR",
    credential_id=DEVICE.credential_id,
    relying_party=DEVICE.relying_party,
    role="welding-inspector",
    meanings=(OperatorMeaning.REVIEW, OperatorMeaning.APPROVE),
    not_before_ms=CREATED_MS,
    not_after_ms=CREATED_MS + 1,
)


def at(rp_id: str, origin: str) -> OperatorGrant:
    return replace(SAMPLE, relying_party=replace(DEVICE.relying_party, rp_id=rp_id, origin=origin))


@pytest.mark.parametrize(
    ("rp_id", "origin"),
    [
        ("quality.example", "https://quality.example"),
        ("quality.example", "https://a.b.quality.example:8443"),
        ("xn--qualitt-8za.example", "https://xn--qualitt-8za.example"),
        ("localhost", "http://localhost:7080"),
        ("localhost", "https://localhost"),
        ("a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 61, None),
    ],
)
def test_a_page_of_the_relying_party_is_one(rp_id: str, origin: str | None) -> None:
    check_grant(at(rp_id, origin or f"https://{rp_id}"))


@pytest.mark.parametrize(
    ("rp_id", "origin"),
    [
        ("quality.example", "http://quality.example"),
        ("quality.example", "https://example"),
        ("quality.example", "https://notquality.example"),
        ("quality.example", "https://quality.example.evil"),
        ("quality.example", "https://quality.example/"),
        ("quality.example", "https://quality.example/page"),
        ("quality.example", "https://QUALITY.example"),
        ("quality.example", "https://user@quality.example"),
        ("quality.example", "https://quality.example:0"),
        ("quality.example", "https://quality.example:123456"),
        ("quality.example", "https://quality.example\n"),
        ("quality.example", "android:apk-key-hash:abc"),
        ("quality.example", ""),
        ("localhost", "http://a.localhost"),
        ("Quality.example", "https://quality.example"),
        ("quality..example", "https://quality..example"),
        ("-quality.example", "https://-quality.example"),
        (".example", "https://quality.example"),
        ("", "https://quality.example"),
        ("a" * 254, f"https://{'a' * 254}"),
    ],
)
def test_a_page_that_is_not_the_relying_party_s_is_refused(rp_id: str, origin: str) -> None:
    with pytest.raises(MalformedError, match=r"relying party id|origin"):
        check_grant(at(rp_id, origin))


@pytest.mark.parametrize(
    "fields",
    [
        {"party": "t1"},
        {"credential_id": bytes(15)},
        {"credential_id": bytes(1_001)},
        {"role": ""},
        {"role": "two words"},
        {"role": "x" * 65},
        {"meanings": ()},
        {"meanings": (OperatorMeaning.AUTHOR, OperatorMeaning.AUTHOR)},
        {"meanings": (OperatorMeaning.RELEASE, OperatorMeaning.AUTHOR)},
        {"not_before_ms": TIME_MIN_MS - 1},
        {"not_after_ms": TIME_MAX_MS + 1},
        {"not_after_ms": CREATED_MS},
        {"relying_party": replace(DEVICE.relying_party, public_key=b"")},
    ],
)
def test_a_grant_that_breaks_a_rule_is_refused(fields: dict[str, object]) -> None:
    check_grant(SAMPLE)
    with pytest.raises(ProtocolError):
        check_grant(replace(SAMPLE, **fields))  # type: ignore[arg-type]  # by the record


def test_a_message_gives_back_its_grant() -> None:
    assert grant_from_message(grant_to_message(SAMPLE)) == SAMPLE


TEXT = st.text("abc.-", min_size=1, max_size=4)
GRANTS = st.builds(
    OperatorGrant,
    party=TEXT,
    credential_id=st.binary(max_size=4),
    relying_party=st.builds(replace, st.just(DEVICE.relying_party), rp_id=TEXT, origin=TEXT),
    role=TEXT,
    meanings=st.lists(st.sampled_from(OperatorMeaning), max_size=3).map(tuple),
    not_before_ms=st.integers(0, 300),
    not_after_ms=st.integers(0, 300),
)


@given(first=GRANTS, second=GRANTS)
def test_two_grants_with_one_statement_are_one_grant(
    first: OperatorGrant, second: OperatorGrant
) -> None:
    """Else roots that sign one would have signed the other."""
    same = statement(first, CHAIN_ID) == statement(second, CHAIN_ID)

    assert same == (first == second)


def test_a_challenge_is_bound_to_chain_meaning_and_event() -> None:
    made = {
        signature_challenge(chain_id, meaning, event_id)
        for chain_id in (CHAIN_ID, bytes(32))
        for meaning in OperatorMeaning
        for event_id in (bytes(32), bytes(31) + b"\1")
    }

    assert len(made) == 16
    assert possession_challenge(SAMPLE, CHAIN_ID) not in made


@pytest.mark.parametrize(
    "fields",
    [
        {"credential_id": bytes(15)},
        {"party": "-"},
        {"compromised_since_ms": -1},
        {"compromised_since_ms": 2**64},
    ],
)
def test_a_revocation_of_what_cannot_be_is_refused(fields: dict[str, object]) -> None:
    sound: dict[str, object] = {
        "chain_id": CHAIN_ID,
        "credential_id": bytes(16),
        "compromised_since_ms": 0,
        "party": "OEM-A",
    }
    revocation_statement(**sound)  # type: ignore[arg-type]  # by keyword
    with pytest.raises(MalformedError):
        revocation_statement(**{**sound, **fields})  # type: ignore[arg-type]  # by keyword
