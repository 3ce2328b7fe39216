"""Drift of a model's scores by the results on a ledger."""

import numpy as np
import pytest

from lotmark.v1 import quality_pb2
from lotmark_inference.errors import InputRefused
from lotmark_node.model_drift import ScoreDrift, drift_of
from tests.node.accepted_log import MODEL, STATION, AcceptedLog


def scored(log: AcceptedLog, seed: int, *, count: int, shift: int = 0) -> None:
    """Add results whose first score is about 9,000 and whose second is always 5."""
    random = np.random.default_rng(seed)
    for score in random.normal(9_000 - shift, 300, count):
        body = quality_pb2.InferenceResult(model=MODEL, scores=[int(min(max(score, 0), 10_000)), 5])
        log.add(491_000, inference_result=body)


def drift(log: AcceptedLog, count: int = 500) -> ScoreDrift:
    return drift_of(log.events, model=MODEL, station=STATION, count=count)


@pytest.mark.parametrize("seed", range(8))
def test_scores_that_stay_as_they_were_have_not_drifted(seed: int) -> None:
    log = AcceptedLog()
    scored(log, seed, count=1_500)

    found = drift(log)

    assert (found.reference_count, found.sample_count) == (500, 500)
    metrics = [each.metric for each in found.findings[0]]
    assert metrics == ["psi", "ks", "ewma", "cusum"]
    assert not found.is_drifted


def test_scores_that_move_by_a_deviation_have_drifted_by_every_measure() -> None:
    log = AcceptedLog()
    scored(log, 1, count=500)
    scored(log, 2, count=500, shift=300)

    found = drift(log)

    assert all(each.is_drifted for each in found.findings[0])
    assert found.is_drifted
    assert not any(each.is_drifted for each in found.findings[1])


def test_other_models_stations_and_results_without_scores_are_not_compared() -> None:
    log = AcceptedLog()
    scored(log, 1, count=1_000)
    for _ in range(500):
        log.add(491_000, inference_result=quality_pb2.InferenceResult(model=MODEL))
        other = quality_pb2.InferenceResult(model="weld-heavy/2", scores=[0, 0])
        log.add(491_000, inference_result=other)

    assert drift(log).sample_count == 500


def test_too_few_results_and_odd_ones_are_told() -> None:
    log = AcceptedLog()
    scored(log, 1, count=599)
    with pytest.raises(InputRefused, match="has 599 results at aoi-cam07; to compare, 600"):
        drift(log)

    odd = quality_pb2.InferenceResult(model=MODEL, scores=[1])
    log.add(491_000, inference_result=odd)
    with pytest.raises(InputRefused, match="different numbers of scores"):
        drift(log)
