"""Parties propose, approve, come and go."""

from collections.abc import Callable, Sequence

import pytest

from lotmark.ed25519 import PrivateKey
from lotmark.genesis import MEMBERS_MAX
from lotmark.governance import (
    COSIGNERS_SPACING_MS,
    OPEN_PROPOSALS_OF_PARTY_MAX,
    PROPOSAL_MS_MAX,
    PROPOSAL_MS_MIN,
    ApprovalRule,
    ProposalKind,
    approvals_suffice,
)
from lotmark.key_grant import KeyPurpose
from lotmark.outcome import Outcome
from lotmark.state_rows import (
    ProposalRow,
    ProposalStatus,
    key_row,
    members,
    open_proposals,
    parse_proposal_row,
    party_key,
    proposal_key,
)
from lotmark.tlog_policy import parse_policy
from lotmark.v1 import event_pb2, governance_pb2
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
    registration,
    roots_of,
    rotation,
)
from tests.node.ledger_in_memory import LedgerInMemory, event, measurement
from tests.node.state_machine.reading import batch_outcomes, event_outcomes
from tests.proto.sample_genesis import GOLDEN, grant, private_key

MES = "T1-STATOR/mes"
Change = Callable[[LedgerInMemory], dict[str, object]]


def put(ledger: LedgerInMemory, *events: bytes, time_ms: int | None = None) -> list[Outcome]:
    """Put events into the next block and return what became of them."""
    effects = ledger.block([ledger.batch(MES, events)], time_ms=time_ms)
    return [Outcome(outcome) for outcome in event_outcomes(effects)]


def row_of(ledger: LedgerInMemory, asked: governance_pb2.Proposal) -> ProposalRow:
    """Return the row of a proposal."""
    raw = ledger.rows.get(proposal_key(hash_of(ledger, asked)))
    assert raw is not None
    return parse_proposal_row(raw)


def adding(ledger: LedgerInMemory, new: NewParty | None = None) -> governance_pb2.Proposal:
    """Return a proposal to take in a party."""
    return proposal(ledger, add_party=(new or NewParty()).addition(ledger.chain_id))


def removing(ledger: LedgerInMemory, party: str) -> governance_pb2.Proposal:
    """Return a proposal that a party leaves."""
    return proposal(ledger, remove_party=governance_pb2.PartyRemoval(party=party))


def decide(
    ledger: LedgerInMemory, asked: governance_pb2.Proposal, approving: Sequence[str]
) -> None:
    """Have parties approve a proposal, the first of them by opening it."""
    hashed = hash_of(ledger, asked)
    events = [proposing(ledger, asked, approving[0])]
    events += [approval(ledger, hashed, party) for party in approving[1:]]
    assert set(put(ledger, *events)) == {Outcome.ACCEPTED}


def with_new_party() -> LedgerInMemory:
    """Return a ledger of four parties, of which one came later."""
    ledger = LedgerInMemory()
    decide(ledger, adding(ledger), ["OEM-A", "T1-STATOR"])
    return ledger


def test_a_party_joins_once_a_majority_approves_and_signs_from_the_next_block_on() -> None:
    ledger = LedgerInMemory()
    asked = adding(ledger)
    opening = put(ledger, proposing(ledger, asked))
    assert (opening, row_of(ledger, asked).status) == ([Outcome.ACCEPTED], ProposalStatus.OPEN)
    early = ledger.batch(f"{NEW_PARTY}/erp", [measurement(1)], sequence=1, previous=bytes(32))
    effects = ledger.block(
        [ledger.batch(MES, [approval(ledger, hash_of(ledger, asked), "T1-STATOR")]), early]
    )
    after = ledger.block([ledger.batch(f"{NEW_PARTY}/erp", [measurement(1)])])

    assert batch_outcomes(effects) == [Outcome.ACCEPTED, Outcome.KEY_UNKNOWN]
    assert batch_outcomes(after) == [Outcome.ACCEPTED]
    assert NEW_PARTY not in members(ledger.rows, 2)
    assert NEW_PARTY in members(ledger.rows, 3)
    row = row_of(ledger, asked)
    assert (row.status, row.decided_height) == (ProposalStatus.ACTIVATED, 2)
    assert row.approvals == ("OEM-A", "T1-STATOR")
    assert open_proposals(ledger.rows) == []


