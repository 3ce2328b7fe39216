"""From the genesis to the policy in force: the events that govern, each under a checkpoint's root.

The last close under a checkpoint names the policy by its digest. So whoever is shown the events
knows that none of those was left out that made the policy, or that the log itself is another one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lotmark.checkpoint import parse_checkpoint
from lotmark.entry import EntryKind, parse_close, parse_event_payload, parse_leaf_data
from lotmark.errors import MalformedError, ProofError
from lotmark.genesis import Genesis
from lotmark.merkle import leaf_hash, verify_inclusion
from lotmark.signed_note import parse_note
from lotmark.snapshot import GovernanceEntry
from lotmark.v1 import event_pb2
from lotmark.verify.checkpoints import CheckpointFindings, check_checkpoint
from lotmark.verify.key_register import KeyRegister, governs, parse_event
from lotmark.verify.operator_register import OperatorRegister
from lotmark.verify.report import blaming


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """An entry and its way to a tree's root."""

    leaf: bytes  # leaf data
    path: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class GovernedCheckpoint:
    """Who stands behind a checkpoint, and who may do what at its size."""

    findings: CheckpointFindings
    keys: KeyRegister
    operators: OperatorRegister  # as far as the entries that were shown are about them


def follow_entries(
    entries: Iterable[GovernanceEntry],
    keys: KeyRegister,
    operators: OperatorRegister | None = None,
    *,
    size: int,
    root: bytes,
) -> None:
    """Take in the events that govern, and the closes at which proposals were decided.

    Args:
        entries: In the order of the log.
        keys: As the genesis has them; moves along.
        operators: Without any yet; moves along. None: nobody asks for them.
        size: Of the tree in which their paths are.
        root: Of that tree.

    Raises:
        FaultFound: One of them does not hold.
    """
    previous = -1
    for entry in entries:
        head, payload = parse_leaf_data(entry.leaf)
        with blaming("governance", height=head.height, index=head.index):
            if head.index <= previous or head.outcome:
                raise MalformedError("it is no accepted entry after the one before it")
            previous = head.index
            event: event_pb2.Event | None
            match head.kind:
                case EntryKind.EVENT:
                    event = _event_of(entry, payload)
                case EntryKind.BLOCK_CLOSE if not entry.event:
                    event = None
                case _:
                    raise MalformedError("it is neither an event nor a block's close")
            verify_inclusion(leaf_hash(entry.leaf), head.index, size, entry.path, root)
            if event is not None:
                keys.take(event, height=head.height, time_ms=head.time_ms)
                if operators is not None:
                    operators.take(event, height=head.height, time_ms=head.time_ms)
            elif not keys.end_block(height=head.height, time_ms=head.time_ms):
                raise MalformedError("no proposal is decided by the end of this block")


def _event_of(entry: GovernanceEntry, payload: bytes) -> event_pb2.Event:
    """Return the event of an entry's payload."""
    _, _, event_id = parse_event_payload(payload)
    if event_id != leaf_hash(entry.event):
        raise ProofError("the event is another than the entry names")
    event = parse_event(entry.event)
    if not governs(event):
        raise MalformedError("the event does not govern")
    return event


def check_governed_checkpoint(
    genesis: Genesis,
    chain_id: bytes,
    raw_note: bytes,
    *,
    close: ProvenLeaf,
    entries: Iterable[GovernanceEntry],
) -> GovernedCheckpoint:
    """Check a checkpoint by the policy in force at its size.

    Args:
        genesis: The genesis of the pinned chain.
        chain_id: The pinned chain id.
        raw_note: The signed note.
        close: The last entry under it.
        entries: What governs under it: all that made the policy what it is.

    Raises:
        FaultFound: Something does not hold.
    """
    keys = KeyRegister(genesis, chain_id)
    with blaming("checkpoint"):
        checkpoint = parse_checkpoint(parse_note(raw_note).text)
    size, root = checkpoint.size, checkpoint.root
    operators = OperatorRegister(keys)
    with blaming("governance"):
        follow_entries(entries, keys, operators, size=size, root=root)
    with blaming("policy"):
        head, payload = parse_leaf_data(close.leaf)
        if head.kind is not EntryKind.BLOCK_CLOSE or head.index != size - 1:
            raise MalformedError(f"entry {head.index} is not the close that ends size {size}")
        verify_inclusion(leaf_hash(close.leaf), head.index, size, close.path, root)
        # What is not about proposals alone takes effect at its block's end.
        keys.end_block(height=head.height, time_ms=head.time_ms)
        named = parse_close(payload).policy_digest
        if named != keys.policy_digest:
            raise ProofError(
                f"the log names policy {named.hex()}, the genesis and the events that are shown"
                f" make {keys.policy_digest.hex()}"
            )
    with blaming("checkpoint"):
        findings = check_checkpoint(keys.chain, keys.policy, raw_note)
    return GovernedCheckpoint(findings, keys, operators)
