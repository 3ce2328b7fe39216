"""Whether a candidate engine scores as a model does: tried against a reference before it may run.

Engines built of the same model round differently, which is no fault as long as the integers that go
on record agree within one. What is a fault shows in four more trials, since an engine that is wrong
for some rows, orders or calls can pass any comparison of single images. (TensorRT 11.1 computed a
model silently wrong: four identical rows of one batch had four answers.)
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lotmark import canonical_json
from lotmark.v1 import quality_pb2
from lotmark_inference.engine import Engine, EngineIdentity
from lotmark_inference.errors import ModelRefused
from lotmark_inference.model_manifest import ModelManifest

VECTORS_MIN = 4
SCORE_DIFFERENCE_MAX = 1  # ten-thousandths
SAME_DIFFERENCE_MAX = 1e-6  # of scores that should be equal: the last bits of a sum may differ
PART_IMAGES_MAX = 16  # at once: heat maps as fine as their images are four times as large

_COPIES = 4  # of one image in a batch
_ORDER_SEED = 0
_SHOWN_PPM_MAX = 10**9


Vector: TypeAlias = int | bytes  # a generated image's seed, or the SHA-256 of an image's pixels


class Rule(StrEnum):
    """What an engine must keep to be admitted."""

    OUTPUTS = "outputs"  # names, shapes and types are the manifest's
    FINITE = "finite"  # there is no NaN and no infinity
    VECTORS = "vectors"  # scores are the reference's within 1, alone and together
    LABELS = "labels"  # it gives the reference's labels, near thresholds too
    REPEATED = "repeated"  # the same batch again has the same scores
    IDENTICAL_ROWS = "identical-rows"  # the same image four times in a batch has one answer
    PERMUTATION = "permutation"  # in another order each image has the score it had


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A vector for which a rule was broken."""

    rule: Rule
    vector: Vector
    difference_ppm: int  # of the score that differs most, 1,000,000 being 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionReport:
    """What the trial of an engine has shown."""

    model: str
    version: int
    onnx_sha256: bytes
    candidate: EngineIdentity
    reference: EngineIdentity
    vectors: tuple[Vector, ...]  # seeds first
    difference_max: int  # from the reference, in ten-thousandths
    findings: tuple[Finding, ...]  # at most one for each rule and vector

    @property
    def is_admitted(self) -> bool:
        """Whether the engine may run the model."""
        return not self.findings


def try_engine(
    candidate: Engine,
    reference: Engine,
    manifest: ModelManifest,
    vectors: Mapping[int, NDArray[np.uint8]],
    images: Sequence[NDArray[np.uint8]] = (),
) -> AdmissionReport:
    """Return how a candidate did beside a reference, ONNX Runtime as a rule.

    Args:
        candidate: The engine on trial.
        reference: What it is compared with.
        manifest: Of the model that both run.
        vectors: Generated images by their seeds, among them all that the manifest has scores of.
        images: More images, of a camera; with the vectors 4 different ones at least.

    Raises:
        ModelRefused: There are too few images, or the reference itself does not give the scores
            of the manifest, so that a comparison with it would say nothing.
        EngineError: An engine failed.
    """
    named = {hashlib.sha256(image.tobytes()).digest(): image for image in images}
    tried: dict[Vector, NDArray[np.uint8]] = {
        **{seed: vectors[seed] for seed in sorted(vectors)},
        **{digest: named[digest] for digest in sorted(named)},
    }
    if len(tried) < VECTORS_MIN:
        raise ModelRefused(
            f"{len(tried)} images to try an engine with; at least {VECTORS_MIN} are needed"
        )
    pixels = tuple(tried.values())
    expected = _alone(reference, manifest, pixels)
    _demand_manifest_scores(reference, manifest, dict(zip(tried, expected, strict=True)))
    trial = _Trial(candidate, manifest, tuple(tried), pixels, expected)
    findings = tuple(trial.findings())
    return AdmissionReport(
        model=manifest.name,
        version=manifest.version,
        onnx_sha256=manifest.onnx_sha256,
        candidate=candidate.identity,
        reference=reference.identity,
        vectors=tuple(tried),
        difference_max=trial.difference_max,
        findings=findings,
    )