def test_a_party_that_joined_later_registers_keys_and_approves() -> None:
    ledger = with_new_party()
    granted, key = grant(NEW_PARTY, KeyPurpose.BATCH, "mes")
    register = ledger.registration_of(granted, key, roots=roots_of(NEW_PARTY))
    asked = removing(ledger, "LAB-17025")
    approve = approval(ledger, hash_of(ledger, asked), NEW_PARTY)

    outcomes = put(ledger, register, proposing(ledger, asked), approve)

    assert outcomes == [Outcome.ACCEPTED] * 3
    assert row_of(ledger, asked).status is ProposalStatus.OPEN  # T1-STATOR has not approved


def test_an_event_names_a_party_in_its_audience_as_long_as_it_is_a_member() -> None:
    ledger = LedgerInMemory()
    named = measurement(1, audience=[NEW_PARTY])
    before = put(ledger, named)
    decide(ledger, adding(ledger), ["OEM-A", "T1-STATOR"])

    assert before == [Outcome.PARTY_UNKNOWN]
    assert put(ledger, measurement(2, audience=[NEW_PARTY])) == [Outcome.ACCEPTED]


def test_a_removed_party_s_keys_and_roots_are_refused_and_what_it_signed_stays() -> None:
    ledger = with_new_party()
    ledger.block([ledger.batch(f"{NEW_PARTY}/erp", [measurement(1)])])
    asked = removing(ledger, NEW_PARTY)
    parties = ["LAB-17025", "OEM-A", "T1-STATOR"]
    events = [proposing(ledger, asked, parties[0])]
    events += [approval(ledger, hash_of(ledger, asked), party) for party in parties[1:]]
    last = ledger.batch(f"{NEW_PARTY}/erp", [measurement(2)])
    same_block = ledger.block([ledger.batch(MES, events), last])
    late = ledger.batch(f"{NEW_PARTY}/erp", [measurement(3)])
    granted, key = grant(NEW_PARTY, KeyPurpose.BATCH, "mes")
    register = ledger.registration_of(granted, key, roots=roots_of(NEW_PARTY))
    rotate = rotation(ledger, NEW_PARTY, roots_of("X"))
    propose = proposing(ledger, removing(ledger, "LAB-17025"), NEW_PARTY)
    after = ledger.block([late, ledger.batch(MES, [register, rotate, propose])])

    assert batch_outcomes(same_block) == [Outcome.ACCEPTED] * 2
    assert batch_outcomes(after) == [Outcome.KEY_REVOKED, Outcome.ACCEPTED]
    assert event_outcomes(after) == [Outcome.PARTY_UNKNOWN] * 3
    assert put(ledger, measurement(4, audience=[NEW_PARTY])) == [Outcome.PARTY_UNKNOWN]


def test_a_removed_party_s_id_and_keys_are_never_given_again() -> None:
    ledger = with_new_party()
    decide(ledger, removing(ledger, NEW_PARTY), ["LAB-17025", "OEM-A", "T1-STATOR"])

    assert put(ledger, proposing(ledger, adding(ledger))) == [Outcome.PROPOSAL_INVALID]


def test_an_approval_of_a_party_that_is_gone_by_then_does_not_count() -> None:
    ledger = with_new_party()
    quotas = governance_pb2.QuotaChange(events=1, bytes=1_000, signatures=1, state_keys=1)
    asked = proposal(ledger, change_quotas=quotas)
    hashed = hash_of(ledger, asked)
    put(ledger, proposing(ledger, asked, NEW_PARTY))
    decide(ledger, removing(ledger, NEW_PARTY), ["LAB-17025", "OEM-A", "T1-STATOR"])

    assert put(ledger, approval(ledger, hashed, "OEM-A")) == [Outcome.ACCEPTED]
    assert row_of(ledger, asked).status is ProposalStatus.OPEN  # one of three
    assert put(ledger, approval(ledger, hashed, "LAB-17025")) == [Outcome.ACCEPTED]
    assert row_of(ledger, asked).status is ProposalStatus.ACTIVATED


