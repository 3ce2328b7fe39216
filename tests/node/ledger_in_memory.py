"""A whole ledger in memory, with keys from fixed seeds: order, state and log of one node.

Blocks go the way they go in a node: made, parsed, prepared, applied, written, committed. The same
calls give the same bytes every time.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lotmark.batch import Batch, sign_batch
from lotmark.block import Proposal, batches_root, encode_block, parse_block, sign_block
from lotmark.block_results import leaves
from lotmark.checkpoint import Checkpoint
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import (
    Genesis,
    Voter,
    chain_id,
    chain_of,
    cosigner_name,
    format_acceptances,
    origin,
)
from lotmark.key_grant import (
    NODE_PURPOSES,
    KeyGrant,
    KeyPurpose,
    grant_to_message,
    lane_closure_statement,
    revocation_statement,
    statement,
)
from lotmark.merkle import Frontier, inclusion_path, leaf_hash
from lotmark.signed_note import Note, format_note, sign_note
from lotmark.snapshot import GovernanceEntry
from lotmark.v1 import event_pb2, governance_pb2, quality_pb2
from lotmark.verify.governance_chain import ProvenLeaf
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.ledger_state import LedgerState, LogPosition, load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.transition import BlockEffects, apply_block
from tests.proto.sample_genesis import (
    CREATED_MS,
    ROOT_LABELS,
    acceptances_of,
    first_key,
    grant,
    private_key,
    sample_genesis,
)

DEVICE_TYPES = (19, 20, 24, 29)  # what T1-STATOR/aoi-cam07 may sign


def consortium(
    voters: Sequence[str] = ("OEM-A/n1", "T1-STATOR/n1"),
    witnesses: Sequence[str] = ("LAB-17025/n1",),
    **parameters: int,
) -> Genesis:
    """Return a genesis of the three sample parties with these nodes.

    Batch keys: OEM-A/erp, T1-STATOR/mes and LAB-17025/lims for every event type, and
    T1-STATOR/aoi-cam07 for DEVICE_TYPES.

    Args:
        voters: Nodes that order, "<party>/<node>".
        witnesses: Nodes that only cosign.
        **parameters: Fields of `Parameters` that differ from the sample's.
    """
    sample = sample_genesis()
    nodes = [name.split("/") for name in voters]
    keys = [first_key(party, purpose, node) for party, node in nodes for purpose in NODE_PURPOSES]
    for party, node in (name.split("/") for name in witnesses):
        keys.append(first_key(party, KeyPurpose.COSIGN, node))
    keys += [
        first_key("OEM-A", KeyPurpose.BATCH, "erp"),
        first_key("T1-STATOR", KeyPurpose.BATCH, "mes"),
        first_key("LAB-17025", KeyPurpose.BATCH, "lims"),
        first_key("T1-STATOR", KeyPurpose.BATCH, "aoi-cam07", event_types=DEVICE_TYPES),
    ]
    return replace(
        sample,
        keys=tuple(sorted(keys, key=lambda first: first.grant.key)),
        voters=tuple(Voter(party=party, node=node) for party, node in sorted(nodes)),
        parameters=replace(sample.parameters, **parameters),
    )


class LedgerInMemory:
    """One ledger from its genesis on."""

    def __init__(self, genesis: Genesis | None = None) -> None:
        """Found a ledger: of `consortium()`, where no genesis is given."""
        self.genesis = consortium() if genesis is None else genesis
        self.genesis_bytes = self.genesis.to_json()
        self.chain_id = chain_id(self.genesis_bytes)
        self.acceptance_bytes = format_acceptances(acceptances_of(self.genesis, self.chain_id))
        first = make_genesis_block(self.genesis, self.chain_id)
        self.rows = StateInMemory()
        self.rows.write(first.changes.changed())
        self.state: LedgerState = load_state(
            self.rows,
            first.position,
            chain=chain_of(self.genesis, self.chain_id),
        )
        self.blocks: list[tuple[bytes, bytes]] = []  # block and results of height 1 and on
        self.leaf_data: list[bytes] = list(first.leaves)
        self.governing: dict[int, bytes] = {}  # events that govern, by entry index; b"": a close
        self.leaf_hashes: list[bytes] = [leaf_hash(leaf) for leaf in first.leaves]
        self.sizes: list[int] = [len(first.leaves)]  # tree size after each height
        self._lanes: dict[tuple[bytes, int], tuple[int, bytes]] = {}

    @property
    def height(self) -> int:
        """The height of the newest block."""
        return self.state.height

    @property
    def size(self) -> int:
        """The tree size after the newest block."""
        return self.state.size

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the tree of `size` leaves, by default of all."""
        frontier = Frontier()
        frontier.extend(self.leaf_hashes[: self.size if size is None else size])
        return frontier.root()

    def position(self) -> LogPosition:
        """Return what a node keeps beside its rows."""
        return LogPosition(
            height=self.state.height,
            time_ms=self.state.time_ms,
            close_index=self.state.close_index,
            lanes=self.state.lanes.tobytes(),
            frontier=self.state.frontier.copy(),
        )

    def batch(
        self,
        holder: str,
        events: Iterable[bytes],
        *,
        key: PrivateKey | None = None,
        lane: int = 0,
        **header: object,
    ) -> Batch:
        """Sign a batch of `holder`, "<party>/<holder>", next in its lane.

        Args:
            holder: Whose batch it is; the key follows from the name.
            events: Event bytes.
            key: Another key to sign with.
            lane: Its lane.
            **header: Fields of `BatchHeader` to set otherwise; with `sequence` or `previous`
                given, the lane goes on from the batch before.
        """
        party = holder.partition("/")[0]
        key = key or private_key(f"{holder} {KeyPurpose.BATCH.name}")
        sequence, previous = self._lanes.get((key.public, lane), (0, bytes(32)))
        fields: dict[str, object] = {
            "chain_id": self.chain_id,
            "party": party,
            "lane": lane,
            "sequence": sequence + 1,
            "previous": previous,
            "created_at_ms": self.state.time_ms,
        }
        batch = sign_batch(key, events, **{**fields, **header})
        if not {"sequence", "previous"} & header.keys():
            self._lanes[key.public, lane] = (sequence + 1, batch.batch_id)
        return batch

    def propose(
        self,
        batches: Sequence[Batch],
        *,
        time_ms: int | None = None,
        voter: str | None = None,
        key: PrivateKey | None = None,
        **proposal: object,
    ) -> bytes:
        """Return the bytes of the next block, which is not applied.

        Args:
            batches: What it carries.
            time_ms: Its time; by default a second after the newest block's.
            voter: Who proposes it, "<party>/<node>"; by default the genesis's first voter.
            key: Another key to sign with.
            **proposal: Fields of `Proposal` to set otherwise.
        """
        first = self.genesis.voters[0]
        key = key or private_key(
            f"{voter or f'{first.party}/{first.node}'} {KeyPurpose.PROPOSAL.name}"
        )
        head = self.state.bases[-1]
        term = self.state.term or 1
        fields: dict[str, object] = {
            "chain_id": self.chain_id,
            "key": key.public,
            "term": term,
            "counter": self.state.counter + 1,
            "time_ms": self.state.time_ms + 1_000 if time_ms is None else time_ms,
            "base_size": head.size,
            "base_root": head.root,
            "batches_root": batches_root(batches),
        }
        made = Proposal(**{**fields, **proposal})  # type: ignore[arg-type]  # checked by the record
        return encode_block(sign_block(key, made, batches))

    def apply(self, raw: bytes) -> BlockEffects:
        """Apply a block's bytes as a node does."""
        block = parse_block(raw)
        effects = apply_block(self.state, block, [PreparedBatch(each) for each in block.batches])
        self.rows.write(effects.changes)
        effects.commit()
        self.blocks.append((raw, effects.results.encode()))
        events = [event for _, event in leaves(block.batches, effects.results)]
        for index in effects.governing:
            self.governing[index] = events[index - effects.results.first_index]
        self.leaf_data += [data for data, _ in leaves(block.batches, effects.results)]
        self.leaf_hashes += effects.leaf_hashes
        self.sizes.append(self.state.size)
        return effects

    def block(
        self,
        batches: Sequence[Batch] = (),
        *,
        time_ms: int | None = None,
        voter: str | None = None,
        key: PrivateKey | None = None,
        **proposal: object,
    ) -> BlockEffects:
        """Make the next block and apply it; the arguments are those of `propose`."""
        raw = self.propose(batches, time_ms=time_ms, voter=voter, key=key, **proposal)
        return self.apply(raw)

    def checkpoint_note(
        self,
        *,
        size: int | None = None,
        root: bytes | None = None,
        cosigners: Sequence[str] | None = None,
        cosign_keys: Mapping[str, PrivateKey] | None = None,
        time_s: int | None = None,
    ) -> bytes:
        """Return a checkpoint signed by the first voter and cosigned.

        Args:
            size: Tree size; by default the newest.
            root: Another root than the tree's.
            cosigners: Nodes that cosign, "<party>/<node>"; by default all that have the keys.
            cosign_keys: Other keys than the first of a node.
            time_s: When they do; by default at the newest block's time.
        """
        size = self.size if size is None else size
        checkpoint = Checkpoint(
            origin(self.genesis, self.chain_id), size, self.root(size) if root is None else root
        )
        text = checkpoint.text()
        first = self.genesis.voters[0]
        log_key = private_key(f"{first.party}/{first.node} {KeyPurpose.LOG.name}")
        signatures = [sign_note(text, checkpoint.origin, log_key)]
        for name in self.cosigners() if cosigners is None else cosigners:
            party, node = name.split("/")
            signatures.append(
                cosign(
                    text,
                    name=cosigner_name(self.genesis, party, node),
                    private_key=(cosign_keys or {}).get(
                        name, private_key(f"{name} {KeyPurpose.COSIGN.name}")
                    ),
                    time_s=self.state.time_ms // 1_000 if time_s is None else time_s,
                )
            )
        return format_note(Note(text, tuple(signatures)))

    def proven(self, index: int, size: int | None = None) -> ProvenLeaf:
        """Return an entry and its path in the tree of a size; by default the newest."""
        hashes = self.leaf_hashes[: self.size if size is None else size]
        return ProvenLeaf(self.leaf_data[index], tuple(inclusion_path(hashes, index)))

    def governance(self, size: int | None = None) -> list[GovernanceEntry]:
        """Return what governs in the tree of a size, with proofs; by default the newest."""
        size = self.size if size is None else size
        entries = []
        for index, event in self.governing.items():
            if index < size:
                proven = self.proven(index, size)
                entries.append(GovernanceEntry(event, proven.leaf, tuple(proven.path)))
        return entries

    def cosigners(self) -> list[str]:
        """Return all nodes with a cosign key in the genesis, ascending."""
        return sorted(
            f"{first.grant.party}/{first.grant.holder}"
            for first in self.genesis.keys
            if first.grant.purpose is KeyPurpose.COSIGN
        )

    def registration(
        self,
        party: str,
        purpose: KeyPurpose,
        holder: str,
        *,
        event_types: tuple[int, ...] = (),
        replaces: bytes = bytes(32),
    ) -> bytes:
        """Return an event that registers the key of this name, signed by all its party's roots."""
        granted, key = grant(party, purpose, holder, event_types=event_types)
        return self.registration_of(replace(granted, replaces=replaces), key)

    def registration_of(
        self, granted: KeyGrant, key: PrivateKey, *, roots: Sequence[PrivateKey] | None = None
    ) -> bytes:
        """Return an event that registers a key by this grant; by default all roots sign it."""
        signed = statement(granted, self.chain_id)
        body = governance_pb2.KeyRegistration(
            grant=grant_to_message(granted),
            possession=key.sign(signed),
            roots=root_signatures(granted.party, signed, roots),
        )
        return event(key_registration=body, device="registry", nonce=signed)

    def revocation(
        self,
        party: str,
        key: bytes,
        *,
        compromised_since_ms: int = 0,
        roots: Sequence[PrivateKey] | None = None,
    ) -> bytes:
        """Return an event that revokes a key; by default all roots sign it."""
        signed = revocation_statement(
            chain_id=self.chain_id, key=key, compromised_since_ms=compromised_since_ms, party=party
        )
        body = governance_pb2.KeyRevocation(
            key=key,
            party=party,
            compromised_since_ms=compromised_since_ms,
            reason="lost",
            roots=root_signatures(party, signed, roots),
        )
        return event(key_revocation=body, device="registry", nonce=signed)

    def lane_closure(self, party: str, key: bytes, lane: int) -> bytes:
        """Return an event that closes a lane."""
        signed = lane_closure_statement(chain_id=self.chain_id, key=key, lane=lane, party=party)
        body = governance_pb2.LaneClosure(
            key=key, lane=lane, party=party, roots=root_signatures(party, signed)
        )
        return event(lane_closure=body, device="registry", nonce=signed)