def report_json(report: AdmissionReport) -> bytes:
    """Return the report as canonical JSON: what its digest on the ledger is of."""
    return canonical_json.dump(
        {
            "model": report.model,
            "version": report.version,
            "onnx_sha256": report.onnx_sha256.hex(),
            "candidate": _identity_json(report.candidate),
            "reference": _identity_json(report.reference),
            # As text: a seed has 64 bits, and a number of JSON 53.
            "seeds": [str(each) for each in report.vectors if isinstance(each, int)],
            "images": [each.hex() for each in report.vectors if isinstance(each, bytes)],
            "difference_max": report.difference_max,
            "findings": [
                {
                    "rule": finding.rule.value,
                    **_vector_json(finding.vector),
                    "difference_ppm": finding.difference_ppm,
                }
                for finding in report.findings
            ],
            "admitted": report.is_admitted,
        }
    )


def model_admitted(report: AdmissionReport) -> quality_pb2.ModelAdmitted:
    """Return the event body that puts a trial on record, whatever came of it."""
    return quality_pb2.ModelAdmitted(
        model=f"{report.model}/{report.version}",
        engine_digest=report.candidate.artefact_sha256,
        engine=report.candidate.name,
        target=report.candidate.target,
        weights_digest=report.onnx_sha256,
        report_digest=hashlib.sha256(report_json(report)).digest(),
        vector_count=len(report.vectors),
        difference_max=report.difference_max,
        admitted=report.is_admitted,
    )


def vector_told(vector: Vector) -> str:
    """Return which image a vector is, for people."""
    if isinstance(vector, int):
        return f"the image of seed {vector}"
    return f"the image whose pixels have SHA-256 {vector.hex()}"


def _vector_json(vector: Vector) -> dict[str, str]:
    return {"seed": str(vector)} if isinstance(vector, int) else {"image": vector.hex()}


def _identity_json(identity: EngineIdentity) -> dict[str, str]:
    return asdict(identity) | {"artefact_sha256": identity.artefact_sha256.hex()}


def _demand_manifest_scores(
    reference: Engine, manifest: ModelManifest, expected: Mapping[Vector, NDArray[np.float32]]
) -> None:
    """Refuse a reference that does not score the manifest's vectors as the manifest says."""
    for vector, scores in expected.items():
        if not np.isfinite(scores).all():
            raise ModelRefused(
                f"{reference.identity.name} gives no number for {vector_told(vector)}"
            )
    for seed, told in manifest.vectors.items():
        if seed not in expected:
            raise ModelRefused(f"the image of seed {seed}, which the manifest has, is not tried")
        scored = _ten_thousandths(expected[seed])
        if not (np.abs(scored - np.array(told)) <= SCORE_DIFFERENCE_MAX).all():
            raise ModelRefused(
                f"{reference.identity.name} scores the image of seed {seed} as"
                f" {scored.tolist()}, the manifest says {list(told)}"
            )


