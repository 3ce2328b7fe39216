"""Receipts: proof of one event, kept by whoever sent it and verified with the genesis alone.

A C2SP tlog-proof whose `extra` carries what the proof is of: the event, its place in the signed
batch, and the entries around it. Layout: docs/protocol.md, section 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lotmark import canonical_json, ed25519, merkle
from lotmark.admission import AdmissionAnswer
from lotmark.batch import Batch, BatchHeader
from lotmark.c2sp_encoding import decode_base64, encode_base64
from lotmark.canonical_json import JsonValue
from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.entry import (
    EntryHead,
    EntryKind,
    parse_close,
    parse_event_payload,
    parse_leaf_data,
)
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.genesis import Genesis
from lotmark.json_fields import JsonFields
from lotmark.key_grant import KeyPurpose
from lotmark.signed_note import parse_note
from lotmark.snapshot import GovernanceEntry, UnknownVersionError
from lotmark.state_rows import KeyRow
from lotmark.tlog_proof import TlogProof, format_proof, parse_proof
from lotmark.ustar import CutOffError
from lotmark.verify.checkpoints import CheckpointFindings
from lotmark.verify.founding import given_genesis
from lotmark.verify.governance_chain import (
    GovernedCheckpoint,
    ProvenLeaf,
    check_governed_checkpoint,
)
from lotmark.verify.key_register import KeyRegister, parse_event
from lotmark.verify.report import Flag, blaming, time_text
from lotmark.verify.signed_headers import read_signed_headers

FORMAT = "lotmark/receipt/v1"
RECEIPT_SIZE_MAX = 2 << 20

_FORMAT_FAMILY = "lotmark/receipt/v"
_GOVERNED_MAX = 64  # checkpoints, with what governs, that one verifier remembers
_MEMBERS = (
    "format",
    "event",
    "event_path",
    "entry",
    "batch",
    "close",
    "last_close",
    "governance",
    "admissions",
)
_ADMISSION_MEMBERS = (
    "node",
    "admitted_at_ms",
    "due_ms",
    "checkpoint_size",
    "checkpoint_root",
    "signature",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptParts:
    """All that a receipt is made of."""

    event: bytes
    event_path: Sequence[bytes]  # in the tree of its batch
    entry: ProvenLeaf  # the event's
    batch: ProvenLeaf  # of the batch that carried it
    close: ProvenLeaf  # of its block
    last_close: ProvenLeaf  # under the checkpoint
    governance: Sequence[GovernanceEntry] = ()  # what made the policy and the signer key
    admissions: Sequence[AdmissionAnswer] = ()  # by which nodes took the batch
    checkpoint_note: bytes


def make_receipt(parts: ReceiptParts) -> bytes:
    """Return the receipt file of one event.

    Raises:
        MalformedError: The entry is none, or a path is too long.
    """
    assert all(answer.accepted for answer in parts.admissions), "a receipt holds acceptances"
    head, _ = parse_leaf_data(parts.entry.leaf)
    extra = canonical_json.dump(
        {
            "format": FORMAT,
            "event": encode_base64(parts.event),
            "event_path": _hexes(parts.event_path),
            "entry": encode_base64(parts.entry.leaf),
            "batch": _leaf_to_json(parts.batch),
            "close": _leaf_to_json(parts.close),
            "last_close": _leaf_to_json(parts.last_close),
            "governance": [_governance_to_json(each) for each in parts.governance],
            "admissions": [
                _admission_to_json(each)
                for each in sorted(parts.admissions, key=lambda answer: answer.node)
            ],
        }
    )
    path = tuple(parts.entry.path)
    return format_proof(TlogProof(head.index, path, parts.checkpoint_note, extra))


def _hexes(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def _leaf_to_json(proven: ProvenLeaf) -> dict[str, JsonValue]:
    return {"entry": encode_base64(proven.leaf), "path": _hexes(proven.path)}


def _governance_to_json(entry: GovernanceEntry) -> dict[str, JsonValue]:
    proven = _leaf_to_json(ProvenLeaf(entry.leaf, entry.path))
    return {"event": encode_base64(entry.event), **proven}


def _admission_to_json(answer: AdmissionAnswer) -> dict[str, JsonValue]:
    return {
        "node": answer.node,
        "admitted_at_ms": str(answer.admitted_at_ms),
        "due_ms": str(answer.due_ms),
        "checkpoint_size": str(answer.checkpoint_size),
        "checkpoint_root": answer.checkpoint_root.hex(),
        "signature": answer.signature.hex(),
    }


def parse_receipt(raw: bytes) -> ReceiptParts:
    """Return what a receipt is made of; nothing is verified yet.

    Raises:
        CutOffError: It ends too early.
        UnknownVersionError: It is of a later version.
        MalformedError: It is no receipt.
    """
    _check_whole(raw)
    proof = parse_proof(raw, size_max=RECEIPT_SIZE_MAX)
    if proof.extra is None:
        raise MalformedError("the proof has no extra, so it is no receipt of a lotmark ledger")
    value = canonical_json.load(proof.extra, size_max=RECEIPT_SIZE_MAX)
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        if isinstance(found, str) and found.startswith(_FORMAT_FAMILY):
            raise UnknownVersionError(
                f"the receipt is of format {found[:40]!a}; this release knows {FORMAT} only"
            )
        raise MalformedError(f"the receipt names no format, but {ascii(found)[:40]}")
    fields = JsonFields(value, _MEMBERS, place="receipt")
    entry = ProvenLeaf(_bytes(fields, "entry"), proof.path)
    head, _ = parse_leaf_data(entry.leaf)
    if head.index != proof.index:
        raise MalformedError(f"the receipt is of entry {proof.index}, its leaf says {head.index}")
    batch = _read_leaf(fields, "batch")
    return ReceiptParts(
        event=_bytes(fields, "event"),
        event_path=fields.hexes("event_path", size=merkle.HASH_SIZE),
        entry=entry,
        batch=batch,
        close=_read_leaf(fields, "close"),
        last_close=_read_leaf(fields, "last_close"),
        governance=_read_governance(fields),
        admissions=_read_admissions(fields, _header_of(batch.leaf)[1].batch_id),
        checkpoint_note=proof.checkpoint_note,
    )


def _check_whole(raw: bytes) -> None:
    """Check that a receipt reaches its end: a newline after the checkpoint's signature lines.

    Told from the line ends alone, before anything is read: half a line must not pass for a forgery.
    """
    _, _, note = raw.partition(b"\n\n")
    _, separator, signatures = note.rpartition(b"\n\n")
    if len(raw) <= RECEIPT_SIZE_MAX and not (separator and signatures.endswith(b"\n")):
        raise CutOffError(
            f"the receipt is cut off at byte {len(raw)}, before the end of its checkpoint's"
            " signature lines; fetch it again"
        )


def _bytes(fields: JsonFields, name: str) -> bytes:
    return decode_base64(fields.text(name), what=f"receipt.{name}")


def _read_leaf(fields: JsonFields, name: str) -> ProvenLeaf:
    inner = fields.object(name, ("entry", "path"))
    return ProvenLeaf(_bytes(inner, "entry"), inner.hexes("path", size=merkle.HASH_SIZE))


def _read_governance(fields: JsonFields) -> tuple[GovernanceEntry, ...]:
    return tuple(
        GovernanceEntry(
            _bytes(each, "event"),
            _bytes(each, "entry"),
            each.hexes("path", size=merkle.HASH_SIZE),
        )
        for each in fields.objects("governance", ("event", "entry", "path"))
    )


def _header_of(leaf: bytes) -> tuple[EntryHead, Batch]:
    """Return head and signed header of a batch entry's leaf data."""
    head, payload = parse_leaf_data(leaf)
    if head.kind is not EntryKind.BATCH:
        raise MalformedError(f"entry {head.index} is no batch but a {head.kind.name.lower()}")
    return head, read_signed_headers(payload, 1)[0]


