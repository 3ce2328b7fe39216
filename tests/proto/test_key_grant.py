"""Grants: the bytes that are signed, what is refused, and who must have signed."""

from contextlib import suppress
from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from lotmark.key_grant import (
    NO_KEY,
    TIME_MAX_MS,
    TIME_MIN_MS,
    KeyGrant,
    KeyPurpose,
    check_grant,
    grant_from_message,
    grant_to_message,
    lane_closure_statement,
    revocation_statement,
    statement,
    verify_possession,
    verify_roots,
)
from lotmark.v1 import governance_pb2
from tests.proto.sample_genesis import grant, private_key

CHAIN = bytes(range(32))
SAMPLE, SAMPLE_KEY = grant("T1-STATOR", KeyPurpose.BATCH, "aoi-cam07", event_types=(19, 24))
NODE_SAMPLE, _ = grant("T1-STATOR", KeyPurpose.COSIGN, "n1")


@st.composite
def grants(draw: st.DrawFn) -> KeyGrant:
    purpose = draw(st.sampled_from(KeyPurpose))
    of_node = KeyPurpose.PROPOSAL <= purpose <= KeyPurpose.ADMIT
    holder = r"[a-z0-9][a-z0-9-]{0,30}" if of_node else r"[A-Za-z0-9._:/~%+()@-]{1,64}"
    first, last = sorted(
        draw(st.sets(st.integers(TIME_MIN_MS, TIME_MAX_MS), min_size=2, max_size=2))
    )
    types = draw(st.sets(st.integers(16, 79))) if purpose is KeyPurpose.BATCH else set()
    return KeyGrant(
        key=PrivateKey(draw(st.binary(min_size=32, max_size=32))).public,
        party=draw(st.from_regex(r"[A-Z0-9][A-Z0-9-]{0,30}", fullmatch=True)),
        purpose=purpose,
        holder=draw(st.from_regex(holder, fullmatch=True)),
        not_before_ms=first,
        not_after_ms=last,
        event_types=tuple(sorted(types)),
        replaces=draw(st.sampled_from([NO_KEY, private_key("older").public])),
    )


def test_a_grant_has_the_bytes_that_the_protocol_document_lays_out() -> None:
    granted = replace(SAMPLE, replaces=private_key("older").public)

    assert statement(granted, CHAIN) == (
        b"lotmark/key-reg/v1\n"
        + CHAIN
        + SAMPLE_KEY.public
        + b"\x01"
        + (1_766_448_000_000).to_bytes(8, "big")
        + (1_924_992_000_000).to_bytes(8, "big")
        + private_key("older").public
        + b"\x09T1-STATOR"
        + b"\x09aoi-cam07"
        + b"\x02\x00\x13\x00\x18"
    )


def test_the_other_statements_have_the_bytes_that_the_protocol_document_lays_out() -> None:
    key = SAMPLE.key
    revoked = revocation_statement(
        chain_id=CHAIN, key=key, compromised_since_ms=258, party="T1-STATOR"
    )
    closed = lane_closure_statement(chain_id=CHAIN, key=key, lane=2, party="T1-STATOR")

    assert revoked == (
        b"lotmark/key-revoke/v1\n" + CHAIN + key + b"\0\0\0\0\0\0\x01\x02" + b"\x09T1-STATOR"
    )
    assert closed == b"lotmark/lane-close/v1\n" + CHAIN + key + b"\0\0\0\x02" + b"\x09T1-STATOR"


@given(grants(), grants())
def test_two_grants_never_have_one_statement(first: KeyGrant, second: KeyGrant) -> None:
    same = statement(first, CHAIN) == statement(second, CHAIN)

    assert same == (first == second)


