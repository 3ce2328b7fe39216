"""Proposals to the parties: what they ask for, what is signed, and when approvals suffice.

A proposal's hash is over its canonical bytes and the chain, so an approval names exactly what was
read. Whether approvals suffice is asked when the proposal would come into force, of the members
and the rule of that moment: `lotmark.governance_rules`.
"""

import hashlib
from collections.abc import Collection, Sequence
from enum import IntEnum

from lotmark.ca_certificate import load_ca
from lotmark.errors import MalformedError
from lotmark.key_grant import (
    NO_KEY,
    KeyPurpose,
    RootSet,
    check_party,
    check_root_set,
    encode_root_set,
    grant_from_message,
    statement,
    verify_possession,
    verify_roots,
)
from lotmark.state_rows import RowReader, parameter_key, str8
from lotmark.v1 import governance_pb2

PROPOSAL_MS_MIN = 60 * 60 * 1000  # from opening to expiry: a party opens so many in a time
PROPOSAL_MS_MAX = 90 * 24 * 60 * 60 * 1000
OPEN_PROPOSALS_MAX = 64
OPEN_PROPOSALS_OF_PARTY_MAX = 8
FIRST_KEYS_MAX = 16
# Between two changes of which parties cosign: so long one quorum has to see the first change.
COSIGNERS_SPACING_MS = 60 * 60 * 1000

_PROPOSAL_DOMAIN = b"lotmark/governance/v1\n"
_APPROVAL_DOMAIN = b"lotmark/approve/v1\n"
_JOINING_DOMAIN = b"lotmark/party-join/v1\n"


class ProposalKind(IntEnum):
    """What a proposal asks for; the numbers are those of the fields of `Proposal`."""

    ADD_PARTY = 2
    REMOVE_PARTY = 3
    ADD_COSIGNER = 4
    REMOVE_COSIGNER = 5
    CHANGE_RULE = 6
    CHANGE_QUOTAS = 7
    START_ITEM_CHAIN = 8

    @property
    def rule_name(self) -> str:
        """The parameter that holds the rule of this kind."""
        return f"approve_{self.name.lower()}"


class ApprovalRule(IntEnum):
    """Who must approve; the numbers are those of the parameter and of the wire."""

    MAJORITY = 1
    ALL = 2
    ALL_BUT_SUBJECT = 3


# Height 0 has a row of each.
FIRST_RULES = {
    ProposalKind.ADD_PARTY: ApprovalRule.MAJORITY,
    ProposalKind.REMOVE_PARTY: ApprovalRule.ALL_BUT_SUBJECT,
    ProposalKind.ADD_COSIGNER: ApprovalRule.MAJORITY,
    ProposalKind.REMOVE_COSIGNER: ApprovalRule.ALL_BUT_SUBJECT,
    ProposalKind.CHANGE_RULE: ApprovalRule.ALL,
    ProposalKind.CHANGE_QUOTAS: ApprovalRule.MAJORITY,
}
# Kinds that are younger than some chains: without a row this is the rule.
LATER_RULES = {ProposalKind.START_ITEM_CHAIN: ApprovalRule.MAJORITY}


def rule_of(rows: RowReader, kind: ProposalKind) -> ApprovalRule:
    """Return who must approve a proposal of a kind."""
    raw = rows.get(parameter_key(kind.rule_name))
    return LATER_RULES[kind] if raw is None else ApprovalRule(int.from_bytes(raw))


def kind_of(proposal: governance_pb2.Proposal) -> ProposalKind:
    """Return what a proposal asks for.

    Raises:
        MalformedError: It asks for nothing, or for several things at once.
    """
    numbers = {field.number for field, _ in proposal.ListFields()}
    kinds = [kind for kind in ProposalKind if kind in numbers]
    if len(kinds) != 1:
        raise MalformedError(f"a proposal holds one change, this one {len(kinds)}")
    return kinds[0]


def proposal_bytes(proposal: governance_pb2.Proposal) -> bytes:
    """Return the canonical bytes of a proposal."""
    return proposal.SerializeToString(deterministic=True)


def proposal_hash(chain_id: bytes, proposal: bytes) -> bytes:
    """Return what approvals name a proposal by, from its canonical bytes."""
    return hashlib.sha256(_PROPOSAL_DOMAIN + chain_id + proposal).digest()