def test_a_proposal_is_decided_again_when_another_one_unmakes_a_member() -> None:
    ledger = with_new_party()
    asked = proposal(
        ledger,
        change_rule=governance_pb2.RuleChange(
            kind=ProposalKind.ADD_PARTY, rule=governance_pb2.APPROVAL_RULE_ALL
        ),
    )
    decide(ledger, asked, ["LAB-17025", "OEM-A", "T1-STATOR"])
    assert row_of(ledger, asked).status is ProposalStatus.OPEN

    decide(ledger, removing(ledger, NEW_PARTY), ["LAB-17025", "OEM-A", "T1-STATOR"])

    assert row_of(ledger, asked).status is ProposalStatus.ACTIVATED
    assert row_of(ledger, asked).decided_height == ledger.height


def test_the_rule_of_the_moment_counts() -> None:
    ledger = LedgerInMemory()
    parties = ["LAB-17025", "OEM-A", "T1-STATOR"]
    change = governance_pb2.RuleChange(
        kind=ProposalKind.ADD_PARTY, rule=governance_pb2.APPROVAL_RULE_ALL
    )
    decide(ledger, proposal(ledger, change_rule=change), parties)
    asked = adding(ledger)

    decide(ledger, asked, ["OEM-A", "T1-STATOR"])

    assert row_of(ledger, asked).status is ProposalStatus.OPEN
    assert put(ledger, approval(ledger, hash_of(ledger, asked), "LAB-17025")) == [0]
    assert row_of(ledger, asked).status is ProposalStatus.ACTIVATED


def test_quotas_change_for_the_next_block() -> None:
    ledger = LedgerInMemory()
    quotas = governance_pb2.QuotaChange(events=2, bytes=100_000, signatures=9, state_keys=9)
    decide(ledger, proposal(ledger, change_quotas=quotas), ["OEM-A", "LAB-17025"])

    effects = ledger.block(
        [ledger.batch("OEM-A/erp", [measurement(number) for number in range(3)])]
    )

    assert batch_outcomes(effects) == [Outcome.QUOTA_EXCEEDED]


# --- proposals and approvals that are refused ---


def opened() -> tuple[LedgerInMemory, governance_pb2.Proposal, bytes]:
    """Return a ledger with one open proposal, and its hash."""
    ledger = LedgerInMemory()
    asked = adding(ledger)
    assert put(ledger, proposing(ledger, asked)) == [Outcome.ACCEPTED]
    return ledger, asked, hash_of(ledger, asked)


def test_an_approval_of_other_bytes_is_refused() -> None:
    ledger, _, hashed = opened()
    other = hash_of(ledger, adding(ledger, NewParty(role=3)))

    assert put(ledger, approval(ledger, other, "T1-STATOR")) == [Outcome.PROPOSAL_UNKNOWN]
    signed_other = approval(ledger, hashed, "T1-STATOR", signed_hash=other)
    assert put(ledger, signed_other) == [Outcome.ROOTS_INSUFFICIENT]


def test_an_approval_counts_once() -> None:
    ledger, asked, hashed = opened()

    again = put(ledger, approval(ledger, hashed, "OEM-A", nonce=b"again"))

    assert again == [Outcome.APPROVED_ALREADY]
    assert row_of(ledger, asked).approvals == ("OEM-A",)


def test_an_expired_proposal_is_approved_by_nobody() -> None:
    ledger, asked, hashed = opened()
    late = [approval(ledger, hashed, "T1-STATOR")]

    outcomes = put(ledger, *late, time_ms=asked.expires_ms)

    assert outcomes == [Outcome.PROPOSAL_CLOSED]
    assert row_of(ledger, asked).status is ProposalStatus.EXPIRED
    assert put(ledger, approval(ledger, hashed, "LAB-17025")) == [Outcome.PROPOSAL_CLOSED]
    assert NEW_PARTY not in members(ledger.rows, ledger.height + 1)


