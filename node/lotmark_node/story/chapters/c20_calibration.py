"""A laboratory calibrates the sensor that will watch the welds; it is mounted in the welder."""

from lotmark.v1 import event_pb2
from lotmark_node.story.stage import Stage
from lotmark_node.story.wording import items, subject

TITLE = "sensor"


def run(stage: Stage) -> str:
    """Put the calibration on record, and where the sensor is."""
    telling = stage.ledger.tell_document("calibration")
    mounting = stage.ledger.tell_document("welder")
    (welder,) = items(mounting.events[0].event, event_pb2.ITEM_ROLE_PARENT)
    sensor = subject(telling.events[0].event)
    return (
        f"{telling.party} calibrates {sensor}: {telling}\n"
        f"{mounting.party} mounts it in {welder}: {mounting}"
    )
