"""The worked examples of docs/protocol.md, sections 1 to 4: genesis, grants, batch and block."""

import hashlib

from lotmark import genesis as protocol_genesis
from lotmark.block import encode_block
from lotmark.genesis import acceptance_statement
from lotmark.governance import approval_statement, proposal_bytes, proposal_hash
from lotmark.key_grant import (
    NO_KEY,
    KeyGrant,
    RootSet,
    lane_closure_statement,
    revocation_statement,
    root_rotation_statement,
    statement,
)
from lotmark.merkle import leaf_hash
from lotmark.v1 import governance_pb2
from tools.protocol_example_fields import (
    Block,
    Field,
    Part,
    cut,
    domain,
    following,
    message_fields,
    wrapped,
)
from tools.protocol_example_ledger import (
    BATCH_LABEL,
    CREATED_MS,
    KEY_LABELS,
    NEW_KEY_LABEL,
    ROOT_LABELS,
    SUPPLIER,
    ExampleLedger,
    grant,
    private_key,
    roots_of,
    seed,
)

_HEADER: tuple[Part, ...] = (
    (32, "chain id"),
    (32, "signer key"),
    ("u32", "lane"),
    ("u64", "sequence"),
    (32, "previous batch id: none, the first of its lane"),
    (32, "batch that this one signs again: none"),
    ("u16", "schema"),
    ("u64", "created_at_ms"),
    ("u8", "clock"),
    ("u32", "clock uncertainty_us"),
    ("u16", "event count"),
    (32, "root of the events"),
    ("u64", "size of the newest checkpoint seen:"),
    (32, "root of the newest checkpoint seen"),
    ("str8", "party"),
)
_PROPOSAL: tuple[Part, ...] = (
    (32, "chain id"),
    (32, "key"),
    ("u64", "term"),
    ("u64", "counter"),
    ("u64", "time_ms"),
    ("u64", "base size"),
    (32, "base root"),
    (32, "batches root"),
)
_ADMISSION: tuple[Part, ...] = (
    domain("lotmark/admit/v1"),
    (32, "chain id"),
    (32, "batch id"),
    ("u8", "accepted"),
    ("u16", "reason"),
    ("u64", "admitted_at_ms"),
    ("u64", "due_ms"),
    ("u64", "checkpoint size"),
    (32, "checkpoint root"),
    ("str8", "node"),
)


def key_block() -> list[Field]:
    """Return the public keys of the examples, each with the label of its seed."""
    labels = [label for labels in ROOT_LABELS.values() for label in labels]
    labels += [*KEY_LABELS, NEW_KEY_LABEL, NEW_ROOT_LABEL]
    return [Field(private_key(label).public, label) for label in labels]


def genesis_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the founding of the ledger."""
    accepted = acceptance_statement(ledger.chain_id)
    signatures = [field for party in ROOT_LABELS for field in root_signatures(party, accepted)]
    policy = protocol_genesis.policy_text(ledger.genesis, ledger.chain_id)
    return {
        "genesis.json": wrapped(ledger.genesis_json),
        "genesis.chain_id": [Field(ledger.chain_id, "chain id")],
        "genesis.acceptance": [
            *cut(accepted, domain("lotmark/genesis-accept/v1"), (32, "chain id")),
            *signatures,
        ],
        "genesis.acceptances": wrapped(ledger.acceptances),
        "policy": policy.decode("ascii"),
        "policy.digest": [Field(hashlib.sha256(policy).digest(), "policy digest")],
    }


def root_signatures(party: str, signed: bytes) -> list[Field]:
    """Return the signatures of all roots of a party over a statement."""
    labels = {private_key(label).public: label for label in ROOT_LABELS[party]}
    return [
        following(root.sign(signed), f"signature of {labels[root.public]}")
        for root in roots_of(party)
    ]


NEW_ROOT_LABEL = "T1-STATOR root 3"


def grant_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the statements about keys and lanes."""
    chain = ledger.chain_id
    batch_key = private_key(BATCH_LABEL).public
    later = grant(NEW_KEY_LABEL, replaces=batch_key)
    revocation = revocation_statement(
        chain_id=chain, key=batch_key, compromised_since_ms=CREATED_MS + 55_000, party=SUPPLIER
    )
    closure = lane_closure_statement(chain_id=chain, key=batch_key, lane=7, party=SUPPLIER)
    named: tuple[Part, ...] = (32, "chain id"), (32, "key")
    return {
        "key.grant": _grant_fields(grant(BATCH_LABEL), seed("nonce"), "nonce", BATCH_LABEL),
        "key.registration": [
            *_grant_fields(later, chain, "chain id", NEW_KEY_LABEL),
            *root_signatures(SUPPLIER, statement(later, chain)),
        ],
        "key.revocation": [
            *cut(
                revocation,
                domain("lotmark/key-revoke/v1"),
                *named,
                ("u64", "compromised_since_ms"),
                ("str8", "party"),
            ),
            *root_signatures(SUPPLIER, revocation),
        ],
        "root.rotation": _rotation_fields(chain),
        **_proposal_blocks(chain),
        "lane.closure": [
            *cut(
                closure,
                domain("lotmark/lane-close/v1"),
                *named,
                ("u32", "lane"),
                ("str8", "party"),
            ),
            *root_signatures(SUPPLIER, closure),
        ],
    }


