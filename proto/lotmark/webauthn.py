"""WebAuthn assertions with ES256, judged by one pinned rule.

An assertion decides what stands on record, so nothing here may depend on a library's judgement: no
JSON and no CBOR is parsed. Client data is compared with the bytes that W3C WebAuthn, section
5.8.1.1, makes every browser write; the key has one form, the signature one DER encoding for each
(r, s). What is left to `cryptography` is the ECDSA equation on P-256, which has one answer.

Both values of s are taken: authenticators do not choose the lower one, and an assertion in two
forms says the same thing twice. The decisions behind this: docs/decisions/0018.
"""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from lotmark.errors import MalformedError, ProtocolError, SignatureError
from lotmark.outcome import Outcome

COSE_KEY_SIZE = 77
AUTHENTICATOR_DATA_SIZE = 37
_SHOWN_MAX = 255  # characters of an origin that a message repeats

# P-256: the field's prime, the curve's second coefficient, the group's order.
_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
_COEFFICIENT = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# {1: 2, 3: -7, -1: 1, -2: x, -3: y} in the canonical CBOR of CTAP2.
_COSE_KEY = re.compile(rb"(?s)\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20(.{32})\x22\x58\x20(.{32})")

# What follows `crossOrigin` is open to later versions of browsers and is not looked at.
_CLIENT_DATA = re.compile(
    rb'(?s)\{"type":"webauthn\.get","challenge":"([A-Za-z0-9_-]{1,86})","origin":"([!#-\[\]-~]+)"'
    rb'(?:,"crossOrigin":(true|false)(?:,.*)?)?\}'
)
_USER_PRESENT = 0x01
_USER_VERIFIED = 0x04
_BACKUP_ELIGIBLE = 0x08
_ATTESTED_DATA, _EXTENSION_DATA = 0x40, 0x80