def test_a_proposal_that_nobody_touches_expires_by_the_time_of_a_block() -> None:
    ledger, asked, _ = opened()
    ledger.block(time_ms=asked.expires_ms - 1)
    assert row_of(ledger, asked).status is ProposalStatus.OPEN

    ledger.block(time_ms=asked.expires_ms)

    assert row_of(ledger, asked).status is ProposalStatus.EXPIRED
    assert open_proposals(ledger.rows) == []


def test_a_decided_proposal_is_closed() -> None:
    ledger, _, hashed = opened()
    put(ledger, approval(ledger, hashed, "T1-STATOR"))

    assert put(ledger, approval(ledger, hashed, "LAB-17025")) == [Outcome.PROPOSAL_CLOSED]


def test_a_proposal_that_can_no_longer_be_carried_out_is_void() -> None:
    ledger = LedgerInMemory()
    first, second = adding(ledger), adding(ledger, NewParty(role=3))
    assert put(ledger, proposing(ledger, first), proposing(ledger, second, "T1-STATOR")) == [0, 0]

    put(ledger, approval(ledger, hash_of(ledger, second), "LAB-17025"))
    approving = [
        approval(ledger, hash_of(ledger, first), party) for party in ("LAB-17025", "T1-STATOR")
    ]
    put(ledger, *approving)

    assert row_of(ledger, second).status is ProposalStatus.ACTIVATED
    assert row_of(ledger, first).status is ProposalStatus.VOID
    assert members(ledger.rows, ledger.height + 1)[NEW_PARTY].role == 3


def test_old_roots_do_not_approve_after_a_rotation() -> None:
    ledger, _, hashed = opened()
    put(ledger, rotation(ledger, "T1-STATOR", roots_of("T1-STATOR new"), threshold=2))

    assert put(ledger, approval(ledger, hashed, "T1-STATOR")) == [Outcome.ROOTS_INSUFFICIENT]
    by_new = approval(ledger, hashed, "T1-STATOR", roots=roots_of("T1-STATOR new"))
    assert put(ledger, by_new) == [Outcome.ACCEPTED]


@pytest.mark.parametrize(
    ("party", "roots", "outcome"),
    [
        ("T1-STATOR", roots_of("T1-STATOR")[:1], Outcome.ROOTS_INSUFFICIENT),
        ("T1-STATOR", roots_of("OEM-A"), Outcome.ROOTS_INSUFFICIENT),
        ("T1-STATOR", (), Outcome.ROOTS_INSUFFICIENT),
        ("NOBODY", roots_of("NOBODY"), Outcome.PARTY_UNKNOWN),
        (NEW_PARTY, roots_of(NEW_PARTY), Outcome.PARTY_UNKNOWN),
    ],
)
def test_an_approval_without_the_party_s_roots_is_refused(
    party: str, roots: Sequence[PrivateKey], outcome: Outcome
) -> None:
    ledger, _, hashed = opened()

    assert put(ledger, approval(ledger, hashed, party, roots=roots)) == [outcome]
    other = adding(ledger, NewParty(role=3))
    assert put(ledger, proposing(ledger, other, party, roots=roots)) == [outcome]


def changed(ledger: LedgerInMemory, **fields: object) -> dict[str, object]:
    """Return an addition in which fields are others than its roots have signed."""
    addition = NewParty().addition(ledger.chain_id)
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(addition, name)[:]
            getattr(addition, name).extend(value)
        else:
            setattr(addition, name, value)
    return {"add_party": addition}


def _first_key(
    ledger: LedgerInMemory, purpose: KeyPurpose, party: str = NEW_PARTY
) -> governance_pb2.KeyRegistration:
    granted, key = grant(party, purpose, "n1")
    return registration(granted, key, roots_of(NEW_PARTY), ledger.chain_id)


