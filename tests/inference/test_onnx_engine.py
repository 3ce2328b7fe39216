import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, load_from_string

from lotmark_inference.errors import EngineError, InputRefused, ModelRefused
from lotmark_inference.image_checks import check_image
from lotmark_inference.model_manifest import ModelInput, ModelManifest
from lotmark_inference.model_metadata import metadata_of
from lotmark_inference.onnx_engine import BATCH_IMAGES_MAX, OnnxEngine
from lotmark_inference.scores import calibrated, judged_label, quantised
from lotmark_inference.weld_images import weld_image
from lotmark_inference.weld_surface import WeldKind
from tests.inference.sample_models import FIELD_COUNT, sample_manifest, tiny_onnx, tiny_weights

ROOT = Path(__file__).parents[2]
WELD_INPUT = ModelInput(name="image", height=128, width=128, um_per_pixel=50)


def opened(raw: bytes, manifest: ModelManifest | None = None) -> OnnxEngine:
    return OnnxEngine(raw, manifest or sample_manifest(raw))


def images(count: int) -> NDArray[np.uint8]:
    return np.stack([weld_image(seed).pixels for seed in range(count)])


def test_scores_are_those_of_the_model_s_own_formula() -> None:
    batch = images(3)

    found = opened(tiny_onnx()).infer(batch)

    fields = batch.reshape(3, 16, 8, 16, 8).mean((2, 4)) / 255
    logits = fields.reshape(3, FIELD_COUNT) @ tiny_weights().astype(float)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found["prob"] == pytest.approx(expected, abs=1e-5)
    assert found["heat"] == pytest.approx(fields, abs=1e-6)


def test_the_identity_names_the_bytes_that_were_opened() -> None:
    raw = tiny_onnx()

    identity = opened(raw).identity

    assert identity.artefact_sha256 == sample_manifest(raw).onnx_sha256
    assert identity.name == "onnxruntime-1.32.0"
    assert identity.target == "cpu"


def test_an_image_s_scores_do_not_depend_on_its_batch() -> None:
    engine, batch = opened(tiny_onnx()), images(7)

    together = engine.infer(batch)["prob"]
    turned = engine.infer(np.ascontiguousarray(batch[::-1]))["prob"]
    alone = np.concatenate([engine.infer(batch[place : place + 1])["prob"] for place in range(7)])

    assert together.tobytes() == alone.tobytes() == turned[::-1].tobytes()


def test_a_batch_is_read_where_it_lies_and_outputs_stay_as_they_were_given() -> None:
    engine, batch = opened(tiny_onnx()), images(2)
    before = batch.copy()
    read_only = batch.view()
    read_only.flags.writeable = False

    first = engine.infer(read_only)["prob"]
    kept = first.copy()
    batch[:] = batch[::-1].copy()
    second = engine.infer(read_only)["prob"]

    assert (first == kept).all()
    assert (second == kept[::-1]).all()
    assert (batch[::-1] == before).all()


def test_another_process_gets_the_same_scores() -> None:
    program = (
        "import json; from tests.inference.test_onnx_engine import images, opened, tiny_onnx;"
        'print(json.dumps(opened(tiny_onnx()).infer(images(4))["prob"].tolist()))'
    )
    done = subprocess.run(  # noqa: S603  # our own interpreter and program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, timeout=60
    )

    assert json.loads(done.stdout) == opened(tiny_onnx()).infer(images(4))["prob"].tolist()


def _lying(**said: str) -> bytes:
    return tiny_onnx(metadata=metadata_of(sample_manifest(b"")) | said)


def _labels_swapped(raw: bytes) -> ModelManifest:
    manifest = sample_manifest(raw)
    return replace(manifest, labels=manifest.labels[::-1])


def _labels_dropped(raw: bytes) -> ModelManifest:
    manifest = sample_manifest(raw)
    return replace(manifest, labels=manifest.labels[:2])


def _with(**changes: object) -> Callable[[bytes], ModelManifest]:
    return lambda raw: replace(sample_manifest(raw), **changes)  # type: ignore[arg-type]  # a test


@pytest.mark.parametrize(
    ("raw", "manifest_of", "why"),
    [
        (tiny_onnx()[:-200], sample_manifest, "ONNX Runtime cannot open it"),
        (b"", sample_manifest, "ONNX Runtime cannot open it"),
        (b"\x00" * 400, sample_manifest, "ONNX Runtime cannot open it"),
        (tiny_onnx(opset=99), sample_manifest, "ONNX Runtime cannot open it.*Opset 99"),
        (tiny_onnx(), lambda _raw: sample_manifest(b"x"), "SHA-256 is .*, the manifest names 2d71"),
        (tiny_onnx(), _labels_swapped, "says lotmark.labels = .*SOUND.*, the manifest .*POROSITY"),
        (tiny_onnx(), _labels_dropped, "says lotmark.labels"),
        (tiny_onnx(), _with(version=2), "lotmark.version = '1', the manifest '2'"),
        (tiny_onnx(), _with(name="other"), "lotmark.name = 'weld-light', the manifest 'other'"),
        (tiny_onnx(), _with(preprocessing="x"), "lotmark.preprocessing = 'grey8-128x128'"),
        (tiny_onnx(), _with(catalogue="x/2"), "lotmark.catalogue = 'weld-labels/1'"),
        (tiny_onnx(metadata={}), sample_manifest, "lotmark.name = None"),
        (_lying(**{"lotmark.version": "9"}), sample_manifest, "lotmark.version = '9'"),
        (_lying(**{"lotmark.um_per_pixel": "9"}), sample_manifest, "lotmark.um_per_pixel = '9'"),
        (
            tiny_onnx(image_type=TensorProto.FLOAT),
            sample_manifest,
            r"'image' is tensor\(uint8\) .*the ONNX file has .*tensor\(float\)",
        ),
        (
            tiny_onnx(size=64, weights=np.zeros((64, 3), np.float32)),
            sample_manifest,
            r"'image' is .*\('n', 128, 128\); the ONNX file has .*\(64, 64\)",
        ),
        (tiny_onnx(), _with(scores_output="scores"), "the manifest says that 'scores' is"),
        (tiny_onnx(), _with(scores_output="heat"), "the manifest says that 'heat' is"),
        (tiny_onnx(), _with(heat_output="map"), "'map' is the heat map; the ONNX file has"),
        (tiny_onnx(), _with(heat_output="prob"), "the heat map 'prob' is"),
    ],
)
def test_a_model_that_disagrees_with_its_manifest_is_refused_naming_both(
    raw: bytes, manifest_of: Callable[[bytes], ModelManifest], why: str
) -> None:
    with pytest.raises(ModelRefused, match=why):
        OnnxEngine(raw, manifest_of(raw))


