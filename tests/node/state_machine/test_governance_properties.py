"""Random histories of governance: whatever parties try, these things hold."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.ed25519 import PrivateKey
from lotmark.finality_policy import policy_of_rows
from lotmark.governance import COSIGNERS_SPACING_MS, PROPOSAL_MS_MIN, kind_of
from lotmark.key_grant import NEVER, KeyPurpose
from lotmark.outcome import Outcome
from lotmark.state_rows import (
    GOVERNED_TABLES,
    ProposalStatus,
    Table,
    key_row,
    open_proposals,
    parse_party_row,
    parse_proposal_row,
)
from lotmark.tlog_policy import parse_policy
from lotmark.v1 import governance_pb2
from lotmark.verify.governance_chain import follow_entries
from lotmark.verify.key_register import KeyRegister
from lotmark_node.state_machine.ledger_state import read_policy
from tests.node.governance_events import (
    DAY_MS,
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
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.state_machine.read_rows import ReadRows
from tests.node.state_machine.reading import event_outcomes
from tests.proto.sample_genesis import private_key

PARTIES = ("LAB-17025", "OEM-A", "T1-STATOR", NEW_PARTY)
MES = "T1-STATOR/mes"
BLOCKS = 25


class Governing:
    """Parties that propose, approve, come, go and change keys, by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seed makes it the same each time
        self.ledger = LedgerInMemory()
        self.ledger.state.reader = ReadRows(self.ledger.rows)  # refuses to go through keys
        self.approved: dict[bytes, list[str]] = {}  # proposal -> every accepted approval
        self.outcomes: set[int] = set()
        self._asked: list[governance_pb2.Proposal] = []
        self._said: dict[bytes, tuple[bytes, str]] = {}  # event -> proposal and party

    def grow(self) -> None:
        """Add blocks."""
        for _ in range(BLOCKS):
            events = [self._event() for _ in range(self._random.choice((0, 1, 2, 4)))]
            jump_ms = self._random.choice((0, 1_000, COSIGNERS_SPACING_MS, DAY_MS // 3))
            time_ms = self.ledger.state.time_ms + jump_ms
            batches = [self.ledger.batch(MES, events)] if events else []
            effects = self.ledger.block(batches, time_ms=time_ms)
            self.outcomes |= set(event_outcomes(effects))
            for event, outcome in zip(events, event_outcomes(effects), strict=True):
                if not outcome and event in self._said:
                    hashed, party = self._said[event]
                    self.approved.setdefault(hashed, []).append(party)

    def _event(self) -> bytes:
        pick, ledger = self._random, self.ledger
        party = pick.choice(PARTIES)
        match pick.randrange(14):
            case 0 | 1 | 2:
                asked = self._proposal()
                self._asked.append(asked)
                made = proposing(ledger, asked, party, roots=self._roots(party))
                self._said[made] = hash_of(ledger, asked), party
            case 3:
                new = roots_of(f"{party} {pick.randrange(2)}")
                signers = [*roots_of(party), *new]
                made = rotation(ledger, party, new, threshold=pick.choice((1, 2)), signers=signers)
            case 4 if party in ("OEM-A", "T1-STATOR"):
                purpose = pick.choice((KeyPurpose.COSIGN, KeyPurpose.PROPOSAL))
                made = successor(ledger, party, purpose, "n1", label=f"{pick.randrange(3)}")
            case 5 if party in ("OEM-A", "T1-STATOR"):
                label = pick.choice(("", " 0", " 1"))
                key = private_key(f"{party}/n1 COSIGN{label}").public
                made = ledger.revocation(party, key)
            case _ if self._asked:
                hashed = hash_of(ledger, pick.choice(self._asked))
                made = approval(
                    ledger, hashed, party, roots=self._roots(party), nonce=pick.randbytes(4)
                )
                self._said[made] = hashed, party
            case _:
                return ledger.revocation("OEM-A", bytes(32))
        return made

    def _roots(self, party: str) -> list[PrivateKey]:
        """Return the roots that the party has, has had or may get."""
        row = self.ledger.rows.get(b"\x02" + len(party).to_bytes(2) + party.encode())
        candidates = [roots_of(party), *(roots_of(f"{party} {number}") for number in range(2))]
        if row is None or self._random.random() < 0.1:
            return self._random.choice(candidates)
        held = set(parse_party_row(row).roots)
        return next(each for each in candidates if {key.public for key in each} == held)

    def _proposal(self) -> governance_pb2.Proposal:
        pick, ledger = self._random, self.ledger
        end_ms = ledger.state.time_ms + pick.choice((2 * PROPOSAL_MS_MIN, DAY_MS, 3 * DAY_MS))
        party = pick.choice(PARTIES)
        match pick.randrange(6):
            case 0 | 1:
                change: dict[str, object] = {"add_party": NewParty().addition(ledger.chain_id)}
            case 2:
                change = {"remove_party": governance_pb2.PartyRemoval(party=party)}
            case 3:
                change = {"add_cosigner": new_cosigner(ledger, party, pick.choice(("w1", "w2")))}
            case 4:
                removal = governance_pb2.CosignerRemoval(
                    party=party, node=pick.choice(("n1", "w1"))
                )
                change = {"remove_cosigner": removal}
            case _:
                rule = governance_pb2.ApprovalRule.ValueType(pick.randrange(1, 4))
                kind = pick.randrange(2, 8)
                change = {"change_rule": governance_pb2.RuleChange(kind=kind, rule=rule)}
        return proposal(ledger, end_ms, **change)


def assert_keys_are_of_members(ledger: LedgerInMemory) -> None:
    """No key is in force whose party is gone, and a party's roots are those of its row."""
    parties = {
        key[3:].decode(): parse_party_row(value)
        for key, value in ledger.rows.rows(bytes([Table.PARTY]))
    }
    roots: dict[str, set[bytes]] = {party: set() for party in parties}
    for row_name, _ in ledger.rows.rows(bytes([Table.KEY])):
        key = row_name[3:]
        row = key_row(ledger.rows, key)
        assert row is not None
        party = parties[row.party]
        if party.removed_height != NEVER:
            assert row.revoked_height <= party.removed_height
        elif row.purpose == KeyPurpose.ROOT and row.revoked_height == NEVER:
            roots[row.party].add(key)
    for name, party in parties.items():
        assert party.removed_height != NEVER or roots[name] == set(party.roots)


def assert_proposals_are_what_was_approved(governing: Governing) -> None:
    """Every approval counts once, and what was activated had those that some rule asks for."""
    ledger = governing.ledger
    open_hashes = set(open_proposals(ledger.rows))
    for key, value in ledger.rows.rows(bytes([Table.PROPOSAL])):
        row, hashed = parse_proposal_row(value), key[3:]
        assert len(set(row.approvals)) == len(row.approvals)
        assert list(row.approvals) == governing.approved[hashed]
        assert (row.status is ProposalStatus.OPEN) == (hashed in open_hashes)
        assert (row.status is ProposalStatus.OPEN) == (row.decided_height == NEVER)
        assert kind_of(governance_pb2.Proposal.FromString(row.proposal))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_history_lets_a_key_act_without_its_party_or_an_approval_count_twice(seed: int) -> None:
    governing = Governing(seed)
    governing.grow()
    ledger = governing.ledger

    assert_keys_are_of_members(ledger)
    assert_proposals_are_what_was_approved(governing)
    text = read_policy(ledger.rows)
    assert text == policy_of_rows(ledger.state.chain, ledger.rows)
    parse_policy(text)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_governs_alone_leads_a_verifier_to_the_same_rows(seed: int) -> None:
    governing = Governing(seed)
    governing.grow()
    ledger = governing.ledger
    register = KeyRegister(ledger.genesis, ledger.chain_id)

    follow_entries(ledger.governance(), register, size=ledger.size, root=ledger.root())
    register.end_block(height=ledger.height, time_ms=ledger.state.time_ms)

    for table in GOVERNED_TABLES:
        prefix = bytes([table])
        assert dict(register.rows(prefix)) == dict(ledger.rows.rows(prefix)), table.name


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_cosigning_parties_never_change_twice_within_the_spacing(seed: int) -> None:
    governing = Governing(seed)
    governing.grow()
    replayed = LedgerInMemory(governing.ledger.genesis)
    before, changed_ms = cosigning(replayed), -COSIGNERS_SPACING_MS
    for raw, _ in governing.ledger.blocks:
        replayed.apply(raw)
        now = cosigning(replayed)
        if now != before:
            assert len(now ^ before) == 1
            assert replayed.state.time_ms >= changed_ms + COSIGNERS_SPACING_MS
            before, changed_ms = now, replayed.state.time_ms


def cosigning(ledger: LedgerInMemory) -> set[str]:
    """Return the parties whose cosignatures count."""
    policy = parse_policy(read_policy(ledger.rows))
    return {name for group in policy.groups if group.name == "final" for name in group.members}


def test_random_histories_reach_every_end_of_a_proposal() -> None:
    ends: set[ProposalStatus] = set()
    outcomes: set[int] = set()
    for seed in range(30):
        governing = Governing(seed)
        governing.grow()
        for _, value in governing.ledger.rows.rows(bytes([Table.PROPOSAL])):
            ends.add(parse_proposal_row(value).status)
        outcomes |= governing.outcomes

    assert ends >= {ProposalStatus.OPEN, ProposalStatus.ACTIVATED, ProposalStatus.EXPIRED}
    assert {Outcome.KEY_NEEDED, Outcome.APPROVED_ALREADY, Outcome.PROPOSAL_CLOSED} <= outcomes