def _read_admissions(fields: JsonFields, batch_id: bytes) -> tuple[AdmissionAnswer, ...]:
    answers = tuple(
        AdmissionAnswer(
            batch_id=batch_id,
            accepted=True,
            reason=0,
            admitted_at_ms=each.u64("admitted_at_ms"),
            due_ms=each.u64("due_ms"),
            checkpoint_size=each.u64("checkpoint_size"),
            checkpoint_root=each.hex("checkpoint_root", size=merkle.HASH_SIZE),
            node=each.text("node"),
            signature=each.hex("signature", size=ed25519.SIGNATURE_SIZE),
        )
        for each in fields.objects("admissions", _ADMISSION_MEMBERS)
    )
    nodes = [answer.node for answer in answers]
    if nodes != sorted(set(nodes)):
        raise MalformedError("admissions must ascend by node without repeats")
    return answers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFindings:
    """What a receipt proves."""

    index: int
    height: int
    event_id: bytes
    event_type: str  # "" where the event was refused as no event at all
    outcome: int  # 0: accepted
    party: str
    holder: str
    compromised_since_ms: int  # of the signer key, as far as the receipt tells; 0: nobody says so
    header: BatchHeader
    block_time_ms: int
    checkpoint: CheckpointFindings
    admissions: tuple[AdmissionAnswer, ...]

    def flags(self) -> list[Flag]:
        """Return the flag of an event whose key may have been in wrong hands by then."""
        since_ms = self.compromised_since_ms
        if not since_ms or self.block_time_ms < since_ms:
            return []
        text = (
            f"disputed: key {self.header.signer.hex()} of {self.party}/{self.holder} may be"
            f" in wrong hands since {time_text(since_ms)}"
        )
        return [Flag(kind="compromised key", text=text, first_index=self.index)]