def _rotation_fields(chain: bytes) -> list[Field]:
    """Return the rotation by which one root takes the place of two."""
    new = private_key(NEW_ROOT_LABEL)
    signed = root_rotation_statement(
        chain_id=chain,
        party=SUPPLIER,
        generation=1,
        roots=RootSet(threshold=1, keys=(new.public,)),
    )
    fields = cut(
        signed,
        domain("lotmark/root-rotate/v1"),
        (32, "chain id"),
        ("u32", "generation"),
        ("u8", "threshold"),
        ("u8", "count"),
        (32, "new root"),
        ("str8", "party"),
    )
    by_new = following(new.sign(signed), f"signature of {NEW_ROOT_LABEL}")
    return [
        *fields,
        by_new,
        *root_signatures(SUPPLIER, signed),
    ]


def _proposal_blocks(chain: bytes) -> dict[str, Block]:
    """Return a proposal, and its approval by a party."""
    proposal = governance_pb2.Proposal(
        expires_ms=CREATED_MS + 86_400_000,
        change_quotas=governance_pb2.QuotaChange(
            events=1_200_000, bytes=200_000_000, signatures=120_000, state_keys=1_200_000
        ),
    )
    hashed = proposal_hash(chain, proposal_bytes(proposal))
    approval = approval_statement(chain_id=chain, proposal=hashed, party=SUPPLIER)
    fields = cut(
        approval,
        domain("lotmark/approve/v1"),
        (32, "chain id"),
        (32, "proposal hash"),
        ("str8", "party"),
    )
    return {
        "proposal": [*message_fields(proposal), following(hashed, "proposal hash")],
        "proposal.approval": [*fields, *root_signatures(SUPPLIER, approval)],
    }


def _grant_fields(granted: KeyGrant, binding: bytes, bound_to: str, label: str) -> list[Field]:
    signed = statement(granted, binding)
    types: list[Part] = [("u16", "event type")] * len(granted.event_types)
    fields = cut(
        signed,
        domain("lotmark/key-reg/v1"),
        (32, f"binding: {bound_to}"),
        (32, "key"),
        ("u8", "purpose"),
        ("u64", "not_before_ms"),
        ("u64", "not_after_ms"),
        (32, "replaces: none" if granted.replaces == NO_KEY else "replaces"),
        ("str8", "party"),
        ("str8", "holder"),
        ("u8", "count"),
        *types,
    )
    possession = private_key(label).sign(signed)
    return [*fields, following(possession, f"possession: signature of {label}")]


def batch_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the events, the batch and the answer that it got."""
    batch, answer = ledger.batch, ledger.admission
    header = batch.signed_header[2:-64]
    framed: list[Part] = []
    for number, raw in enumerate(batch.events, 1):
        framed += [("u32", f"length of event {number}:"), (len(raw), f"=event.{number}")]
    return {
        "event.1": [*message_fields(ledger.events[0]), following(batch.event_ids[0], "event id")],
        "event.2": [*message_fields(ledger.events[1]), following(batch.event_ids[1], "event id")],
        "batch.header": [*cut(header, *_HEADER), following(batch.batch_id, "batch id")],
        "batch.signed_header": cut(
            batch.signed_header,
            ("u16", "header length"),
            (len(header), "=batch.header"),
            (64, f"signature of {BATCH_LABEL}"),
        ),
        "batch.bytes": [
            *cut(
                batch.raw,
                (len(batch.signed_header), "=batch.signed_header"),
                ("u16", "event count"),
                *framed,
            ),
            _digest(batch.raw),
        ],
        "admission": [
            *cut(answer.signed_message(ledger.chain_id), *_ADMISSION),
            following(answer.signature, "signature of OEM-A/n1 admit"),
        ],
    }


def _digest(raw: bytes) -> Field:
    return following(hashlib.sha256(raw).digest(), f"SHA-256 of these {len(raw)} bytes")


def block_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the proposal and the block."""
    block, batch = ledger.block, ledger.batch
    proposal, raw = block.proposal, encode_block(ledger.block)
    carried = len(batch.events).to_bytes(2) + batch.header.events_root
    leaf = batch.signed_header + carried
    assert leaf_hash(leaf) == proposal.batches_root, "the root over one leaf is that leaf's hash"
    return {
        "block.batches_leaf": [
            *cut(
                leaf,
                (len(batch.signed_header), "=batch.signed_header"),
                ("u16", "event count"),
                (32, "root of the events"),
            ),
            following(proposal.batches_root, "its leaf hash: the batches root"),
        ],
        "block.proposal": [
            *cut(proposal.encode(), *_PROPOSAL),
            following(proposal.digest(), "proposal digest"),
        ],
        "block.bytes": [
            *cut(
                raw,
                domain("lotmark/block/v1"),
                (len(proposal.encode()), "=block.proposal"),
                (64, "signature of OEM-A/n1 proposal"),
                ("u16", "batch count"),
                (len(batch.raw), "=batch.bytes"),
            ),
            _digest(raw),
        ],
    }
