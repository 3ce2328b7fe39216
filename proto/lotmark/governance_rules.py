"""What proposals and approvals do to the rows, and what a block's end makes of them.

Approvals are counted when a proposal would come into force: at the end of a block, by the rule and
the members of that moment. What a proposal asks for holds from the next height on.
"""

from dataclasses import replace

from lotmark.ca_certificate import ca_key, load_ca
from lotmark.errors import ProtocolError
from lotmark.finality_policy import policy_of_rows
from lotmark.genesis import MEMBERS_MAX
from lotmark.governance import (
    COSIGNERS_SPACING_MS,
    OPEN_PROPOSALS_MAX,
    OPEN_PROPOSALS_OF_PARTY_MAX,
    PROPOSAL_MS_MAX,
    PROPOSAL_MS_MIN,
    ApprovalRule,
    ProposalKind,
    approval_statement,
    approvals_suffice,
    check_addition,
    kind_of,
    proposal_bytes,
    proposal_hash,
    root_set_of,
    rule_of,
)
from lotmark.item_epochs import EPOCH_PARAMETERS
from lotmark.key_grant import (
    NEVER,
    NO_KEY,
    KeyPurpose,
    grant_from_message,
    statement,
    verify_possession,
)
from lotmark.key_rules import (
    Place,
    has_room_in_policy,
    judge_roots,
    register_key,
    revoke_key,
    rotate_roots,
    row_of_grant,
    row_of_root,
)
from lotmark.outcome import Outcome
from lotmark.state_rows import (
    PartyRow,
    ProposalRow,
    ProposalStatus,
    RowReader,
    Rows,
    Table,
    key_row,
    members,
    node_keys,
    open_proposals,
    parameter,
    parameter_key,
    parse_party_row,
    parse_proposal_row,
    party_key,
    party_row,
    proposal_key,
    put_key,
    put_open_proposals,
    row_key,
    u64,
)
from lotmark.v1 import event_pb2, governance_pb2

COSIGNERS_CHANGED = "cosigners_changed_ms"  # parameter: when the cosigning parties last changed

# Events that change who may do what; a range carries those before it.
GOVERNING_BODIES = (
    "key_registration",
    "key_revocation",
    "root_rotation",
    "governance_proposal",
    "governance_approval",
)

_KINDS = frozenset(int(kind) for kind in ProposalKind)
_RULES = frozenset(int(rule) for rule in ApprovalRule)
_QUOTAS = ("events", "bytes", "signatures", "state_keys")


def govern(rows: Rows, message: event_pb2.Event, place: Place) -> Outcome:
    """Do what an event says that has one of `GOVERNING_BODIES`, or refuse it."""
    match message.WhichOneof("body"):
        case "key_registration":
            return register_key(rows, message.key_registration, place)
        case "key_revocation":
            return revoke_key(rows, message.key_revocation, place)
        case "root_rotation":
            return rotate_roots(rows, message.root_rotation, place)
        case "governance_proposal":
            return open_proposal(rows, message.governance_proposal, place)
        case "governance_approval":
            return approve(rows, message.governance_approval, place)
        case other:
            raise AssertionError(f"{other} does not govern")


def open_proposal(rows: Rows, body: governance_pb2.GovernanceProposal, place: Place) -> Outcome:
    """Put a proposal before the parties, approved by the one that makes it."""
    try:
        kind_of(body.proposal)
    except ProtocolError:
        return Outcome.PROPOSAL_INVALID
    lifetime_ms = body.proposal.expires_ms - place.time_ms
    if not PROPOSAL_MS_MIN <= lifetime_ms <= PROPOSAL_MS_MAX:
        return Outcome.PROPOSAL_INVALID
    raw = proposal_bytes(body.proposal)
    hashed = proposal_hash(place.chain.id, raw)
    if rows.get(proposal_key(hashed)) is not None:
        return Outcome.PROPOSAL_EXISTS
    signed = approval_statement(chain_id=place.chain.id, proposal=hashed, party=body.party)
    outcome = judge_roots(rows, body.party, signed, body.roots, height=place.height)
    if outcome:
        return outcome
    open_hashes = open_proposals(rows)
    own = [each for each in open_hashes if _proposal(rows, each).approvals[0] == body.party]
    if len(open_hashes) >= OPEN_PROPOSALS_MAX or len(own) >= OPEN_PROPOSALS_OF_PARTY_MAX:
        return Outcome.PROPOSALS_TOO_MANY
    outcome = _judge_change(rows, body.proposal, place, height=place.height)
    if outcome:
        return outcome
    row = ProposalRow(opened_height=place.height, approvals=(body.party,), proposal=raw)
    rows.put(proposal_key(hashed), row.encode())
    put_open_proposals(rows, [*open_hashes, hashed])
    return Outcome.ACCEPTED


