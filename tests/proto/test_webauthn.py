"""One pinned rule for assertions: what it takes, what it refuses, and that others agree."""

import hashlib
import json
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from fido2.cbor import decode as decode_cbor
from fido2.cose import CoseKey
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    PublicKeyCredentialRpEntity,
    UserVerificationRequirement,
)

from lotmark.errors import MalformedError, SignatureError
from lotmark.outcome import Outcome
from lotmark.webauthn import (
    Assertion,
    AssertionRefused,
    base64url,
    check_cose_key,
    decode_base64url,
    verify_assertion,
)
from lotmark_node.trial.software_authenticator import (
    BACKUP_ELIGIBLE,
    EXTENDED,
    ORIGIN,
    PRESENT,
    RP_ID,
    VERIFIED,
    Authenticator,
    cose_key,
)

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
CURVE_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
CHALLENGE = hashlib.sha256(b"challenge").digest()
OTHER = hashlib.sha256(b"another").digest()
DEVICE = Authenticator("operator 7")


def outcome_of(assertion: Assertion, device: Authenticator = DEVICE) -> Outcome:
    try:
        verify_assertion(assertion, CHALLENGE, device.relying_party)
    except AssertionRefused as refusal:
        return refusal.outcome
    return Outcome.ACCEPTED


def resigned(change: Callable[[int, int], tuple[int, int]]) -> Assertion:
    """Return a sound assertion whose r and s are changed, in sound DER."""
    made = DEVICE.sign(CHALLENGE)
    return replace(
        made, signature=encode_dss_signature(*change(*decode_dss_signature(made.signature)))
    )


def with_signature(change: Callable[[bytes], bytes]) -> Assertion:
    made = DEVICE.sign(CHALLENGE)
    return replace(made, signature=change(made.signature))


def _long_length(der: bytes) -> bytes:
    return der[:1] + b"\x81" + der[1:]


def _padded_r(der: bytes) -> bytes:
    r_size = der[3]
    padded = b"\x02" + bytes([r_size + 1]) + b"\x00" + der[4 : 4 + r_size] + der[4 + r_size :]
    return b"\x30" + bytes([len(padded)]) + padded


