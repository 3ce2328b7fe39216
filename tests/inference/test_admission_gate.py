"""The gate: an engine is admitted if it scores as the reference does, and a lying one is not."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lotmark_inference.admission_gate import (
    AdmissionReport,
    Rule,
    model_admitted,
    report_json,
    try_engine,
)
from lotmark_inference.errors import ModelRefused
from tests.inference.engines_in_memory import (
    HEIGHT,
    IDENTITY,
    MANIFEST,
    WIDTH,
    SoundEngine,
    images,
)

Batch = NDArray[np.uint8]
Outputs = Mapping[str, NDArray[np.float32]]
Lie = Callable[[Batch, dict[str, NDArray[np.float32]]], Outputs]

# One more lies exactly at a threshold: half of it at 127, half at 128.
AT_THRESHOLD = np.full((HEIGHT, WIDTH), 127, np.uint8)
AT_THRESHOLD[: HEIGHT // 2] = 128
VECTORS = {1: AT_THRESHOLD, **dict(enumerate(images(7, 8), start=2**63))}


class LyingEngine(SoundEngine):
    """A sound engine whose outputs go through a lie."""

    identity = replace(IDENTITY, kind="lying", target="sm_89")

    def __init__(self, lie: Lie) -> None:
        self._lie = lie

    def infer(self, batch: Batch) -> Outputs:
        return self._lie(batch, dict(super().infer(batch)))


def tried(lie: Lie) -> AdmissionReport:
    return try_engine(LyingEngine(lie), SoundEngine(), MANIFEST, VECTORS)


def broken(lie: Lie) -> set[Rule]:
    return {finding.rule for finding in tried(lie).findings}


def test_an_engine_that_rounds_a_little_differently_is_admitted() -> None:
    def rounds(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        return outputs | {"scores": outputs["scores"] + np.float32(4e-8)}

    report = tried(rounds)

    assert report.is_admitted
    assert report.findings == ()
    assert report.difference_max <= 1


def test_an_engine_a_score_of_which_is_off_by_two_is_refused() -> None:
    def off(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        return outputs | {"scores": outputs["scores"] + np.array([2e-4, 0], np.float32)}

    report = tried(off)

    assert {finding.rule for finding in report.findings} == {Rule.VECTORS}
    assert {finding.vector for finding in report.findings} == VECTORS.keys()
    assert {finding.difference_ppm for finding in report.findings} == {200}
    assert report.difference_max == 2


def test_an_engine_that_is_right_in_batches_and_wrong_alone_is_refused() -> None:
    def wrong_alone(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        if len(batch) == 1:
            outputs["scores"] = outputs["scores"] + np.array([3e-4, 0], np.float32)
        return outputs

    assert broken(wrong_alone) == {Rule.VECTORS}


def test_a_label_that_flips_by_a_single_unit_is_refused() -> None:
    def flips(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        scores = outputs["scores"].copy()
        scores[scores == 0.5] -= np.float32(8e-5)
        return outputs | {"scores": scores}

    report = tried(flips)

    assert [(finding.rule, finding.vector) for finding in report.findings] == [(Rule.LABELS, 1)]
    assert report.difference_max == 1


def test_the_known_fault_of_four_answers_for_four_identical_rows_is_refused() -> None:
    def four_answers(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        drift = np.linspace(0, 0.1, len(batch), dtype=np.float32)[:, np.newaxis]
        return outputs | {"scores": outputs["scores"] + drift}

    assert Rule.IDENTICAL_ROWS in broken(four_answers)


def test_identical_rows_that_differ_are_refused_where_all_else_is_right() -> None:
    def tells_copies_apart(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        if len(batch) > 1 and (batch == batch[0]).all():
            outputs["scores"] = outputs["scores"].copy()
            outputs["scores"][-1, 0] += np.float32(5e-6)
        return outputs

    assert broken(tells_copies_apart) == {Rule.IDENTICAL_ROWS}


def test_an_engine_that_answers_in_the_order_of_an_earlier_batch_is_refused() -> None:
    seen: dict[frozenset[bytes], NDArray[np.float32]] = {}

    def remembers(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        rows = frozenset(image.tobytes() for image in batch)
        key = frozenset([*rows, str(len(batch)).encode()])
        return outputs | {"scores": seen.setdefault(key, outputs["scores"])}

    assert broken(remembers) == {Rule.PERMUTATION}


def test_an_engine_that_scores_the_same_batch_differently_again_is_refused() -> None:
    seen: set[bytes] = set()

    def wavers(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        if len(batch) > 1 and batch.tobytes() in seen:
            outputs["scores"] = outputs["scores"] + np.float32(3e-6)
        seen.add(batch.tobytes())
        return outputs

    assert broken(wavers) == {Rule.REPEATED}


@pytest.mark.parametrize("name", ["scores", "heat"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_engine_that_gives_no_number_for_one_image_is_refused(name: str, value: float) -> None:
    def no_number(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        if len(batch) == len(VECTORS):
            outputs[name].reshape(len(batch), -1)[2, 1] = value
        return outputs

    report = tried(no_number)

    assert [finding.rule for finding in report.findings] == [Rule.FINITE]


def test_numbers_that_turn_bad_later_are_refused_by_the_rule_that_saw_them() -> None:
    def bad_for_copies(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        if (batch == batch[0]).all() and len(batch) > 1:
            outputs["scores"][1] = np.nan
        return outputs

    assert broken(bad_for_copies) == {Rule.IDENTICAL_ROWS}


@pytest.mark.parametrize("count", [4, 16, 17, 40])
def test_no_engine_has_more_images_at_once_than_a_part_has(count: int) -> None:
    sizes: list[int] = []

    def counted(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        sizes.append(len(batch))
        return outputs

    vectors = dict(enumerate(images(2, count)))
    report = try_engine(LyingEngine(counted), SoundEngine(), MANIFEST, vectors)

    assert report.is_admitted
    assert max(sizes) == min(count, 16)
    assert sum(sizes) == 8 * count  # together, alone, again, four times each, in another order


@pytest.mark.parametrize(
    ("lie", "rule"),
    [
        (lambda outputs: outputs["heat"].reshape(-1)[:1].fill(np.nan), Rule.FINITE),
        (lambda outputs: outputs.pop("heat"), Rule.OUTPUTS),
    ],
    ids=["no number", "no heat"],
)
@pytest.mark.parametrize("row", [0, 16, 32])
def test_what_is_wrong_with_any_part_is_found_at_its_first_image(
    lie: Callable[[dict[str, NDArray[np.float32]]], object], rule: Rule, row: int
) -> None:
    batch = images(2, 37)

    def lies_from(part: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        if len(part) > 4 and np.array_equal(part[0], batch[row]):
            lie(outputs)
        return outputs

    vectors = dict(enumerate(batch))
    report = try_engine(LyingEngine(lies_from), SoundEngine(), MANIFEST, vectors)

    assert [(each.rule, each.vector) for each in report.findings] == [(rule, row)]


@pytest.mark.parametrize(
    "lie",
    [
        lambda _, outputs: {"scores": outputs["scores"]},
        lambda _, outputs: outputs | {"scores": outputs["scores"][:, :1]},
        lambda _, outputs: outputs | {"scores": outputs["scores"][:-1]},
        lambda _, outputs: outputs | {"scores": outputs["scores"].astype(np.float64)},
        lambda _, outputs: outputs | {"heat": outputs["heat"].reshape(-1)},
    ],
    ids=["no heat", "a label too few", "a row too few", "double", "flat heat"],
)
def test_outputs_that_are_not_the_manifests_are_refused(lie: Lie) -> None:
    assert broken(lie) == {Rule.OUTPUTS}


def test_the_report_is_one_canonical_text_and_the_event_names_its_digest() -> None:
    report = tried(lambda _, outputs: outputs | {"scores": outputs["scores"] + np.float32(0.1)})
    written = report_json(report)
    body = model_admitted(report)

    assert json.loads(written)["candidate"] == {
        "kind": "lying",
        "version": "1.0",
        "target": "sm_89",
        "artefact_sha256": IDENTITY.artefact_sha256.hex(),
    }
    assert json.loads(written)["seeds"] == [str(seed) for seed in sorted(VECTORS)]
    assert not json.loads(written)["admitted"]
    assert report_json(report) == written
    assert (body.model, body.engine, body.target) == ("mean-grey/3", "lying-1.0", "sm_89")
    assert body.report_digest == hashlib.sha256(written).digest()
    assert body.engine_digest == IDENTITY.artefact_sha256
    assert body.weights_digest == MANIFEST.onnx_sha256
    assert (body.vector_count, body.difference_max, body.admitted) == (9, 1_000, False)


def test_a_sound_engine_is_on_record_as_admitted() -> None:
    body = model_admitted(try_engine(SoundEngine(), SoundEngine(), MANIFEST, VECTORS))

    assert (body.admitted, body.difference_max) == (True, 0)


def test_a_reference_that_does_not_score_as_the_manifest_says_settles_nothing() -> None:
    manifest = replace(MANIFEST, vectors={1: (5_000, 5_002)})

    with pytest.raises(ModelRefused, match=r"\[5000, 5000\], the manifest says \[5000, 5002\]"):
        try_engine(SoundEngine(), SoundEngine(), manifest, VECTORS)


def test_a_reference_that_gives_no_number_settles_nothing() -> None:
    def no_number(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        return outputs | {"scores": outputs["scores"] * np.float32(np.nan)}

    with pytest.raises(ModelRefused, match=r"lying-1\.0 gives no number for the image of seed 1"):
        try_engine(SoundEngine(), LyingEngine(no_number), MANIFEST, VECTORS)


def test_the_manifests_own_vectors_must_be_among_those_tried() -> None:
    manifest = replace(MANIFEST, vectors={2: (5_000, 5_000)})

    with pytest.raises(ModelRefused, match="image of seed 2, which the manifest has, is not tried"):
        try_engine(SoundEngine(), SoundEngine(), manifest, VECTORS)


def test_three_vectors_are_too_few() -> None:
    few = dict(list(VECTORS.items())[:3])

    with pytest.raises(ModelRefused, match=r"3 images .*; at least 4 are needed"):
        try_engine(SoundEngine(), SoundEngine(), MANIFEST, few)


def test_images_of_a_camera_are_named_by_the_digest_of_their_pixels() -> None:
    mine = list(images(3, 5))
    wrong = hashlib.sha256(mine[2].tobytes()).digest()

    def off_for_one(batch: Batch, outputs: dict[str, NDArray[np.float32]]) -> Outputs:
        is_wrong = [hashlib.sha256(image.tobytes()).digest() == wrong for image in batch]
        outputs["scores"][is_wrong] += np.array([0.01, 0], np.float32)
        return outputs

    vectors = {7: AT_THRESHOLD}
    manifest = replace(MANIFEST, vectors={7: (5_000, 5_000)})
    report = try_engine(LyingEngine(off_for_one), SoundEngine(), manifest, vectors, mine)
    written = json.loads(report_json(report))

    assert {finding.vector for finding in report.findings} == {wrong}
    assert written["seeds"] == ["7"]
    assert written["images"] == sorted(hashlib.sha256(each.tobytes()).hexdigest() for each in mine)
    assert {each.get("image") for each in written["findings"]} == {wrong.hex()}
    assert model_admitted(report).vector_count == 6


def test_one_image_four_times_is_one() -> None:
    mine = [images(3, 1)[0]] * 4

    with pytest.raises(ModelRefused, match=r"^1 images"):
        try_engine(SoundEngine(), SoundEngine(), MANIFEST, {}, mine)