def approval_statement(*, chain_id: bytes, proposal: bytes, party: str) -> bytes:
    """Return the bytes that a party's roots sign to approve the proposal of this hash.

    Raises:
        MalformedError: The party is none, or the hash has another size.
    """
    check_party(party)
    if len(proposal) != hashlib.sha256().digest_size:
        raise MalformedError(f"a proposal's hash has 32 bytes, this one {len(proposal)}")
    return _APPROVAL_DOMAIN + chain_id + proposal + str8(party)


def joining_statement(
    *, chain_id: bytes, party: str, role: int, roots: RootSet, ca_pem: str
) -> bytes:
    """Return the bytes that the roots of a party sign to join the chain.

    Raises:
        MalformedError: The party is none.
    """
    check_party(party)
    ca_digest = hashlib.sha256(ca_pem.encode()).digest()
    return (
        _JOINING_DOMAIN
        + chain_id
        + bytes([role])
        + encode_root_set(roots)
        + ca_digest
        + str8(party)
    )


def root_set_of(addition: governance_pb2.PartyAddition) -> RootSet:
    """Return the roots of a party that is to join."""
    return RootSet(threshold=addition.threshold, keys=tuple(addition.roots))


def check_addition(addition: governance_pb2.PartyAddition, chain_id: bytes) -> None:
    """Check what can be known of a party that is to join without any ledger.

    Raises:
        ProtocolError: Its id, role, roots, CA or first keys are not as they must be, or a
            signature does not hold.
    """
    check_party(addition.party)
    if not 1 <= addition.role <= max(governance_pb2.PartyRole.values()):
        raise MalformedError(f"role {addition.role} of {addition.party} is unknown; use 1 to 6")
    roots = root_set_of(addition)
    check_root_set(roots, party=addition.party)
    load_ca(addition.ca, party=addition.party)
    signed = joining_statement(
        chain_id=chain_id,
        party=addition.party,
        role=addition.role,
        roots=roots,
        ca_pem=addition.ca,
    )
    verify_roots(signed, pairs(addition.acceptances), roots.keys, len(roots.keys))
    if len(addition.keys) > FIRST_KEYS_MAX:
        raise MalformedError(f"{len(addition.keys)} first keys; at most {FIRST_KEYS_MAX} fit")
    for registration in addition.keys:
        _check_first_key(registration, addition.party, roots, chain_id)
    keys = [*roots.keys, *(registration.grant.key for registration in addition.keys)]
    if len(set(keys)) != len(keys):
        raise MalformedError(f"a key of {addition.party} is used twice; it has one purpose")


def _check_first_key(
    registration: governance_pb2.KeyRegistration, party: str, roots: RootSet, chain_id: bytes
) -> None:
    grant = grant_from_message(registration.grant)
    if (grant.party, grant.purpose, grant.replaces) != (party, KeyPurpose.BATCH, NO_KEY):
        raise MalformedError(f"the first keys of {party} are its own batch keys and replace none")
    verify_possession(grant, chain_id, registration.possession)
    signed = statement(grant, chain_id)
    verify_roots(signed, pairs(registration.roots), roots.keys, roots.threshold)


def pairs(signatures: Sequence[governance_pb2.KeySignature]) -> list[tuple[bytes, bytes]]:
    """Return key and signature of each."""
    return [(each.key, each.signature) for each in signatures]


def approvals_suffice(
    rule: ApprovalRule, members: Collection[str], approvals: Collection[str], subject: str | None
) -> bool:
    """Return whether the members that approve are those a rule asks for.

    Args:
        rule: Of the proposal's kind.
        members: The parties there are.
        approvals: The parties that approved, each once; those that are no members do not count.
        subject: The party that the proposal is about, if it is about one.
    """
    counted = set(members) & set(approvals)
    match rule:
        case ApprovalRule.MAJORITY:
            return 2 * len(counted) > len(members)
        case ApprovalRule.ALL:
            return counted == set(members)
        case ApprovalRule.ALL_BUT_SUBJECT:
            others = set(members) - {subject}
            return others <= counted and len(counted) >= min(2, len(members))