def test_weights_that_lie_outside_the_hashed_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_from_string(tiny_onnx())
    tensor = next(each for each in model.graph.initializer if each.name == "weights")
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    monkeypatch.chdir(tmp_path)  # where ONNX Runtime would look for them

    with pytest.raises(ModelRefused, match=r"cannot open it.*External data path does not exist"):
        opened(bytes(model.SerializeToString()))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_an_error_that_names_the_images(bad: float) -> None:
    weights = tiny_weights()
    weights[5, 1] = bad
    engine = opened(tiny_onnx(weights=weights))

    with pytest.raises(EngineError, match=r"output 'prob' is not finite for images \[0, 1\]"):
        engine.infer(images(2))


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        (np.zeros((1, 128, 128), np.float32), "pixels are float32; the model takes uint8"),
        (np.zeros((1, 64, 64), np.uint8), "an image is 64 x 64, the model takes 128 x 128"),
        (np.zeros((1, 9_000, 9_000), np.uint8), "an image is 9000 x 9000"),
        (np.zeros((1, 128, 128, 3), np.uint8), "an image is 128 x 128 x 3"),
        (np.zeros((128, 128), np.uint8), "an image is 128, the model takes"),
        (np.zeros((0, 128, 128), np.uint8), "a batch of no images"),
    ],
)
def test_images_of_another_size_or_type_are_refused(batch: NDArray[np.uint8], why: str) -> None:
    with pytest.raises(InputRefused, match=why):
        opened(tiny_onnx()).infer(batch)


def test_a_batch_that_is_too_long_or_not_contiguous_is_an_error() -> None:
    engine = opened(tiny_onnx())
    too_many = np.broadcast_to(np.zeros((128, 128), np.uint8), (BATCH_IMAGES_MAX + 1, 128, 128))

    for batch in (too_many, images(1).transpose(0, 2, 1)):
        with pytest.raises(EngineError, match="give at most 4096, contiguous in memory"):
            engine.infer(batch)


@pytest.mark.parametrize("grey", [0, 17, 255])
def test_an_image_that_shows_nothing_is_refused_not_judged(grey: int) -> None:
    flat = np.full((128, 128), grey, np.uint8)
    flat[3, 5:9] = 255 - grey  # a few hot pixels make no picture

    with pytest.raises(InputRefused, match="the image shows nothing"):
        check_image(flat, WELD_INPUT)


def test_every_generated_image_shows_something() -> None:
    for seed in range(50):
        check_image(weld_image(seed).pixels, WELD_INPUT)


def test_halves_are_rounded_to_even() -> None:
    scores = np.array([[0.0, 1.0, 0.5], [1.0000004, 0.25, 2**-14]], np.float32)

    assert quantised(scores).tolist() == [[0, 10_000, 5_000], [10_000, 2_500, 1]]
    assert quantised(np.array([3 / 2**4, 0.03125], np.float32)).tolist() == [1_875, 312]


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1, np.inf])
def test_what_is_no_probability_is_not_quantised(bad: float) -> None:
    with pytest.raises(EngineError, match="are not probabilities"):
        quantised(np.array([0.5, bad], np.float32))


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ((10_000, 0, 0), WeldKind.SOUND),
        ((7_001, 2_999, 0), WeldKind.SOUND),
        ((7_000, 3_000, 0), WeldKind.COLD_SOLDER),
        ((3_000, 3_400, 3_600), WeldKind.POROSITY),
        ((0, 5_000, 5_000), WeldKind.COLD_SOLDER),
        ((9_000, 500, 500), WeldKind.SOUND),
    ],
)
def test_the_largest_defect_that_reaches_its_threshold_gives_the_label(
    scores: tuple[int, ...], kind: WeldKind
) -> None:
    assert judged_label(scores, sample_manifest(b"")).label == kind.value


@given(low=st.integers(0, 10_000), high=st.integers(0, 10_000))
def test_calibration_never_turns_an_order_round(low: int, high: int) -> None:
    manifest = sample_manifest(b"")
    low, high = sorted((low, high))

    assert 10 <= calibrated(low, manifest) <= calibrated(high, manifest) <= 9_990


def test_calibration_lies_on_the_line_between_knots() -> None:
    manifest = sample_manifest(b"")

    assert [calibrated(score, manifest) for score in (0, 2_500, 5_000, 10_000)] == [
        10,
        2_005,
        4_000,
        9_990,
    ]
    assert calibrated(1_234, replace(manifest, calibration=())) == 1_234
