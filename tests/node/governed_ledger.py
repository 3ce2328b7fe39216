"""A ledger whose parties, keys and policy are others at its end than at its beginning."""

from functools import cache

from lotmark.governance import COSIGNERS_SPACING_MS
from lotmark.key_grant import KeyPurpose
from lotmark.v1 import governance_pb2
from tests.node.governance_events import (
    NEW_PARTY,
    NewParty,
    approval,
    hash_of,
    new_cosigner,
    proposal,
    proposing,
    roots_of,
    rotation,
    successor,
)
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.state_machine.reading import event_outcomes
from tests.proto.sample_genesis import private_key

MES, NEW_ERP = "T1-STATOR/mes", f"{NEW_PARTY}/erp"
NEW_ROOTS = roots_of("OEM-A new")
# Who cosigns at its end: the OEM's node under its second key, the laboratory no more.
COSIGN_KEYS = {"OEM-A/n1": private_key("OEM-A/n1 COSIGN 2nd")}
COSIGNERS = ("OEM-A/n1", "T1-STATOR/n1", f"{NEW_PARTY}/w1")


@cache
def governed_ledger() -> LedgerInMemory:
    """Return the ledger, which callers leave as it is."""
    ledger = LedgerInMemory()
    _put(ledger, measurement(1))
    joining = proposal(ledger, add_party=NewParty().addition(ledger.chain_id))
    _put(ledger, proposing(ledger, joining))
    _put(ledger, approval(ledger, hash_of(ledger, joining), "T1-STATOR"))
    _put(ledger, measurement(2), holder=NEW_ERP)
    _put(ledger, rotation(ledger, "OEM-A", NEW_ROOTS, threshold=2))
    cosigning = proposal(ledger, add_cosigner=new_cosigner(ledger, NEW_PARTY, "w1"))
    hashed = hash_of(ledger, cosigning)
    _put(
        ledger,
        proposing(ledger, cosigning, "T1-STATOR"),
        approval(ledger, hashed, "OEM-A", roots=NEW_ROOTS),
        approval(ledger, hashed, "LAB-17025"),
    )
    leaving = proposal(ledger, remove_party=governance_pb2.PartyRemoval(party="LAB-17025"))
    hashed = hash_of(ledger, leaving)
    _put(
        ledger,
        proposing(ledger, leaving, "T1-STATOR"),
        approval(ledger, hashed, "OEM-A", roots=NEW_ROOTS),
        approval(ledger, hashed, NEW_PARTY),
    )
    _put(ledger, measurement(3), holder="LAB-17025/lims")
    ledger.block(time_ms=ledger.state.time_ms + COSIGNERS_SPACING_MS)
    granted = successor(ledger, "OEM-A", KeyPurpose.COSIGN, "n1", roots=NEW_ROOTS)
    _put(ledger, granted)
    old = private_key("OEM-A/n1 COSIGN").public
    _put(ledger, ledger.revocation("OEM-A", old, roots=NEW_ROOTS))
    _put(ledger, measurement(4), holder=NEW_ERP)
    return ledger


def _put(ledger: LedgerInMemory, *events: bytes, holder: str = MES) -> None:
    assert not any(event_outcomes(ledger.block([ledger.batch(holder, events)])))


def final_note(ledger: LedgerInMemory) -> bytes:
    """Return the checkpoint that the parties of the end cosign."""
    return ledger.checkpoint_note(cosigners=COSIGNERS, cosign_keys=COSIGN_KEYS)
