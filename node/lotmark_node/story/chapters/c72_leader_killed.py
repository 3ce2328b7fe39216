"""The leader dies in the middle of it; another voter leads, and nothing is lost."""

import time

from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import ToldEvent, TrialLedger, random_nonce

TITLE = "leader dies"
CLIENT = "T1-STATOR/line-l3"
BEFORE_COUNT, AFTER_COUNT = 10, 10


def run(stage: Stage) -> str:
    """Kill the leader between two events, go on, and look for every one afterwards."""
    ledger = stage.ledger
    told = [_tell(ledger) for _ in range(BEFORE_COUNT)]
    killed = ledger.leader()
    ledger.network.voters[killed].kill()
    ledger.hang_up()
    killed_s = time.perf_counter()
    told.append(_tell(ledger))
    failover_s = time.perf_counter() - killed_s
    told += [_tell(ledger) for _ in range(AFTER_COUNT - 1)]
    leader = ledger.leader()
    ledger.network.voters[killed].launch()
    ledger.network.voters[killed].wait_ready()
    ledger.remember("leader dies", CLIENT, told)
    lost = [each for each in told if not _is_on_record(ledger, each)]
    stage.facts |= {
        "leader_killed": True,
        "lost": len(lost),
        "failover_s": round(failover_s, 2),
    }
    if lost:
        raise StoryFailed(f"{len(lost)} acknowledged events are gone")
    return (
        f"{killed} is killed with SIGKILL between two events of {CLIENT}; {leader} leads, and the"
        f" next event is in after {failover_s:.1f} s\n"
        f"{len(told)} of {len(told)} acknowledged events are on record; {killed} runs again"
    )


def _tell(ledger: TrialLedger) -> ToldEvent:
    """Put one measurement on record, by whatever node answers."""
    event = event_pb2.Event(nonce=random_nonce(), device="W07")
    event.capture_mode = event_pb2.CAPTURE_MODE_SENSOR_DIRECT
    event.time.start_ms = event.time.end_ms = time.time_ns() // 1_000_000
    event.time.uncertainty_us = 2_000
    event.items.add(
        id="https://id.gs1.org/01/04012345000023/21/ST2601120001234",
        role=event_pb2.ITEM_ROLE_SUBJECT,
    )
    event.measurement.feature = "housing.temperature"
    event.measurement.value = "41.5"
    event.measurement.unit = "Cel"
    event.measurement.verdict = quality_pb2.VERDICT_UNDETERMINED
    (told,) = ledger.submit(CLIENT, [event])
    return told


def _is_on_record(ledger: TrialLedger, told: ToldEvent) -> bool:
    found = ledger.session(CLIENT).entry(told.result.event_id)
    return found.head.index == told.index
