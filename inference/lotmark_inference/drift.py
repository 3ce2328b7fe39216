"""Whether what a model sees is still what it was made for: PSI, KS, EWMA and CUSUM.

Two ask whether a sample is like a reference (of scores, or of any number that describes an image):
PSI by shares of bins, KS by the largest distance of the two distributions. Two follow the means of
groups of a series for one that moves: EWMA for slow drift, CUSUM for small steps. None needs
labels, and none proves that the model has become worse: what they find is a suspicion, for the
policy and for people. What goes into events is integer.

Textbook limits of EWMA and CUSUM hold for normal numbers of a known mean. Scores are neither:
most are close to one end, a few to the other. So the limit is what the same groups reach in other
orders: where nothing drifted, the order in which they came is as good as any.
"""

import hashlib
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.errors import InputRefused
from lotmark_inference.philox_draws import Draws

PPM = 1_000_000
BIN_COUNT = 10
SAMPLE_COUNT_MIN = 100
SAMPLE_COUNT_MAX = 1_000_000
PSI_DRIFTED_PPM = (
    250_000  # the rule of thumb of credit scoring: beyond 0.25 it is another population
)
PSI_CHANCE = 27.877  # chi-squared of 9 degrees of freedom that chance exceeds once in 1,000
KS_SIGNIFICANCE = 0.001  # of 1,000 samples of the same distribution one is taken for another
GROUP_SIZE = 25  # values whose mean is one of a chart
ORDER_COUNT = 999  # beside the one in which groups came: chance exceeds them once in 1,000

EWMA_WEIGHT, EWMA_LIMIT = 0.2, 3.0  # of the newest mean; deviations of the weighted mean
CUSUM_SLACK, CUSUM_LIMIT = 0.5, 5.0  # deviations

_PURPOSE = b"lotmark/drift-orders/v1\n"
_STREAM = 0
_ORDERS_AT_ONCE = 100  # so that memory is bounded

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
        chance = PSI_CHANCE * (1 / len(self.values) + 1 / len(values))
        limit_ppm = max(PSI_DRIFTED_PPM, round(chance * PPM))
        return DriftFinding(metric="psi", value_ppm=round(index * PPM), limit_ppm=limit_ppm)

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


def chart_findings(
    reference: NDArray[np.int64], sample: NDArray[np.int64]
) -> tuple[DriftFinding, DriftFinding]:
    """Return what EWMA and CUSUM say of a sample that came after a reference.

    A chart's value is how far it gets, its usual limit being a million; its limit is the farthest
    of `ORDER_COUNT` other orders of the groups, which are drawn by the values themselves.

    Args:
        reference: Whole numbers up to 10,000, oldest first; at least `SAMPLE_COUNT_MIN`.
        sample: As the reference. What fills no group is left out, of the oldest.
    """
    groups = np.concatenate([_groups(reference), _groups(sample)])
    reference_count = len(reference) // GROUP_SIZE
    values = np.concatenate([reference, sample]).astype("<i8").tobytes()
    digest = hashlib.sha256(_PURPOSE + values).digest()
    draws = Draws(int.from_bytes(digest[:8]), _STREAM)
    came = np.arange(len(groups))[None]
    observed = _reaches(groups, came, reference_count)
    farthest = [0.0, 0.0]
    for begun in range(0, ORDER_COUNT, _ORDERS_AT_ONCE):
        orders = draws.orders(min(_ORDERS_AT_ONCE, ORDER_COUNT - begun), len(groups))
        reached = _reaches(groups, orders, reference_count)
        farthest = [max(*pair) for pair in zip(farthest, reached, strict=True)]
    ewma, cusum = (
        DriftFinding(metric=metric, value_ppm=round(value * PPM), limit_ppm=round(limit * PPM))
        for metric, value, limit in zip(("ewma", "cusum"), observed, farthest, strict=True)
    )
    return ewma, cusum


def ewma_reach(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far exponentially weighted means get, as shares of their limit.

    Source: Roberts (1959), with the exact variance of the first values.

    Args:
        means: Shape (series, values), in deviations from the mean while the process was well.

    Returns:
        Shape (series,).
    """
    level = np.zeros(len(means))
    farthest = np.zeros(len(means))
    for count, newest in enumerate(means.T, start=1):
        level = EWMA_WEIGHT * newest + (1 - EWMA_WEIGHT) * level
        shrunk = 1 - (1 - EWMA_WEIGHT) ** (2 * count)
        limit = EWMA_LIMIT * sqrt(EWMA_WEIGHT / (2 - EWMA_WEIGHT) * shrunk)
        farthest = np.maximum(farthest, np.abs(level) / limit)
    return farthest


def cusum_reach(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far cumulative sums of what lies beyond a slack get, as shares of their limit.

    Source: Page (1954), in the tabular form, upwards and downwards. Arguments and result as for
    `ewma_reach`.
    """
    up, down, farthest = np.zeros((3, len(means)))
    for newest in means.T:
        up = np.maximum(0, up + newest - CUSUM_SLACK)
        down = np.maximum(0, down - newest - CUSUM_SLACK)
        farthest = np.maximum(farthest, np.maximum(up, down) / CUSUM_LIMIT)
    return farthest


def _groups(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sums and sums of squares of groups, shape (groups, 2)."""
    whole = values[len(values) % GROUP_SIZE :].reshape(-1, GROUP_SIZE)
    return np.stack([whole.sum(axis=1), (whole**2).sum(axis=1)], axis=1)


def _reaches(
    groups: NDArray[np.int64], orders: NDArray[np.intp], reference_count: int
) -> tuple[float, float]:
    """Return the farthest that EWMA and CUSUM get in orders of groups, shape (orders, groups)."""
    first = groups[orders[:, :reference_count]].sum(axis=1)
    count = reference_count * GROUP_SIZE
    # Whole numbers until here: the sums are the same on every machine. A score that never moved
    # has no deviation; the first ten-thousandth off is one then.
    variance = (count * first[:, 1] - first[:, 0] ** 2) / count**2
    deviation = np.sqrt(np.maximum(variance, 1) / GROUP_SIZE)
    means = groups[orders[:, reference_count:], 0] / GROUP_SIZE
    distances = (means - (first[:, 0] / count)[:, None]) / deviation[:, None]
    return float(ewma_reach(distances).max()), float(cusum_reach(distances).max())