def verify_receipt(
    raw: bytes, *, genesis_json: bytes, chain_id: bytes, genesis_name: str = "the genesis"
) -> ReceiptFindings:
    """Check a receipt and return what it proves; on whose word, its `checkpoint` says.

    Args:
        raw: The receipt file.
        genesis_json: The genesis of the ledger.
        chain_id: The pinned chain id, from a source the reader trusts.
        genesis_name: What a message calls the genesis, such as its path.

    Raises:
        FaultFound: Something in it does not hold.
        UndecidedError: It is cut off or of an unknown version, or the genesis is not that of the
            pinned chain.
    """
    verifier = ReceiptVerifier(genesis_json, chain_id, genesis_name=genesis_name)
    return verifier.verify(raw)


class ReceiptVerifier:
    """Verifies many receipts of one chain; what they share is checked once."""

    def __init__(
        self, genesis_json: bytes, chain_id: bytes, *, genesis_name: str = "the genesis"
    ) -> None:
        """Take the chain; the arguments are those of `verify_receipt`.

        Raises:
            UndecidedError: The genesis is not that of the pinned chain.
        """
        self._founding = given_genesis(genesis_json, chain_id, name=genesis_name)
        self._chain_id = chain_id
        self._governed: dict[object, GovernedCheckpoint] = {}

    def verify(self, raw: bytes) -> ReceiptFindings:
        """Check a receipt and return what it proves.

        Raises:
            FaultFound: Something in it does not hold.
            UndecidedError: It is cut off or of an unknown version.
        """
        with blaming("receipt"):
            parts = parse_receipt(raw)
        head, _ = parse_leaf_data(parts.entry.leaf)
        with blaming("checkpoint"):
            claimed = parse_checkpoint(parse_note(parts.checkpoint_note).text)
        with blaming("tree", height=head.height, index=head.index):
            for proven in (parts.entry, parts.batch, parts.close):
                _check_inclusion(proven, claimed)
        return _findings(parts, self._founding, self._chain_id, self._checkpoint(parts))

    def _checkpoint(self, parts: ReceiptParts) -> GovernedCheckpoint:
        close = parts.last_close
        shared = parts.checkpoint_note, close.leaf, tuple(close.path), tuple(parts.governance)
        governed = self._governed.get(shared)
        if governed is None:
            governed = check_governed_checkpoint(
                self._founding,
                self._chain_id,
                parts.checkpoint_note,
                close=close,
                entries=parts.governance,
            )
            if len(self._governed) >= _GOVERNED_MAX:
                self._governed.clear()
            self._governed[shared] = governed
        return governed


