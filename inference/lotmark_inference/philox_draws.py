"""Numbers drawn from a seed: the same ones on every machine and under every release of NumPy.

NumPy keeps a bit generator's raw stream for ever, but not what it makes of it, so uniform and
normal numbers are made of the raw stream here.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

SEED_MAX = 2**64 - 1

_UNIT = 2.0**-53  # the step between two uniform numbers


class Draws:
    """One stream of numbers, addressed by a seed and by what they are for.

    Philox computes its numbers from key and counter, so streams of different keys do not meet, and
    none has to be drawn to reach another.
    """

    __slots__ = ("_generator",)

    def __init__(self, seed: int, stream: int) -> None:
        """Open a stream of a seed of 0 to 2^64 - 1; streams of other numbers are unrelated."""
        assert 0 <= seed <= SEED_MAX, f"seed {seed} is outside 0 to 2^64 - 1"
        self._generator = Philox(key=stream << 64 | seed)

    def between(self, low: float, high: float) -> float:
        """Return a uniform number of at least `low` and below `high`."""
        return low + (high - low) * ((self._generator.random_raw() >> 11) * _UNIT)

    def integer(self, low: int, high: int) -> int:
        """Return a uniform whole number from `low` to `high`, both included."""
        return low + (self._generator.random_raw() * (high - low + 1) >> 64)

    def normal(self, deviation: float) -> float:
        """Return a normal number of mean 0."""
        radius = math.sqrt(-2 * math.log(1 - self.between(0, 1)))
        return deviation * radius * math.cos(2 * math.pi * self.between(0, 1))

    def occurrences(self, mean: float) -> int:
        """Return how often something happened that happens `mean` times on average (Poisson)."""
        count = 0
        probability = math.exp(-mean)
        rest = self.between(0, 1) - probability
        while rest >= 0 and probability > _UNIT:
            count += 1
            probability *= mean / count
            rest -= probability
        return count

    def orders(self, count: int, size: int) -> NDArray[np.intp]:
        """Return so many orders of 0 to `size` - 1, shape (count, size)."""
        drawn = self._generator.random_raw(count * size).reshape(count, size)
        return np.argsort(drawn, axis=1, kind="stable")

    def normals(self, height: int, width: int) -> FloatArray:
        """Return standard normal numbers, shape (height, width), an even number of them.

        Source: Box and Muller, 1958.
        """
        half = height * width // 2
        uniform = (self._generator.random_raw(2 * half) >> np.uint64(11)) * _UNIT
        radius = np.sqrt(-2 * np.log(1 - uniform[:half]))
        angle = 2 * np.pi * uniform[half:]
        pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return pairs.reshape(height, width)
