"""How far a machine's vibration is from its own healthy one, as one integer for the context.

A block of samples becomes a Welch spectrum, that 24 bands of equal width in octaves, and these the
root mean square of their distances from a baseline, in standard deviations. The spectrum is
computed in floats: two machines may differ in the last bits, and so, rarely, in the last digit of
the result. What the threshold follows from is the integer that is put on record.

Source of the spectrum: Welch (1967), with Hann windows, half overlap and the mean taken off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.errors import InputRefused

BAND_COUNT = 24
SEGMENT_COUNT = 2_048  # samples
LOWEST_HZ = 10.0
BASELINE_BLOCKS_MIN = 20
BLOCK_SAMPLES_MAX = 4_194_304
SAMPLE_MAX = 1e9  # beyond any acceleration; its square still has room in a float
RMS_Z_MILLI_MAX = 1_000_000

_DEVIATION_MIN = 0.05  # of a band's log power: bands that hardly move shall not decide alone
_POWER_MIN = 1e-30  # silence has a logarithm, too


@dataclass(frozen=True, slots=True)
class VibrationBaseline:
    """What a healthy machine's bands are like."""

    sampling_hz: int
    mean: NDArray[np.float64]  # shape (24,), logarithms of power
    deviation: NDArray[np.float64]  # shape (24,)

    @classmethod
    def of(cls, blocks: Sequence[NDArray[np.float64]], *, sampling_hz: int) -> "VibrationBaseline":
        """Return the baseline of blocks taken while the machine was healthy.

        Raises:
            InputRefused: There are too few of them, or one cannot be judged.
        """
        if len(blocks) < BASELINE_BLOCKS_MIN:
            raise InputRefused(
                f"{len(blocks)} blocks are no baseline; take {BASELINE_BLOCKS_MIN} at least from"
                " the healthy machine"
            )
        bands = np.array([log_bands(block, sampling_hz=sampling_hz) for block in blocks])
        return cls(sampling_hz, bands.mean(axis=0), bands.std(axis=0) + _DEVIATION_MIN)

    def rms_z_milli(self, block: NDArray[np.float64]) -> int:
        """Return how far a block is from the baseline, in thousandths of a deviation.

        Args:
            block: Samples at the baseline's rate, shape (n,), n at least 2,048.

        Raises:
            InputRefused: The block is too short, too long, or holds what is no number.
        """
        bands = log_bands(block, sampling_hz=self.sampling_hz)
        distances = (bands - self.mean) / self.deviation
        rms = float(np.sqrt(np.mean(distances**2)))
        return min(round(rms * 1_000), RMS_Z_MILLI_MAX)


def log_bands(block: NDArray[np.float64], *, sampling_hz: int) -> NDArray[np.float64]:
    """Return the logarithm of the mean power in each of 24 bands from 10 Hz up, shape (24,).

    A band that lies between two lines of the spectrum takes the line nearest to its middle.

    Raises:
        InputRefused: The block is too short, too long, or holds what is no number.
    """
    frequencies, power = welch_spectrum(block, sampling_hz=sampling_hz)
    edges = np.geomspace(LOWEST_HZ, sampling_hz / 2, BAND_COUNT + 1)
    bands = np.empty(BAND_COUNT)
    for band, (low, high) in enumerate(pairwise(edges)):
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any():
            inside = np.zeros(len(frequencies), dtype=bool)
            inside[np.argmin(np.abs(frequencies - np.sqrt(low * high)))] = True
        bands[band] = power[inside].mean()
    return np.log(np.maximum(bands, _POWER_MIN))


def welch_spectrum(
    block: NDArray[np.float64], *, sampling_hz: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies in Hz and the one-sided power density at each, both shape (1025,).

    Raises:
        InputRefused: The block is too short, too long, or holds what is no number.
    """
    if sampling_hz <= 2 * LOWEST_HZ:
        raise InputRefused(f"{sampling_hz} Hz are too few; sample at over {2 * LOWEST_HZ:g} Hz")
    if block.ndim != 1 or not SEGMENT_COUNT <= len(block) <= BLOCK_SAMPLES_MAX:
        raise InputRefused(
            f"a block of shape {block.shape} is none of {SEGMENT_COUNT} to {BLOCK_SAMPLES_MAX}"
            " samples in a row"
        )
    if not (np.abs(block) <= SAMPLE_MAX).all():
        raise InputRefused(
            f"the block holds NaN, or more than {SAMPLE_MAX:g}; the sensor gave no reading there"
        )
    segments = np.lib.stride_tricks.sliding_window_view(block, SEGMENT_COUNT)
    segments = segments[:: SEGMENT_COUNT // 2]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SEGMENT_COUNT) / SEGMENT_COUNT)
    centred = segments - segments.mean(axis=1, keepdims=True)
    lines = np.abs(np.fft.rfft(centred * window, axis=1)) ** 2
    power: NDArray[np.float64] = lines.mean(axis=0) / (sampling_hz * np.sum(window**2))
    power[1:-1] *= 2  # the negative frequencies
    return np.fft.rfftfreq(SEGMENT_COUNT, 1 / sampling_hz).astype(np.float64), power
