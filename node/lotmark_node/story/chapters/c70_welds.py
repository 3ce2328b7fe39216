"""A camera photographs every weld; models judge, and an operator looks at the cold one."""

import time

from lotmark.client.provenance import ProvenanceReader
from lotmark.v1 import event_pb2
from lotmark_inference.policy import read_policy
from lotmark_node.edge.image_folder import ImageFolder
from lotmark_node.edge.station_licence import asked_licence
from lotmark_node.edge.station_mode import ModeFile
from lotmark_node.edge.station_run import StationRun, opened_station
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.inspection import COLD_UM, photograph
from lotmark_node.story.line import WIRE_LOT
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import ToldEvent, TrialLedger, random_nonce
from lotmark_node.story.welds import CAMERA, COLD_WELD, PARTY, STATOR, WELD_COUNT, review_verdict
from lotmark_node.story.wording import is_bad_weld

TITLE = "welds"
CLIENT = f"{PARTY}/{CAMERA}"


def run(stage: Stage) -> str:
    """Judge all welds; let what follows from the bad one follow at once."""
    ledger = stage.ledger
    settings = photograph(stage.folder, ledger.network.client_file(CLIENT))
    waiting: list[event_pb2.Event] = []
    told: list[ToldEvent] = []
    policy = read_policy(settings.policy.read_bytes(), source="weld.toml")
    licence = asked_licence(
        settings,
        ledger.network.client_settings(CLIENT),
        policy,
        now_ms=time.time_ns() // 1_000_000,
    )
    judged_s = 0.0
    with opened_station(settings, policy, licence) as station:
        station_run = StationRun(
            settings, station, ModeFile(settings.folder, CAMERA), ImageFolder(settings.images)
        )
        waiting += map(event_pb2.Event.FromString, station_run.opened())
        station_run.poll()  # a file is taken once it looks the same a second time
        for path in station_run.poll():
            started_s = time.perf_counter()
            image = station_run.judge(path)
            if image is None:
                raise StoryFailed(f"{path} was not read")
            station_run.keep_in_folder(image)
            waiting += map(event_pb2.Event.FromString, image.inspected.events)
            station_run.settle(image)
            judged_s += time.perf_counter() - started_s
            if image.is_nonconforming:
                told += ledger.submit(CLIENT, waiting)
                waiting.clear()
                _act(ledger, image.inspected.to_review)
                stage.facts["detection_to_actions_s"] = round(time.perf_counter() - started_s, 2)
    told += ledger.submit(CLIENT, waiting)
    camera = ledger.remember("welds", CLIENT, told)
    results = [each for each in told if each.event.HasField("inference_result")]
    light, *others = [each for each in results if is_bad_weld(each.event)]
    welds = {each.event.inference_result.feature for each in results}
    bad = {each.event.inference_result.feature for each in (light, *others)}
    if bad != {f"weld_{COLD_WELD}"} or len(welds) != WELD_COUNT or not others:
        raise StoryFailed(f"of {len(welds)} welds the models found {sorted(bad)}")
    stage.facts["inferences"] = len(results)
    scores = [
        f"{each.event.inference_result.model} {each.event.inference_result.score_ppm / 1e6:.3f}"
        for each in (light, *others)
    ]
    review = ledger.tellings["review"].events[0]
    return (
        f"{len(welds)} photographed (made up) and judged by {CAMERA}, {len(results)} inferences:"
        f" entries {camera.events[0].index} to {camera.events[-1].index},"
        f" {1_000 * judged_s / len(welds):.1f} ms each\n"
        f"{COLD_WELD} is {light.event.inference_result.label.partition('/')[0]},"
        f" {COLD_UM / 1_000:.2f} mm: {', '.join(scores)}, review entry {review.index}; from the"
        f" image to the wire's lot and the operator's verdict"
        f" {stage.facts['detection_to_actions_s']} s"
    )


def _act(ledger: TrialLedger, to_review: bytes) -> None:
    """Do what a bad weld asks for: a person looks at it, and its wire lot is found.

    Raises:
        StoryFailed: The stator's history does not lead to its wire.
    """
    now_ms = time.time_ns() // 1_000_000
    review = review_verdict(to_review, random_nonce, end_ms=now_ms, effort_s=0)  # a script looks
    ledger.tell("review", f"{PARTY}/review", [review])
    trace = ProvenanceReader(ledger.session(CLIENT)).trace_back(STATOR)
    if WIRE_LOT not in {node.id for node in trace.nodes}:
        raise StoryFailed(f"the trace of {STATOR} does not lead to its wire")
