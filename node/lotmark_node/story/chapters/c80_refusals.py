"""Two events that the ledger refuses; both refusals are on record, for everybody to see."""

from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import ToldEvent, random_nonce

TITLE = "refusals"


def run(stage: Stage) -> str:
    """Let the camera seal a report, and the wire maker send his lot a second time."""
    tellings = stage.ledger.tellings
    sealed = event_pb2.Event()
    sealed.CopyFrom(tellings["resistivity"].events[-1].event)
    sealed.nonce = random_nonce()
    camera, wire_maker = tellings["welds"].client, tellings["wire-lot"].client
    forbidden = _refused(stage, camera, sealed, Outcome.KEY_NOT_PERMITTED)
    lot = tellings["wire-lot"].events[0].event
    repeated = _refused(stage, wire_maker, lot, Outcome.EVENT_DUPLICATE)
    return (
        f"{camera} tries to seal a report: entry {forbidden.index}, {forbidden.result.detail}\n"
        f"{wire_maker} sends its lot again: entry {repeated.index}, {repeated.result.detail}"
    )


def _refused(stage: Stage, client: str, event: event_pb2.Event, outcome: Outcome) -> ToldEvent:
    (told,) = stage.ledger.submit(client, [event])
    if told.result.outcome is not outcome:
        raise StoryFailed(f"{client} got {told.result.outcome.name} instead of {outcome.name}")
    return told