def approve(rows: Rows, body: governance_pb2.GovernanceApproval, place: Place) -> Outcome:
    """Count a party's approval of an open proposal, once."""
    raw = rows.get(proposal_key(body.proposal))
    if raw is None:
        return Outcome.PROPOSAL_UNKNOWN
    row = parse_proposal_row(raw)
    expires_ms = governance_pb2.Proposal.FromString(row.proposal).expires_ms
    if row.status is not ProposalStatus.OPEN or place.time_ms >= expires_ms:
        return Outcome.PROPOSAL_CLOSED
    signed = approval_statement(chain_id=place.chain.id, proposal=body.proposal, party=body.party)
    outcome = judge_roots(rows, body.party, signed, body.roots, height=place.height)
    if outcome:
        return outcome
    if body.party in row.approvals:
        return Outcome.APPROVED_ALREADY
    approved = replace(row, approvals=(*row.approvals, body.party))
    rows.put(proposal_key(body.proposal), approved.encode())
    return Outcome.ACCEPTED


def _proposal(rows: RowReader, hashed: bytes) -> ProposalRow:
    raw = rows.get(proposal_key(hashed))
    assert raw is not None, "an open proposal has a row"
    return parse_proposal_row(raw)


def end_block(rows: Rows, place: Place) -> bool:
    """Decide the open proposals that can be decided, in the order in which they were opened.

    One that is carried out may decide others, by making or unmaking members and rules; so they
    are gone through again until nothing changes.

    Returns:
        Whether one was decided.
    """
    decided_any = False
    while any(_decide(rows, hashed, place) for hashed in open_proposals(rows)):
        decided_any = True
    return decided_any


def _decide(rows: Rows, hashed: bytes, place: Place) -> bool:
    row = _proposal(rows, hashed)
    proposal = governance_pb2.Proposal.FromString(row.proposal)
    status = _judge_proposal(rows, proposal, row, place)
    if status is ProposalStatus.OPEN:
        return False
    if status is ProposalStatus.ACTIVATED:
        _carry_out(rows, proposal, place)
    decided = replace(row, status=status, decided_height=place.height)
    rows.put(proposal_key(hashed), decided.encode())
    put_open_proposals(rows, [each for each in open_proposals(rows) if each != hashed])
    return True


def _judge_proposal(
    rows: Rows, proposal: governance_pb2.Proposal, row: ProposalRow, place: Place
) -> ProposalStatus:
    """Return what is to become of an open proposal."""
    if place.time_ms >= proposal.expires_ms:
        return ProposalStatus.EXPIRED
    kind = kind_of(proposal)
    rule = rule_of(rows, kind)
    now_members = members(rows, place.height + 1)
    if not approvals_suffice(rule, now_members.keys(), row.approvals, _subject(proposal, kind)):
        return ProposalStatus.OPEN
    if _judge_change(rows, proposal, place, height=place.height + 1):
        return ProposalStatus.VOID
    if _changes_cosigning_parties(rows, proposal, kind):
        changed_ms = parameter(rows, COSIGNERS_CHANGED)
        if place.time_ms < changed_ms + COSIGNERS_SPACING_MS:
            return ProposalStatus.OPEN
    return ProposalStatus.ACTIVATED


def _subject(proposal: governance_pb2.Proposal, kind: ProposalKind) -> str | None:
    """Return the member that a proposal is about."""
    match kind:
        case ProposalKind.REMOVE_PARTY:
            return proposal.remove_party.party
        case ProposalKind.ADD_COSIGNER:
            return proposal.add_cosigner.grant.party
        case ProposalKind.REMOVE_COSIGNER:
            return proposal.remove_cosigner.party
        case _:
            return None


