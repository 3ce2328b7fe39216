"""Vibration as one integer: near 1 for a healthy machine, and far up with a bad bearing."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from lotmark_inference.errors import InputRefused
from lotmark_inference.vibration import (
    RMS_Z_MILLI_MAX,
    VibrationBaseline,
    log_bands,
    welch_spectrum,
)

SAMPLING_HZ = 12_800
SHAFT_HZ = 25.0


def block(seed: int, *, impulse: float = 0.0) -> NDArray[np.float64]:
    """Return one second of a shaft with noise, and impulses of a bearing's outer ring."""
    random = np.random.default_rng(seed)
    time = np.arange(SAMPLING_HZ) / SAMPLING_HZ
    shaft = 0.3 * np.sin(2 * np.pi * SHAFT_HZ * time)
    hits = impulse * (np.sin(2 * np.pi * 3.58 * SHAFT_HZ * time) > 0.995)
    decay = np.arange(200)
    ring = np.exp(-decay / 40) * np.sin(2 * np.pi * 3_200 * decay / SAMPLING_HZ)
    noise = 0.05 * random.normal(size=SAMPLING_HZ)
    return np.asarray(shaft + noise + np.convolve(hits, ring)[:SAMPLING_HZ], dtype=np.float64)


@pytest.fixture(scope="module")
def baseline() -> VibrationBaseline:
    return VibrationBaseline.of([block(seed) for seed in range(60)], sampling_hz=SAMPLING_HZ)


def test_the_spectrum_is_that_of_another_library() -> None:
    ours = welch_spectrum(block(1), sampling_hz=SAMPLING_HZ)
    theirs = signal.welch(block(1), SAMPLING_HZ, nperseg=2_048)

    np.testing.assert_allclose(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9)


def test_a_healthy_machine_stays_near_one_and_a_bad_bearing_does_not(
    baseline: VibrationBaseline,
) -> None:
    healthy = [baseline.rms_z_milli(block(seed)) for seed in range(500, 520)]
    light, heavy = (
        [baseline.rms_z_milli(block(seed, impulse=impulse)) for seed in range(500, 520)]
        for impulse in (0.1, 0.3)
    )

    assert max(healthy) < 1_300
    assert min(light) > 1_300
    assert min(heavy) > 3 * max(healthy)
    assert all(type(each) is int for each in healthy)


def test_silence_and_huge_values_have_bounded_results(baseline: VibrationBaseline) -> None:
    silent = baseline.rms_z_milli(np.zeros(SAMPLING_HZ))
    huge = baseline.rms_z_milli(block(1) * 1e8)

    assert 1_300 < silent <= RMS_Z_MILLI_MAX
    assert 1_300 < huge <= RMS_Z_MILLI_MAX


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(2_047), r"\(2047,\) is none of 2048"),
        (np.zeros((2, 2_048)), "samples in a row"),
        (np.full(4_096, np.nan), "holds NaN"),
        (np.full(4_096, np.inf), "the sensor gave no reading"),
    ],
)
def test_a_block_that_cannot_be_judged_is_refused(samples: NDArray[np.float64], said: str) -> None:
    with pytest.raises(InputRefused, match=said):
        log_bands(samples, sampling_hz=SAMPLING_HZ)


def test_a_few_blocks_are_no_baseline() -> None:
    with pytest.raises(InputRefused, match="19 blocks are no baseline"):
        VibrationBaseline.of([block(1)] * 19, sampling_hz=SAMPLING_HZ)
