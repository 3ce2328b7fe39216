"""Ledgers with operators for the foreign verifier: an honest one, and ones that accept a lie.

In the latter every node has accepted an event that is to be refused, and signed what came of it:
nothing but the rules about operators gives the lie away.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from lotmark.block_results import BatchResult, parse_results
from lotmark.merkle import leaf_hash
from lotmark.operator_grant import OperatorMeaning, possession_challenge, signature_challenge
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, operators_pb2
from lotmark_node.trial.software_authenticator import (
    BACKUP_ELIGIBLE,
    PRESENT,
    VERIFIED,
    Authenticator,
)
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.operator_events import (
    APPROVE,
    DEVICE,
    operator_grant,
    registered,
    revoked,
    signature,
    with_body,
)
from tests.node.snapshot_source import snapshot_of
from tests.node.state_machine.reading import event_outcomes
from tests.node.test_reexecution import with_last_block
from tests.proto.sample_genesis import CREATED_MS

EventMaker = Callable[[LedgerInMemory], bytes]

MES = "T1-STATOR/mes"
RECORD = measurement(1)
LOCAL = Authenticator("operator 8", rp_id="localhost", origin="http://localhost:8080")
SECOND_BLOCK_MS = CREATED_MS + 2_000  # blocks in memory are a second apart


def ledger_with_operators() -> LedgerInMemory:
    """Return a ledger on which operators are registered, sign, expire and are revoked."""
    ledger = LedgerInMemory()
    brief = operator_grant(LOCAL, not_before_ms=SECOND_BLOCK_MS, not_after_ms=SECOND_BLOCK_MS + 1)
    _put(ledger, registered(ledger), registered(ledger, brief, device=LOCAL))
    _put(
        ledger,
        RECORD,
        signature(ledger, RECORD, meaning=OperatorMeaning.REVIEW, nonce="review"),
        signature(ledger, RECORD, nonce="approval"),
        _signed_with_all_additions(ledger),
        signature(ledger, RECORD, device=LOCAL, nonce="in its only millisecond"),
        revoked(ledger),
        signature(ledger, RECORD, nonce="revoked from the next height on"),
    )
    late = [_signed(ledger), signature(ledger, RECORD, device=LOCAL, nonce="expired")]
    assert event_outcomes(ledger.block([ledger.batch(MES, late)])) == [
        Outcome.CREDENTIAL_REVOKED,
        Outcome.CREDENTIAL_EXPIRED,
    ]
    _put(ledger, measurement(2))
    return ledger


def ledger_with_lie(blocks: Sequence[Sequence[EventMaker]]) -> tuple[LedgerInMemory, bytes]:
    """Return a ledger, and its snapshot in which the last event is accepted, and a lie.

    Args:
        blocks: For each block what makes its events. All but the last event are honest.
    """
    ledger = LedgerInMemory()
    for makers in blocks[:-1]:
        _put(ledger, *[make(ledger) for make in makers])
    events = [make(ledger) for make in blocks[-1]]
    *honest, refused = event_outcomes(ledger.block([ledger.batch(MES, events)]))
    assert not any(honest)
    assert refused != Outcome.ACCEPTED
    block, raw_results = ledger.blocks[-1]
    results = parse_results(raw_results)
    close = replace(results.close, refused_event_count=0)
    accepted = replace(results, batches=[BatchResult(0, [0] * len(events))], close=close)
    return ledger, with_last_block(snapshot_of(ledger), block, accepted, ledger)


def _put(ledger: LedgerInMemory, *events: bytes) -> None:
    assert not any(event_outcomes(ledger.block([ledger.batch(MES, events)])))


def _signed(ledger: LedgerInMemory) -> bytes:
    return signature(ledger, RECORD)


def _signed_with_all_additions(ledger: LedgerInMemory) -> bytes:
    """Return a signature whose browser and authenticator say more than they must."""
    challenge = signature_challenge(ledger.chain_id, APPROVE, leaf_hash(RECORD))
    assertion = DEVICE.sign(
        challenge,
        flags=PRESENT | VERIFIED | BACKUP_ELIGIBLE,
        tail=',"crossOrigin":false,"other_keys_can_be_added_here":"{}"',
    )
    return signature(ledger, RECORD, assertion=assertion, nonce="additions")


def _altered_grant(ledger: LedgerInMemory) -> bytes:
    """Return a registration that lets its credential do more than anybody has signed."""
    message = event_pb2.Event.FromString(registered(ledger))
    message.operator_registration.grant.meanings.append(operators_pb2.OPERATOR_MEANING_RELEASE)
    return message.SerializeToString(deterministic=True)


def _possessed_by_another(ledger: LedgerInMemory) -> bytes:
    challenge = possession_challenge(operator_grant(), ledger.chain_id)
    return registered(ledger, possession=Authenticator("another").sign(challenge))


def _registered_again(ledger: LedgerInMemory) -> bytes:
    return registered(ledger, replace(operator_grant(), role="painter"))


def _by_other_roots(ledger: LedgerInMemory) -> bytes:
    return registered(ledger, roots_of="OEM-A")


def _on_an_odd_port(ledger: LedgerInMemory) -> bytes:
    """Return a registration whose origin has a second spelling of its port."""
    return registered(ledger, device=Authenticator("odd", origin=f"{DEVICE.origin}:0443"))


def _first_valid_later(ledger: LedgerInMemory) -> bytes:
    return registered(ledger, operator_grant(not_before_ms=SECOND_BLOCK_MS + 1))


def _expiring(ledger: LedgerInMemory) -> bytes:
    return registered(ledger, operator_grant(not_after_ms=SECOND_BLOCK_MS))


def _moved_to_another_event(ledger: LedgerInMemory) -> bytes:
    return with_body(_signed(ledger), event_id=leaf_hash(measurement(2)))


def _released(ledger: LedgerInMemory) -> bytes:
    return signature(ledger, RECORD, meaning=OperatorMeaning.RELEASE)


def _signed_otherwise(**how: object) -> EventMaker:
    """Return a maker of signatures in which the authenticator, or the page, is told otherwise."""

    def make(ledger: LedgerInMemory) -> bytes:
        challenge = signature_challenge(ledger.chain_id, APPROVE, leaf_hash(RECORD))
        assertion = DEVICE.sign(challenge, **how)  # type: ignore[arg-type]  # handed on
        return signature(ledger, RECORD, assertion=assertion)

    return make


def _with_other_key(ledger: LedgerInMemory) -> bytes:
    challenge = signature_challenge(ledger.chain_id, APPROVE, leaf_hash(RECORD))
    return signature(ledger, RECORD, assertion=Authenticator("another").sign(challenge))


def _revoked_by_another(ledger: LedgerInMemory) -> bytes:
    return revoked(ledger, party="OEM-A")


def _revoked_again(ledger: LedgerInMemory) -> bytes:
    return revoked(ledger, compromised_since_ms=1)


# For each lie the blocks, whose last event it is, and what the foreign verifier says of it.
LIES: dict[str, tuple[Sequence[Sequence[EventMaker]], str]] = {
    "altered grant": ([[_altered_grant]], "the possession"),
    "possession of another credential": ([[_possessed_by_another]], "the possession"),
    "registered by another party's roots": ([[_by_other_roots]], "signature of root"),
    "origin with an odd port": ([[_on_an_odd_port]], "has the origin"),
    "registered again": ([[registered], [_registered_again]], "is registered already"),
    "never registered": ([[_signed]], "142 follows"),
    "registered in this block": ([[registered, _signed]], "143 follows"),
    "not valid yet": ([[_first_valid_later], [_signed]], "143 follows"),
    "expired": ([[_expiring], [_signed]], "144 follows"),
    "revoked": ([[registered], [revoked], [_signed]], "145 follows"),
    "meaning not granted": ([[registered], [_released]], "146 follows"),
    "with extensions": ([[registered], [_signed_otherwise(flags=0x85)]], "147 follows"),
    "of another event": ([[registered], [_moved_to_another_event]], "148 follows"),
    "on another page": ([[registered], [_signed_otherwise(origin="https://evil")]], "149 follows"),
    "for another relying party": ([[registered], [_signed_otherwise(rp_id="evil")]], "149 follows"),
    "user not verified": ([[registered], [_signed_otherwise(flags=PRESENT)]], "150 follows"),
    "by another key": ([[registered], [_with_other_key]], "151 follows"),
    "revoked by another party": ([[registered], [_revoked_by_another]], "has no credential"),
    "revoked again": ([[registered], [revoked], [_revoked_again]], "is revoked already"),
}