def _judge_change(
    rows: Rows, proposal: governance_pb2.Proposal, place: Place, *, height: int
) -> Outcome:
    """Judge whether what a proposal asks for could be done in a state.

    Args:
        rows: The state.
        proposal: It holds one change.
        place: The block whose rows these are.
        height: Whose members count.
    """
    match kind_of(proposal):
        case ProposalKind.ADD_PARTY:
            return _judge_addition(rows, proposal.add_party, place)
        case ProposalKind.REMOVE_PARTY:
            return _judge_removal(rows, proposal.remove_party.party, height)
        case ProposalKind.ADD_COSIGNER:
            return _judge_new_cosigner(rows, proposal.add_cosigner, place, height)
        case ProposalKind.REMOVE_COSIGNER:
            removal = proposal.remove_cosigner
            return _judge_cosigner_removal(rows, removal.party, removal.node)
        case ProposalKind.CHANGE_RULE:
            change = proposal.change_rule
            known = change.kind in _KINDS and change.rule in _RULES
            return Outcome.ACCEPTED if known else Outcome.PROPOSAL_INVALID
        case ProposalKind.CHANGE_QUOTAS:
            above_zero = all(getattr(proposal.change_quotas, name) for name in _QUOTAS)
            return Outcome.ACCEPTED if above_zero else Outcome.PROPOSAL_INVALID
        case ProposalKind.START_ITEM_CHAIN:
            start = proposal.start_item_chain
            runs = rows.get(parameter_key(EPOCH_PARAMETERS[0])) is not None
            sound = start.epoch_entries and start.epoch_ms and not runs
            return Outcome.ACCEPTED if sound else Outcome.PROPOSAL_INVALID


def _judge_addition(rows: Rows, addition: governance_pb2.PartyAddition, place: Place) -> Outcome:
    try:
        check_addition(addition, place.chain.id)
    except ProtocolError:
        return Outcome.PROPOSAL_INVALID
    if party_row(rows, addition.party) is not None:
        return Outcome.PROPOSAL_INVALID
    present = [parse_party_row(value) for _, value in rows.rows(bytes([Table.PARTY]))]
    if sum(each.removed_height == NEVER for each in present) >= MEMBERS_MAX:
        return Outcome.PROPOSAL_INVALID
    issuer = ca_key(load_ca(addition.ca, party=addition.party))
    for key, value in rows.rows(bytes([Table.PARTY])):
        # Who issues certificates for two parties can act as either.
        ca_pem = parse_party_row(value).ca_pem
        if ca_key(load_ca(ca_pem, party=key[3:].decode("ascii"))) == issuer:
            return Outcome.PROPOSAL_INVALID
    new_keys = [*addition.roots, *(each.grant.key for each in addition.keys)]
    if any(key_row(rows, key) is not None for key in new_keys):
        return Outcome.KEY_ALREADY_REGISTERED
    return Outcome.ACCEPTED


def _judge_removal(rows: Rows, party: str, height: int) -> Outcome:
    row = party_row(rows, party)
    if row is None or not row.is_member(height):
        return Outcome.PARTY_UNKNOWN
    # Voters are those of the genesis: a party leaves only once it orders nothing.
    return Outcome.PROPOSAL_INVALID if _orders(rows, party) else Outcome.ACCEPTED


def _judge_new_cosigner(
    rows: Rows, body: governance_pb2.KeyRegistration, place: Place, height: int
) -> Outcome:
    try:
        grant = grant_from_message(body.grant)
        verify_possession(grant, place.chain.id, body.possession)
    except ProtocolError:
        return Outcome.GRANT_INVALID
    if grant.purpose is not KeyPurpose.COSIGN or grant.replaces != NO_KEY:
        return Outcome.GRANT_INVALID
    signed = statement(grant, place.chain.id)
    outcome = judge_roots(rows, grant.party, signed, body.roots, height=height)
    if outcome:
        return outcome
    if key_row(rows, grant.key) is not None:
        return Outcome.KEY_ALREADY_REGISTERED
    if _cosign_keys(rows, grant.party, grant.holder):
        return Outcome.PROPOSAL_INVALID  # it cosigns already: its keys are replaced, not added
    room = has_room_in_policy(rows, place.chain, grant)
    return Outcome.ACCEPTED if room else Outcome.PROPOSAL_INVALID


def _judge_cosigner_removal(rows: Rows, party: str, node: str) -> Outcome:
    if not _cosign_keys(rows, party, node):
        return Outcome.KEY_NOT_FOUND
    return Outcome.PROPOSAL_INVALID if _orders(rows, party, node) else Outcome.ACCEPTED


def _orders(rows: RowReader, party: str, node: str | None = None) -> bool:
    """Return whether a node is a voter, or one of a party's is."""
    return bool(_unrevoked(rows, party, KeyPurpose.LOG, node))