def _findings(
    parts: ReceiptParts, founding: Genesis, chain_id: bytes, governed: GovernedCheckpoint
) -> ReceiptFindings:
    head, _ = parse_leaf_data(parts.entry.leaf)
    with blaming("batch", height=head.height, index=head.index):
        batch = _check_batch(parts, chain_id)
    with blaming("close", height=head.height, index=head.index):
        _check_close(head, parts.close.leaf)
    with blaming("key", height=head.height, index=head.index):
        signer = _signer(governed.keys, batch.header, head)
    with blaming("admission", height=head.height, index=head.index):
        for answer in parts.admissions:
            _check_admission(founding, chain_id, answer)
    return ReceiptFindings(
        index=head.index,
        height=head.height,
        event_id=merkle.leaf_hash(parts.event),
        event_type=_event_type(parts.event),
        outcome=head.outcome,
        party=signer.party,
        holder=signer.holder,
        compromised_since_ms=signer.compromised_since_ms,
        header=batch.header,
        block_time_ms=head.time_ms,
        checkpoint=governed.findings,
        admissions=tuple(parts.admissions),
    )


def _check_inclusion(proven: ProvenLeaf, checkpoint: Checkpoint) -> None:
    head, _ = parse_leaf_data(proven.leaf)
    merkle.verify_inclusion(
        merkle.leaf_hash(proven.leaf), head.index, checkpoint.size, proven.path, checkpoint.root
    )


def _check_batch(parts: ReceiptParts, chain_id: bytes) -> Batch:
    """Check that the event, its entry, the batch entry and the signature belong together."""
    head, payload = parse_leaf_data(parts.entry.leaf)
    if head.kind is not EntryKind.EVENT:
        raise MalformedError(f"entry {head.index} is no event but a {head.kind.name.lower()}")
    batch_index, position, event_id = parse_event_payload(payload)
    if event_id != merkle.leaf_hash(parts.event):
        raise ProofError(f"the event is another than entry {head.index} names")
    batch_head, batch = _header_of(parts.batch.leaf)
    if (batch_head.index, batch_head.height) != (batch_index, head.height):
        raise ProofError(
            f"the event names batch entry {batch_index}, the receipt has {batch_head.index}"
        )
    if batch_head.outcome or head.index != batch_index + 1 + position:
        raise ProofError(f"batch entry {batch_index} has no event at {position}")
    if batch.header.chain_id != chain_id:
        raise ProofError(f"the batch is of chain {batch.header.chain_id.hex()}")
    merkle.verify_inclusion(
        event_id,
        position,
        batch.header.event_count,
        parts.event_path,
        batch.header.events_root,
    )
    ed25519.verify(batch.header.signer, batch.signed_message, batch.signature)
    return batch


def _check_close(head: EntryHead, leaf: bytes) -> None:
    close_head, payload = parse_leaf_data(leaf)
    if close_head.kind is not EntryKind.BLOCK_CLOSE:
        raise MalformedError(f"entry {close_head.index} is no block close")
    close = parse_close(payload)
    placed = (close.height, close.time_ms) == (head.height, head.time_ms)
    if not placed or not close.previous_size < head.index < close_head.index:
        raise ProofError(
            f"entry {head.index} of height {head.height} is not in the block that entry"
            f" {close_head.index} closes"
        )


def _signer(keys: KeyRegister, header: BatchHeader, head: EntryHead) -> KeyRow:
    """Return whose key signed: one of the genesis, or one whose registration is shown.

    What came after the block does not alter how it is judged there: a revocation names its own
    height, and a successor leaves a key its overlap.
    """
    key = keys.key(header.signer)
    if key is None:
        raise SignatureError(
            f"signer key {header.signer.hex()} is not of the genesis, and the receipt does not"
            " hold its registration"
        )
    if (key.party, key.purpose) != (header.party, KeyPurpose.BATCH):
        raise SignatureError(
            f"signer key {header.signer.hex()} is no batch key of {header.party!a}"
        )
    if outcome := key.judge(height=head.height, time_ms=head.time_ms):
        raise SignatureError(
            f"signer key {header.signer.hex()} was not in force in block {head.height}:"
            f" {outcome.name}"
        )
    return key


def _check_admission(founding: Genesis, chain_id: bytes, answer: AdmissionAnswer) -> None:
    for first in founding.keys:
        grant = first.grant
        named = f"{grant.party}/{grant.holder}" == answer.node
        if grant.purpose is KeyPurpose.ADMIT and named:
            answer.verify(grant.key, chain_id)
            return
    raise SignatureError(f"{answer.node[:80]!a} has no admit key in the genesis")


def _event_type(raw: bytes) -> str:
    try:
        return parse_event(raw).WhichOneof("body") or ""
    except MalformedError:
        return ""
