r"""A private key under a passphrase: Argon2id makes the key of a SecretBox that holds the seed.

Layout of the bytes between the lines of PEM: "lotmark/sealed-key/v1\n" ‖ salt bytes[16] ‖ box.
"""

import base64
import binascii
import textwrap

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProtocolError

BEGIN = b"-----BEGIN LOTMARK SEALED KEY-----\n"

_END = b"-----END LOTMARK SEALED KEY-----\n"
_DOMAIN = b"lotmark/sealed-key/v1\n"
_SALT_SIZE = nacl.pwhash.argon2id.SALTBYTES
_LINE_SIZE = 64


class WrongPassphraseError(ProtocolError):
    """The passphrase is not the one the key was sealed with, or the bytes were changed."""


def seal_key(key: PrivateKey, passphrase: bytes) -> bytes:
    """Return the text of a file that only the passphrase opens; takes a quarter of a second."""
    salt = nacl.utils.random(_SALT_SIZE)
    box = nacl.secret.SecretBox(_stretched(passphrase, salt))
    raw = _DOMAIN + salt + bytes(box.encrypt(key.seed))
    lines = textwrap.wrap(base64.b64encode(raw).decode("ascii"), _LINE_SIZE)
    return BEGIN + "".join(f"{line}\n" for line in lines).encode("ascii") + _END


def open_key(raw: bytes, passphrase: bytes) -> PrivateKey:
    """Return the key in a text that `seal_key` made.

    Raises:
        WrongPassphraseError: The passphrase does not open it.
        MalformedError: It is none, or of a version that this release does not know.
    """
    body = raw.removeprefix(BEGIN).removesuffix(_END)
    try:
        content = base64.b64decode(body.replace(b"\n", b""), validate=True)
    except binascii.Error as error:
        raise MalformedError(f"the sealed key is no base64: {error}") from error
    if not raw.startswith(BEGIN) or not content.startswith(_DOMAIN):
        raise MalformedError("it is no sealed key of a version that this release knows")
    salt_end = len(_DOMAIN) + _SALT_SIZE
    salt, sealed = content[len(_DOMAIN) : salt_end], content[salt_end:]
    if len(salt) != _SALT_SIZE:
        raise MalformedError("the sealed key is cut off")
    try:
        seed = nacl.secret.SecretBox(_stretched(passphrase, salt)).decrypt(sealed)
        return PrivateKey.from_seed(seed)
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise WrongPassphraseError("the passphrase does not open it") from error


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    return nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        passphrase,
        salt,
        opslimit=nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE,
        memlimit=nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE,
    )