def _cosign_keys(rows: RowReader, party: str, node: str | None = None) -> list[bytes]:
    """Return the cosign keys of a node, or of all of a party's, that are not revoked."""
    return _unrevoked(rows, party, KeyPurpose.COSIGN, node)


def _unrevoked(
    rows: RowReader,
    party: str,
    purpose: KeyPurpose | None = None,
    node: str | None = None,
) -> list[bytes]:
    """Return keys of a party's nodes that are not revoked."""
    found = node_keys(rows, party=party, purpose=purpose, node=node)
    return [key for key, row in found if row.revoked_height == NEVER]


def _changes_cosigning_parties(
    rows: RowReader, proposal: governance_pb2.Proposal, kind: ProposalKind
) -> bool:
    """Return whether afterwards another set of parties cosigns."""
    match kind:
        case ProposalKind.REMOVE_PARTY:
            return bool(_cosign_keys(rows, proposal.remove_party.party))
        case ProposalKind.ADD_COSIGNER:
            return not _cosign_keys(rows, proposal.add_cosigner.grant.party)
        case ProposalKind.REMOVE_COSIGNER:
            removal = proposal.remove_cosigner
            own = _cosign_keys(rows, removal.party, removal.node)
            return own == _cosign_keys(rows, removal.party)
        case _:
            return False


def _carry_out(rows: Rows, proposal: governance_pb2.Proposal, place: Place) -> None:
    """Do what an approved proposal asks for, from the next height on."""
    height, kind = place.height + 1, kind_of(proposal)
    if _changes_cosigning_parties(rows, proposal, kind):
        rows.put(parameter_key(COSIGNERS_CHANGED), u64(place.time_ms))
    match kind:
        case ProposalKind.ADD_PARTY:
            _add_party(rows, proposal.add_party, height)
        case ProposalKind.REMOVE_PARTY:
            _remove_party(rows, proposal.remove_party.party, height)
        case ProposalKind.ADD_COSIGNER:
            grant = grant_from_message(proposal.add_cosigner.grant)
            put_key(rows, grant.key, row_of_grant(grant, from_height=height))
        case ProposalKind.REMOVE_COSIGNER:
            removal = proposal.remove_cosigner
            _revoke(rows, _cosign_keys(rows, removal.party, removal.node), height)
        case ProposalKind.CHANGE_RULE:
            changed = ProposalKind(proposal.change_rule.kind)
            rows.put(parameter_key(changed.rule_name), u64(proposal.change_rule.rule))
        case ProposalKind.CHANGE_QUOTAS:
            for name in _QUOTAS:
                value = getattr(proposal.change_quotas, name)
                rows.put(parameter_key(f"quota_{name}"), u64(value))
        case ProposalKind.START_ITEM_CHAIN:
            start = proposal.start_item_chain
            values = start.epoch_entries, start.epoch_ms
            for name, value in zip(EPOCH_PARAMETERS, values, strict=True):
                rows.put(parameter_key(name), u64(value))


def _add_party(rows: Rows, addition: governance_pb2.PartyAddition, height: int) -> None:
    roots = root_set_of(addition)
    row = PartyRow(
        role=addition.role,
        from_height=height,
        threshold=roots.threshold,
        roots=roots.keys,
        ca_pem=addition.ca,
    )
    rows.put(party_key(addition.party), row.encode())
    for root in roots.keys:
        put_key(rows, root, row_of_root(addition.party, from_height=height))
    for registration in addition.keys:
        grant = grant_from_message(registration.grant)
        put_key(rows, grant.key, row_of_grant(grant, from_height=height))


def _remove_party(rows: Rows, party: str, height: int) -> None:
    row = party_row(rows, party)
    assert row is not None, "a member has a row"
    # Its batch keys end with it, however many there are: `key_row` says so.
    _revoke(rows, [*row.roots, *_unrevoked(rows, party)], height)
    rows.put(party_key(party), replace(row, removed_height=height).encode())


def _revoke(rows: Rows, keys: list[bytes], height: int) -> None:
    for key in keys:
        row = key_row(rows, key)
        assert row is not None, "it was found in its table"
        put_key(rows, key, row.revoked(height=height, compromised_since_ms=0))


def put_policy(rows: Rows, place: Place) -> None:
    """Write the policy that the keys make; an equal one is no change."""
    rows.put(row_key(Table.POLICY), policy_of_rows(place.chain, rows))
