"""Operators belong to parties that come and go, and whose roots change."""

import io

import pytest

from lotmark.outcome import Outcome
from lotmark.v1 import governance_pb2
from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion
from lotmark_node.verification.verify import verify_snapshot
from tests.node.governance_events import approval, hash_of, proposal, proposing, roots_of, rotation
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.operator_events import operator_grant, registered, revoked, signature
from tests.node.snapshot_source import snapshot_of
from tests.node.state_machine.reading import event_outcomes

LAB, MES = "LAB-17025", "T1-STATOR/mes"
RECORD = measurement(1)


def put(ledger: LedgerInMemory, *events: bytes) -> list[Outcome]:
    """Put events into the next block and return what became of them."""
    effects = ledger.block([ledger.batch(MES, events)])
    return [Outcome(outcome) for outcome in event_outcomes(effects)]


def without_laboratory() -> LedgerInMemory:
    """Return a ledger whose laboratory has an operator, and then is removed."""
    ledger = LedgerInMemory()
    assert put(ledger, registered(ledger, operator_grant(party=LAB)), RECORD) == [0, 0]
    assert put(ledger, signature(ledger, RECORD, nonce="1")) == [Outcome.ACCEPTED]
    leaving = proposal(ledger, remove_party=governance_pb2.PartyRemoval(party=LAB))
    hashed = hash_of(ledger, leaving)
    assert put(
        ledger,
        proposing(ledger, leaving),
        approval(ledger, hashed, "T1-STATOR"),
        signature(ledger, RECORD, nonce="2"),
    ) == [0, 0, 0]
    return ledger


def test_an_operator_of_a_removed_party_signs_nothing_more() -> None:
    ledger = without_laboratory()

    assert put(
        ledger,
        signature(ledger, RECORD, nonce="3"),
        revoked(ledger, party=LAB),
        registered(ledger, operator_grant(party=LAB), nonce="again"),
    ) == [Outcome.CREDENTIAL_REVOKED, Outcome.PARTY_UNKNOWN, Outcome.PARTY_UNKNOWN]


def test_a_party_s_new_roots_register_its_operators() -> None:
    ledger = LedgerInMemory()
    new = roots_of("LAB-17025 new")
    assert put(ledger, rotation(ledger, LAB, new, threshold=1)) == [Outcome.ACCEPTED]

    assert put(ledger, registered(ledger, operator_grant(party=LAB))) == [
        Outcome.ROOTS_INSUFFICIENT
    ]


@pytest.mark.parametrize("first_height", [1, 2, 3, 4, 5])
def test_verifiers_follow_operators_and_parties_together(first_height: int) -> None:
    ledger = without_laboratory()
    put(ledger, signature(ledger, RECORD, nonce="3"))
    put(ledger, measurement(2))
    note = ledger.checkpoint_note(cosigners=["OEM-A/n1", "T1-STATOR/n1"])
    raw = snapshot_of(ledger, first_height=first_height, note=note)

    structure = judge_file(io.BytesIO(raw), chain_id=ledger.chain_id, genesis_json=None)
    full = verify_snapshot(io.BytesIO(raw), chain_id=ledger.chain_id)

    assert (structure.conclusion, full.conclusion) == (Conclusion.VALID,) * 2, full.text
