"""The small ledger of docs/protocol.md: two parties, a genesis, two blocks, all from fixed seeds.

Each seed is the SHA-256 of a label, so that anybody can make the same keys and signatures again.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lotmark.admission import AdmissionAnswer
from lotmark.batch import ZERO_HASH, Batch, ClockState, sign_batch
from lotmark.block import Block, Proposal, batches_root, sign_block
from lotmark.block_results import leaves
from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import (
    Acceptance,
    FirstKey,
    Genesis,
    Parameters,
    Party,
    PartyRole,
    Voter,
    acceptance_statement,
    chain_id,
    chain_of,
    check_acceptances,
    cosigner_name,
    format_acceptances,
    origin,
    parse_acceptances,
    parse_genesis,
)
from lotmark.key_grant import KeyGrant, KeyPurpose, statement
from lotmark.signed_note import Note, format_note, sign_note
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.state_machine.genesis_block import (
    GenesisBlock,
    make_genesis_block,
)
from lotmark_node.state_machine.ledger_state import LedgerState, load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.transition import BlockEffects, apply_block

MAKER, SUPPLIER = "OEM-A", "T1-STATOR"
CONSORTIUM = "example"
CREATED_MS = 1_767_600_000_000  # 2026-01-05T08:00:00Z
KEYS_UNTIL_MS = 1_893_456_000_000  # 2030-01-01
BLOCK_MS = CREATED_MS + 60_250
WINDING, ASSEMBLY, MEASUREMENT = 21, 23, 19  # event types
ABOUT_PACKAGES = (54, 55, 56, 57)

ROOT_LABELS = {MAKER: ("OEM-A root",), SUPPLIER: ("T1-STATOR root 1", "T1-STATOR root 2")}
KEY_LABELS = {
    "OEM-A/n1 proposal": (MAKER, KeyPurpose.PROPOSAL, "n1"),
    "OEM-A/n1 log": (MAKER, KeyPurpose.LOG, "n1"),
    "OEM-A/n1 cosign": (MAKER, KeyPurpose.COSIGN, "n1"),
    "OEM-A/n1 admit": (MAKER, KeyPurpose.ADMIT, "n1"),
    "T1-STATOR/n1 cosign": (SUPPLIER, KeyPurpose.COSIGN, "n1"),
    "T1-STATOR/press-2 batch": (SUPPLIER, KeyPurpose.BATCH, "press-2"),
}
BATCH_LABEL = "T1-STATOR/press-2 batch"
NEW_KEY_LABEL = "T1-STATOR/press-2 batch, 2nd"


def seed(label: str) -> bytes:
    """Return the 32 bytes that stand for chance under this label."""
    return hashlib.sha256(label.encode("ascii")).digest()


def private_key(label: str) -> PrivateKey:
    """Return the Ed25519 key of this label."""
    return PrivateKey.from_seed(seed(label))


def roots_of(party: str) -> list[PrivateKey]:
    """Return a party's root keys, ascending."""
    return sorted((private_key(label) for label in ROOT_LABELS[party]), key=lambda key: key.public)


def grant(label: str, *, replaces: bytes = bytes(32)) -> KeyGrant:
    """Return the grant of a first key, or that of the key which later replaces the batch key."""
    party, purpose, holder = KEY_LABELS.get(label, KEY_LABELS[BATCH_LABEL])
    of_batches = (MEASUREMENT, WINDING, ASSEMBLY, *ABOUT_PACKAGES)
    types = of_batches if purpose is KeyPurpose.BATCH else ()
    return KeyGrant(
        key=private_key(label).public,
        party=party,
        purpose=purpose,
        holder=holder,
        not_before_ms=CREATED_MS,
        not_after_ms=KEYS_UNTIL_MS,
        event_types=types,
        replaces=replaces,
    )