def root_signatures(
    party: str, signed: bytes, roots: Sequence[PrivateKey] | None = None
) -> list[governance_pb2.KeySignature]:
    """Return the signatures of all roots of a sample party, or of others."""
    keys = [private_key(label) for label in ROOT_LABELS[party]] if roots is None else roots
    return [
        governance_pb2.KeySignature(key=key.public, signature=key.sign(signed))
        for key in sorted(keys, key=lambda key: key.public)
    ]


def rebuilt(
    batch: Batch,
    *,
    events: Sequence[bytes] | None = None,
    signature: bytes | None = None,
    **header: object,
) -> Batch:
    """Return a batch in which parts are others and nobody signed again."""
    bodies = list(batch.events if events is None else events)
    encoded = replace(batch.header, **header).encode()  # type: ignore[arg-type]  # by the record
    signed = len(encoded).to_bytes(2) + encoded + (signature or batch.signature)
    framed = b"".join(len(body).to_bytes(4) + body for body in bodies)
    return Batch(signed + len(bodies).to_bytes(2) + framed, signed, bodies)


def event(
    *,
    nonce: bytes | str,
    device: str = "W07",
    time_ms: int = CREATED_MS,
    uncertainty_us: int = 2_000,
    items: Sequence[tuple[str, int]] = (),
    **body: object,
) -> bytes:
    """Return an event's bytes.

    Args:
        nonce: Anything; its hash gives the 16 bytes.
        device: Who saw it.
        time_ms: When.
        uncertainty_us: Of that time.
        items: Pairs of id and role number.
        **body: The one body field.
    """
    seed = nonce.encode() if isinstance(nonce, str) else nonce
    message = event_pb2.Event(
        nonce=hashlib.sha256(seed).digest()[:16],
        device=device,
        time=event_pb2.TimeInterval(
            start_ms=time_ms, end_ms=time_ms, uncertainty_us=uncertainty_us
        ),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            event_pb2.ItemReference(id=id_, role=event_pb2.ItemRole.ValueType(role))
            for id_, role in items
        ],
        **body,  # type: ignore[arg-type]  # checked by protobuf
    )
    return message.SerializeToString(deterministic=True)


def measurement(number: int, *, item: str | None = None, **fields: object) -> bytes:
    """Return the measurement event of this number: each number another event."""
    body = quality_pb2.Measurement(
        feature="weld_137.current",
        value=f"{number}.5",
        unit="A",
        verdict=quality_pb2.VERDICT_CONFORMING,
        method="program-7",
    )
    subject = item or f"ST{number:010}"
    return event(
        measurement=body,
        nonce=f"measurement {number}",
        items=[(subject, event_pb2.ITEM_ROLE_SUBJECT)],
        **fields,  # type: ignore[arg-type]  # handed on
    )


def transformation(process: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return an event by which inputs become outputs."""
    body = quality_pb2.Transformation(process=process, recipe="R1", program_version="1.0")
    items = [(id_, event_pb2.ITEM_ROLE_INPUT) for id_ in inputs]
    items += [(id_, event_pb2.ITEM_ROLE_OUTPUT) for id_ in outputs]
    return event(transformation=body, nonce=f"{process} {inputs} {outputs}", items=items)


def measurements(first: int, count: int) -> list[bytes]:
    """Return `count` measurement events from number `first` on."""
    return [measurement(number) for number in range(first, first + count)]
