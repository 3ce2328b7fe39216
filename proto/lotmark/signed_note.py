"""Signed notes of C2SP: a text, an empty line, and one line for each signature.

    This is an example message.
                                                            <- the last empty line
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YE...    <- name, base64(key id ‖ signature)

Source: C2SP signed-note. A reader here is strict where the text leaves room: base64 and hexadecimal
have one spelling, so whatever parses is formatted to the same bytes again.
"""

import hashlib
import re
from dataclasses import dataclass

from lotmark import ed25519
from lotmark.c2sp_encoding import decode_base64, encode_base64
from lotmark.ed25519 import PrivateKey, PublicKey, check_public_key
from lotmark.errors import MalformedError, SignatureError

NOTE_SIZE_MAX = 1 << 20
NOTE_SIGNATURES_MAX = 64

# Signature types: the byte before the key in a verifier key and in its id.
ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
_KINDS = (ED25519, COSIGNATURE_ED25519)

KEY_ID_SIZE = 4

_SIGNATURE_LINE_START = "\N{EM DASH} "
_CONTROL_BUT_NEWLINE = re.compile(r"[\x00-\x09\x0b-\x1f]")
# Characters with Unicode's property White_Space, and the plus sign that separates a vkey's parts.
# Written out, since Python's own answer may change with its version.
_NOT_IN_NAMES = re.compile(
    r"[+\x00-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]"
)
_KEY_ID_HEX = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who claims to have signed, and with what."""

    name: str
    key_id: bytes  # 4 bytes: tells keys of one name apart, proves nothing
    signature: bytes  # as its type defines: 64 bytes for Ed25519, 8 more for a cosignature

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.key_id) != KEY_ID_SIZE or not self.signature:
            raise MalformedError(
                f"signature by {self.name!r} needs {KEY_ID_SIZE} bytes of key id and at least one"
                f" of signature, not {len(self.key_id)} and {len(self.signature)}"
            )


@dataclass(frozen=True, slots=True)
class Note:
    """A text with signatures nobody has verified yet."""

    text: str  # ends in a newline, which is signed too
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        check_note_text(self.text)
        if not self.signatures:
            raise MalformedError("a note has at least one signature")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name and the id by which signature lines refer to it."""

    name: str
    key_id: bytes
    kind: int  # ED25519 or COSIGNATURE_ED25519
    public_key: PublicKey


def check_key_name(name: str) -> None:
    """Check that `name` can stand in a signature line: not empty, no space, no plus sign.

    Raises:
        MalformedError: It cannot.
    """
    if not name or _NOT_IN_NAMES.search(name):
        raise MalformedError(
            f"key name {name[:80]!a} is empty or has a space, a plus sign or a control"
            " character; use a name such as example.com/log"
        )


def check_note_text(text: str) -> None:
    """Check that `text` can be signed: UTF-8 that ends in a newline, its only control character.

    Raises:
        MalformedError: It cannot.
    """
    if not text.endswith("\n"):
        raise MalformedError("a note's text ends in a newline")
    if control := _CONTROL_BUT_NEWLINE.search(text):
        raise MalformedError(f"a note's text has the control character U+{ord(control[0]):04X}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("a note's text has a lone surrogate") from error


def parse_note(
    raw: bytes, *, size_max: int = NOTE_SIZE_MAX, signatures_max: int = NOTE_SIGNATURES_MAX
) -> Note:
    """Return a note as it was received; its signatures are still to be verified.

    Raises:
        MalformedError: It is too long or does not follow the format.
    """
    if len(raw) > size_max:
        raise MalformedError(f"a note has {len(raw)} bytes; at most {size_max} are allowed")
    try:
        decoded = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"a note is UTF-8: {error}") from error
    # The text may have empty lines itself; the last one ends it.
    text, separator, signed = decoded.rpartition("\n\n")
    if not separator or not signed.endswith("\n"):
        raise MalformedError("a note has an empty line, then signature lines, each with a newline")
    lines = signed[:-1].split("\n")
    if len(lines) > signatures_max:
        raise MalformedError(f"a note has {len(lines)} signatures; at most {signatures_max} count")
    return Note(text + "\n", tuple(_parse_signature_line(line) for line in lines))