def _unpossessed(ledger: LedgerInMemory) -> dict[str, object]:
    addition = NewParty().addition(ledger.chain_id)
    addition.keys[0].possession = bytes(64)
    return {"add_party": addition}


BAD_CHANGES: dict[str, tuple[Change, Outcome]] = {
    "nothing": (lambda led: {}, Outcome.PROPOSAL_INVALID),
    "two things": (
        lambda led: {
            "remove_party": governance_pb2.PartyRemoval(party="LAB-17025"),
            "change_quotas": governance_pb2.QuotaChange(
                events=1, bytes=1, signatures=1, state_keys=1
            ),
        },
        Outcome.PROPOSAL_INVALID,
    ),
    "a party without acceptances": (
        lambda led: changed(led, acceptances=[]), Outcome.PROPOSAL_INVALID,
    ),
    "a party with another role than signed": (
        lambda led: changed(led, role=3), Outcome.PROPOSAL_INVALID,
    ),
    "a party of an unknown role": (lambda led: changed(led, role=9), Outcome.PROPOSAL_INVALID),
    "a party with a lower threshold than signed": (
        lambda led: changed(led, threshold=1), Outcome.PROPOSAL_INVALID,
    ),
    "a party with another's CA": (
        lambda led: {
            "add_party": NewParty(ca_pem=(GOLDEN / "ca-OEM-A.pem").read_text()).addition(
                led.chain_id
            )
        },
        Outcome.PROPOSAL_INVALID,
    ),
    "a party without a CA": (
        lambda led: {"add_party": NewParty(ca_pem="").addition(led.chain_id)},
        Outcome.PROPOSAL_INVALID,
    ),
    "a party that is there": (
        lambda led: {"add_party": NewParty(id="OEM-A").addition(led.chain_id)},
        Outcome.PROPOSAL_INVALID,
    ),
    "a party with another's roots": (
        lambda led: {"add_party": NewParty(roots=roots_of("OEM-A")).addition(led.chain_id)},
        Outcome.KEY_ALREADY_REGISTERED,
    ),
    "a first key without possession": (_unpossessed, Outcome.PROPOSAL_INVALID),
    "a first key of another party": (
        lambda led: changed(led, keys=[_first_key(led, KeyPurpose.BATCH, "OEM-A")]),
        Outcome.PROPOSAL_INVALID,
    ),
    "a first key of a node": (
        lambda led: changed(led, keys=[_first_key(led, KeyPurpose.PROPOSAL)]),
        Outcome.PROPOSAL_INVALID,
    ),
    "a party that is not there leaves": (
        lambda led: {"remove_party": governance_pb2.PartyRemoval(party=NEW_PARTY)},
        Outcome.PARTY_UNKNOWN,
    ),
    "a party leaves whose id is no id": (
        lambda led: {"remove_party": governance_pb2.PartyRemoval(party="Ä")},
        Outcome.PARTY_UNKNOWN,
    ),
    "a party with a voter leaves": (
        lambda led: {"remove_party": governance_pb2.PartyRemoval(party="T1-STATOR")},
        Outcome.PROPOSAL_INVALID,
    ),
    "a voter ceases to cosign": (
        lambda led: {
            "remove_cosigner": governance_pb2.CosignerRemoval(party="T1-STATOR", node="n1")
        },
        Outcome.PROPOSAL_INVALID,
    ),
    "a node ceases to cosign that does not": (
        lambda led: {
            "remove_cosigner": governance_pb2.CosignerRemoval(party="T1-STATOR", node="n7")
        },
        Outcome.KEY_NOT_FOUND,
    ),
    "a node ceases to cosign whose name is no name": (
        lambda led: {
            "remove_cosigner": governance_pb2.CosignerRemoval(party="LAB-17025", node="Ä")
        },
        Outcome.KEY_NOT_FOUND,
    ),
    "a node without a name ceases to cosign": (
        lambda led: {"remove_cosigner": governance_pb2.CosignerRemoval(party="LAB-17025")},
        Outcome.KEY_NOT_FOUND,
    ),
    "a node of no party ceases to cosign": (
        lambda led: {"remove_cosigner": governance_pb2.CosignerRemoval(node="n1")},
        Outcome.KEY_NOT_FOUND,
    ),
    "a cosigner that cosigns": (
        lambda led: {
            "add_cosigner": _cosigner_again(led)
        },
        Outcome.PROPOSAL_INVALID,
    ),
    "a cosigner of a party that is not there": (
        lambda led: {"add_cosigner": new_cosigner(led, NEW_PARTY, "w1")}, Outcome.PARTY_UNKNOWN,
    ),
    "a rule of an unknown kind": (
        lambda led: {"change_rule": governance_pb2.RuleChange(kind=99, rule=1)},  # type: ignore[arg-type]
        Outcome.PROPOSAL_INVALID,
    ),
    "an unknown rule": (
        lambda led: {"change_rule": governance_pb2.RuleChange(kind=2, rule=9)},  # type: ignore[arg-type]
        Outcome.PROPOSAL_INVALID,
    ),
    "no quota": (
        lambda led: {
            "change_quotas": governance_pb2.QuotaChange(events=1, bytes=1, signatures=1)
        },
        Outcome.PROPOSAL_INVALID,
    ),
}  # fmt: skip


