"""What an operator's credential may sign, and the statements by which its party says so.

An operator is a person at a station, on the ledger only as a credential id. Whose it is, his party
knows. A grant is signed by the party's roots, and by the credential itself, which proves that
somebody has it and that its page, device and user verification work.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum

from lotmark.errors import MalformedError
from lotmark.event_rules import CREDENTIAL_ID_SIZE_MAX, CREDENTIAL_ID_SIZE_MIN
from lotmark.key_grant import BINDING_SIZE, check_party, check_time_ms
from lotmark.text import check_identifier
from lotmark.v1 import operators_pb2
from lotmark.webauthn import Assertion, RelyingParty, check_cose_key, verify_assertion

ROLE_SIZE_MAX = 64
RP_ID_SIZE_MAX = 253
LOCAL_RP_ID = "localhost"  # the one whose pages need no TLS

_GRANT_DOMAIN = b"lotmark/operator-reg/v1\n"
_REVOCATION_DOMAIN = b"lotmark/operator-revoke/v1\n"
_CHALLENGE_DOMAIN = b"lotmark/operator/v1\n"

_RP_ID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]{1,253})(:[1-9][0-9]{0,4})?")

OPERATOR_BODIES = ("operator_registration", "operator_revocation")  # that change who may sign


class OperatorMeaning(IntEnum):
    """What an operator's signature means; the numbers are those of the challenge and the wire."""

    AUTHOR = 1
    REVIEW = 2
    APPROVE = 3
    RELEASE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorGrant:
    """What a credential is allowed to do."""

    party: str
    credential_id: bytes
    relying_party: RelyingParty
    role: str  # the party's word for what the operator does
    meanings: tuple[OperatorMeaning, ...]  # ascending
    not_before_ms: int
    not_after_ms: int  # the first moment at which it is no longer valid


def check_grant(grant: OperatorGrant) -> None:
    """Check what can be known of a grant without any ledger.

    Raises:
        SignatureError: The key is no ES256 key in its one form.
        MalformedError: Something else is not as it must be.
    """
    check_party(grant.party)
    check_credential_id(grant.credential_id)
    check_cose_key(grant.relying_party.public_key)
    _check_relying_party(grant.relying_party)
    check_identifier(grant.role, what="role", size_max=ROLE_SIZE_MAX)
    meanings = list(grant.meanings)
    if not meanings or meanings != sorted(set(meanings)):
        raise MalformedError(
            f"meanings {[int(each) for each in meanings]} must be one at least and ascend"
        )
    check_time_ms(grant.not_before_ms, what="not_before_ms")
    check_time_ms(grant.not_after_ms, what="not_after_ms")
    if grant.not_before_ms >= grant.not_after_ms:
        raise MalformedError(
            f"not_after_ms {grant.not_after_ms} is not after not_before_ms {grant.not_before_ms};"
            " the credential would never be valid"
        )


def check_credential_id(credential_id: bytes) -> None:
    """Check the size of a credential id.

    Raises:
        MalformedError: It is too short or too long.
    """
    if not CREDENTIAL_ID_SIZE_MIN <= len(credential_id) <= CREDENTIAL_ID_SIZE_MAX:
        raise MalformedError(
            f"credential id has {len(credential_id)} bytes; {CREDENTIAL_ID_SIZE_MIN} to"
            f" {CREDENTIAL_ID_SIZE_MAX} are allowed"
        )


def _check_relying_party(relying_party: RelyingParty) -> None:
    rp_id, origin = relying_party.rp_id, relying_party.origin
    if len(rp_id) > RP_ID_SIZE_MAX or not _RP_ID.fullmatch(rp_id):
        raise MalformedError(
            f"relying party id {rp_id[:60]!a} is no domain of up to {RP_ID_SIZE_MAX} of a-z, 0-9,"
            " - and ."
        )
    match = _ORIGIN.fullmatch(origin)
    secure = match is not None and (match[1] == "https" or match[2] == rp_id == LOCAL_RP_ID)
    if match is None or not secure or not f".{match[2]}".endswith(f".{rp_id}"):
        raise MalformedError(
            f"origin {origin[:80]!a} is no https:// page of {rp_id}; write"
            f" https://{rp_id} or a subdomain of it, with a port where it has one"
        )


