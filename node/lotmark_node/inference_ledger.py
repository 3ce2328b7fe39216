"""What a ledger holds about inferences, read over a session: results, models, labels, audits.

Of a single entry its place is proven. Which entries of a kind there are is the node's word; a
snapshot proves that, where it matters.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lotmark.client.calls import NotOnLedgerError
from lotmark.client.ledger_records import LedgerCheckpoint, LedgerEntry
from lotmark.client.session import LedgerSession
from lotmark.entry import EntryKind, parse_event_payload
from lotmark.event import EVENT_TYPES
from lotmark.outcome import MEANINGS, Outcome
from lotmark.v1 import event_pb2, operators_pb2
from lotmark.verify.signed_headers import read_signed_headers
from lotmark_inference import registered_models
from lotmark_inference.errors import InputRefused
from lotmark_inference.label_catalogue import CatalogueApproval
from lotmark_inference.registered_models import RegisteredModels, Registration

INFERENCE, AUDIT = "inference_result", "inference_audit"
POLICY_SWITCHED = "policy_switched"


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    """An event that the ledger accepted."""

    entry: LedgerEntry
    event: event_pb2.Event

    @property
    def index(self) -> int:
        """Of its entry."""
        return self.entry.head.index

    @property
    def event_id(self) -> bytes:
        """Its id."""
        event_id = self.entry.event_id
        assert event_id is not None, "it is an event's entry"
        return event_id


@dataclass(frozen=True, slots=True)
class ProvenResult:
    """An inference result whose entry is proven to stand on the ledger, and whose it is."""

    accepted: AcceptedEvent
    party: str


def accepted_events(
    session: LedgerSession,
    bodies: Sequence[str],
    *,
    from_index: int = 0,
    parties: Sequence[str] = (),
) -> Iterator[AcceptedEvent]:
    """Return the accepted events with one of these bodies that the caller may read, in order.

    Args:
        session: With a node.
        bodies: Names of bodies.
        from_index: Where to begin.
        parties: Whose events; empty: everybody's.
    """
    types = [EVENT_TYPES[body] for body in bodies]
    for entry in session.entries(from_index, event_types=types, parties=parties):
        if not (entry.head.outcome or entry.withheld):
            yield AcceptedEvent(entry, event_pb2.Event.FromString(entry.event))


def proven_result(session: LedgerSession, name: int | bytes) -> ProvenResult:
    """Return an inference result by its index or event id.

    Raises:
        NotOnLedgerError: There is no such entry.
        InputRefused: It is no inference result, was refused, or is not for this caller.
        ProofError: It is not proven to be there.
    """
    entry = session.entry(name)
    index = entry.head.index
    if entry.head.kind is not EntryKind.EVENT:
        raise InputRefused(f"entry {index} is no event; name one with an inference result")
    event = _accepted(entry, f"entry {index}")
    if event.WhichOneof("body") != INFERENCE:
        raise InputRefused(f"entry {index} is {event.WhichOneof('body')}, no inference result")
    party = prove(session, entry, session.checkpoint_over(index))
    return ProvenResult(AcceptedEvent(entry, event), party)


def _accepted(entry: LedgerEntry, what: str) -> event_pb2.Event:
    """Return the event of an entry.

    Raises:
        InputRefused: It was refused, or is not for this caller.
    """
    if entry.withheld:
        raise InputRefused(f"{what} is for other parties; ask its author")
    if entry.head.outcome:
        meaning = MEANINGS[Outcome(entry.head.outcome)]
        raise InputRefused(f"{what} was refused by the ledger: {meaning.text}")
    return event_pb2.Event.FromString(entry.event)


def prove(session: LedgerSession, entry: LedgerEntry, checkpoint: LedgerCheckpoint) -> str:
    """Prove an event's entry and the batch that brought it; return whose it is.

    Raises:
        ProofError: It is not proven to be there.
    """
    session.prove_inclusion(entry, checkpoint)
    carrier = session.entry(parse_event_payload(entry.payload)[0])
    session.prove_inclusion(carrier, checkpoint)
    return read_signed_headers(carrier.payload, 1)[0].header.party


def models_of(
    session: LedgerSession,
    *parties: str,
    on_ignored: Callable[[int, str], None] = lambda _index, _why: None,
) -> RegisteredModels:
    """Return which models parties have registered, and where they may run by their own word.

    Args:
        session: With a node; whose an event is, is its word.
        parties: Whose events count.
        on_ignored: Called with the index of each event of theirs that counts for nothing, and why.
    """
    models = RegisteredModels(parties=frozenset(parties))
    events = [
        (each.index, party, each)
        for party in sorted(models.parties)
        for each in model_events(session, party)
    ]
    for index, party, each in sorted(events, key=lambda event: event[0]):
        models, why = models.apply(each.event, party, index)
        if why:
            on_ignored(index, why)
    return models


def model_events(session: LedgerSession, party: str) -> Iterator[AcceptedEvent]:
    """Return a party's events of which models it has registered, and where they may run."""
    return accepted_events(session, registered_models.EVENT_TYPES, parties=[party])


def why_no_approvals(
    session: LedgerSession, event_ids: Sequence[bytes], registered: Registration
) -> dict[bytes, str]:
    """Return of each event why it approves no registered model; empty: it does.

    Args:
        session: With a node.
        event_ids: What is said to approve it.
        registered: The model.
    """
    found: dict[bytes, str] = {}
    credentials: set[bytes] = set()
    for event_id in dict.fromkeys(event_ids):
        try:
            credential = _approving_credential(session, event_id, registered)
        except InputRefused as error:
            found[event_id] = str(error)
            continue
        is_second = credential in credentials
        found[event_id] = f"event {event_id.hex()} is of one who approved it" if is_second else ""
        credentials.add(credential)
    return found


def _approving_credential(
    session: LedgerSession, event_id: bytes, registered: Registration
) -> bytes:
    what = f"event {event_id.hex()}"
    try:
        entry = session.entry(event_id)
    except NotOnLedgerError as error:
        raise InputRefused(f"{what} is not on the ledger") from error
    event = _accepted(entry, what)
    if event.WhichOneof("body") != "operator_signature":
        raise InputRefused(f"{what} is {event.WhichOneof('body')}, no operator's signature")
    signature = event.operator_signature
    if signature.meaning != operators_pb2.OPERATOR_MEANING_APPROVE:
        raise InputRefused(f"{what} is signed with another meaning than approve")
    if signature.event_id != session.entry(registered.index).event_id:
        raise InputRefused(
            f"{what} is about event {signature.event_id.hex()}, not about entry"
            f" {registered.index}, which registered {registered.model}"
        )
    return signature.credential_id


def catalogue_approval(session: LedgerSession, parties: Sequence[str]) -> CatalogueApproval:
    """Return which label catalogues there are, and who has approved them.

    Args:
        session: With a node.
        parties: One of them has to be among the approvers of a catalogue's first version.
    """
    bodies = ("operator_registration", "label_catalogue", "operator_signature")
    approval = CatalogueApproval(parties=frozenset(parties))
    for each in accepted_events(session, bodies):
        approval = approval.apply(each.event, each.event_id)
    return approval
