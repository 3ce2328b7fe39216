"""A wire maker draws the lot that everything later is made of."""

from lotmark_node.story.stage import Stage
from lotmark_node.story.wording import subject

TITLE = "wire lot"


def run(stage: Stage) -> str:
    """Put the lot on record."""
    telling = stage.ledger.tell_document("wire-lot")
    event = telling.events[0].event
    lot = event.lot_created
    return f"{telling.party} draws {subject(event)}, {lot.quantity} {lot.unit}: {telling}"