CASES: dict[str, tuple[Assertion, Outcome]] = {
    "as a browser makes it": (DEVICE.sign(CHALLENGE), Outcome.ACCEPTED),
    "of a browser that does not tell of frames": (
        DEVICE.sign(CHALLENGE, tail=""), Outcome.ACCEPTED,
    ),
    "with members of later browsers": (
        DEVICE.sign(CHALLENGE, tail=',"crossOrigin":false,"later":{"a":"}"}'), Outcome.ACCEPTED,
    ),
    "of a credential that is synchronised": (
        DEVICE.sign(CHALLENGE, flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE), Outcome.ACCEPTED,
    ),
    "with the other s": (resigned(lambda r, s: (r, ORDER - s)), Outcome.ACCEPTED),
    "over another challenge": (DEVICE.sign(OTHER), Outcome.CHALLENGE_MISMATCH),
    "of a credential that is made": (
        DEVICE.sign(CHALLENGE, type_="webauthn.create"), Outcome.ASSERTION_MALFORMED,
    ),
    "on another page": (
        DEVICE.sign(CHALLENGE, origin="https://evil.example"), Outcome.ORIGIN_MISMATCH,
    ),
    "on a page whose name goes on": (
        DEVICE.sign(CHALLENGE, origin=f"{ORIGIN}.evil.example"), Outcome.ORIGIN_MISMATCH,
    ),
    "in a frame of another page": (
        DEVICE.sign(CHALLENGE, tail=',"crossOrigin":true'), Outcome.ORIGIN_MISMATCH,
    ),
    "for another relying party": (
        DEVICE.sign(CHALLENGE, rp_id="evil.example"), Outcome.ORIGIN_MISMATCH,
    ),
    "without the user's verification": (
        DEVICE.sign(CHALLENGE, flags=PRESENT), Outcome.USER_NOT_VERIFIED,
    ),
    "without the user's presence": (
        DEVICE.sign(CHALLENGE, flags=VERIFIED), Outcome.USER_NOT_VERIFIED,
    ),
    "with neither": (DEVICE.sign(CHALLENGE, flags=0), Outcome.USER_NOT_VERIFIED),
    "with extensions": (
        DEVICE.sign(CHALLENGE, flags=PRESENT | VERIFIED | EXTENDED), Outcome.ASSERTION_MALFORMED,
    ),
    "with a tail": (
        DEVICE.sign(
            CHALLENGE,
            authenticator_data=DEVICE.sign(CHALLENGE).authenticator_data + b"\x00",
        ),
        Outcome.ASSERTION_MALFORMED,
    ),
    "by another key": (Authenticator("other").sign(CHALLENGE), Outcome.ASSERTION_SIGNATURE_INVALID),
    "with r that is the order": (
        resigned(lambda _, s: (ORDER, s)), Outcome.ASSERTION_MALFORMED,
    ),
    "with s of zero": (resigned(lambda r, _: (r, 0)), Outcome.ASSERTION_MALFORMED),
    "with a byte behind the signature": (
        with_signature(lambda der: der + b"\x00"), Outcome.ASSERTION_MALFORMED,
    ),
    "with a long length": (with_signature(_long_length), Outcome.ASSERTION_MALFORMED),
    "with a padded r": (with_signature(_padded_r), Outcome.ASSERTION_MALFORMED),
    "without a signature": (with_signature(lambda _: b""), Outcome.ASSERTION_MALFORMED),
    "with a cut signature": (with_signature(lambda der: der[:-1]), Outcome.ASSERTION_MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_assertion_gets_its_outcome(name: str) -> None:
    assertion, outcome = CASES[name]

    assert outcome_of(assertion) is outcome


def test_every_outcome_of_an_assertion_is_reached() -> None:
    reached = {outcome for _, outcome in CASES.values()}

    assert reached == {
        Outcome.ACCEPTED,
        *(outcome for outcome in Outcome if 147 <= outcome <= 151),
    }


def fido2_takes(assertion: Assertion, device: Authenticator = DEVICE) -> bool:
    """Tell whether the server of the package fido2 takes an assertion."""
    server = Fido2Server(
        PublicKeyCredentialRpEntity(id=device.rp_id, name="x"),
        verify_origin=lambda origin: origin == device.origin,
    )
    decoded = decode_cbor(device.public_key)
    assert isinstance(decoded, Mapping)
    key = CoseKey.parse(decoded)
    known = AttestedCredentialData.create(bytes(16), device.credential_id, key)
    state = {
        "challenge": base64url(CHALLENGE),
        "user_verification": UserVerificationRequirement.REQUIRED,
    }
    try:
        server.authenticate_complete(state, [known], device.assertion_json(assertion))
    except (ValueError, LookupError, TypeError, struct.error):  # what its parsers raise, too
        return False
    return True


# What fido2 leaves to the page that calls it, or to a parser, and this rule refuses.
STRICTER = {"in a frame of another page"}


@pytest.mark.parametrize("name", CASES)
def test_the_package_fido2_comes_to_the_same_verdict(name: str) -> None:
    assertion, outcome = CASES[name]

    assert fido2_takes(assertion) == (outcome is Outcome.ACCEPTED or name in STRICTER)


def test_what_one_changed_byte_makes_of_an_assertion_fido2_never_takes_more_readily() -> None:
    """Both refuse all of them; a change that only this rule takes would be a hole."""
    seed = 20_261_127
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    sound = DEVICE.sign(CHALLENGE)
    for _ in range(600):
        field = chance.choice(("authenticator_data", "client_data_json", "signature"))
        raw = bytearray(getattr(sound, field))
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        mutated = replace(sound, **{field: bytes(raw)})
        assert outcome_of(mutated) is not Outcome.ACCEPTED, (field, bytes(raw))
        assert not fido2_takes(mutated), (field, bytes(raw))


def test_what_is_signed_anew_after_a_change_of_client_data_is_never_taken_more_readily() -> None:
    """The browser may write anything, and the authenticator signs it: only the form protects."""
    seed = 4_711
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    sound = DEVICE.client_data(CHALLENGE)
    refused = 0
    for _ in range(600):
        raw = bytearray(sound)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        signed = DEVICE.sign(CHALLENGE, client_data_json=bytes(raw))
        if outcome_of(signed) is Outcome.ACCEPTED:
            assert fido2_takes(signed), bytes(raw)
        else:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    "forged",
    [
        '{"challenge":"%c","type":"webauthn.get","origin":"%o","crossOrigin":false}',
        '{ "type":"webauthn.get","challenge":"%c","origin":"%o","crossOrigin":false}',
        '{"type":"webauthn.get","challenge":"%c=","origin":"%o","crossOrigin":false}',
        '{"type":"webauthn.get","challenge":"%c","origin":"%o","crossOrigin":false} ',
        '{"type":"webauthn.get","challenge":"%c","origin":"%o","crossOrigin":false',
        '{"type":"webauthn.get","challenge":"%c","origin":"%o","other":1,"crossOrigin":true}',
        '{"type":"webauthn.get","challenge":"%c","origin":"%o\\u0020","crossOrigin":false}',
        '{"type":"webauthn.get","challenge":"%c","origin":"x","origin":"%o","crossOrigin":false}',
        "[]",
        "",
    ],
)
def test_client_data_in_another_form_is_refused_however_it_is_signed(forged: str) -> None:
    raw = forged.replace("%c", base64url(CHALLENGE)).replace("%o", ORIGIN).encode()
    signed = replace(DEVICE.sign(CHALLENGE, client_data_json=raw or b" "), client_data_json=raw)

    assert outcome_of(signed) in (Outcome.ASSERTION_MALFORMED, Outcome.ORIGIN_MISMATCH)


def test_nesting_of_any_depth_in_client_data_does_no_harm() -> None:
    tail = ',"crossOrigin":false,"x":' + "[" * 100_000
    signed = DEVICE.sign(CHALLENGE, tail=tail)

    assert outcome_of(signed) is Outcome.ACCEPTED  # its bound in an event is 2,048 bytes


# Arithmetic on P-256 with Python's integers: what the standard says, without any library.
Point = tuple[int, int] | None


def _sum(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % PRIME == 0:
        return None
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, PRIME) % PRIME
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, PRIME) % PRIME
    x = (slope * slope - a[0] - b[0]) % PRIME
    return x, (slope * (a[0] - x) - a[1]) % PRIME


