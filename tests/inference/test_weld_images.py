import hashlib
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from lotmark_inference.philox_draws import SEED_MAX, Draws
from lotmark_inference.weld_images import (
    GROOVE_WIDTHS_UM,
    PORE_DIAMETERS_UM,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    dataset_digest,
    weld_image,
)
from lotmark_inference.weld_surface import Stream, WeldKind

# SHA-256 of the pixels, by seed. They were computed once; another machine gives the same.
GOLDEN = {
    1: "17194b1f688f5036c2be3a57860be16a81f62162b64351cb3b3667fbc23681b9",
    2: "b42441271ceb990ff131eabc5c9a1222eab2d0fec3ef97ba0ef5a534e173d8e9",
    SEED_MAX: "d641eb8c9293d595eb3dc14b719df2fd8049561e6180f10d783043d68e6ffc62",
}
MS_MAX = 60


def _digest(seed: int) -> str:
    return hashlib.sha256(weld_image(seed).pixels.tobytes()).hexdigest()


def test_images_of_three_seeds_are_those_of_the_golden_digests() -> None:
    assert {seed: _digest(seed) for seed in GOLDEN} == GOLDEN


def test_a_processor_without_vector_instructions_makes_the_same_images() -> None:
    program = (
        "import hashlib, json; from lotmark_inference.weld_images import weld_image;"
        "print(json.dumps([hashlib.sha256(weld_image(s).pixels.tobytes()).hexdigest()"
        " for s in range(40, 80)]))"
    )
    extensions = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    done = subprocess.run(  # noqa: S603  # our own interpreter and program
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "7", "NPY_DISABLE_CPU_FEATURES": " ".join(extensions)},
        capture_output=True,
        check=True,
        timeout=30,
    )

    assert json.loads(done.stdout) == [_digest(seed) for seed in range(40, 80)]


def test_raw_streams_of_seed_and_purpose_do_not_meet() -> None:
    first = {Draws(seed, stream).between(0, 1) for seed in range(20) for stream in Stream}

    assert len(first) == 20 * len(Stream)


def test_drawn_numbers_have_the_moments_that_they_promise() -> None:
    draws = Draws(5, 0)
    normals = draws.normals(200, 200)
    counts = [draws.occurrences(1.2) for _ in range(4_000)]
    whole = [draws.integer(100, 103) for _ in range(4_000)]

    assert abs(normals.mean()) < 0.02
    assert normals.std() == pytest.approx(1, abs=0.02)
    assert np.mean(counts) == pytest.approx(1.2, abs=0.06)
    assert np.var(counts) == pytest.approx(1.2, abs=0.12)
    assert set(whole) == {100, 101, 102, 103}
    assert np.mean(whole) == pytest.approx(101.5, abs=0.06)


def test_half_of_the_welds_are_sound_and_widths_stay_within_what_is_said() -> None:
    images = [weld_image(seed) for seed in range(300)]
    counts = {kind: sum(image.kind is kind for image in images) for kind in WeldKind}

    assert 120 <= counts[WeldKind.SOUND] <= 180
    assert 65 <= counts[WeldKind.COLD_SOLDER] <= 115
    assert 40 <= counts[WeldKind.POROSITY] <= 80
    for image in images:
        match image.kind:
            case WeldKind.SOUND:
                assert image.defect_width_um == 0
                assert not image.heat.any()
            case WeldKind.COLD_SOLDER:
                assert image.defect_width_um in GROOVE_WIDTHS_UM
                assert image.heat.any()
            case WeldKind.POROSITY:
                assert image.defect_width_um in PORE_DIAMETERS_UM
                assert image.heat.any()


def test_a_forced_defect_changes_only_the_place_where_it_is() -> None:
    sound = weld_image(8, kind=WeldKind.SOUND)
    cold = weld_image(8, kind=WeldKind.COLD_SOLDER, defect_width_um=150)
    difference = np.abs(sound.pixels.astype(int) - cold.pixels)
    rim = np.ones((128, 128), np.bool_)
    rim[24:104, 24:104] = False

    assert cold.defect_width_um == 150
    assert cold.label == "COLD_SOLDER/winding_end/OEM-A-std-3"
    assert difference.max() > 20
    assert difference[rim].max() <= 1


def test_a_wider_groove_covers_more_of_the_heat_map() -> None:
    narrow, wide = (
        sum(
            int(weld_image(seed, kind=WeldKind.COLD_SOLDER, defect_width_um=width).heat.sum())
            for seed in range(20)
        )
        for width in (100, 400)
    )

    assert narrow < wide


def test_images_use_the_sensor_s_range_without_drowning_in_it() -> None:
    pixels = np.stack([weld_image(seed).pixels for seed in range(20)])

    assert pixels.dtype == np.uint8
    assert pixels.std(axis=(1, 2)).min() > 15
    assert (pixels == 255).mean() < 0.02


def test_an_image_takes_a_core_less_than_60_ms() -> None:
    start_s = time.process_time()
    for seed in range(50):
        weld_image(seed)

    assert (time.process_time() - start_s) * 1000 / 50 < MS_MAX


def test_seeds_of_training_and_validation_do_not_overlap() -> None:
    assert TRAINING_SEEDS.stop <= VALIDATION_SEEDS.start


def test_a_dataset_s_digest_is_of_seeds_and_labels_in_their_order() -> None:
    assert dataset_digest([(1, "a"), (2, "b")]) == hashlib.sha256(b"1 a\n2 b\n").digest()
