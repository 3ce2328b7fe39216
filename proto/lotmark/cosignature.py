"""Cosignatures of C2SP: a witness says when it saw a log consistent up to a checkpoint.

The signed message is the checkpoint's text after two lines of its own:

    cosignature/v1
    time 1679315147
    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

Source: C2SP tlog-cosignature, type 0x04. Type 0x06 (ML-DSA-44) is reserved and refused.
"""

from lotmark import ed25519
from lotmark.checkpoint import parse_checkpoint
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, SignatureError
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    NoteSignature,
    VerifierKey,
    format_vkey,
    key_id,
)

TIME_S_MAX = 2**63 - 1

_TIME_SIZE = 8
_SIGNATURE_SIZE = _TIME_SIZE + ed25519.SIGNATURE_SIZE


def cosign(
    checkpoint_text: str, *, name: str, private_key: PrivateKey, time_s: int
) -> NoteSignature:
    """Return a cosignature of a checkpoint.

    The caller has verified that the checkpoint is consistent with all it cosigned before.

    Args:
        checkpoint_text: The note text, as its log signed it.
        name: The witness's key name.
        private_key: A key used for nothing else, as the message does not hold the witness's name.
        time_s: Unix time of the witness's clock.

    Raises:
        MalformedError: The text is no checkpoint, or the name or the time is not possible.
    """
    parse_checkpoint(checkpoint_text)
    if not 0 <= time_s <= TIME_S_MAX:
        raise MalformedError(f"cosignature time {time_s} s is not in 0..{TIME_S_MAX}")
    signature = private_key.sign(_message(checkpoint_text, time_s))
    return NoteSignature(
        name,
        key_id(name, COSIGNATURE_ED25519, private_key.public),
        time_s.to_bytes(_TIME_SIZE, "big") + signature,
    )


def verify_cosignature(note_text: str, signature: NoteSignature, vkey: VerifierKey) -> int:
    """Check that `vkey`, of type 0x04, cosigned the checkpoint `note_text`.

    Returns:
        When, in seconds of Unix time by the witness's clock.

    Raises:
        SignatureError: It did not, or the key is of another type.
    """
    if vkey.kind != COSIGNATURE_ED25519:
        raise SignatureError(f"{format_vkey(vkey)} is not a key of type {COSIGNATURE_ED25519:#04x}")
    if (signature.name, signature.key_id) != (vkey.name, vkey.key_id):
        raise SignatureError(
            f"the cosignature is by {signature.name}+{signature.key_id.hex()},"
            f" not by {format_vkey(vkey)}"
        )
    if len(signature.signature) != _SIGNATURE_SIZE:
        raise SignatureError(
            f"the cosignature by {vkey.name} has {len(signature.signature)} bytes,"
            f" not {_SIGNATURE_SIZE}"
        )
    time_s = int.from_bytes(signature.signature[:_TIME_SIZE], "big")
    if time_s > TIME_S_MAX:
        raise SignatureError(
            f"the cosignature by {vkey.name} states time {time_s} s, over 2^63 - 1"
        )
    try:
        ed25519.verify(
            vkey.public_key, _message(note_text, time_s), signature.signature[_TIME_SIZE:]
        )
    except SignatureError as error:
        raise SignatureError(
            f"the cosignature by {vkey.name} at time {time_s} s does not hold"
        ) from error
    return time_s


def _message(note_text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{note_text}".encode()
