"""Ed25519 signatures of RFC 8032, by the rules of libsodium everywhere.

RFC 8032 leaves open how odd points are treated, and libraries differ: one node would accept what
another refuses. The rules here are libsodium's, checked by the same code on every node:

- the verification equation without cofactor, [S]B = R + [k]A;
- S below the group order (so a signature cannot be changed into a second valid one);
- R and the public key canonically encoded, and neither of small order.

A key is checked once, more strictly, when it is registered (`check_public_key`).
"""

import os
from typing import NewType

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError

from lotmark.errors import MalformedError, SignatureError

PUBLIC_KEY_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64

PublicKey = NewType("PublicKey", bytes)


def check_public_key(raw: bytes) -> PublicKey:
    """Return `raw` as a key that may be registered.

    Refuses what is no point of the curve, what is not canonically encoded, and what lies outside
    the main subgroup: such a key could make one signature hold for many messages, or hold only
    for some verifiers.

    Raises:
        SignatureError: It is not such a key.
    """
    if len(raw) != PUBLIC_KEY_SIZE:
        raise SignatureError(
            f"public key {raw[:PUBLIC_KEY_SIZE].hex()} has {len(raw)} bytes, not {PUBLIC_KEY_SIZE}"
        )
    # Older releases of libsodium pass points of twice the prime order here (CVE-2025-69277); a
    # test holds the one in use to refusing all that lie outside the main subgroup.
    if not crypto_core_ed25519_is_valid_point(raw):
        raise SignatureError(
            f"public key {raw.hex()} is not a canonical point of the curve's main subgroup;"
            " generate another key"
        )
    return PublicKey(raw)


def verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature.

    Raises:
        SignatureError: It does not hold, or it or the key has the wrong size.
    """
    if len(signature) != SIGNATURE_SIZE:
        raise SignatureError(f"a signature has {SIGNATURE_SIZE} bytes, this one {len(signature)}")
    # crypto_sign_open reads 32 bytes wherever the key ends.
    if len(public_key) != PUBLIC_KEY_SIZE:
        raise SignatureError(
            f"a public key has {PUBLIC_KEY_SIZE} bytes, this one {len(public_key)}"
        )
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError as error:
        raise SignatureError(
            f"the signature over {len(message)} bytes does not hold under key {public_key.hex()}"
        ) from error


class PrivateKey:
    """A key that signs. It shows its public half only, also in messages and traces."""

    __slots__ = ("_secret", "public", "seed")

    public: PublicKey
    seed: bytes

    def __init__(self, seed: bytes) -> None:
        """Derive the key of a 32-byte seed.

        Raises:
            MalformedError: The seed has another size.
        """
        if len(seed) != SEED_SIZE:
            raise MalformedError(f"a key's seed has {SEED_SIZE} bytes, this one {len(seed)}")
        public, self._secret = crypto_sign_seed_keypair(seed)
        self.public = PublicKey(public)
        self.seed = seed

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Return a new key from the system's randomness."""
        return cls(os.urandom(SEED_SIZE))

    @classmethod
    def from_seed(cls, seed: bytes) -> "PrivateKey":
        """Return the key of a 32-byte seed, as it was stored.

        Raises:
            MalformedError: The seed has another size.
        """
        return cls(seed)

    def __repr__(self) -> str:
        return f"PrivateKey(public={self.public.hex()})"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`: the same for the same message."""
        return crypto_sign(message, self._secret)[:SIGNATURE_SIZE]
