"""What events about keys do to the rows: the one wording of these rules.

The transition runs them on the state, and verifiers on the rows that they follow from the genesis.
A new key and a revocation are in force from the next block on, so that no batch depends on what
else its block holds; a party's new roots and a replaced key's new end hold at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lotmark.errors import ProtocolError
from lotmark.finality_policy import Chain
from lotmark.genesis import COSIGNERS_MAX
from lotmark.governance import pairs
from lotmark.key_grant import (
    NEVER,
    NO_KEY,
    NODE_PURPOSES,
    ROTATION_OVERLAP_MS,
    KeyGrant,
    KeyPurpose,
    RootSet,
    check_root_set,
    grant_from_message,
    revocation_statement,
    root_rotation_statement,
    statement,
    verify_possession,
    verify_root_rotation,
    verify_roots,
)
from lotmark.outcome import Outcome
from lotmark.signed_note import COSIGNATURE_ED25519, verifier_key
from lotmark.state_rows import (
    BatchKeyCount,
    KeyRow,
    RowReader,
    Rows,
    batch_key_count_key,
    key_row,
    node_keys,
    parse_batch_key_count,
    party_key,
    party_row,
    put_key,
)
from lotmark.v1 import governance_pb2

ROOT_HOLDER = "root"
# Not log and admit keys: witnesses and clients, which keep no ledger, take them from the genesis.
REPLACEABLE = (KeyPurpose.BATCH, KeyPurpose.PROPOSAL, KeyPurpose.COSIGN)

# Whoever verifies follows all of these from the genesis on, and every receipt carries them: so one
# party must not be able to make more and more of them.
NODE_KEYS_MAX = 32  # of a node for one purpose, in all its life
ROOT_ROTATIONS_MAX = 32  # of a party, in all its life
# The policy has room for some dozens of keys: nobody may take it all.
NODE_KEYS_UNREVOKED_MAX = 4
# Of a party, by events. Whoever verifies a whole ledger, or lists its keys, follows all of them.
BATCH_KEYS_MAX = 65_536  # in all its life
BATCH_KEYS_UNREVOKED_MAX = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The block an event stands in: what its effects may depend on beside the rows."""

    chain: Chain
    height: int
    time_ms: int


def row_of_grant(grant: KeyGrant, *, from_height: int) -> KeyRow:
    """Return the row of a key that is granted."""
    return KeyRow(
        purpose=grant.purpose,
        from_height=from_height,
        not_before_ms=grant.not_before_ms,
        not_after_ms=grant.not_after_ms,
        party=grant.party,
        holder=grant.holder,
        event_types=grant.event_types,
    )


def row_of_root(party: str, *, from_height: int) -> KeyRow:
    """Return the row of a party's root."""
    return KeyRow(
        purpose=KeyPurpose.ROOT,
        from_height=from_height,
        not_before_ms=0,
        not_after_ms=NEVER,
        party=party,
        holder=ROOT_HOLDER,
    )


def judge_roots(
    rows: RowReader,
    party: str,
    signed: bytes,
    signatures: Sequence[governance_pb2.KeySignature],
    *,
    height: int,
) -> Outcome:
    """Judge whether a member's roots have signed a statement."""
    row = party_row(rows, party)
    if row is None or not row.is_member(height):
        return Outcome.PARTY_UNKNOWN
    try:
        verify_roots(signed, pairs(signatures), row.roots, row.threshold)
    except ProtocolError:
        return Outcome.ROOTS_INSUFFICIENT
    return Outcome.ACCEPTED


def register_key(rows: Rows, body: governance_pb2.KeyRegistration, place: Place) -> Outcome:
    """Bring a key into force, and let the key that it replaces run out."""
    try:
        grant = grant_from_message(body.grant)
        verify_possession(grant, place.chain.id, body.possession)
    except ProtocolError:
        return Outcome.GRANT_INVALID
    is_nodes = grant.purpose in NODE_PURPOSES
    if grant.purpose not in REPLACEABLE or (is_nodes and grant.replaces == NO_KEY):
        return Outcome.GRANT_INVALID
    signed = statement(grant, place.chain.id)
    outcome = judge_roots(rows, grant.party, signed, body.roots, height=place.height)
    if outcome:
        return outcome
    if key_row(rows, grant.key) is not None:
        return Outcome.KEY_ALREADY_REGISTERED
    old = None
    if grant.replaces != NO_KEY:
        old = key_row(rows, grant.replaces)
        if old is None or not _may_replace(grant, old):
            return Outcome.KEY_NOT_FOUND
        if is_nodes and not _may_follow(rows, grant, place):
            return Outcome.GRANT_INVALID
    if not is_nodes and not _count_batch_key(rows, grant.party):
        return Outcome.BATCH_KEYS_TOO_MANY
    if old is not None:
        until_ms = min(old.not_after_ms, place.time_ms + ROTATION_OVERLAP_MS)
        put_key(rows, grant.replaces, replace(old, not_after_ms=until_ms))
    put_key(rows, grant.key, row_of_grant(grant, from_height=place.height + 1))
    return Outcome.ACCEPTED


def _may_replace(grant: KeyGrant, old: KeyRow) -> bool:
    if (old.party, old.purpose) != (grant.party, grant.purpose):
        return False
    # A node's keys say which node they are of; a batch key may go to another device.
    is_nodes = grant.purpose in NODE_PURPOSES
    return not is_nodes or (old.holder == grant.holder and old.revoked_height == NEVER)


def _count_batch_key(rows: Rows, party: str) -> bool:
    """Count a further batch key of a party, unless it has as many as it may have."""
    at = batch_key_count_key(party)
    count = parse_batch_key_count(rows.get(at))
    if count.ever >= BATCH_KEYS_MAX or count.unrevoked >= BATCH_KEYS_UNREVOKED_MAX:
        return False
    rows.put(at, BatchKeyCount(count.ever + 1, count.unrevoked + 1).encode())
    return True