class _Trial:
    """One candidate, tried rule by rule."""

    def __init__(
        self,
        candidate: Engine,
        manifest: ModelManifest,
        vectors: tuple[Vector, ...],
        images: tuple[NDArray[np.uint8], ...],
        expected: NDArray[np.float32],
    ) -> None:
        self._candidate = candidate
        self._manifest = manifest
        self._vectors = vectors
        self._images = images
        self._expected = expected
        self.difference_max = 0

    def findings(self) -> Iterator[Finding]:
        """Try the rules; go on only where what is left can be judged."""
        rows = range(len(self._images))
        looks = []
        for part in _parts(rows):
            look = self._look(part)
            if look is None:
                yield self._finding(Rule.OUTPUTS, part[0], 0.0)
                return
            looks.append(look)
        together, is_finite = (np.concatenate(each) for each in zip(*looks, strict=True))
        alone = _alone(self._candidate, self._manifest, self._images)
        is_finite &= np.isfinite(alone).all(axis=1)
        if not is_finite.all():
            for row in np.flatnonzero(~is_finite):
                yield self._finding(Rule.FINITE, row, 0.0)
            return
        yield from self._beside_the_reference(alone, together)
        yield from self._differing(Rule.REPEATED, self._scores(rows), together)
        yield from self._identical_rows()
        order = np.random.default_rng(_ORDER_SEED).permutation(len(rows))
        permuted = np.empty_like(together)
        permuted[order] = self._scores(order.tolist())
        yield from self._differing(Rule.PERMUTATION, permuted, together)

    def _look(self, rows: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Return the scores of some images, and of which all outputs are numbers.

        None: the outputs are not the manifest's. Heat maps are let go here, part by part.
        """
        outputs = self._infer(rows)
        if not _has_outputs(outputs, self._manifest, len(rows)):
            return None
        is_finite = np.ones(len(rows), np.bool_)
        for output in outputs.values():
            is_finite &= np.isfinite(output).reshape(len(output), -1).all(axis=1)
        return outputs[self._manifest.scores_output], is_finite

    def _beside_the_reference(
        self, alone: NDArray[np.float32], together: NDArray[np.float32]
    ) -> Iterator[Finding]:
        """Compare the integers that go on record, and the labels that follow from them."""
        reference = _ten_thousandths(self._expected)
        scores = np.stack([_ten_thousandths(alone), _ten_thousandths(together)])
        differences = np.abs(scores - reference).max(axis=(0, 2))
        self.difference_max = min(int(differences.max()), _SHOWN_PPM_MAX)
        for row in np.flatnonzero(differences > SCORE_DIFFERENCE_MAX):
            yield self._finding(Rule.VECTORS, row, differences[row] / 10_000)
        thresholds = np.array([label.threshold for label in self._manifest.labels])
        flips = ((scores >= thresholds) != (reference >= thresholds)).any(axis=(0, 2))
        for row in np.flatnonzero(flips):
            yield self._finding(Rule.LABELS, row, differences[row] / 10_000)

    def _identical_rows(self) -> Iterator[Finding]:
        for row in range(len(self._images)):
            scores = self._scores([row] * _COPIES)
            difference = float(np.ptp(scores, axis=0).max())
            if not difference <= SAME_DIFFERENCE_MAX:
                yield self._finding(Rule.IDENTICAL_ROWS, row, difference)

    def _differing(
        self, rule: Rule, found: NDArray[np.float32], expected: NDArray[np.float32]
    ) -> Iterator[Finding]:
        differences = np.abs(found - expected).max(axis=1)
        # Not: greater than, which no NaN is.
        for row in np.flatnonzero(~(differences <= SAME_DIFFERENCE_MAX)):
            yield self._finding(rule, row, float(differences[row]))

    def _scores(self, rows: Sequence[int]) -> NDArray[np.float32]:
        name = self._manifest.scores_output
        return np.concatenate([self._infer(part)[name] for part in _parts(rows)])

    def _infer(self, rows: Sequence[int]) -> Mapping[str, NDArray[np.float32]]:
        return self._candidate.infer(np.stack([self._images[row] for row in rows]))

    def _finding(self, rule: Rule, row: int | np.intp, difference: float) -> Finding:
        ppm = np.nan_to_num(difference * 1e6, nan=_SHOWN_PPM_MAX, posinf=_SHOWN_PPM_MAX)
        return Finding(
            rule=rule,
            vector=self._vectors[row],
            difference_ppm=min(round(float(ppm)), _SHOWN_PPM_MAX),
        )


def _alone(
    engine: Engine, manifest: ModelManifest, images: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """Return the scores of images that come one by one."""
    scores = [engine.infer(np.stack([image]))[manifest.scores_output] for image in images]
    return np.concatenate(scores)


def _parts(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), PART_IMAGES_MAX):
        yield rows[start : start + PART_IMAGES_MAX]


def _has_outputs(
    outputs: Mapping[str, NDArray[np.float32]], manifest: ModelManifest, count: int
) -> bool:
    """Whether outputs are those that the manifest names, for so many images."""
    scores = outputs.get(manifest.scores_output)
    if scores is None or scores.shape != (count, len(manifest.labels)):
        return False
    if manifest.heat_output:
        heat = outputs.get(manifest.heat_output)
        if heat is None or heat.ndim != 3 or len(heat) != count:
            return False
    return all(output.dtype == np.float32 for output in outputs.values())


def _ten_thousandths(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return scores as they go on record; a half goes to the even neighbour."""
    bounded = np.clip(scores.astype(np.float64), -1e9, 1e9)
    return np.rint(bounded * 10_000).astype(np.int64)
