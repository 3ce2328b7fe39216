"""What a browser gives back of an authenticator, as JSON: credentials made, assertions signed.

The form is that of `PublicKeyCredential.toJSON()`: members in base64url. Of an assertion only what
the ledger keeps is read. The user handle is not: it may name a person.
"""

import json
from dataclasses import dataclass
from typing import Any

from lotmark.errors import MalformedError
from lotmark.webauthn import COSE_KEY_SIZE, Assertion, check_cose_key, decode_base64url

FILE_SIZE_MAX = 64 << 10

_ATTESTED_AT = 37  # in authenticator data: what stands before the attested credential
_AAGUID_SIZE = 16
_ATTESTED_DATA = 0x40


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential that `navigator.credentials.create` made."""

    credential_id: bytes
    public_key: bytes  # COSE key of ES256


@dataclass(frozen=True, slots=True)
class SignedAssertion:
    """An assertion of `navigator.credentials.get`, and whose it is."""

    credential_id: bytes
    assertion: Assertion


def read_new_credential(raw: bytes, *, name: str) -> NewCredential:
    """Return the credential in a file.

    Args:
        raw: The file's bytes.
        name: What a message calls it.

    Raises:
        ProtocolError: It holds none, or one of another algorithm than ES256.
    """
    credential_id, response = _read(raw, name)
    data = _bytes(response, "authenticatorData", name)
    start = _ATTESTED_AT + _AAGUID_SIZE + 2
    if len(data) < start or not data[32] & _ATTESTED_DATA:
        raise MalformedError(
            f"{name}: its authenticatorData hold no new credential; save what"
            " navigator.credentials.create gives, not what credentials.get does"
        )
    id_end = start + int.from_bytes(data[start - 2 : start])
    if data[start:id_end] != credential_id:
        raise MalformedError(f"{name}: rawId is another than the one in authenticatorData")
    public_key = data[id_end : id_end + COSE_KEY_SIZE]
    check_cose_key(public_key)
    return NewCredential(credential_id, public_key)


def read_assertion(raw: bytes, *, name: str) -> SignedAssertion:
    """Return the assertion in a file, unchecked; the arguments are those of `read_new_credential`.

    Raises:
        MalformedError: It holds none.
    """
    credential_id, response = _read(raw, name)
    assertion = Assertion(
        authenticator_data=_bytes(response, "authenticatorData", name),
        client_data_json=_bytes(response, "clientDataJSON", name),
        signature=_bytes(response, "signature", name),
    )
    return SignedAssertion(credential_id, assertion)


def _read(raw: bytes, name: str) -> tuple[bytes, dict[str, Any]]:
    """Return the credential id and the response of a file."""
    if len(raw) > FILE_SIZE_MAX:
        raise MalformedError(f"{name} has over {FILE_SIZE_MAX} bytes, so it is no credential")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{name} is no JSON: {error}") from error
    response = value.get("response") if isinstance(value, dict) else None
    if not isinstance(response, dict):
        raise MalformedError(
            f"{name} has no member response; save credential.toJSON() as the browser gives it"
        )
    return _bytes(value, "rawId", name), response


def _bytes(table: dict[str, Any], member: str, name: str) -> bytes:
    text = table.get(member)
    if not isinstance(text, str):
        raise MalformedError(
            f"{name} has no text {member}; save credential.toJSON() as the browser gives it"
        )
    return decode_base64url(text, what=f"{name}: {member}")
