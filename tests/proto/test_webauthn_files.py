"""Files of browsers: what they say is read, and what is none is refused by name."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.client.new_event import EventBody, new_event
from lotmark.client.operator_bodies import registration, revocation, signature
from lotmark.client.webauthn_files import (
    FILE_SIZE_MAX,
    NewCredential,
    read_assertion,
    read_new_credential,
)
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from lotmark.event import check_event
from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    possession_challenge,
    signature_challenge,
)
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark.webauthn import AssertionRefused, base64url, decode_base64url
from lotmark_node.trial.software_authenticator import Authenticator
from tests.proto.sample_genesis import CREATED_MS, private_key

DEVICE = Authenticator("operator 7")
CHAIN_ID = bytes(range(32))
EVENT_ID = bytes(32)
ROOTS = [private_key(f"root {number}") for number in range(3)]


def made() -> dict[str, Any]:
    return json.loads(json.dumps(DEVICE.creation_json()))  # type: ignore[no-any-return]


def asserted() -> dict[str, Any]:
    signed = DEVICE.sign(EVENT_ID)
    return json.loads(json.dumps(DEVICE.assertion_json(signed)))  # type: ignore[no-any-return]


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_new_credential_is_read() -> None:
    found = read_new_credential(encoded(made()), name="new.json")

    assert found == NewCredential(DEVICE.credential_id, DEVICE.public_key)


def test_an_assertion_is_read_without_its_user_handle() -> None:
    found = read_assertion(encoded(asserted()), name="signed.json")

    assert found.credential_id == DEVICE.credential_id
    assert found.assertion == DEVICE.sign(EVENT_ID)
    assert "never on the ledger" not in repr(found)


def _without(*path: str) -> Callable[[dict[str, Any]], object]:
    def change(value: dict[str, Any]) -> None:
        for name in path[:-1]:
            value = value[name]
        del value[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("rawId"), "no text rawId"),
        (_without("response"), "no member response"),
        (_without("response", "authenticatorData"), "no text authenticatorData"),
        (lambda value: value.update(response=[]), "no member response"),
        (lambda value: value.update(rawId=7), "no text rawId"),
        (lambda value: value.update(rawId="a+b="), "not base64url|not the one"),
        (lambda value: value.update(rawId=base64url(bytes(20))), "another than the one"),
        (
            lambda value: value["response"].update(
                authenticatorData=base64url(DEVICE.sign(EVENT_ID).authenticator_data)
            ),
            "no new credential",
        ),
        (lambda value: value["response"].update(authenticatorData=""), "no new credential"),
    ],
)
def test_what_is_no_new_credential_is_refused_by_name(
    change: Callable[[dict[str, Any]], object], words: str
) -> None:
    value = made()
    change(value)

    with pytest.raises(MalformedError, match=words) as caught:
        read_new_credential(encoded(value), name="new.json")
    assert "new.json" in str(caught.value)


def test_a_credential_of_another_algorithm_is_refused() -> None:
    value = made()
    data = decode_base64url(value["response"]["authenticatorData"], what="data")
    other = data.replace(b"\x03\x26", b"\x03\x27")
    value["response"]["authenticatorData"] = base64url(other)

    with pytest.raises(SignatureError, match="alg -7"):
        read_new_credential(encoded(value), name="new.json")


@pytest.mark.parametrize(
    "raw",
    [b"", b"x", b"[]", b"7", b"\xff", b"[" * 50_000, b"{}" + b" " * FILE_SIZE_MAX, b'{"a":1'],
)
def test_what_is_no_file_of_a_browser_is_refused(raw: bytes) -> None:
    for read in (read_new_credential, read_assertion):
        with pytest.raises(MalformedError, match=r"x\.json"):
            read(raw, name="x.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["rawId", "response", "authenticatorData", "signature", "x"]), inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(value=JSON)
def test_any_json_is_met_without_another_error(value: object) -> None:
    for read in (read_new_credential, read_assertion):
        try:
            read(encoded(value), name="x.json")
        except ProtocolError:
            continue


def _grant() -> OperatorGrant:
    return OperatorGrant(
        party="OEM-A",
        credential_id=DEVICE.credential_id,
        relying_party=DEVICE.relying_party,
        role="painter",
        meanings=(OperatorMeaning.APPROVE,),
        not_before_ms=CREATED_MS,
        not_after_ms=CREATED_MS + 1,
    )


def test_events_are_made_that_the_ledger_reads_with_roots_in_its_order() -> None:
    possession = DEVICE.sign(possession_challenge(_grant(), CHAIN_ID))
    challenge = signature_challenge(CHAIN_ID, OperatorMeaning.APPROVE, EVENT_ID)
    made: list[EventBody] = [
        registration(CHAIN_ID, _grant(), possession, ROOTS),
        revocation(
            CHAIN_ID,
            DEVICE.credential_id,
            party="OEM-A",
            reason="lost",
            compromised_since_ms=0,
            roots=ROOTS,
        ),
        signature(
            CHAIN_ID,
            DEVICE.credential_id,
            DEVICE.sign(challenge),
            event_id=EVENT_ID,
            meaning=OperatorMeaning.APPROVE,
        ),
    ]
    bodies = [
        check_event(
            new_event(
                body,
                device="console",
                capture=event_pb2.CAPTURE_MODE_MANUAL,
                time=datetime.now(UTC),
                uncertainty_us=1_000_000,
            )
        )
        for body in made
    ]

    assert [body.event_type for body in bodies] == [61, 62, 63]
    for each in bodies[:2]:
        keys = [root.key for root in each.body.roots]
        assert keys == sorted(root.public for root in ROOTS)


@pytest.mark.parametrize(
    ("chain_id", "meaning", "event_id"),
    [
        (bytes(32), OperatorMeaning.APPROVE, EVENT_ID),
        (CHAIN_ID, OperatorMeaning.AUTHOR, EVENT_ID),
        (CHAIN_ID, OperatorMeaning.APPROVE, bytes(31) + b"\1"),
    ],
)
def test_a_signature_of_something_else_is_refused_before_it_is_sent(
    chain_id: bytes, meaning: OperatorMeaning, event_id: bytes
) -> None:
    signed = DEVICE.sign(signature_challenge(chain_id, meaning, event_id))

    with pytest.raises(AssertionRefused) as caught:
        signature(
            CHAIN_ID,
            DEVICE.credential_id,
            signed,
            event_id=EVENT_ID,
            meaning=OperatorMeaning.APPROVE,
        )
    assert caught.value.outcome is Outcome.CHALLENGE_MISMATCH


def test_a_registration_that_the_credential_did_not_sign_is_refused_before_it_is_sent() -> None:
    with pytest.raises(AssertionRefused, match="challenge"):
        registration(CHAIN_ID, _grant(), DEVICE.sign(EVENT_ID), ROOTS)
