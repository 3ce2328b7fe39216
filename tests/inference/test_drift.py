"""Drift: the same figures as other libraries', and found where there is some."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal, stats

from lotmark_inference.drift import (
    PSI_DRIFTED_PPM,
    CusumChart,
    EwmaChart,
    Reference,
    farthest,
    first_drifted,
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


def test_the_weighted_mean_is_that_of_a_filter() -> None:
    values = drawn(3, 200)
    chart = EwmaChart(mean=0.0, deviation=1.0, weight=0.3)
    for value in values:
        chart = chart.after(float(value))

    filtered = signal.lfilter([0.3], [1.0, -0.7], values)

    assert chart.level == pytest.approx(filtered[-1])


def test_the_cumulative_sums_are_those_of_their_closed_form() -> None:
    values = drawn(4, 200, 0.3)
    chart = CusumChart(mean=0.0, deviation=1.0)
    sums = np.concatenate([[0.0], np.cumsum(values - 0.5)])
    for value in values:
        chart = chart.after(float(value))

    assert chart.up == pytest.approx(sums[-1] - sums.min())


@pytest.mark.parametrize(
    "chart", [EwmaChart(mean=0.0, deviation=1.0), CusumChart(mean=0.0, deviation=1.0)]
)
def test_a_step_of_a_deviation_is_found_within_fifty_values_up_and_down(
    chart: EwmaChart | CusumChart,
) -> None:
    for seed in range(20):
        for step in (-1.0, 1.0):
            found = first_drifted(chart, [float(value) for value in drawn(seed, 200, step)])
            assert found is not None
            assert found < 50


def test_a_steady_series_is_left_alone_mostly() -> None:
    chart = CusumChart(mean=0.0, deviation=1.0)
    found = [
        first_drifted(chart, [float(value) for value in drawn(seed, 100)]) for seed in range(50)
    ]

    assert sum(each is not None for each in found) <= 20
    assert first_drifted(EwmaChart(mean=5.0, deviation=1.0), [5.0] * 1_000) is None


def test_the_farthest_of_a_chart_is_told_in_shares_of_its_limit() -> None:
    chart = CusumChart(mean=0.0, deviation=1.0)

    found = farthest("cusum", chart, [3.0, 3.0, -9.0])

    assert (found.value_ppm, found.limit_ppm) == (1_700_000, 1_000_000)  # the sum below: 8.5
    assert found.is_drifted
    assert first_drifted(chart, [3.0, 3.0, -9.0]) == 2
    assert farthest("ewma", EwmaChart(mean=0.0, deviation=1.0), []).value_ppm == 0


def test_a_value_that_is_no_number_is_refused() -> None:
    for chart in (EwmaChart(mean=0.0, deviation=1.0), CusumChart(mean=0.0, deviation=1.0)):
        with pytest.raises(InputRefused):
            chart.after(float("nan"))
