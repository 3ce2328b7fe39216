"""What receipts and checkpoints carry of what governs: enough to follow it, and no more."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from lotmark.key_grant import KeyPurpose
from lotmark.snapshot import GovernanceEntry
from lotmark.state_rows import ProposalStatus, members, parse_proposal_row, proposal_key
from lotmark.v1 import governance_pb2
from lotmark.verify.governance_chain import GovernedCheckpoint, check_governed_checkpoint
from lotmark_node.engine.governance_proofs import GovernanceProofs
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.governance_events import (
    NEW_PARTY,
    NewParty,
    approval,
    hash_of,
    proposal,
    proposing,
)
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.state_machine.reading import event_outcomes
from tests.proto.sample_genesis import grant, private_key

MES = "T1-STATOR/mes"


@contextmanager
def proofs_of(ledger: LedgerInMemory, folder: Path) -> Iterator[GovernanceProofs]:
    """Give the proofs that a node with this ledger makes."""
    with closing(StoredLedger(folder, ledger)) as stored:
        stored.grow(ledger.height)
        yield GovernanceProofs(stored.store, stored.reader, ledger.chain_id)


def governed(
    ledger: LedgerInMemory, proofs: GovernanceProofs, entries: list[GovernanceEntry]
) -> GovernedCheckpoint:
    """Return what a verifier makes of entries, under the newest checkpoint."""
    return check_governed_checkpoint(
        ledger.genesis,
        ledger.chain_id,
        ledger.checkpoint_note(),
        close=proofs.last_close(ledger.size),
        entries=entries,
    )


def accept(ledger: LedgerInMemory, *events: bytes) -> None:
    assert not any(event_outcomes(ledger.block([ledger.batch(MES, events)])))


def quotas(ledger: LedgerInMemory, events: int) -> governance_pb2.Proposal:
    """Return a proposal that a majority decides."""
    change = governance_pb2.QuotaChange(
        events=events, bytes=1 << 30, signatures=1_000, state_keys=1_000
    )
    return proposal(ledger, change_quotas=change)


def status_of(ledger: LedgerInMemory, asked: governance_pb2.Proposal) -> ProposalStatus:
    raw = ledger.rows.get(proposal_key(hash_of(ledger, asked)))
    assert raw is not None
    return parse_proposal_row(raw).status


def test_proposals_that_came_to_nothing_burden_no_receipt(tmp_path: Path) -> None:
    ledger = LedgerInMemory()
    expiring = [quotas(ledger, events) for events in range(1, 9)]
    accept(ledger, *(proposing(ledger, each) for each in expiring))
    ledger.block(time_ms=expiring[0].expires_ms)
    done = quotas(ledger, 9)
    accept(ledger, proposing(ledger, done), approval(ledger, hash_of(ledger, done), "T1-STATOR"))
    accept(ledger, proposing(ledger, quotas(ledger, 10)))  # stays open

    with proofs_of(ledger, tmp_path) as proofs:
        entries = proofs.of_signer(private_key(f"{MES} BATCH").public, ledger.size)
        everything = list(proofs.all_before(ledger.size))
        assert governed(ledger, proofs, entries).findings.is_final

    assert status_of(ledger, expiring[0]) is ProposalStatus.EXPIRED
    assert len(entries) == 3  # opened, approved, closed
    assert len(everything) == len(entries) + len(expiring) + 2


def test_a_proposal_that_a_batch_key_made_void_misleads_no_verifier(tmp_path: Path) -> None:
    """Receipts hold no other batch keys: by them alone, the void one would make a fourth member."""
    ledger = LedgerInMemory()
    joining = proposal(ledger, add_party=NewParty().addition(ledger.chain_id))
    accept(ledger, proposing(ledger, joining))
    granted, key = grant(NEW_PARTY, KeyPurpose.BATCH, "erp")  # of those that the newcomer brings
    taken = ledger.registration_of(replace(granted, party="T1-STATOR"), key)
    accept(ledger, taken, approval(ledger, hash_of(ledger, joining), "T1-STATOR"))
    assert status_of(ledger, joining) is ProposalStatus.VOID
    done = quotas(ledger, 9)  # by two of three members
    accept(ledger, proposing(ledger, done), approval(ledger, hash_of(ledger, done), "T1-STATOR"))
    assert status_of(ledger, done) is ProposalStatus.ACTIVATED

    with proofs_of(ledger, tmp_path) as proofs:
        found = governed(ledger, proofs, proofs.of_signer(None, ledger.size))
        with_all = governed(ledger, proofs, list(proofs.all_before(ledger.size)))

    for each in (found, with_all):
        assert NEW_PARTY not in members(each.keys, ledger.height + 1)
