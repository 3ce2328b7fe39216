"""Events in a few words, for lines in a terminal."""

from lotmark.event_document import describe
from lotmark.outcome import Outcome
from lotmark.rfc3339 import TEXT_MAX_MS, text_of_ms
from lotmark.v1 import event_pb2

# What says most about an event beside its items, whatever its type; in this order.
_TELLING = (
    "feature", "value", "quantity", "label", "minimum", "maximum", "unit", "product", "process",
    "plan", "supplier", "receiver", "report", "certificate", "work", "source", "model", "claim",
    "result_class", "action", "meaning", "reason", "holder", "verdict", "as_left",
)  # fmt: skip


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 event" or "2 events"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def event_type(event: event_pb2.Event) -> str:
    """Return the name of the event's type."""
    return event.WhichOneof("body") or "no type"


def items_text(event: event_pb2.Event) -> str:
    """Return the event's first item, by the end of its id, and how many more it names."""
    if not event.items:
        return ""
    first = event.items[0].id
    more = f" +{len(event.items) - 1}" if len(event.items) > 1 else ""
    return (first.rstrip("/").rpartition("/")[2] or first) + more


def telling_text(event: event_pb2.Event) -> str:
    """Return a few fields of the event's body."""
    fields = describe(event).get(event.WhichOneof("body") or "", {})
    assert isinstance(fields, dict), "a body is described by a table"
    return " ".join(str(fields[name]) for name in _TELLING if name in fields)


def event_line(
    index: int, time_ms: int, party: str, event: event_pb2.Event | None, *, otherwise: str = ""
) -> str:
    """Return the line of an event in a list of them, of any length.

    Args:
        index: Of its entry.
        time_ms: Of its block.
        party: That signed it.
        event: The event; None: it cannot be read.
        otherwise: What to say then.
    """
    said = otherwise or "unreadable"
    if event is not None:
        what = (event_type(event), items_text(event), telling_text(event))
        said = "  ".join([f"{what[0]:<14}", *filter(None, what[1:])])
    return f"{index:>6}  {time_text(time_ms)}  {party:<9}  {said}"


def outcome_text(code: int) -> str:
    """Return what a person calls an outcome; one of a newer release is a number."""
    try:
        outcome = Outcome(code)
    except ValueError:
        return f"outcome {code}"
    return "accepted" if outcome is Outcome.ACCEPTED else outcome.name


def time_text(time_ms: int) -> str:
    """Return Unix milliseconds as a person reads them, in UTC, to the second."""
    return text_of_ms(time_ms)[:19].replace("T", " ") if time_ms < TEXT_MAX_MS else f"{time_ms} ms"