def _parse_signature_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_SIGNATURE_LINE_START).partition(" ")
    if not line.startswith(_SIGNATURE_LINE_START) or not space:
        raise MalformedError(
            f"signature line {line[:80]!a} is not an em dash, a name and base64, each after"
            " one space"
        )
    raw = decode_base64(encoded, what=f"signature by {name[:80]!a}")
    return NoteSignature(name, raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])


def format_note(note: Note) -> bytes:
    """Return the bytes that `parse_note` reads as `note`."""
    lines = (
        f"{_SIGNATURE_LINE_START}{signature.name}"
        f" {encode_base64(signature.key_id + signature.signature)}\n"
        for signature in note.signatures
    )
    return f"{note.text}\n{''.join(lines)}".encode()


def key_id(name: str, kind: int, public_key: bytes) -> bytes:
    """Return the 4 bytes that tell this key from others of the same name.

    Raises:
        MalformedError: The name cannot stand in a signature line.
    """
    check_key_name(name)
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:KEY_ID_SIZE]


def verifier_key(name: str, kind: int, public_key: bytes) -> VerifierKey:
    """Return the verifier key of a public key.

    Raises:
        MalformedError: The name cannot stand in a note, or the kind is unknown.
        SignatureError: The key is none that may be registered.
    """
    if kind not in _KINDS:
        raise MalformedError(
            f"key {name[:80]!a} has signature type {kind:#04x};"
            f" known are {', '.join(f'{known:#04x}' for known in _KINDS)}"
        )
    checked = check_public_key(public_key)
    return VerifierKey(name, key_id(name, kind, checked), kind, checked)


def parse_vkey(text: str) -> VerifierKey:
    """Return the verifier key written as ``name+key id in hexadecimal+base64(type ‖ key)``.

    Raises:
        MalformedError: It does not follow the format, or the id is not that of the key.
        SignatureError: The key is none that may be registered.
    """
    parts = text.split("+", 2)  # base64 may have further plus signs
    if len(parts) != 3 or not _KEY_ID_HEX.fullmatch(parts[1]):
        raise MalformedError(
            f"verifier key {text[:80]!a} is not a name, 8 lower-case hexadecimal digits and"
            " base64, joined by plus signs"
        )
    name, id_hex, encoded = parts
    typed_key = decode_base64(encoded, what=f"verifier key of {name[:80]!a}")
    if not typed_key:
        raise MalformedError(f"verifier key of {name[:80]!a} is empty")
    key = verifier_key(name, typed_key[0], typed_key[1:])
    if key.key_id.hex() != id_hex:
        raise MalformedError(
            f"verifier key of {name} states id {id_hex}, but its name, type and key give"
            f" {key.key_id.hex()}"
        )
    return key


def format_vkey(key: VerifierKey) -> str:
    """Return the text that `parse_vkey` reads as `key`."""
    typed_key = bytes([key.kind]) + key.public_key
    return f"{key.name}+{key.key_id.hex()}+{encode_base64(typed_key)}"


def sign_note(text: str, name: str, private_key: PrivateKey) -> NoteSignature:
    """Return a signature of type 0x01 over `text`, by a key of this name.

    Raises:
        MalformedError: The text or the name cannot stand in a note.
    """
    check_note_text(text)
    signature = private_key.sign(text.encode())
    return NoteSignature(name, key_id(name, ED25519, private_key.public), signature)


def verify_note_signature(note: Note, vkey: VerifierKey) -> None:
    """Check that `vkey`, of type 0x01, signed `note`.

    Every line that names this key must hold: a note with a forged one is not to be trusted.

    Raises:
        SignatureError: The key signed nothing here, a signature of it does not hold, or it is a
            key of another type.
    """
    if vkey.kind != ED25519:
        raise SignatureError(f"{format_vkey(vkey)} is not a key of type {ED25519:#04x}")
    of_key = [
        signature
        for signature in note.signatures
        if (signature.name, signature.key_id) == (vkey.name, vkey.key_id)
    ]
    if not of_key:
        raise SignatureError(f"the note has no signature by {format_vkey(vkey)}")
    for signature in of_key:
        ed25519.verify(vkey.public_key, note.text.encode(), signature.signature)
