"""What receipts and checkpoints carry of what governs: enough to follow it, and no more."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from lotmark.key_grant import KeyPurpose
from lotmark.snapshot import GovernanceEntry
from lotmark.state_rows import (
    ProposalStatus,
    batch_key_count_key,
    key_row,
    members,
    open_proposals,
    parse_batch_key_count,
    parse_proposal_row,
    proposal_key,
)
from lotmark.v1 import governance_pb2
from lotmark.verify.governance_chain import (
    GovernedCheckpoint,
    check_governed_checkpoint,
    follow_entries,
)
from lotmark.verify.key_register import KeyRegister
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
from tests.node.state_machine.reading import batch_key, event_outcomes
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


def test_who_asks_for_the_policy_is_shown_what_is_open_and_no_other_batch_key(
    tmp_path: Path,
) -> None:
    ledger = LedgerInMemory()
    keys = [
        ledger.registration("T1-STATOR", KeyPurpose.BATCH, f"device-{number}")
        for number in range(20)
    ]
    accept(ledger, *keys)
    replacing = ledger.registration(
        "T1-STATOR", KeyPurpose.BATCH, "new", replaces=batch_key("T1-STATOR/device-7")
    )
    wanted, waiting = quotas(ledger, 9), quotas(ledger, 10)
    accept(ledger, replacing, proposing(ledger, wanted), proposing(ledger, waiting))
    accept(ledger, ledger.revocation("T1-STATOR", batch_key("T1-STATOR/device-7")))
    with proofs_of(ledger, tmp_path) as proofs:
        open_size = ledger.size
        before = proofs.of_signer(None, open_size, with_open=True)
        of_new = proofs.of_signer(batch_key("T1-STATOR/new"), open_size, with_open=True)
        of_nobody = proofs.of_signer(bytes(32), open_size, with_open=True)
        receipts = proofs.of_signer(None, open_size)
        found = governed(ledger, proofs, of_new).keys

    assert [len(entries) for entries in (before, of_new, of_nobody, receipts)] == [2, 5, 2, 0]
    assert open_proposals(found) == [hash_of(ledger, wanted), hash_of(ledger, waiting)]
    assert found.key(batch_key("T1-STATOR/device-3")) is None
    old, new = (found.key(batch_key(f"T1-STATOR/{name}")) for name in ("device-7", "new"))
    assert old == key_row(ledger.rows, batch_key("T1-STATOR/device-7"))
    assert new == key_row(ledger.rows, batch_key("T1-STATOR/new"))


def test_a_node_follows_proposals_to_their_end_while_it_is_asked(tmp_path: Path) -> None:
    ledger = LedgerInMemory()
    wanted, dropped = quotas(ledger, 9), quotas(ledger, 10)
    accept(ledger, proposing(ledger, wanted), proposing(ledger, dropped))
    open_size = ledger.size
    accept(ledger, approval(ledger, hash_of(ledger, wanted), "T1-STATOR"))
    done_size = ledger.size
    ledger.block(time_ms=dropped.expires_ms)

    with closing(StoredLedger(tmp_path, ledger)) as stored:
        proofs = GovernanceProofs(stored.store, stored.reader, ledger.chain_id)
        shown = []
        for height, size in ((1, open_size), (2, done_size), (3, ledger.size)):
            stored.grow(height)
            shown.append(len(proofs.of_signer(None, size, with_open=True)))
        earlier = proofs.of_signer(None, open_size, with_open=True)

    assert shown == [2, 4, 3]  # both opened; one approved and done; the other has expired
    assert len(earlier) == 1  # under an older checkpoint: what is open or done by now


def test_a_receipt_counts_no_first_key_whose_revocation_it_does_not_show() -> None:
    ledger = LedgerInMemory()
    first = [ledger.revocation("T1-STATOR", batch_key("T1-STATOR/aoi-cam07"))]
    accept(ledger, *first)
    accept(ledger, ledger.registration("T1-STATOR", KeyPurpose.BATCH, "last"))
    register = KeyRegister(ledger.genesis, ledger.chain_id)
    shown = [each for each in ledger.governance() if each.event not in first]

    follow_entries(shown, register, size=ledger.size, root=ledger.root())

    assert register.key(batch_key("T1-STATOR/last")) is not None
    assert parse_batch_key_count(register.get(batch_key_count_key("T1-STATOR"))).unrevoked == 1
