"""How chapters word what events and verdicts hold."""

import re

from lotmark.v1 import event_pb2, quality_pb2
from lotmark.verify.report import Verdict


def items(event: event_pb2.Event, role: event_pb2.ItemRole.ValueType) -> list[str]:
    """Return the last part of the id of every item with a role: its serial or lot number."""
    return [item.id.rpartition("/")[2] for item in event.items if item.role == role]


def subject(event: event_pb2.Event) -> str:
    """Return the serial or lot number of the one item that an event is about."""
    (name,) = items(event, event_pb2.ITEM_ROLE_SUBJECT)
    return name


def is_bad_weld(event: event_pb2.Event) -> bool:
    """Tell whether a model found a weld not as it must be."""
    return event.inference_result.verdict == quality_pb2.VERDICT_NONCONFORMING


def verdict_words(verdict: Verdict) -> str:
    """Return a verdict as the verifier says it, a line or a few."""
    return "\n".join(verdict.lines())


def shortened(text: str) -> str:
    """Return a text in which keys and ids stand by their first digits only."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", text)