def _times(number: int, point: Point) -> Point:
    total: Point = None
    while number:
        if number & 1:
            total = _sum(total, point)
        point, number = _sum(point, point), number >> 1
    return total


def holds(public: Point, digest: bytes, r: int, s: int) -> bool:
    """Tell whether the equation of FIPS 186-5, section 6.4.2, holds."""
    inverse = pow(s, -1, ORDER)
    found = _sum(
        _times(int.from_bytes(digest) * inverse % ORDER, BASE), _times(r * inverse % ORDER, public)
    )
    return found is not None and found[0] % ORDER == r


def assertion_by(public: tuple[int, int], r: int, s: int) -> tuple[Outcome, bool]:
    """Return the outcome for a key and signature, and what the standard's equation says."""
    made = replace(DEVICE.sign(CHALLENGE), signature=encode_dss_signature(r, s))
    signed = made.authenticator_data + hashlib.sha256(made.client_data_json).digest()
    party = replace(DEVICE.relying_party, public_key=cose_key(*public))
    digest = hashlib.sha256(signed).digest()
    try:
        verify_assertion(made, CHALLENGE, party)
    except AssertionRefused as refusal:
        return refusal.outcome, holds(public, digest, r, s)
    return Outcome.ACCEPTED, holds(public, digest, r, s)