def statement(grant: OperatorGrant, chain_id: bytes) -> bytes:
    """Return the bytes that the party's roots sign, and whose SHA-256 the credential signs.

    Args:
        grant: A grant that `check_grant` let pass.
        chain_id: The chain id.
    """
    assert len(chain_id) == BINDING_SIZE, f"a chain id has {BINDING_SIZE} bytes"
    return b"".join(
        (
            _GRANT_DOMAIN,
            chain_id,
            grant.not_before_ms.to_bytes(8),
            grant.not_after_ms.to_bytes(8),
            grant.relying_party.public_key,
            len(grant.credential_id).to_bytes(2),
            grant.credential_id,
            _str8(grant.party),
            _str8(grant.role),
            _str8(grant.relying_party.rp_id),
            len(grant.relying_party.origin).to_bytes(2),
            grant.relying_party.origin.encode("ascii"),
            len(grant.meanings).to_bytes(1),
            bytes(grant.meanings),
        )
    )


def possession_challenge(grant: OperatorGrant, chain_id: bytes) -> bytes:
    """Return what a credential signs to be registered."""
    return hashlib.sha256(statement(grant, chain_id)).digest()


def verify_possession(grant: OperatorGrant, chain_id: bytes, assertion: Assertion) -> None:
    """Check that the credential itself has signed its grant.

    Raises:
        AssertionRefused: It has not.
    """
    verify_assertion(assertion, possession_challenge(grant, chain_id), grant.relying_party)


def signature_challenge(chain_id: bytes, meaning: OperatorMeaning, event_id: bytes) -> bytes:
    """Return what an operator's authenticator signs to sign an event."""
    assert len(chain_id) == BINDING_SIZE, f"a chain id has {BINDING_SIZE} bytes"
    assert len(event_id) == BINDING_SIZE, f"an event id has {BINDING_SIZE} bytes"
    signed = _CHALLENGE_DOMAIN + chain_id + meaning.to_bytes(1) + event_id
    return hashlib.sha256(signed).digest()


def revocation_statement(
    *, chain_id: bytes, credential_id: bytes, compromised_since_ms: int, party: str
) -> bytes:
    """Return the bytes that a party's roots sign to take a credential out of force.

    Raises:
        MalformedError: The credential id or the party is no such thing, or the time does not fit.
    """
    assert len(chain_id) == BINDING_SIZE, f"a chain id has {BINDING_SIZE} bytes"
    check_credential_id(credential_id)
    check_party(party)
    if not 0 <= compromised_since_ms < 1 << 64:
        raise MalformedError(f"compromised_since_ms {compromised_since_ms} is outside a u64")
    return b"".join(
        (
            _REVOCATION_DOMAIN,
            chain_id,
            compromised_since_ms.to_bytes(8),
            len(credential_id).to_bytes(2),
            credential_id,
            _str8(party),
        )
    )


def _str8(value: str) -> bytes:
    raw = value.encode("ascii")
    return len(raw).to_bytes(1) + raw


def grant_from_message(message: operators_pb2.OperatorGrant) -> OperatorGrant:
    """Return the checked grant that a message holds.

    Raises:
        ProtocolError: It holds none that `check_grant` lets pass.
    """
    try:
        meanings = tuple(OperatorMeaning(number) for number in message.meanings)
    except ValueError as error:
        raise MalformedError(f"meanings {list(message.meanings)[:8]} are not all 1 to 4") from error
    grant = OperatorGrant(
        party=message.party,
        credential_id=message.credential_id,
        relying_party=RelyingParty(
            rp_id=message.rp_id, origin=message.origin, public_key=message.public_key
        ),
        role=message.role,
        meanings=meanings,
        not_before_ms=message.not_before_ms,
        not_after_ms=message.not_after_ms,
    )
    check_grant(grant)
    return grant


def grant_to_message(grant: OperatorGrant) -> operators_pb2.OperatorGrant:
    """Return the message that `grant_from_message` reads back."""
    return operators_pb2.OperatorGrant(
        party=grant.party,
        credential_id=grant.credential_id,
        public_key=grant.relying_party.public_key,
        rp_id=grant.relying_party.rp_id,
        origin=grant.relying_party.origin,
        role=grant.role,
        meanings=[operators_pb2.OperatorMeaning.ValueType(each) for each in grant.meanings],
        not_before_ms=grant.not_before_ms,
        not_after_ms=grant.not_after_ms,
    )


def assertion_from_message(message: operators_pb2.WebauthnAssertion) -> Assertion:
    """Return the assertion that a message holds, unchecked."""
    return Assertion(
        authenticator_data=message.authenticator_data,
        client_data_json=message.client_data_json,
        signature=message.signature,
    )


def assertion_to_message(assertion: Assertion) -> operators_pb2.WebauthnAssertion:
    """Return the message that `assertion_from_message` reads back."""
    return operators_pb2.WebauthnAssertion(
        authenticator_data=assertion.authenticator_data,
        client_data_json=assertion.client_data_json,
        signature=assertion.signature,
    )