def _uncount_batch_key(rows: Rows, row: KeyRow) -> None:
    """Give the place of a batch key back that is revoked.

    A party's first keys, of the genesis or its addition, hold from its own first height on and were
    never counted: who follows keys without all revocations could not tell how many are left.
    """
    party = party_row(rows, row.party)
    assert party is not None, "a key's party has a row"
    if row.from_height > party.from_height:
        at = batch_key_count_key(row.party)
        count = parse_batch_key_count(rows.get(at))
        rows.put(at, BatchKeyCount(count.ever, count.unrevoked - 1).encode())


def _may_follow(rows: Rows, grant: KeyGrant, place: Place) -> bool:
    """Return whether a node may go over to this key."""
    # By a key that is not in force yet, or no more, the only voter would end the chain.
    if not grant.not_before_ms <= place.time_ms < grant.not_after_ms - ROTATION_OVERLAP_MS:
        return False
    of_node = [
        row
        for _, row in node_keys(rows, party=grant.party, purpose=grant.purpose, node=grant.holder)
    ]
    unrevoked_count = sum(row.revoked_height == NEVER for row in of_node)
    if len(of_node) >= NODE_KEYS_MAX or unrevoked_count >= NODE_KEYS_UNREVOKED_MAX:
        return False
    is_cosign = grant.purpose is KeyPurpose.COSIGN
    return not is_cosign or has_room_in_policy(rows, place.chain, grant)


def has_room_in_policy(rows: RowReader, chain: Chain, grant: KeyGrant) -> bool:
    """Return whether the policy can name a further cosign key.

    Its text names keys by four bytes of a hash, which two keys of one node must not share.
    """
    name = chain.cosigner_name(grant.party, grant.holder)
    wanted = verifier_key(name, COSIGNATURE_ED25519, grant.key).key_id
    count = 0
    for key, row in node_keys(rows):
        if row.purpose != KeyPurpose.COSIGN or row.revoked_height != NEVER:
            continue
        count += 1
        of_this_node = (row.party, row.holder) == (grant.party, grant.holder)
        if of_this_node and verifier_key(name, COSIGNATURE_ED25519, key).key_id == wanted:
            return False
    return count < COSIGNERS_MAX


def revoke_key(rows: Rows, body: governance_pb2.KeyRevocation, place: Place) -> Outcome:
    """Put a key out of force; what it signed before stays as it is."""
    row = key_row(rows, body.key)
    if row is None or row.party != body.party or row.revoked_height != NEVER:
        return Outcome.KEY_NOT_FOUND
    if row.purpose not in REPLACEABLE:
        return Outcome.KEY_NOT_FOUND
    signed = revocation_statement(
        chain_id=place.chain.id,
        key=body.key,
        compromised_since_ms=body.compromised_since_ms,
        party=body.party,
    )
    outcome = judge_roots(rows, body.party, signed, body.roots, height=place.height)
    if outcome:
        return outcome
    if row.purpose in NODE_PURPOSES:
        if not any(_successors(rows, body.key, row, place)):
            return Outcome.KEY_NEEDED
    else:
        _uncount_batch_key(rows, row)
    revoked = row.revoked(height=place.height + 1, compromised_since_ms=body.compromised_since_ms)
    put_key(rows, body.key, revoked)
    return Outcome.ACCEPTED


def _successors(rows: Rows, key: bytes, row: KeyRow, place: Place) -> Iterator[bytes]:
    """Return the node's other keys for the same, in force now: without one the chain could end."""
    same = node_keys(rows, party=row.party, purpose=KeyPurpose(row.purpose), node=row.holder)
    for other, found in same:
        in_force = not found.judge(height=place.height, time_ms=place.time_ms)
        # Revoked in this block, it is in force for the last time.
        if other != key and in_force and found.revoked_height == NEVER:
            yield other


def rotate_roots(rows: Rows, body: governance_pb2.RootRotation, place: Place) -> Outcome:
    """Give a party other roots, by the word of the old ones and of the new."""
    row = party_row(rows, body.party)
    if row is None or not row.is_member(place.height):
        return Outcome.PARTY_UNKNOWN
    old = RootSet(threshold=row.threshold, keys=row.roots)
    new = RootSet(threshold=body.threshold, keys=tuple(body.keys))
    try:
        check_root_set(new, party=body.party)
    except ProtocolError:
        return Outcome.GRANT_INVALID
    if body.generation != row.generation + 1 or body.generation > ROOT_ROTATIONS_MAX:
        return Outcome.GRANT_INVALID
    signed = root_rotation_statement(
        chain_id=place.chain.id, party=body.party, generation=body.generation, roots=new
    )
    try:
        verify_root_rotation(signed, pairs(body.signatures), old=old, new=new)
    except ProtocolError:
        return Outcome.ROOTS_INSUFFICIENT
    fresh = sorted(set(new.keys) - set(old.keys))
    if any(key_row(rows, key) is not None for key in fresh):
        return Outcome.KEY_ALREADY_REGISTERED
    for key in fresh:
        put_key(rows, key, row_of_root(body.party, from_height=place.height + 1))
    for key in sorted(set(old.keys) - set(new.keys)):
        retired = key_row(rows, key)
        assert retired is not None, "every root has a row"
        put_key(rows, key, retired.revoked(height=place.height + 1, compromised_since_ms=0))
    rotated = replace(row, generation=body.generation, threshold=new.threshold, roots=new.keys)
    rows.put(party_key(body.party), rotated.encode())
    return Outcome.ACCEPTED