def _cosigner_again(ledger: LedgerInMemory) -> governance_pb2.KeyRegistration:
    granted, key = grant("LAB-17025", KeyPurpose.COSIGN, "n1", label="another")
    return registration(granted, key, roots_of("LAB-17025"), ledger.chain_id)


@pytest.mark.parametrize("name", BAD_CHANGES)
def test_a_proposal_that_could_not_be_carried_out_is_refused(name: str) -> None:
    make, outcome = BAD_CHANGES[name]
    ledger = LedgerInMemory()
    asked = proposal(ledger, None, **make(ledger))

    assert put(ledger, proposing(ledger, asked)) == [outcome]
    assert ledger.rows.get(proposal_key(hash_of(ledger, asked))) is None


@pytest.mark.parametrize("offset_ms", [-1, 0, PROPOSAL_MS_MIN - 1, PROPOSAL_MS_MAX + 1])
def test_a_proposal_that_ends_too_early_or_too_late_is_refused(offset_ms: int) -> None:
    ledger = LedgerInMemory()
    block_ms = ledger.state.time_ms + 1_000
    asked = adding(ledger)
    asked.expires_ms = block_ms + offset_ms

    assert put(ledger, proposing(ledger, asked), time_ms=block_ms) == [Outcome.PROPOSAL_INVALID]


def test_a_proposal_is_opened_once() -> None:
    ledger, asked, _ = opened()

    assert put(ledger, proposing(ledger, asked, "T1-STATOR")) == [Outcome.PROPOSAL_EXISTS]


def test_a_party_has_a_bounded_number_of_open_proposals() -> None:
    ledger = LedgerInMemory()
    removal = governance_pb2.PartyRemoval(party="LAB-17025")
    asked = [
        proposal(ledger, ledger.state.time_ms + DAY_MS + number, remove_party=removal)
        for number in range(OPEN_PROPOSALS_OF_PARTY_MAX + 1)
    ]

    outcomes = put(ledger, *(proposing(ledger, each) for each in asked))

    assert outcomes == [0] * OPEN_PROPOSALS_OF_PARTY_MAX + [Outcome.PROPOSALS_TOO_MANY]
    assert put(ledger, proposing(ledger, asked[-1], "T1-STATOR")) == [Outcome.ACCEPTED]


# --- who cosigns ---


def final_parties(ledger: LedgerInMemory) -> tuple[int, tuple[str, ...]]:
    """Return how many of which parties make a checkpoint final."""
    policy = parse_policy(read_policy(ledger.rows))
    final = next(group for group in policy.groups if group.name == "final")
    return final.threshold, final.members


