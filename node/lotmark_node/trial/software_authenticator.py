"""An authenticator and its browser in software: makes credentials and signs challenges with them.

Everything follows from a seed. It can be told to do what an honest one never would.
"""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from lotmark.webauthn import Assertion, RelyingParty, base64url

PRESENT, VERIFIED, BACKUP_ELIGIBLE, ATTESTED, EXTENDED = 0x01, 0x04, 0x08, 0x40, 0x80
RP_ID = "quality.example"
ORIGIN = "https://sign.quality.example"
MADE_AAGUID = bytes(16)


def cose_key(x: int, y: int) -> bytes:
    """Return the canonical COSE key of ES256 for a point."""
    return (
        bytes.fromhex("a501020326200121 5820") + x.to_bytes(32) + b"\x22\x58\x20" + y.to_bytes(32)
    )


@dataclass(slots=True)
class Authenticator:
    """One credential on one device."""

    seed: str
    rp_id: str = RP_ID
    origin: str = ORIGIN
    counter: int = 0

    @property
    def credential_id(self) -> bytes:
        """Names the credential."""
        return hashlib.sha256(f"{self.seed} credential".encode()).digest()[:20]

    @property
    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """Signs challenges; no real authenticator gives it out."""
        number = int.from_bytes(hashlib.sha256(self.seed.encode()).digest())
        return ec.derive_private_key(number, ec.SECP256R1())

    @property
    def public_key(self) -> bytes:
        """What a registration gives away, a COSE key."""
        numbers = self.private_key.public_key().public_numbers()
        return cose_key(numbers.x, numbers.y)

    @property
    def relying_party(self) -> RelyingParty:
        """Who may ask it to sign."""
        return RelyingParty(rp_id=self.rp_id, origin=self.origin, public_key=self.public_key)

    def sign(
        self,
        challenge: bytes,
        *,
        flags: int = PRESENT | VERIFIED,
        rp_id: str | None = None,
        client_data_json: bytes | None = None,
        authenticator_data: bytes | None = None,
        **client_data: str,
    ) -> Assertion:
        """Return what navigator.credentials.get gives back.

        Args:
            challenge: What to sign.
            flags: Of the authenticator data.
            rp_id: Another relying party than the credential's.
            client_data_json: Other client data than a browser makes.
            authenticator_data: Other authenticator data than it makes.
            **client_data: What `client_data` takes.
        """
        hashed = hashlib.sha256((rp_id or self.rp_id).encode()).digest()
        data = authenticator_data or hashed + bytes([flags]) + self.counter.to_bytes(4)
        client = client_data_json or self.client_data(challenge, **client_data)
        signed = data + hashlib.sha256(client).digest()
        signature = self.private_key.sign(signed, ec.ECDSA(SHA256(), deterministic_signing=True))
        return Assertion(authenticator_data=data, client_data_json=client, signature=signature)

    def client_data(
        self,
        challenge: bytes,
        *,
        type_: str = "webauthn.get",
        origin: str | None = None,
        tail: str = ',"crossOrigin":false',
    ) -> bytes:
        """Return what a browser makes the authenticator sign."""
        return (
            f'{{"type":"{type_}","challenge":"{base64url(challenge)}",'
            f'"origin":"{origin or self.origin}"{tail}}}'
        ).encode()

    def assertion_json(self, assertion: Assertion) -> dict[str, object]:
        """Return an assertion as PublicKeyCredential.toJSON gives it."""
        return {
            "id": base64url(self.credential_id),
            "rawId": base64url(self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {
                "authenticatorData": base64url(assertion.authenticator_data),
                "clientDataJSON": base64url(assertion.client_data_json),
                "signature": base64url(assertion.signature),
                "userHandle": base64url(b"never on the ledger"),
            },
        }

    def creation_json(self) -> dict[str, object]:
        """Return a new credential as PublicKeyCredential.toJSON gives it."""
        attested = MADE_AAGUID + len(self.credential_id).to_bytes(2) + self.credential_id
        flags = bytes([PRESENT | VERIFIED | ATTESTED])
        data = hashlib.sha256(self.rp_id.encode()).digest() + flags + bytes(4)
        return {
            "id": base64url(self.credential_id),
            "rawId": base64url(self.credential_id),
            "type": "public-key",
            "response": {
                "authenticatorData": base64url(data + attested + self.public_key),
                "publicKeyAlgorithm": -7,
            },
        }
