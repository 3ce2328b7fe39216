"""What events about operators do to the state.

A new credential and a revocation are in force from the next block on. An operator's signature
changes nothing; its outcome says whether it holds, by a rule that is pinned in `lotmark.webauthn`.
"""

from lotmark.errors import ProtocolError
from lotmark.key_grant import NEVER
from lotmark.key_rules import judge_roots
from lotmark.operator_grant import (
    OperatorMeaning,
    assertion_from_message,
    grant_from_message,
    revocation_statement,
    signature_challenge,
    statement,
    verify_possession,
)
from lotmark.outcome import Outcome
from lotmark.state_rows import party_row
from lotmark.v1 import operators_pb2
from lotmark.webauthn import AssertionRefused, verify_assertion
from lotmark_node.state_machine.operator_row import OperatorRow, operator_key, operator_row
from lotmark_node.state_machine.state import StateChanges


def register_operator(
    state: StateChanges,
    body: operators_pb2.OperatorRegistration,
    *,
    chain_id: bytes,
    height: int,
) -> Outcome:
    """Bring an operator's credential into force."""
    state.signature_checks += 1
    try:
        grant = grant_from_message(body.grant)
        verify_possession(grant, chain_id, assertion_from_message(body.possession))
    except ProtocolError:
        return Outcome.OPERATOR_GRANT_INVALID
    outcome = judge_roots(state, grant.party, statement(grant, chain_id), body.roots, height=height)
    if outcome:
        return outcome
    if operator_row(state, grant.credential_id) is not None:
        return Outcome.CREDENTIAL_ALREADY_REGISTERED
    row = OperatorRow(
        from_height=height + 1,
        not_before_ms=grant.not_before_ms,
        not_after_ms=grant.not_after_ms,
        party=grant.party,
        role=grant.role,
        relying_party=grant.relying_party,
        meanings=grant.meanings,
    )
    state.put(operator_key(grant.credential_id), row.encode())
    return Outcome.ACCEPTED


def revoke_operator(
    state: StateChanges, body: operators_pb2.OperatorRevocation, *, chain_id: bytes, height: int
) -> Outcome:
    """Put a credential out of force; what it signed before stays as it is."""
    row = operator_row(state, body.credential_id)
    if row is None or row.party != body.party:
        return Outcome.CREDENTIAL_UNKNOWN
    if row.revoked_height != NEVER:
        return Outcome.CREDENTIAL_REVOKED
    signed = revocation_statement(
        chain_id=chain_id,
        credential_id=body.credential_id,
        compromised_since_ms=body.compromised_since_ms,
        party=body.party,
    )
    outcome = judge_roots(state, body.party, signed, body.roots, height=height)
    if outcome:
        return outcome
    revoked = row.revoked(height=height + 1, compromised_since_ms=body.compromised_since_ms)
    state.put(operator_key(body.credential_id), revoked.encode())
    return Outcome.ACCEPTED


def judge_operator_signature(
    state: StateChanges,
    body: operators_pb2.OperatorSignature,
    *,
    chain_id: bytes,
    height: int,
    time_ms: int,
) -> Outcome:
    """Judge whether an operator's signature of an event holds.

    Whether the event is on the log is not judged: it may be older than anything the state
    remembers, or come in the same batch.
    """
    row = operator_row(state, body.credential_id)
    if row is None:
        return Outcome.CREDENTIAL_UNKNOWN
    outcome = _judge_validity(state, row, height=height, time_ms=time_ms)
    if outcome:
        return outcome
    meaning = OperatorMeaning(body.meaning)
    if meaning not in row.meanings:
        return Outcome.MEANING_NOT_PERMITTED
    state.signature_checks += 1
    challenge = signature_challenge(chain_id, meaning, body.event_id)
    try:
        verify_assertion(assertion_from_message(body.assertion), challenge, row.relying_party)
    except AssertionRefused as refusal:
        return refusal.outcome
    return Outcome.ACCEPTED


def _judge_validity(state: StateChanges, row: OperatorRow, *, height: int, time_ms: int) -> Outcome:
    party = party_row(state, row.party)
    is_members = party is not None and party.is_member(height)
    if row.revoked_height <= height or not is_members:
        return Outcome.CREDENTIAL_REVOKED
    if row.from_height > height or time_ms < row.not_before_ms:
        return Outcome.CREDENTIAL_NOT_YET_VALID
    if time_ms >= row.not_after_ms:
        return Outcome.CREDENTIAL_EXPIRED
    return Outcome.ACCEPTED