def test_a_cosigner_comes_in_with_its_party_and_the_quorum_follows() -> None:
    ledger = with_new_party()
    assert final_parties(ledger) == (3, ("LAB-17025", "OEM-A", "T1-STATOR"))
    asked = proposal(ledger, add_cosigner=new_cosigner(ledger, NEW_PARTY, "w1"))

    decide(ledger, asked, ["OEM-A", "T1-STATOR", "LAB-17025"])

    assert row_of(ledger, asked).status is ProposalStatus.ACTIVATED
    assert final_parties(ledger) == (3, ("LAB-17025", "OEM-A", "T1-STATOR", NEW_PARTY))


def test_the_cosigning_parties_change_one_at_a_time_an_hour_apart() -> None:
    ledger = with_new_party()
    parties = ["OEM-A", "T1-STATOR", "LAB-17025"]
    first = proposal(ledger, add_cosigner=new_cosigner(ledger, NEW_PARTY, "w1"))
    decide(ledger, first, parties)
    changed_ms = ledger.state.time_ms
    cosigner = governance_pb2.CosignerRemoval(party="LAB-17025", node="n1")
    second = proposal(ledger, remove_cosigner=cosigner)
    decide(ledger, second, ["OEM-A", "T1-STATOR", NEW_PARTY])
    assert row_of(ledger, second).status is ProposalStatus.OPEN
    ledger.block(time_ms=changed_ms + COSIGNERS_SPACING_MS - 1)
    assert row_of(ledger, second).status is ProposalStatus.OPEN

    ledger.block(time_ms=changed_ms + COSIGNERS_SPACING_MS)

    assert row_of(ledger, second).status is ProposalStatus.ACTIVATED
    assert final_parties(ledger) == (3, ("OEM-A", "T1-STATOR", NEW_PARTY))
    old = key_row(ledger.rows, private_key("LAB-17025/n1 COSIGN").public)
    assert old is not None
    assert old.revoked_height == ledger.height + 1


def test_a_further_cosigner_of_a_party_that_cosigns_need_not_wait() -> None:
    ledger = with_new_party()
    parties = ["OEM-A", "T1-STATOR", "LAB-17025"]
    for party, node in ((NEW_PARTY, "w1"), ("LAB-17025", "w2")):
        asked = proposal(ledger, add_cosigner=new_cosigner(ledger, party, node))
        decide(ledger, asked, parties)
        assert row_of(ledger, asked).status is ProposalStatus.ACTIVATED


def test_approval_rules_need_two_parties_where_there_are_two() -> None:
    rule = ApprovalRule.ALL_BUT_SUBJECT
    assert not approvals_suffice(rule, {"A", "B"}, {"A"}, "B")
    assert approvals_suffice(rule, {"A", "B"}, {"A", "B"}, "B")
    assert approvals_suffice(rule, {"A", "B", "C"}, {"A", "B"}, "C")
    assert not approvals_suffice(rule, {"A", "B", "C"}, {"A", "C"}, "C")
    assert not approvals_suffice(ApprovalRule.MAJORITY, {"A", "B"}, {"A", "GONE"}, None)
    assert approvals_suffice(ApprovalRule.ALL, {"A"}, {"A"}, None)


def test_an_event_without_a_proposal_is_refused() -> None:
    ledger = LedgerInMemory()
    body = governance_pb2.GovernanceProposal(party="OEM-A")
    made = event_pb2.Event.FromString(event(governance_proposal=body, nonce="x"))

    assert put(ledger, made.SerializeToString(deterministic=True)) == [Outcome.PROPOSAL_INVALID]


def test_no_party_joins_sixty_four_others() -> None:
    ledger = LedgerInMemory()
    other = ledger.rows.get(party_key("LAB-17025"))
    assert other is not None
    for at in range(MEMBERS_MAX - 4):
        ledger.rows.put(party_key(f"P{at}"), other)
    assert put(ledger, proposing(ledger, adding(ledger))) == [0], "there is room for one"

    ledger.rows.put(party_key("P-LAST"), other)
    later = adding(ledger, NewParty(holder="erp-2"))
    assert put(ledger, proposing(ledger, later)) == [Outcome.PROPOSAL_INVALID]
