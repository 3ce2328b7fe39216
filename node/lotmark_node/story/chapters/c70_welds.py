"""A camera judges every weld; a heavier model and an operator look at the cold one."""

from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import random_nonce
from lotmark_node.story.welds import CAMERA, PARTY, review_verdict, weld_inspections
from lotmark_node.story.wording import is_bad_weld

TITLE = "welds"
SEED = 137  # the scores are drawn from it: `story.welds` says how


def run(stage: Stage) -> str:
    """Put the camera's results and the operator's verdict on record."""
    ledger = stage.ledger
    camera = ledger.tell("welds", f"{PARTY}/{CAMERA}", weld_inspections(SEED, random_nonce))
    light, heavy = (each for each in camera.events if is_bad_weld(each.event))
    verdict = review_verdict(heavy.result.event_id, random_nonce)
    review = ledger.tell("review", f"{PARTY}/review", [verdict])
    welds = {each.event.inference_result.feature for each in camera.events}
    found = heavy.event.inference_result
    geometry = next(each.value for each in found.context if each.name == "geometry_mm")
    scores = [each.event.inference_result.score_ppm / 1_000_000 for each in (light, heavy)]
    return (
        f"{len(welds)} judged by {CAMERA}: {camera}\n"
        f"{found.feature.rpartition('_')[2]} is {found.label.partition('/')[0]}, {geometry} mm:"
        f" {light.event.inference_result.model} {scores[0]:.3f}, {found.model} {scores[1]:.3f},"
        f" review entry {review.events[0].index}"
    )
