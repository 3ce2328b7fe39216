"""What a session returns: records whose parts have been found to belong together."""

from dataclasses import dataclass

from lotmark import merkle
from lotmark.entry import EntryHead, EntryKind, parse_event_payload, parse_leaf_data
from lotmark.errors import ProofError
from lotmark.v1 import ledger_pb2
from lotmark.verify.checkpoints import CheckpointFindings


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPosition:
    """How far a node says that its ledger is; only checkpoints prove it."""

    node: str  # "<party>/<node>"
    height: int
    size: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCheckpoint:
    """A checkpoint whose signatures hold."""

    note: bytes
    findings: CheckpointFindings

    @property
    def size(self) -> int:
        """How many entries it covers."""
        return self.findings.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root of their tree."""
        return self.findings.checkpoint.root


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One entry; only an inclusion proof shows that it is on the ledger."""

    head: EntryHead
    payload: bytes
    leaf_data: bytes
    event: bytes  # of an event entry, if the caller may read it
    withheld: bool  # the caller is not in the event's audience

    @property
    def event_id(self) -> bytes | None:
        """The event's id; None where the entry is no event."""
        if self.head.kind is not EntryKind.EVENT:
            return None
        return parse_event_payload(self.payload)[2]


def read_entry(message: ledger_pb2.Entry) -> LedgerEntry:
    """Return the entry that a node sent.

    Raises:
        MalformedError: The leaf is none.
        ProofError: Index, leaf and event do not belong together.
    """
    head, payload = parse_leaf_data(message.leaf_data)
    if head.index != message.index:
        raise ProofError(f"entry {message.index} says that it is entry {head.index}")
    entry = LedgerEntry(
        head=head,
        payload=payload,
        leaf_data=message.leaf_data,
        event=message.event,
        withheld=message.withheld,
    )
    if entry.event_id and message.event and merkle.leaf_hash(message.event) != entry.event_id:
        raise ProofError(f"entry {head.index} came with an event that is not its own")
    return entry
