"""The models that come with the package: what their manifests say is so, on fresh images too."""

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lotmark_inference.evaluation import evaluate, judge
from lotmark_inference.manifest_file import dump_manifest, read_manifest
from lotmark_inference.model_files import MANIFEST_FILE, SHIPPED, ModelFiles, shipped_model
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.scores import quantised
from lotmark_inference.weld_images import (
    FRESH_SEEDS,
    TRAINING_SEEDS,
    dataset_digest,
    drawn_kind,
    weld_image,
)
from lotmark_inference.weld_surface import WeldKind

ROOT = Path(__file__).parents[2]
FRESH_COUNT = 200
SIZE_MAX = {"weld-light": 400_000, "weld-heavy": 8_000_000}
TRAINING_COUNT = 12_000


@cache
def opened(name: str) -> tuple[ModelFiles, OnnxEngine]:
    files = shipped_model(name)
    return files, OnnxEngine(files.onnx, files.manifest)


def vector_scores(name: str) -> dict[int, list[int]]:
    files, engine = opened(name)
    return {
        seed: quantised(engine.infer(weld_image(seed).pixels[None])["prob"])[0].tolist()
        for seed in files.manifest.vectors
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_small_and_named_as_its_folder(name: str) -> None:
    files, _ = opened(name)

    assert files.manifest.name == name
    assert len(files.onnx) <= SIZE_MAX[name]
    assert read_manifest(dump_manifest(files.manifest)).signed_by is None


@pytest.mark.parametrize("name", SHIPPED)
def test_the_training_digest_is_of_training_seeds_and_their_labels(name: str) -> None:
    seeds = TRAINING_SEEDS[:TRAINING_COUNT]

    assert opened(name)[0].manifest.training_digest == dataset_digest(
        (seed, drawn_kind(seed).value) for seed in seeds
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_scores_of_the_manifest_s_vectors_are_within_one(name: str) -> None:
    vectors = opened(name)[0].manifest.vectors
    found = vector_scores(name)

    assert len(vectors) >= 8
    assert {drawn_kind(seed) for seed in vectors} == set(WeldKind)
    for seed, scores in vectors.items():
        assert np.abs(np.array(found[seed]) - scores).max() <= 1, seed


def test_another_process_gets_the_same_scores() -> None:
    program = (
        "import json; from tests.inference.test_shipped_models import vector_scores;"
        "print(json.dumps(vector_scores('weld-light')))"
    )
    done = subprocess.run(  # noqa: S603  # our own interpreter and program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, timeout=60
    )

    found = {int(seed): scores for seed, scores in json.loads(done.stdout).items()}
    assert found == vector_scores("weld-light")


@pytest.mark.parametrize("name", SHIPPED)
def test_fresh_welds_are_judged_as_well_as_the_manifest_says(name: str) -> None:
    files, engine = opened(name)

    found = evaluate(engine, files.manifest, FRESH_SEEDS[:FRESH_COUNT])

    sound_count = found.counts.false_positives + found.counts.true_negatives
    assert found.right_count >= 0.95 * FRESH_COUNT
    assert found.counts.false_positives <= 0.04 * sound_count
    assert found.auroc_ppm >= 990_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_cold_solder_of_0_15_mm_is_found(name: str) -> None:
    files, engine = opened(name)
    images = [
        weld_image(seed, kind=WeldKind.COLD_SOLDER, defect_width_um=150)
        for seed in FRESH_SEEDS[1_000:1_040]
    ]

    found = sum(judge(engine, files.manifest, image).is_rejected for image in images)

    assert found >= 37


def test_the_heat_map_points_at_the_defect() -> None:
    _, engine = opened("weld-light")
    images = [
        weld_image(seed, kind=WeldKind.COLD_SOLDER, defect_width_um=250) for seed in range(40)
    ]
    heat = engine.infer(np.stack([image.pixels for image in images]))["heat"]

    hits = sum(
        bool(image.heat.flat[rows.argmax()]) for image, rows in zip(images, heat, strict=True)
    )
    assert hits >= 36


def test_the_shipped_manifest_s_own_hash_is_what_is_registered() -> None:
    from importlib.resources import files

    raw = (files("lotmark_inference") / "shipped" / "weld-light" / MANIFEST_FILE).read_bytes()

    assert hashlib.sha256(raw).digest() == read_manifest(raw).digest
