"""A stator is wound from the wire."""

from lotmark.v1 import event_pb2
from lotmark_node.story.stage import Stage
from lotmark_node.story.wording import items

TITLE = "stator"


def run(stage: Stage) -> str:
    """Put on record what it is made of."""
    telling = stage.ledger.tell_document("stator")
    event = telling.events[0].event
    (made,) = items(event, event_pb2.ITEM_ROLE_OUTPUT)
    wire, *others = items(event, event_pb2.ITEM_ROLE_INPUT)
    return f"{made} of {wire} and {len(others)} more: {telling}"
