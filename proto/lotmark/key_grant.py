"""What a key may do, and the statements by which its party says so.

A grant is signed twice: by the new key, which proves that its holder has it, and by the party's
roots. Both signatures cover one statement, which names the chain (in the genesis: its nonce), so
that neither can be carried to another consortium. A key has one party and one purpose for ever.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from lotmark.ed25519 import PUBLIC_KEY_SIZE, check_public_key, verify
from lotmark.errors import MalformedError, SignatureError
from lotmark.text import check_identifier
from lotmark.v1 import governance_pb2

NO_KEY = bytes(PUBLIC_KEY_SIZE)  # in `replaces`: the key takes no other key's place

TIME_MIN_MS = 946_684_800_000  # 2000-01-01
TIME_MAX_MS = 4_102_444_800_000  # 2100-01-01
EVENT_TYPE_MIN = 16
EVENT_TYPE_MAX = 79  # a grant may name types that a later version defines
EVENT_TYPES_MAX = 64
HOLDER_SIZE_MAX = 64
BINDING_SIZE = 32
ROOTS_MAX = 255  # the state keeps their number in a byte
NEVER = 2**64 - 1  # height from which a key is revoked that is not
ROTATION_OVERLAP_MS = 30 * 24 * 60 * 60 * 1000  # a key that has a successor is accepted so long
PARTY_PATTERN = r"[A-Z0-9][A-Z0-9-]{0,30}"

_GRANT_DOMAIN = b"lotmark/key-reg/v1\n"
_REVOCATION_DOMAIN = b"lotmark/key-revoke/v1\n"
_LANE_CLOSURE_DOMAIN = b"lotmark/lane-close/v1\n"
_ROOT_ROTATION_DOMAIN = b"lotmark/root-rotate/v1\n"

_PARTY = re.compile(PARTY_PATTERN)
_NODE = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


class KeyPurpose(IntEnum):
    """What a key signs; the numbers are those of the statement and of the wire."""

    BATCH = 1
    PROPOSAL = 2
    LOG = 3
    COSIGN = 4
    ADMIT = 5
    ROOT = 6


NODE_PURPOSES = (KeyPurpose.PROPOSAL, KeyPurpose.LOG, KeyPurpose.COSIGN, KeyPurpose.ADMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGrant:
    """What a key is allowed to do."""

    key: bytes
    party: str
    purpose: KeyPurpose
    holder: str  # the node or device that has the private half
    not_before_ms: int
    not_after_ms: int  # the first moment at which it is no longer valid
    event_types: tuple[int, ...] = ()  # of a batch key, ascending; empty: every type
    replaces: bytes = NO_KEY


def check_party(party: str) -> None:
    """Check a party's id: 1 to 31 of A-Z, 0-9 and, not first, a hyphen.

    Raises:
        MalformedError: It is not one.
    """
    if not _PARTY.fullmatch(party):
        raise MalformedError(
            f"party {party[:40]!a} is not a party's id; use 1 to 31 of A-Z, 0-9 and, not"
            " first, a hyphen"
        )


def check_node(node: str) -> None:
    """Check a node's name: 1 to 31 of a-z, 0-9 and, not first, a hyphen.

    Raises:
        MalformedError: It is not one.
    """
    if not _NODE.fullmatch(node):
        raise MalformedError(
            f"node {node[:40]!a} is not a node's name; use 1 to 31 of a-z, 0-9 and, not"
            " first, a hyphen"
        )


def check_time_ms(time_ms: int, *, what: str) -> None:
    """Check that a time lies in the years 2000 to 2099 (its end included).

    Raises:
        MalformedError: It does not; most often it was given in seconds.
    """
    if not TIME_MIN_MS <= time_ms <= TIME_MAX_MS:
        raise MalformedError(
            f"{what} is {time_ms}, outside {TIME_MIN_MS} to {TIME_MAX_MS}"
            " (the years 2000 to 2099); give Unix time in milliseconds"
        )


def check_grant(grant: KeyGrant) -> None:
    """Check what can be known of a grant without any ledger.

    Raises:
        SignatureError: The key is not one that may be registered.
        MalformedError: An id, a time, the event types or the replaced key are not as they must be.
    """
    check_public_key(grant.key)
    check_party(grant.party)
    if grant.purpose in NODE_PURPOSES:
        check_node(grant.holder)
    else:
        check_identifier(grant.holder, what="holder", size_max=HOLDER_SIZE_MAX)
    check_time_ms(grant.not_before_ms, what="not_before_ms")
    check_time_ms(grant.not_after_ms, what="not_after_ms")
    if grant.not_before_ms >= grant.not_after_ms:
        raise MalformedError(
            f"not_after_ms {grant.not_after_ms} is not after not_before_ms {grant.not_before_ms};"
            " the key would never be valid"
        )
    _check_event_types(grant)
    if len(grant.replaces) != PUBLIC_KEY_SIZE:
        raise MalformedError(
            f"the replaced key has {len(grant.replaces)} bytes, not {PUBLIC_KEY_SIZE}"
        )
    if grant.replaces == grant.key:
        raise MalformedError(f"key {grant.key.hex()} cannot replace itself; name the older key")


def _check_event_types(grant: KeyGrant) -> None:
    types = grant.event_types
    if types and grant.purpose is not KeyPurpose.BATCH:
        raise MalformedError(
            f"a {grant.purpose.name.lower()} key signs no events, so its event types must be"
            f" empty, not {list(types[:5])}"
        )
    if len(types) > EVENT_TYPES_MAX:
        raise MalformedError(f"{len(types)} event types are given; at most {EVENT_TYPES_MAX} fit")
    for event_type in types:
        if not EVENT_TYPE_MIN <= event_type <= EVENT_TYPE_MAX:
            raise MalformedError(
                f"event type {event_type} is outside {EVENT_TYPE_MIN} to {EVENT_TYPE_MAX}"
            )
    if list(types) != sorted(set(types)):
        raise MalformedError(f"event types {list(types)} must ascend without repeats")


def statement(grant: KeyGrant, binding: bytes) -> bytes:
    """Return the bytes that the new key and its party's roots sign.

    Args:
        grant: A grant that `check_grant` let pass.
        binding: The chain id; for a key in the genesis the genesis nonce. 32 bytes.
    """
    assert len(binding) == BINDING_SIZE, f"a binding has {BINDING_SIZE} bytes, not {len(binding)}"
    return b"".join(
        (
            _GRANT_DOMAIN,
            binding,
            grant.key,
            grant.purpose.to_bytes(1),
            grant.not_before_ms.to_bytes(8),
            grant.not_after_ms.to_bytes(8),
            grant.replaces,
            _str8(grant.party),
            _str8(grant.holder),
            len(grant.event_types).to_bytes(1),
            *(event_type.to_bytes(2) for event_type in grant.event_types),
        )
    )


def revocation_statement(
    *, chain_id: bytes, key: bytes, compromised_since_ms: int, party: str
) -> bytes:
    """Return the bytes that a party's roots sign to take a key out of force.

    Raises:
        MalformedError: The key or the party is no such thing, or the time does not fit.
    """
    since = _unsigned(compromised_since_ms, 8, "compromised_since_ms")
    return _REVOCATION_DOMAIN + _named_key(chain_id, key) + since + _party8(party)


def lane_closure_statement(*, chain_id: bytes, key: bytes, lane: int, party: str) -> bytes:
    """Return the bytes that a party's roots sign to close a lane whose sender lost its place.

    Raises:
        MalformedError: The key or the party is no such thing, or the lane does not fit.
    """
    number = _unsigned(lane, 4, "lane")
    return _LANE_CLOSURE_DOMAIN + _named_key(chain_id, key) + number + _party8(party)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSet:
    """The keys that speak for a party."""

    threshold: int  # how many of them must sign
    keys: tuple[bytes, ...]  # ascending


def check_root_set(roots: RootSet, *, party: str) -> None:
    """Check what can be known of a party's roots without any ledger.

    Raises:
        SignatureError: A key is not one that may be registered.
        MalformedError: Their number, order or threshold is not as it must be.
    """
    if not 1 <= len(roots.keys) <= ROOTS_MAX:
        raise MalformedError(
            f"{party} has {len(roots.keys)} root keys; 1 to {ROOTS_MAX} are allowed"
        )
    if not 1 <= roots.threshold <= len(roots.keys):
        raise MalformedError(
            f"{party} has threshold {roots.threshold}; with its number of root keys"
            f" 1 to {len(roots.keys)} is possible"
        )
    for lower, upper in pairwise(roots.keys):
        if not lower < upper:
            raise MalformedError(
                f"root keys of {party} must ascend without repeats;"
                f" {upper[:PUBLIC_KEY_SIZE].hex()} does not"
            )
    for key in roots.keys:
        check_public_key(key)


def encode_root_set(roots: RootSet) -> bytes:
    """Return a checked set of roots as statements hold it."""
    return bytes([roots.threshold, len(roots.keys)]) + b"".join(roots.keys)


def root_rotation_statement(
    *, chain_id: bytes, party: str, generation: int, roots: RootSet
) -> bytes:
    """Return the bytes that old and new roots sign when they change places.

    Args:
        chain_id: The chain.
        party: Whose roots they are.
        generation: How many rotations there were, this one included: an old statement is worth
            nothing later, even where the roots are the same again.
        roots: The new ones, checked.

    Raises:
        MalformedError: The party is none, or the generation does not fit.
    """
    number = _unsigned(generation, 4, "generation")
    return _ROOT_ROTATION_DOMAIN + chain_id + number + encode_root_set(roots) + _party8(party)


def _named_key(chain_id: bytes, key: bytes) -> bytes:
    assert len(chain_id) == BINDING_SIZE, f"a chain id has {BINDING_SIZE} bytes"
    if len(key) != PUBLIC_KEY_SIZE:
        raise MalformedError(f"a key has {PUBLIC_KEY_SIZE} bytes, this one {len(key)}")
    return chain_id + key


def _unsigned(value: int, size: int, what: str) -> bytes:
    if not 0 <= value < 1 << 8 * size:
        raise MalformedError(f"{what} {value} is outside 0 to {(1 << 8 * size) - 1}")
    return value.to_bytes(size)


def _party8(party: str) -> bytes:
    check_party(party)
    return _str8(party)


def _str8(value: str) -> bytes:
    raw = value.encode("ascii")
    return len(raw).to_bytes(1) + raw


def grant_from_message(message: governance_pb2.KeyGrant) -> KeyGrant:
    """Return the checked grant that a message holds.

    Raises:
        ProtocolError: It holds none that `check_grant` lets pass, or says "replaces none" in
            another way than by leaving the field empty.
    """
    try:
        purpose = KeyPurpose(message.purpose)
    except ValueError as error:
        raise MalformedError(f"key purpose {message.purpose} is unknown; use 1 to 6") from error
    if message.replaces == NO_KEY:
        raise MalformedError("a key that replaces none leaves `replaces` empty instead of zero")
    grant = KeyGrant(
        key=message.key,
        party=message.party,
        purpose=purpose,
        holder=message.holder,
        not_before_ms=message.not_before_ms,
        not_after_ms=message.not_after_ms,
        event_types=tuple(message.event_types),
        replaces=message.replaces or NO_KEY,
    )
    check_grant(grant)
    return grant


def grant_to_message(grant: KeyGrant) -> governance_pb2.KeyGrant:
    """Return the message that `grant_from_message` reads back."""
    return governance_pb2.KeyGrant(
        key=grant.key,
        party=grant.party,
        purpose=governance_pb2.KeyPurpose.ValueType(grant.purpose),
        holder=grant.holder,
        not_before_ms=grant.not_before_ms,
        not_after_ms=grant.not_after_ms,
        event_types=grant.event_types,
        replaces=b"" if grant.replaces == NO_KEY else grant.replaces,
    )


def verify_possession(grant: KeyGrant, binding: bytes, signature: bytes) -> None:
    """Check that the holder of a granted key has it.

    Args:
        grant: A grant that `check_grant` let pass.
        binding: The chain id; for a key in the genesis the genesis nonce. 32 bytes.
        signature: The new key's signature over the statement.

    Raises:
        SignatureError: The signature does not hold.
    """
    try:
        verify(grant.key, statement(grant, binding), signature)
    except SignatureError as error:
        raise SignatureError(
            f"no proof that {grant.party}/{grant.holder} has its {grant.purpose.name.lower()} key:"
            f" {error}"
        ) from error


def verify_root_rotation(
    signed: bytes, signatures: Sequence[tuple[bytes, bytes]], *, old: RootSet, new: RootSet
) -> None:
    """Check that enough old and new roots of a party signed its rotation.

    Args:
        signed: The statement.
        signatures: Pairs of root key and signature, keys ascending without repeats.
        old: The roots that speak for the party so far.
        new: Those that do from now on; each that is not an old one proves that it is there.

    Raises:
        SignatureError: They are too few, out of order, by a key that is no root, or do not hold.
    """
    signers = {key for key, _ in signatures}
    if missing := set(new.keys) - set(old.keys) - signers:
        raise SignatureError(f"new root {min(missing).hex()} has not signed the rotation")
    for what, roots in (("old", old), ("new", new)):
        count = len(signers & set(roots.keys))
        if count < roots.threshold:
            raise SignatureError(f"{count} {what} roots have signed; {roots.threshold} are needed")
    either = sorted({*old.keys, *new.keys})
    verify_roots(signed, signatures, either, len(signers))


def verify_roots(
    signed: bytes,
    signatures: Sequence[tuple[bytes, bytes]],
    roots: Sequence[bytes],
    threshold: int,
) -> None:
    """Check that enough of a party's roots signed a statement.

    One bad signature spoils the set: it is there for no honest reason, and a verifier that picks
    the good ones would let the same statement stand in many forms.

    Args:
        signed: The statement.
        signatures: Pairs of root key and signature, keys ascending without repeats.
        roots: The party's root keys.
        threshold: How many of them must sign.

    Raises:
        SignatureError: They are too few, out of order, by a key that is no root, or do not hold.
    """
    if not threshold <= len(signatures) <= len(roots):
        raise SignatureError(
            f"{len(signatures)} root signatures are given; {threshold} to {len(roots)} are needed"
        )
    keys = [key for key, _ in signatures]
    if keys != sorted(set(keys)):
        raise SignatureError("root signatures must ascend by key without repeats; sort them")
    for key, signature in signatures:
        if key not in roots:
            raise SignatureError(f"key {key[:PUBLIC_KEY_SIZE].hex()} is no root of the party")
        verify(key, signed, signature)
