"""Drift: the same figures as other libraries', and found where there is some."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal, stats

from lotmark_inference.drift import (
    CUSUM_LIMIT,
    CUSUM_SLACK,
    EWMA_LIMIT,
    EWMA_WEIGHT,
    GROUP_SIZE,
    PSI_CHANCE,
    PSI_DRIFTED_PPM,
    Reference,
    chart_findings,
    cusum_reach,
    ewma_reach,
)
from lotmark_inference.errors import InputRefused


def drawn(seed: int, count: int, shift: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(shift, 1.0, count)


REFERENCE = Reference.of(drawn(0, 5_000))


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_psi_and_ks_are_those_of_another_library(shift: float) -> None:
    sample = drawn(1, 1_000, shift)
    theirs = stats.ks_2samp(drawn(0, 5_000), sample)
    bins = [-np.inf, *REFERENCE.edges, np.inf]
    expected, found = (
        np.clip(np.histogram(values, bins)[0] / len(values), 1e-4, 1)
        for values in (drawn(0, 5_000), sample)
    )
    divergence = np.sum(stats.entropy(expected, found) + stats.entropy(found, expected))
    scale = max(abs(expected.sum() - 1), abs(found.sum() - 1)) + 1e-6

    assert REFERENCE.ks(sample).value_ppm == round(theirs.statistic * 1_000_000)
    assert REFERENCE.psi(sample).value_ppm == pytest.approx(
        divergence * 1_000_000, abs=1 + 20 * scale * 1_000_000
    )


def test_ks_calls_drifted_what_chance_reaches_once_in_a_thousand() -> None:
    for shift in (0.05, 0.1, 0.12, 0.15, 0.2):
        sample = drawn(2, 1_000, shift)
        p_value = stats.ks_2samp(drawn(0, 5_000), sample, method="asymp").pvalue
        if not 0.0007 < p_value < 0.0014:  # both are approximations
            assert REFERENCE.ks(sample).is_drifted == (p_value < 0.001)


def test_no_drift_is_found_where_there_is_none_and_half_a_deviation_is() -> None:
    same = [drawn(seed, 1_000) for seed in range(10, 60)]
    moved = [drawn(seed, 1_000, 0.6) for seed in range(10, 60)]

    assert not any(REFERENCE.psi(each).is_drifted for each in same)
    assert sum(REFERENCE.ks(each).is_drifted for each in same) <= 1
    assert all(REFERENCE.psi(each).is_drifted for each in moved)
    assert all(REFERENCE.ks(each).is_drifted for each in moved)
    assert REFERENCE.psi(moved[0]).limit_ppm == PSI_DRIFTED_PPM
    assert type(REFERENCE.psi(moved[0]).value_ppm) is int


def test_a_reference_of_one_value_alone_still_compares() -> None:
    constant = Reference.of(np.full(100, 7.0))

    assert not constant.psi(np.full(100, 7.0)).is_drifted
    assert constant.psi(np.full(100, 8.0)).value_ppm >= 0
    assert constant.ks(np.full(100, 8.0)).value_ppm == 1_000_000


@pytest.mark.parametrize(
    "values", [np.zeros(99), np.zeros((10, 10)), np.full(100, np.nan), np.full(100, np.inf)]
)
def test_a_sample_that_says_nothing_is_refused(values: NDArray[np.float64]) -> None:
    with pytest.raises(InputRefused):
        Reference.of(values)
    with pytest.raises(InputRefused):
        REFERENCE.ks(values)


def test_psi_of_few_values_has_to_be_beyond_chance_too() -> None:
    assert pytest.approx(stats.chi2.isf(0.001, 9), abs=0.001) == PSI_CHANCE
    few = Reference.of(drawn(0, 100))

    found = [few.psi(drawn(seed, 100)) for seed in range(1, 101)]

    assert {each.limit_ppm for each in found} == {round(PSI_CHANCE * 20_000)}
    assert sum(each.value_ppm > PSI_DRIFTED_PPM for each in found) > 5
    assert sum(each.is_drifted for each in found) <= 2


def test_the_weighted_mean_is_that_of_a_filter() -> None:
    values = drawn(3, 200)

    filtered = signal.lfilter([EWMA_WEIGHT], [1.0, EWMA_WEIGHT - 1], values)
    kept = (1 - EWMA_WEIGHT) ** (2 * np.arange(1, 201))
    limits = EWMA_LIMIT * np.sqrt(EWMA_WEIGHT / (2 - EWMA_WEIGHT) * (1 - kept))

    assert ewma_reach(values[None])[0] == pytest.approx(np.abs(filtered / limits).max())


def test_the_cumulative_sums_are_those_of_their_closed_form() -> None:
    values = drawn(4, 200, 0.3)
    sums = np.concatenate([[0.0], np.cumsum(values - CUSUM_SLACK)])
    farthest = (sums - np.minimum.accumulate(sums)).max()

    reaches = cusum_reach(np.stack([values, -values]))

    assert reaches == pytest.approx([farthest / CUSUM_LIMIT] * 2)


@pytest.mark.parametrize("reach", [ewma_reach, cusum_reach])
def test_a_step_of_a_deviation_is_found_within_fifty_values_up_and_down(
    reach: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> None:
    series = np.stack([drawn(seed, 50, step) for seed in range(20) for step in (-1.0, 1.0)])

    assert (reach(series) > 1).all()
    assert (reach(np.zeros((1, 1_000))) == 0).all()


def scores(seed: int, count: int, *, defects: float) -> NDArray[np.int64]:
    """Return scores as a good model gives them: close to one end, of defects to the other."""
    random = np.random.default_rng(seed)
    far = np.minimum(random.exponential(40, count), 10_000)
    return np.where(random.random(count) < defects, 10_000 - far, far).astype(np.int64)


@pytest.mark.parametrize("defects", [0.0, 0.01, 0.03])
def test_scores_far_from_normal_do_not_drift_by_themselves(defects: float) -> None:
    found = [
        each.is_drifted
        for seed in range(40)
        for each in chart_findings(
            scores(seed, 1_000, defects=defects), scores(1_000 + seed, 1_000, defects=defects)
        )
    ]

    assert sum(found) <= 1


def test_charts_find_more_defects_and_say_the_same_each_time() -> None:
    for seed in range(10):
        before, now = scores(seed, 1_000, defects=0.01), scores(50 + seed, 1_000, defects=0.08)
        findings = chart_findings(before, now)

        assert all(each.is_drifted for each in findings)
        assert findings == chart_findings(before.copy(), now.astype(np.int64))


def test_the_limits_of_charts_are_the_same_on_every_machine() -> None:
    values = np.arange(100, dtype=np.int64) ** 2

    ewma, cusum = chart_findings(values, values[::-1])

    assert (ewma.value_ppm, ewma.limit_ppm) == (2_447_830, 23_715_204)
    assert (cusum.value_ppm, cusum.limit_ppm) == (1_476_093, 26_678_582)


def test_what_fills_no_group_is_left_out_of_the_oldest() -> None:
    before, now = scores(1, 100, defects=0.1), scores(2, 100, defects=0.1)
    odd = np.full(GROUP_SIZE - 1, 9_999)

    first, _ = chart_findings(np.concatenate([odd, before]), np.concatenate([odd, now]))
    second, _ = chart_findings(before, now)

    assert first.value_ppm == second.value_ppm


def test_scores_that_never_moved_are_no_drift_and_their_first_step_is_one() -> None:
    still = np.full(1_000, 5)

    assert not any(each.is_drifted for each in chart_findings(still, still))
    assert all(each.is_drifted for each in chart_findings(still, still + 1))