def _ca_pem(party: str) -> str:
    """Return a party's CA certificate: its signature needs no chance, by RFC 6979."""
    key = ec.derive_private_key(int.from_bytes(seed(f"{party} CA")), ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{party} CA")])
    created = datetime.fromtimestamp(CREATED_MS // 1000, tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(created)
        .not_valid_after(created + timedelta(days=7_300))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _party(party: str, role: PartyRole) -> Party:
    roots = roots_of(party)
    return Party(
        id=party,
        role=role,
        threshold=len(roots),
        roots=tuple(key.public for key in roots),
        ca_pem=_ca_pem(party),
    )


def _genesis() -> Genesis:
    nonce = seed("nonce")
    first_keys = []
    for label in KEY_LABELS:
        granted = grant(label)
        possession = private_key(label).sign(statement(granted, nonce))
        first_keys.append(FirstKey(grant=granted, possession=possession))
    return Genesis(
        consortium=CONSORTIUM,
        nonce=nonce,
        created_ms=CREATED_MS,
        parties=(_party(MAKER, PartyRole.OEM), _party(SUPPLIER, PartyRole.SUPPLIER)),
        keys=tuple(sorted(first_keys, key=lambda first: first.grant.key)),
        voters=(Voter(party=MAKER, node="n1"),),
        parameters=Parameters(
            duplicate_window_events=1_000,
            quota_events=600_000,
            quota_bytes=100_000_000,
            quota_signatures=60_000,
            quota_state_keys=600_000,
        ),
    )


def _acceptances(genesis: Genesis, chain: bytes) -> bytes:
    signed = acceptance_statement(chain)
    made = [
        Acceptance(party=party.id, key=key.public, signature=key.sign(signed))
        for party in genesis.parties
        for key in roots_of(party.id)
    ]
    return format_acceptances(made)


def example_event(number: int, **fields: object) -> event_pb2.Event:
    """Return the event of this number; each has its own nonce and second."""
    time_ms = CREATED_MS + 40_000 + 1_000 * number
    return event_pb2.Event(
        nonce=seed(f"event {number}")[:16],
        device="press-2",
        time=event_pb2.TimeInterval(start_ms=time_ms, end_ms=time_ms, uncertainty_us=2_000),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        **fields,  # type: ignore[arg-type]  # checked by protobuf
    )


def _events() -> list[event_pb2.Event]:
    """Return a winding, then the assembly of what was wound, then a measurement of it."""
    wire = event_pb2.ItemReference(
        id="WIRE-7/L0042",
        role=event_pb2.ITEM_ROLE_INPUT,
        quantity=event_pb2.Quantity(value="1.840", unit="KGM"),
    )
    stator, motor = "ST-000001", "M-000001"
    return [
        example_event(
            1,
            items=[wire, event_pb2.ItemReference(id=stator, role=event_pb2.ITEM_ROLE_OUTPUT)],
            transformation=quality_pb2.Transformation(process="winding", recipe="R-17"),
        ),
        example_event(
            2,
            items=[
                event_pb2.ItemReference(id=motor, role=event_pb2.ITEM_ROLE_PARENT),
                event_pb2.ItemReference(id=stator, role=event_pb2.ITEM_ROLE_CHILD),
            ],
            audience=[MAKER, SUPPLIER],
            association=quality_pb2.Association(
                action=quality_pb2.RELATION_ACTION_ADD, process="assembly"
            ),
        ),
        example_event(
            3,
            items=[event_pb2.ItemReference(id=stator, role=event_pb2.ITEM_ROLE_SUBJECT)],
            measurement=quality_pb2.Measurement(
                feature="winding.resistance",
                value="12.050",
                unit="OHM",
                verdict=quality_pb2.VERDICT_CONFORMING,
            ),
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleLedger:
    """All that the document shows of the ledger."""

    genesis: Genesis
    genesis_json: bytes
    chain_id: bytes
    acceptances: bytes
    founded: GenesisBlock
    events: list[event_pb2.Event]  # those of the first batch
    batch: Batch
    admission: AdmissionAnswer
    block: Block
    effects: BlockEffects
    rows: list[tuple[bytes, bytes]]  # after block 1
    root: bytes  # after block 1
    checkpoint: Checkpoint
    checkpoint_note: bytes
    reused: Batch  # in block 2: the first one's number once more
    leaf_data: list[bytes]  # of heights 0 to 2
    state: LedgerState  # after block 2
    reader: StateInMemory  # likewise


def make_ledger() -> ExampleLedger:
    """Return the ledger; every call gives the same bytes."""
    made = _genesis()
    raw = made.to_json()
    chain = chain_id(raw)
    genesis = parse_genesis(raw)
    acceptances = _acceptances(genesis, chain)
    check_acceptances(genesis, chain, parse_acceptances(acceptances))
    founded = make_genesis_block(genesis, chain)
    reader = StateInMemory()
    reader.write(founded.changes.changed())
    state = load_state(reader, founded.position, chain=chain_of(genesis, chain))
    *events, late_event = _events()
    batch = make_batch(state, events, seen=True)
    admission = _admission(state, batch)
    leaf_data = list(founded.leaves)

    block = make_block(state, [batch], time_ms=BLOCK_MS)
    effects = apply(state, reader, block, leaf_data)
    rows = list(reader.rows(b""))
    root = state.frontier.root()
    checkpoint = Checkpoint(origin(genesis, chain), state.size, root)

    reused = make_batch(state, [late_event], seen=False)
    apply(state, reader, make_block(state, [reused], time_ms=BLOCK_MS + 60_000), leaf_data)
    return ExampleLedger(
        genesis=genesis,
        genesis_json=raw,
        chain_id=chain,
        acceptances=acceptances,
        founded=founded,
        events=events,
        batch=batch,
        admission=admission,
        block=block,
        effects=effects,
        rows=rows,
        root=root,
        checkpoint=checkpoint,
        checkpoint_note=_checkpoint_note(genesis, checkpoint),
        reused=reused,
        leaf_data=leaf_data,
        state=state,
        reader=reader,
    )


def make_batch(
    state: LedgerState,
    events: list[event_pb2.Event],
    *,
    seen: bool,
    sequence: int = 1,
    previous: bytes = ZERO_HASH,
) -> Batch:
    """Sign a batch of lane 7, with or without the newest checkpoint in its header."""
    head = state.bases[-1]
    return sign_batch(
        private_key(BATCH_LABEL),
        [event.SerializeToString(deterministic=True) for event in events],
        chain_id=state.chain_id,
        lane=7,
        sequence=sequence,
        previous=previous,
        created_at_ms=CREATED_MS + 50_000,
        clock=ClockState.SYNCHRONISED,
        clock_uncertainty_us=1_500,
        seen_size=head.size if seen else 0,
        seen_root=head.root if seen else bytes(32),
        party=SUPPLIER,
    )


def _admission(state: LedgerState, batch: Batch) -> AdmissionAnswer:
    head = state.bases[-1]
    answer = AdmissionAnswer(
        batch_id=batch.batch_id,
        accepted=True,
        reason=0,
        admitted_at_ms=CREATED_MS + 60_125,
        due_ms=CREATED_MS + 70_125,
        checkpoint_size=head.size,
        checkpoint_root=head.root,
        node=f"{MAKER}/n1",
    )
    return answer.sign(private_key("OEM-A/n1 admit"), state.chain_id)


def make_block(state: LedgerState, batches: list[Batch], *, time_ms: int) -> Block:
    """Return the next block, signed by the voter."""
    key = private_key("OEM-A/n1 proposal")
    head = state.bases[-1]
    proposal = Proposal(
        chain_id=state.chain_id,
        key=key.public,
        term=1,
        counter=state.counter + 1,
        time_ms=time_ms,
        base_size=head.size,
        base_root=head.root,
        batches_root=batches_root(batches),
    )
    return sign_block(key, proposal, batches)


def apply(
    state: LedgerState, reader: StateInMemory, block: Block, leaf_data: list[bytes]
) -> BlockEffects:
    """Apply a block and add its leaves to `leaf_data`."""
    effects = apply_block(state, block, [PreparedBatch(batch) for batch in block.batches])
    reader.write(effects.changes)
    effects.commit()
    leaf_data += [data for data, _ in leaves(block.batches, effects.results)]
    return effects


def _checkpoint_note(genesis: Genesis, checkpoint: Checkpoint) -> bytes:
    """Return the checkpoint with the log's signature and one cosignature of each party."""
    text = checkpoint.text()
    signatures = [sign_note(text, checkpoint.origin, private_key("OEM-A/n1 log"))]
    for party in (MAKER, SUPPLIER):
        cosignature = cosign(
            text,
            name=cosigner_name(genesis, party, "n1"),
            private_key=private_key(f"{party}/n1 cosign"),
            time_s=BLOCK_MS // 1000 + 1,
        )
        signatures.append(cosignature)
    return format_note(Note(text, tuple(signatures)))
