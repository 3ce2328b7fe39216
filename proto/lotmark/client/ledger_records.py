"""What a session returns: records whose parts have been found to belong together."""

from dataclasses import dataclass

from lotmark import merkle
from lotmark.entry import EntryHead, EntryKind, parse_event_payload, parse_leaf_data
from lotmark.errors import ProofError
from lotmark.event import EventRefused, check_event
from lotmark.v1 import event_pb2, ledger_pb2
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeal:
    """A seal on the ledger, as a node found it; that it names all of them is the node's word."""

    entry: LedgerEntry
    event: event_pb2.Event
    corrected_by: int | None  # entry of its party's correction


def read_found_seal(
    message: ledger_pb2.FoundSeal, request: ledger_pb2.FindSealsRequest
) -> FoundSeal:
    """Return the seal that a node found.

    Raises:
        MalformedError: Its entry is none.
        ProofError: It does not fit together, or is not one that was asked for.
    """
    entry = read_entry(message.entry)
    try:
        event = check_event(entry.event).message
    except EventRefused as error:
        raise ProofError(f"entry {entry.head.index} came with an unsound event: {error}") from error
    named = request.item in ("", *(item.id for item in event.items))
    digest_fits = request.report_digest in (b"", event.report_seal.report_digest)
    if event.WhichOneof("body") != "report_seal" or not named or not digest_fits:
        raise ProofError(f"entry {entry.head.index} is no seal that was asked for")
    return FoundSeal(entry=entry, event=event, corrected_by=message.corrected_by or None)


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
