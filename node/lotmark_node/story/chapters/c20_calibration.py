"""A laboratory calibrates the sensor that will watch the welds."""

from lotmark_node.story.stage import Stage
from lotmark_node.story.wording import subject

TITLE = "sensor"


def run(stage: Stage) -> str:
    """Put the calibration on record."""
    telling = stage.ledger.tell_document("calibration")
    return f"{telling.party} calibrates {subject(telling.events[0].event)}: {telling}"
