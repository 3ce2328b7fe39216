"""Whether what a model sees is still what it was made for: PSI, KS, EWMA and CUSUM.

Two ask whether a sample is like a reference (of scores, or of any number that describes an image):
PSI by shares of bins, KS by the largest distance of the two distributions. Two watch a series for
a mean that moves: EWMA for slow drift, CUSUM for small steps. None needs labels, and none proves
that the model has become worse: what they find is a suspicion, for the policy and for people.
What goes into events is integer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.errors import InputRefused

PPM = 1_000_000
BIN_COUNT = 10
SAMPLE_COUNT_MIN = 100
SAMPLE_COUNT_MAX = 1_000_000
PSI_DRIFTED_PPM = (
    250_000  # the rule of thumb of credit scoring: beyond 0.25 it is another population
)
KS_SIGNIFICANCE = 0.001  # of 1,000 samples of the same distribution one is taken for another

_SHARE_MIN = 1e-4  # an empty bin has no logarithm


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFinding:
    """What one measure says of a sample."""

    metric: str  # "psi", "ks", "ewma", "cusum"
    value_ppm: int
    limit_ppm: int

    @property
    def is_drifted(self) -> bool:
        """Whether it is beyond the limit."""
        return self.value_ppm > self.limit_ppm


@dataclass(frozen=True, slots=True)
class Reference:
    """What numbers were like while the model was known to do well."""

    values: NDArray[np.float64]  # ascending
    edges: NDArray[np.float64]  # between bins that held equal shares of them
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Reference":
        """Return the reference that a sample makes.

        Raises:
            InputRefused: It has too few values, too many, or one that is no number.
        """
        ascending = np.sort(_checked(values))
        quantiles = np.linspace(0, 1, BIN_COUNT + 1)[1:-1]
        edges = np.quantile(ascending, quantiles)
        return cls(ascending, edges, _shares(ascending, edges))

    def psi(self, values: NDArray[np.float64]) -> DriftFinding:
        """Return the population stability index of a sample.

        Raises:
            InputRefused: As for the reference.
        """
        shares = _shares(_checked(values), self.edges)
        index = float(np.sum((shares - self.shares) * np.log(shares / self.shares)))
        return DriftFinding(metric="psi", value_ppm=round(index * PPM), limit_ppm=PSI_DRIFTED_PPM)

    def ks(self, values: NDArray[np.float64]) -> DriftFinding:
        """Return the two-sample Kolmogorov-Smirnov statistic and what chance alone reaches.

        Raises:
            InputRefused: As for the reference.
        """
        sample = np.sort(_checked(values))
        places = np.concatenate([self.values, sample])
        reference_below = np.searchsorted(self.values, places, side="right") / len(self.values)
        sample_below = np.searchsorted(sample, places, side="right") / len(sample)
        statistic = float(np.abs(reference_below - sample_below).max())
        inverse_counts = 1 / len(self.values) + 1 / len(sample)
        limit = sqrt(-log(KS_SIGNIFICANCE / 2) / 2 * inverse_counts)
        return DriftFinding(
            metric="ks", value_ppm=round(statistic * PPM), limit_ppm=min(round(limit * PPM), PPM)
        )


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    bins = np.searchsorted(edges, values, side="right")
    counts = np.bincount(bins, minlength=BIN_COUNT)
    shares: NDArray[np.float64] = np.clip(counts / len(values), _SHARE_MIN, 1)
    return shares


def _checked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.ndim != 1 or not SAMPLE_COUNT_MIN <= len(values) <= SAMPLE_COUNT_MAX:
        raise InputRefused(
            f"a sample of shape {values.shape} is none of {SAMPLE_COUNT_MIN} to {SAMPLE_COUNT_MAX}"
            " values"
        )
    if not np.isfinite(values).all():
        raise InputRefused("the sample holds NaN or infinity; leave out what was not measured")
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class EwmaChart:
    """An exponentially weighted mean and its control limits, value by value.

    Source: Roberts (1959), with the exact variance of the first values.
    """

    mean: float  # of the process while it was well
    deviation: float  # of a single value, above 0
    weight: float = 0.2  # of the newest value
    limit: float = 3.0  # deviations of the weighted mean
    level: float = 0.0  # distance of the weighted mean from `mean`
    count: int = 0

    def after(self, value: float) -> "EwmaChart":
        """Return the chart after one more value.

        Raises:
            InputRefused: It is no number.
        """
        level = self.weight * _finite(value - self.mean) + (1 - self.weight) * self.level
        return replace(self, level=level, count=self.count + 1)

    @property
    def reach(self) -> float:
        """How far the weighted mean is, as a share of its limit."""
        shrunk = 1 - (1 - self.weight) ** (2 * self.count)
        sigma = self.deviation * sqrt(self.weight / (2 - self.weight) * shrunk)
        return abs(self.level) / (self.limit * sigma) if sigma else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CusumChart:
    """Cumulative sums of what lies beyond a slack, upwards and downwards.

    Source: Page (1954), in the tabular form; slack and limit in deviations. With the defaults a
    step of one deviation is found after about ten values, chance alone alarms once in 465.
    """

    mean: float
    deviation: float  # above 0
    slack: float = 0.5
    limit: float = 5.0
    up: float = 0.0
    down: float = 0.0

    def after(self, value: float) -> "CusumChart":
        """Return the chart after one more value.

        Raises:
            InputRefused: It is no number.
        """
        distance = _finite((value - self.mean) / self.deviation)
        return replace(
            self,
            up=max(0.0, self.up + distance - self.slack),
            down=max(0.0, self.down - distance - self.slack),
        )

    @property
    def reach(self) -> float:
        """How far the larger sum is, as a share of the limit."""
        return max(self.up, self.down) / self.limit


def _finite(value: float) -> float:
    if not isfinite(value):
        raise InputRefused(f"{value} is no value of a series; leave out what was not measured")
    return value


def first_drifted(chart: EwmaChart | CusumChart, values: Sequence[float]) -> int | None:
    """Return the place of the value with which a chart goes beyond its limit; None: it never does.

    Raises:
        InputRefused: A value is no number.
    """
    for place, value in enumerate(values):
        chart = chart.after(value)
        if chart.reach > 1:
            return place
    return None


def farthest(metric: str, chart: EwmaChart | CusumChart, values: Sequence[float]) -> DriftFinding:
    """Return the farthest that a chart gets over values, its limit being a million.

    Raises:
        InputRefused: A value is no number.
    """
    reach = 0.0
    for value in values:
        chart = chart.after(value)
        reach = max(reach, chart.reach)
    return DriftFinding(metric=metric, value_ppm=round(reach * PPM), limit_ppm=PPM)
