"""What events about keys and lanes do to the state.

A new key and a revocation are in force from the next block on, so that no batch depends on what
else its block holds; a lane closure and a replaced key's new end hold at once.
"""

from collections.abc import Sequence
from dataclasses import replace

from lotmark.errors import ProtocolError
from lotmark.key_grant import (
    NEVER,
    NO_KEY,
    ROTATION_OVERLAP_MS,
    KeyPurpose,
    check_grant,
    grant_from_message,
    lane_closure_statement,
    revocation_statement,
    statement,
    verify_possession,
    verify_roots,
)
from lotmark.outcome import Outcome
from lotmark.v1 import governance_pb2
from lotmark_node.state_machine.batch_rules import lane_row
from lotmark_node.state_machine.state import StateChanges, key_row
from lotmark_node.state_machine.tables import (
    KeyRow,
    Table,
    lane_key,
    parse_party_row,
    row_key,
)


def register_key(
    state: StateChanges,
    body: governance_pb2.KeyRegistration,
    *,
    chain_id: bytes,
    height: int,
    time_ms: int,
) -> Outcome:
    """Bring a key into force, and let the key that it replaces run out."""
    try:
        grant = grant_from_message(body.grant)
        check_grant(grant)
        verify_possession(grant, chain_id, body.possession)
    except ProtocolError:
        return Outcome.GRANT_INVALID
    if grant.purpose != KeyPurpose.BATCH:
        return Outcome.GRANT_INVALID  # nodes' keys and roots are those of the genesis
    outcome = judge_roots(state, grant.party, statement(grant, chain_id), body.roots)
    if outcome:
        return outcome
    if key_row(state, grant.key) is not None:
        return Outcome.KEY_ALREADY_REGISTERED
    if grant.replaces != NO_KEY:
        old = key_row(state, grant.replaces)
        if old is None or old.party != grant.party or old.purpose != grant.purpose:
            return Outcome.KEY_NOT_FOUND
        until_ms = min(old.not_after_ms, time_ms + ROTATION_OVERLAP_MS)
        state.put(row_key(Table.KEY, grant.replaces), replace(old, not_after_ms=until_ms).encode())
    row = KeyRow(
        purpose=grant.purpose,
        from_height=height + 1,
        not_before_ms=grant.not_before_ms,
        not_after_ms=grant.not_after_ms,
        party=grant.party,
        holder=grant.holder,
        event_types=grant.event_types,
    )
    state.put(row_key(Table.KEY, grant.key), row.encode())
    return Outcome.ACCEPTED


def revoke_key(
    state: StateChanges, body: governance_pb2.KeyRevocation, *, chain_id: bytes, height: int
) -> Outcome:
    """Put a key out of force; what it signed before stays as it is."""
    row = key_row(state, body.key)
    if row is None or row.party != body.party or row.revoked_height != NEVER:
        return Outcome.KEY_NOT_FOUND
    if row.purpose != KeyPurpose.BATCH:
        return Outcome.KEY_NOT_FOUND  # without its voter's key the chain would end
    signed = revocation_statement(
        chain_id=chain_id,
        key=body.key,
        compromised_since_ms=body.compromised_since_ms,
        party=body.party,
    )
    outcome = judge_roots(state, body.party, signed, body.roots)
    if outcome:
        return outcome
    revoked = row.revoked(height=height + 1, compromised_since_ms=body.compromised_since_ms)
    state.put(row_key(Table.KEY, body.key), revoked.encode())
    return Outcome.ACCEPTED


def close_lane(
    state: StateChanges, body: governance_pb2.LaneClosure, *, chain_id: bytes
) -> Outcome:
    """Close a lane whose sender lost its place."""
    row = key_row(state, body.key)
    lane = lane_row(state, body.key, body.lane)
    if row is None or row.party != body.party or lane.closed:
        return Outcome.KEY_NOT_FOUND
    signed = lane_closure_statement(
        chain_id=chain_id, key=body.key, lane=body.lane, party=body.party
    )
    outcome = judge_roots(state, body.party, signed, body.roots)
    if outcome:
        return outcome
    state.put(lane_key(body.key, body.lane), replace(lane, closed=True).encode())
    return Outcome.ACCEPTED


def judge_roots(
    state: StateChanges,
    party: str,
    signed: bytes,
    signatures: Sequence[governance_pb2.KeySignature],
) -> Outcome:
    """Judge whether as many of a party's roots have signed a statement as its threshold asks."""
    raw = state.get(row_key(Table.PARTY, party.encode("ascii")))
    if raw is None:
        return Outcome.PARTY_UNKNOWN
    row = parse_party_row(raw)
    try:
        pairs = [(each.key, each.signature) for each in signatures]
        verify_roots(signed, pairs, row.roots, row.threshold)
    except ProtocolError:
        return Outcome.ROOTS_INSUFFICIENT
    return Outcome.ACCEPTED