def test_the_equation_is_that_of_the_standard_also_at_its_edges() -> None:
    """Keys and signatures for which libraries were wrong: R at infinity, r above the order."""
    made = DEVICE.sign(CHALLENGE)
    signed = made.authenticator_data + hashlib.sha256(made.client_data_json).digest()
    number = int.from_bytes(hashlib.sha256(signed).digest())
    own = DEVICE.private_key.public_key().public_numbers()
    r, s = decode_dss_signature(made.signature)
    cases: list[tuple[tuple[int, int], int, int]] = [
        ((own.x, own.y), r, s),
        ((own.x, own.y), r, ORDER - s),
        ((own.x, own.y), s, r),
        ((own.x, PRIME - own.y), r, s),
        (BASE, 1, 1),
        (BASE, ORDER - 1, ORDER - 1),
    ]
    # e·G + r·Q = 0 for Q = G and r = -e: the sum is the point at infinity.
    cases.append((BASE, -number % ORDER, 1))
    # A key made for a chosen signature: Q = (s·R - e·G) / r, which makes the equation hold.
    for nonce, chosen_s in ((2, 1), (3, ORDER - 1), (12_345, 2)):
        point = _times(nonce, BASE)
        assert point is not None
        chosen_r = point[0] % ORDER
        scaled = _sum(_times(chosen_s, point), _times(-number % ORDER, BASE))
        key = _times(pow(chosen_r, -1, ORDER), scaled)
        assert key is not None
        cases.append((key, chosen_r, chosen_s))
    verdicts = [assertion_by(*case) for case in cases]

    assert [outcome is Outcome.ACCEPTED for outcome, _ in verdicts] == [
        ours for _, ours in verdicts
    ]
    assert [ours for _, ours in verdicts].count(True) >= 5


def test_r_that_stands_for_an_x_above_the_order_is_taken() -> None:
    """x and x mod n are two numbers for one point in 2^-128 of all cases: both sides must agree."""
    x = next(x for x in range(ORDER, PRIME) if _root(x) is not None)
    y = _root(x)
    assert y is not None
    made = DEVICE.sign(CHALLENGE)
    signed = made.authenticator_data + hashlib.sha256(made.client_data_json).digest()
    number = int.from_bytes(hashlib.sha256(signed).digest())
    r = x - ORDER
    key = _times(pow(r, -1, ORDER), _sum(_times(7, (x, y)), _times(-number % ORDER, BASE)))
    assert key is not None

    assert assertion_by(key, r, 7) == (Outcome.ACCEPTED, True)


def _root(x: int) -> int | None:
    square = (x**3 - 3 * x + CURVE_B) % PRIME
    root = pow(square, (PRIME + 1) // 4, PRIME)
    return root if root * root % PRIME == square else None


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\x00",
        lambda raw: raw.replace(b"\x03\x26", b"\x03\x27"),  # another algorithm
        lambda raw: raw.replace(b"\x20\x01\x21", b"\x20\x02\x21"),  # another curve
        lambda raw: b"\xa5\x03\x26\x01\x02" + raw[5:],  # another order of its members
        lambda raw: b"\xbf" + raw[1:] + b"\xff",  # a map of indefinite length
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),  # no point of the curve
        lambda raw: cose_key(0, 0),
        lambda raw: cose_key(PRIME, _root(0) or 0),  # x is not reduced
        lambda raw: b"",
    ],
)
def test_a_key_has_one_form_and_lies_on_the_curve(change: Callable[[bytes], bytes]) -> None:
    check_cose_key(DEVICE.public_key)
    with pytest.raises(SignatureError):
        check_cose_key(change(DEVICE.public_key))


@pytest.mark.parametrize("text", ["a", "ab==", "a+b/", "ab\n", "é", "YQ==", "YR"])
def test_base64url_has_one_text_for_each_value(text: str) -> None:
    with pytest.raises(MalformedError, match="field"):
        decode_base64url(text, what="field")
    assert decode_base64url("YQ", what="field") == b"a"


def test_the_authenticator_of_these_tests_writes_json_as_a_browser_does() -> None:
    found = json.loads(DEVICE.client_data(CHALLENGE))

    assert list(found) == ["type", "challenge", "origin", "crossOrigin"]
    assert DEVICE.relying_party.rp_id == RP_ID