class AssertionRefused(ProtocolError):
    """An assertion does not hold; `outcome` is what goes on record."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(f"{outcome.name}: {detail}")
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What an authenticator and its browser give back, as received."""

    authenticator_data: bytes
    client_data_json: bytes
    signature: bytes

    @property
    def counter(self) -> int:
        """How often the authenticator says it has signed; 0: it does not count."""
        return int.from_bytes(self.authenticator_data[33:37])

    @property
    def may_be_copied(self) -> bool:
        """Tell whether the credential is one that is synchronised between devices."""
        return bool(self.authenticator_data[32] & _BACKUP_ELIGIBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyingParty:
    """For whom and with what an operator signs: what an assertion is held against."""

    rp_id: str
    origin: str
    public_key: bytes  # COSE key of ES256


def check_cose_key(raw: bytes) -> None:
    """Check that bytes are the one form of a COSE key of ES256, and its point is on the curve.

    Raises:
        SignatureError: They are not.
    """
    _public_key(raw)


def _public_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    match = _COSE_KEY.fullmatch(raw)
    if match is None:
        raise SignatureError(
            f"{len(raw)} bytes are no COSE key of ES256 in its canonical form of {COSE_KEY_SIZE}"
            " bytes; make the credential with alg -7"
        )
    x, y = (int.from_bytes(match[part]) for part in (1, 2))
    # Not left to the library, which takes coordinates that are not reduced.
    on_curve = (y * y - x * x * x + 3 * x - _COEFFICIENT) % _PRIME == 0
    if x >= _PRIME or y >= _PRIME or not on_curve:
        raise SignatureError(f"({x:064x}, {y:064x}) is no point of the curve P-256")
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def verify_assertion(assertion: Assertion, challenge: bytes, relying_party: RelyingParty) -> None:
    """Check that the holder of a key, present and verified, signed a challenge.

    Args:
        assertion: What the authenticator gave.
        challenge: What it had to sign, 32 bytes.
        relying_party: The key, and the page on which it was to sign.

    Raises:
        AssertionRefused: The first thing that does not hold, in the order of docs/protocol.md.
    """
    _check_client_data(assertion.client_data_json, challenge, relying_party.origin)
    _check_authenticator_data(assertion.authenticator_data, relying_party.rp_id)
    _check_der(assertion.signature)
    signed = assertion.authenticator_data + hashlib.sha256(assertion.client_data_json).digest()
    try:
        key = _public_key(relying_party.public_key)
        key.verify(assertion.signature, signed, ec.ECDSA(SHA256()))
    except (InvalidSignature, SignatureError) as error:
        raise AssertionRefused(
            Outcome.ASSERTION_SIGNATURE_INVALID, "the signature is not by the credential's key"
        ) from error


def signed_challenge(client_data_json: bytes) -> bytes:
    """Return the challenge that client data name; whether it was signed is not known by that.

    Raises:
        AssertionRefused: They have another form than a browser's.
    """
    found = _read_client_data(client_data_json)
    try:
        return decode_base64url(found.challenge, what="challenge")
    except MalformedError as error:
        raise AssertionRefused(Outcome.ASSERTION_MALFORMED, str(error)) from error


class _ClientData(NamedTuple):
    challenge: str  # base64url
    origin: str
    is_framed: bool  # the page was in a frame of another origin's


def _read_client_data(raw: bytes) -> _ClientData:
    match = _CLIENT_DATA.fullmatch(raw)
    if match is None:
        raise AssertionRefused(
            Outcome.ASSERTION_MALFORMED,
            f"client data {raw[:60]!a} does not begin as a browser writes it for webauthn.get:"
            " type, challenge, origin, crossOrigin",
        )
    challenge, origin, cross_origin = match.groups()
    return _ClientData(challenge.decode(), origin.decode(), cross_origin == b"true")


def _check_client_data(raw: bytes, challenge: bytes, origin: str) -> None:
    found = _read_client_data(raw)
    expected = base64url(challenge)
    if found.challenge != expected:
        raise AssertionRefused(
            Outcome.CHALLENGE_MISMATCH,
            f"challenge {found.challenge} was signed, where {expected} belongs",
        )
    if found.origin != origin or found.is_framed:
        framed = " in a frame of another page" if found.is_framed else ""
        raise AssertionRefused(
            Outcome.ORIGIN_MISMATCH,
            f"signed at {found.origin[:_SHOWN_MAX]}{framed}, registered for {origin}",
        )


def _check_authenticator_data(raw: bytes, rp_id: str) -> None:
    if len(raw) != AUTHENTICATOR_DATA_SIZE or raw[32] & (_ATTESTED_DATA | _EXTENSION_DATA):
        raise AssertionRefused(
            Outcome.ASSERTION_MALFORMED,
            f"authenticator data of {len(raw)} bytes; an assertion without extensions has"
            f" {AUTHENTICATOR_DATA_SIZE}, so ask for none",
        )
    if raw[:32] != hashlib.sha256(rp_id.encode("ascii")).digest():
        raise AssertionRefused(
            Outcome.ORIGIN_MISMATCH, f"signed for another relying party than {rp_id}"
        )
    flags = raw[32]
    for flag, what in ((_USER_PRESENT, "present"), (_USER_VERIFIED, "verified")):
        if not flags & flag:
            raise AssertionRefused(
                Outcome.USER_NOT_VERIFIED,
                f"flags {flags:#04x}: the authenticator does not say that the user was {what}",
            )


def _check_der(raw: bytes) -> None:
    """Check that a signature is the DER encoding of r and s, both from 1 to the order less 1."""
    r_size = raw[3] if len(raw) > 3 else 0
    numbers = int.from_bytes(raw[4 : 4 + r_size]), int.from_bytes(raw[6 + r_size :])
    if not all(1 <= number < _ORDER for number in numbers) or raw != _der(*numbers):
        raise AssertionRefused(
            Outcome.ASSERTION_MALFORMED, f"{len(raw)} bytes are no DER signature of ES256"
        )


def _der(*numbers: int) -> bytes:
    """Return the DER encoding of a sequence of two positive integers below 2^256."""
    encoded = [number.to_bytes(number.bit_length() // 8 + 1) for number in numbers]
    body = b"".join(b"\x02" + bytes([len(each)]) + each for each in encoded)
    return b"\x30" + bytes([len(body)]) + body


def base64url(raw: bytes) -> str:
    """Return `raw` in the URL-safe alphabet of RFC 4648, section 5, without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_base64url(text: str, *, what: str) -> bytes:
    """Return the bytes whose encoding by `base64url` is exactly `text`.

    Raises:
        MalformedError: There are none; the message calls the field `what`.
    """
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError as error:
        raise MalformedError(f"{what} {text[:60]!a} is not base64url: {error}") from error
    if base64url(raw) != text:
        raise MalformedError(f"{what} {text[:60]!a} is not the one base64url text of its bytes")
    return raw