@given(grants())
def test_a_grant_goes_through_a_message_unchanged(granted: KeyGrant) -> None:
    check_grant(granted)
    raw = grant_to_message(granted).SerializeToString(deterministic=True)

    assert grant_from_message(governance_pb2.KeyGrant.FromString(raw)) == granted


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(SAMPLE, key=b"short"), "has 5 bytes"),
        (replace(SAMPLE, key=bytes(32)), "main subgroup"),
        (replace(SAMPLE, key=b"\xff" * 32), "main subgroup"),
        (replace(SAMPLE, party=""), "party's id"),
        (replace(SAMPLE, party="t1"), "party's id"),
        (replace(SAMPLE, party="T" * 32), "party's id"),
        (replace(SAMPLE, party="T1\n"), "party's id"),
        (replace(SAMPLE, party="\N{ARABIC-INDIC DIGIT ONE}"), "party's id"),
        (replace(SAMPLE, holder=""), "holder"),
        (replace(SAMPLE, holder="with space"), "holder"),
        (replace(SAMPLE, holder="x" * 65), "at most 64"),
        (replace(NODE_SAMPLE, holder="N1"), "node's name"),
        (replace(NODE_SAMPLE, holder="n" * 32), "node's name"),
        (replace(SAMPLE, not_before_ms=TIME_MIN_MS - 1), "not_before_ms"),
        (replace(SAMPLE, not_after_ms=TIME_MAX_MS + 1), "not_after_ms"),
        (replace(SAMPLE, not_before_ms=1_766_448_000), "milliseconds"),
        (replace(SAMPLE, not_after_ms=SAMPLE.not_before_ms), "never be valid"),
        (replace(SAMPLE, event_types=(15,)), "outside 16 to 79"),
        (replace(SAMPLE, event_types=(80,)), "outside 16 to 79"),
        (replace(SAMPLE, event_types=(24, 19)), "ascend"),
        (replace(SAMPLE, event_types=(19, 19)), "ascend"),
        (replace(SAMPLE, event_types=(19,) * 65), "at most 64"),
        (replace(NODE_SAMPLE, event_types=(19,)), "signs no events"),
        (replace(SAMPLE, replaces=SAMPLE.key), "replace itself"),
        (replace(SAMPLE, replaces=b"short"), "5 bytes"),
    ],
)
def test_a_grant_that_breaks_a_rule_is_refused(changed: KeyGrant, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        check_grant(changed)


@pytest.mark.parametrize("purpose", [0, 7, -1])
def test_an_unknown_purpose_is_refused(purpose: int) -> None:
    message = grant_to_message(SAMPLE)
    message.purpose = governance_pb2.KeyPurpose.ValueType(purpose)

    with pytest.raises(MalformedError, match="unknown"):
        grant_from_message(message)


def test_a_grant_that_spells_out_that_it_replaces_nothing_is_refused() -> None:
    message = grant_to_message(SAMPLE)
    message.replaces = NO_KEY

    with pytest.raises(MalformedError, match="empty"):
        grant_from_message(message)


@given(st.binary(max_size=200))
def test_any_message_gives_a_grant_or_a_protocol_error(raw: bytes) -> None:
    message = grant_to_message(SAMPLE)
    with suppress(DecodeError):  # what was read before it stays in the message
        message.MergeFromString(raw)
    with suppress(ProtocolError):
        check_grant(grant_from_message(message))


def test_possession_is_proven_for_one_grant_on_one_chain() -> None:
    signature = SAMPLE_KEY.sign(statement(SAMPLE, CHAIN))
    verify_possession(SAMPLE, CHAIN, signature)

    with pytest.raises(SignatureError, match="T1-STATOR/aoi-cam07"):
        verify_possession(SAMPLE, bytes(32), signature)
    with pytest.raises(SignatureError, match="no proof"):
        verify_possession(replace(SAMPLE, event_types=()), CHAIN, signature)
    with pytest.raises(SignatureError, match="no proof"):
        verify_possession(SAMPLE, CHAIN, private_key("thief").sign(statement(SAMPLE, CHAIN)))


ROOTS = sorted((private_key(f"root {at}") for at in range(3)), key=lambda key: key.public)
ROOT_KEYS = [key.public for key in ROOTS]


def signed_by(*keys: PrivateKey, over: bytes = b"said") -> list[tuple[bytes, bytes]]:
    return [(key.public, key.sign(over)) for key in keys]


@pytest.mark.parametrize("signers", [ROOTS[:2], ROOTS[1:], ROOTS[::2], ROOTS])
def test_a_threshold_of_roots_speaks_for_the_party(signers: list[PrivateKey]) -> None:
    verify_roots(b"said", signed_by(*signers), ROOT_KEYS, 2)


@pytest.mark.parametrize(
    ("signatures", "reason"),
    [
        ([], "0 root signatures"),
        (signed_by(ROOTS[0]), "1 root signatures"),
        (signed_by(ROOTS[0], ROOTS[0]), "ascend"),
        (signed_by(ROOTS[1], ROOTS[0]), "ascend"),
        (signed_by(*sorted([ROOTS[0], private_key("other")], key=lambda k: k.public)), "no root"),
        ([*signed_by(ROOTS[0]), *signed_by(ROOTS[1], over=b"else")], "does not hold"),
        ([*signed_by(*ROOTS[:2]), *signed_by(ROOTS[2], over=b"else")], "does not hold"),
        ([*signed_by(ROOTS[0]), (ROOTS[1].public, b"short")], "64 bytes"),
        ([*signed_by(*ROOTS), *signed_by(private_key("fourth"))], "4 root signatures"),
    ],
)
def test_too_few_or_wrong_root_signatures_are_refused(
    signatures: list[tuple[bytes, bytes]], reason: str
) -> None:
    with pytest.raises(SignatureError, match=reason):
        verify_roots(b"said", signatures, ROOT_KEYS, 2)


@pytest.mark.parametrize(
    ("party", "key", "number", "reason"),
    [
        ("t1", SAMPLE.key, 1, "party's id"),
        ("T1", b"short", 1, "5"),
        ("T1", SAMPLE.key, -1, "outside 0"),
        ("T1", SAMPLE.key, 1 << 64, "outside 0"),
    ],
)
def test_a_statement_about_nothing_possible_is_refused(
    party: str, key: bytes, number: int, reason: str
) -> None:
    with pytest.raises(MalformedError, match=reason):
        revocation_statement(chain_id=CHAIN, key=key, compromised_since_ms=number, party=party)
    with pytest.raises(MalformedError, match=reason):
        lane_closure_statement(chain_id=CHAIN, key=key, lane=number, party=party)
