"""What questions about provenance ask and return: records that fit together, proven or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from google.protobuf.message import DecodeError

from lotmark.client.ledger_records import LedgerEntry, read_entry
from lotmark.errors import ProofError
from lotmark.v1 import event_pb2, provenance_pb2
from lotmark.verify.item_history import HistoryFindings
from lotmark.verify.receipt import ReceiptFindings

NODES_MAX = 100_000  # in one answer
EVENTS_MAX = 10_000  # in one answer
ANCHORS_MAX = 32  # events in each part of an answer about a file


class EdgeKind(IntEnum):
    """Why two things are linked; what each means: proto/lotmark/v1/provenance.proto."""

    CONSUMED = 1
    PACKED = 2
    MOUNTED = 3
    USED = 4
    MEASURED = 5
    CALIBRATED = 6
    INFERRED = 7
    REPORTED = 8
    SHIPPED = 9
    CLAIMED = 10
    RECEIVED = 11
    IDENTIFIED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """Where an answer stands, by the node's word."""

    item: str  # its one name; "" where none was asked for
    height: int
    size: int  # entries up to before this index are in the answer
    time_ms: int  # of that block


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceLimits:
    """How far a trace goes, and along what."""

    depth_max: int = 0  # steps from the item; 0: as many as there are
    nodes_max: int = NODES_MAX  # in one answer
    kinds: Sequence[EdgeKind] = ()  # empty: consumed, packed, mounted, identified
    from_ms: int = 0  # links whose event was at this time or later; 0: all
    to_ms: int = 0  # links whose event was before this time; 0: all
    parties: Sequence[str] = ()  # links that these signed; empty: all


@dataclass(frozen=True, slots=True)
class TraceNode:
    """A thing that a trace has reached."""

    number: int  # 0: the item asked for
    id: str
    depth: int  # steps from the item asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An exact decimal and its unit, as the event's author wrote them."""

    value: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEdge:
    """A link between two things of a trace."""

    near: int  # number of the one nearer to the item asked for
    far: int
    kind: EdgeKind
    entry: int  # of the event that says so; of several alike, the first
    last_entry: int  # of the last one alike, or of the event that ended it
    at_ms: int  # when it was so, by the first event
    ended: bool  # whether it was taken out again, by `last_entry`
    event_count: int  # alike
    nonconforming_count: int  # of those
    amount: Amount | None  # None: a whole unit
    party: str  # that signed the first event, by the node's word


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace, or a part of one; the links are the node's word until their entries are proven."""

    head: AnswerHead
    nodes: Sequence[TraceNode]  # by number
    edges: Sequence[TraceEdge]
    resume: bytes  # to go on with the same question; b"": this is the end
    cut_short: str  # by which bound; "": nothing was left out


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Which events to find: those that keep every condition given, of which one at least is."""

    item: str = ""
    party: str = ""  # that signed
    device: str = ""
    model: str = ""
    digest: bytes = b""  # of a report, certificate, document or file, 32 bytes
    epcis_hash: bytes = b""  # CBV 2.0, 32 bytes
    disposition: str = ""  # by CBV 2.0, such as "non_conformant"
    event_types: Sequence[int] = ()
    from_ms: int = 0  # the event's own time
    to_ms: int = 0
    recorded_from_ms: int = 0  # time of its block
    recorded_to_ms: int = 0
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEvent:
    """An event that fits its entry's leaf; only a receipt shows that this is on the ledger."""

    entry: LedgerEntry
    event: event_pb2.Event
    party: str  # that signed it, by the node's word

    @property
    def index(self) -> int:
        """Index of its entry."""
        return self.entry.head.index


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEvents:
    """Events that a node found; that there are no others is its word."""

    head: AnswerHead
    events: Sequence[FoundEvent]
    resume: bytes  # to go on with the same question; b"": this is the end


@dataclass(frozen=True, slots=True)
class SuspectItem:
    """An item that was touched in an interval."""

    id: str
    event_count: int
    entry: int  # of the first event
    last_entry: int
    first_ms: int  # time of the first event
    last_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """What a device, tool or lot touched, in the order in which it was touched first."""

    head: AnswerHead
    items: Sequence[SuspectItem]
    resume: bytes  # to go on with the same question; b"": this is the end


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFileAnchors:
    """Events that anchor a file's content, or another content under its name."""

    head: AnswerHead
    same_digest: Sequence[FoundEvent]
    same_name: Sequence[FoundEvent]  # newest first
    more: bool  # there are more than these


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenEvent:
    """An event that is on the ledger, signed by whom `findings` says."""

    event: event_pb2.Event
    findings: ReceiptFindings
    receipt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenHistory:
    """Which events name an item, none left out unseen; what is proven, `findings` says."""

    findings: HistoryFindings
    proof: bytes = field(repr=False)


def read_head(message: provenance_pb2.AnswerHead) -> AnswerHead:
    """Return where an answer stands."""
    return AnswerHead(
        item=message.item, height=message.height, size=message.size, time_ms=message.time_ms
    )


def read_edge(message: provenance_pb2.TraceEdge) -> TraceEdge:
    """Return a link.

    Raises:
        ProofError: Its kind is none that this version knows.
    """
    try:
        kind = EdgeKind(message.kind)
    except ValueError as error:
        raise ProofError(
            f"a link of kind {message.kind} is not known to this version; update the client"
        ) from error
    amount = None
    if message.HasField("quantity"):
        amount = Amount(value=message.quantity.value, unit=message.quantity.unit)
    return TraceEdge(
        near=getattr(message, "from"),  # a word of Python's
        far=message.to,
        kind=kind,
        entry=message.entry,
        last_entry=message.last_entry,
        at_ms=message.at_ms,
        ended=message.ended,
        event_count=message.event_count,
        nonconforming_count=message.nonconforming_count,
        amount=amount,
        party=message.party,
    )


def read_found_event(message: provenance_pb2.FoundEvent) -> FoundEvent:
    """Return an event that a node found.

    Raises:
        MalformedError: Its entry is none.
        ProofError: It does not fit its entry, or was withheld, which no answer may tell.
    """
    entry = read_entry(message.entry)
    if entry.event_id is None or not entry.event:
        raise ProofError(f"entry {entry.head.index} was found without an event")
    return FoundEvent(
        entry=entry, event=parse_event(entry.event, entry.head.index), party=message.party
    )


def parse_event(raw: bytes, index: int) -> event_pb2.Event:
    """Return the event of an entry.

    Raises:
        ProofError: The bytes are none.
    """
    try:
        return event_pb2.Event.FromString(raw)
    except DecodeError as error:
        raise ProofError(f"entry {index} was found with {len(raw)} bytes that are no event") from (
            error
        )
