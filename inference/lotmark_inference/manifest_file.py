"""A manifest as a file: canonical JSON, which can be signed, beside the ONNX file that it names.

A manifest's digest is of its canonical JSON without the signature, so to sign it does not make it
another one. Who vouches for a model is told by the ledger: a party registers it by an event of its
own that names the digest, and that event is signed. `lotmark model register` signs the file, too,
unless somebody has, and it is kept with its signature: it may travel without a ledger. Those that
are shipped with this package carry none.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

from lotmark import canonical_json, ed25519
from lotmark.canonical_json import JsonValue
from lotmark.errors import MalformedError, SignatureError
from lotmark.json_fields import JsonFields
from lotmark.text import check_identifier
from lotmark_inference.errors import ModelRefused
from lotmark_inference.model_manifest import (
    EvaluationCounts,
    LabelScore,
    ModelInput,
    ModelManifest,
)

MANIFEST_SIZE_MAX = 65_536
LABELS_MAX = 64
PIXELS_MAX = 4_096  # of an image, both ways
SCORE_MAX = 10_000

_SCHEMA = "lotmark/model-manifest/v1"
_DOMAIN = b"lotmark/model-manifest/v1\n"
_DIGEST_SIZE = 32
_U32_MAX = 2**32 - 1

_MEMBERS = (
    "schema", "name", "version", "onnx_sha256", "input", "scores_output", "heat_output", "labels",
    "catalogue", "preprocessing", "training_digest", "evaluation", "calibration", "vectors",
)  # fmt: skip
_INPUT_MEMBERS = ("name", "height", "width", "um_per_pixel")
_COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest as its file has it."""

    manifest: ModelManifest
    raw: bytes  # the file
    digest: bytes  # as `ModelRegistered.manifest_digest` names it
    signed_by: ed25519.PublicKey | None  # None: the file carries no signature


def dump_manifest(manifest: ModelManifest, key: ed25519.PrivateKey | None = None) -> bytes:
    """Return a manifest's file.

    Args:
        manifest: The manifest.
        key: Signs it. None: nobody does.

    Raises:
        ModelRefused: A value is outside what a manifest may say.
    """
    document = _document(manifest)
    unsigned = canonical_json.dump(document)
    read_manifest(unsigned)  # nothing is written that would not be read
    if key is None:
        return unsigned
    signature = {"key": key.public.hex(), "value": key.sign(_DOMAIN + unsigned).hex()}
    return canonical_json.dump({**document, "signature": signature})


def manifest_digest(manifest: ModelManifest) -> bytes:
    """Return the SHA-256 that names a manifest, signed or not."""
    return hashlib.sha256(canonical_json.dump(_document(manifest))).digest()


def read_manifest(raw: bytes) -> ReadManifest:
    """Return the manifest of a file; a signature that is there holds.

    Raises:
        ModelRefused: It is no manifest, breaks a rule, or its signature does not hold.
    """
    try:
        document = canonical_json.load(raw, size_max=MANIFEST_SIZE_MAX)
        fields = JsonFields(document, _MEMBERS, place="manifest", optional=("signature",))
        manifest = _manifest(fields)
        unsigned = canonical_json.dump(_document(manifest))
        signed_by = _signer(fields, unsigned) if fields.has("signature") else None
    except (MalformedError, SignatureError) as error:
        raise ModelRefused(f"the manifest cannot be used: {error}") from error
    return ReadManifest(manifest, raw, hashlib.sha256(unsigned).digest(), signed_by)


def _signer(fields: JsonFields, unsigned: bytes) -> ed25519.PublicKey:
    signature = fields.object("signature", ("key", "value"))
    key = ed25519.check_public_key(signature.hex("key", size=ed25519.PUBLIC_KEY_SIZE))
    value = signature.hex("value", size=ed25519.SIGNATURE_SIZE)
    ed25519.verify(key, _DOMAIN + unsigned, value)
    return key


def _document(manifest: ModelManifest) -> dict[str, JsonValue]:
    image, evaluation = manifest.input, manifest.evaluation
    return {
        "schema": _SCHEMA,
        "name": manifest.name,
        "version": manifest.version,
        "onnx_sha256": manifest.onnx_sha256.hex(),
        "input": {name: getattr(image, name) for name in _INPUT_MEMBERS},
        "scores_output": manifest.scores_output,
        "heat_output": manifest.heat_output,
        "labels": [
            {"label": each.label, "is_defect": each.is_defect, "threshold": each.threshold}
            for each in manifest.labels
        ],
        "catalogue": manifest.catalogue,
        "preprocessing": manifest.preprocessing,
        "training_digest": manifest.training_digest.hex(),
        "evaluation": {
            "dataset_digest": evaluation.dataset_digest.hex(),
            **{name: getattr(evaluation, name) for name in _COUNTS},
        },
        "calibration": [
            {"raw": raw, "calibrated": calibrated} for raw, calibrated in manifest.calibration
        ],
        "vectors": [
            {"seed": str(seed), "scores": list(scores)}
            for seed, scores in sorted(manifest.vectors.items())
        ],
    }


def _manifest(fields: JsonFields) -> ModelManifest:
    if fields.text("schema") != _SCHEMA:
        raise MalformedError(f"manifest.schema is {fields.text('schema')!r}, not {_SCHEMA!r}")
    labels = _labels(fields)
    image = fields.object("input", _INPUT_MEMBERS)
    evaluation = fields.object("evaluation", ("dataset_digest", *_COUNTS))
    return ModelManifest(
        name=_identifier(fields, "name", size_max=48),  # "/" and a version fit beside it
        version=_between(fields, "version", 1, _U32_MAX),
        onnx_sha256=fields.hex("onnx_sha256", size=_DIGEST_SIZE),
        input=ModelInput(
            name=_identifier(image, "name"),
            height=_between(image, "height", 1, PIXELS_MAX),
            width=_between(image, "width", 1, PIXELS_MAX),
            um_per_pixel=_between(image, "um_per_pixel", 1, _U32_MAX),
        ),
        scores_output=_identifier(fields, "scores_output"),
        heat_output=fields.text("heat_output") and _identifier(fields, "heat_output"),
        labels=labels,
        catalogue=_identifier(fields, "catalogue"),
        preprocessing=_identifier(fields, "preprocessing"),
        training_digest=fields.hex("training_digest", size=_DIGEST_SIZE),
        evaluation=EvaluationCounts(
            dataset_digest=evaluation.hex("dataset_digest", size=_DIGEST_SIZE),
            true_positives=_between(evaluation, "true_positives", 0, _U32_MAX),
            false_positives=_between(evaluation, "false_positives", 0, _U32_MAX),
            false_negatives=_between(evaluation, "false_negatives", 0, _U32_MAX),
            true_negatives=_between(evaluation, "true_negatives", 0, _U32_MAX),
        ),
        calibration=_calibration(fields),
        vectors=_vectors(fields, len(labels)),
    )


def _labels(fields: JsonFields) -> tuple[LabelScore, ...]:
    labels = []
    for each in fields.objects("labels", ("label", "is_defect", "threshold")):
        labels.append(
            LabelScore(
                label=_identifier(each, "label", size_max=128),
                is_defect=each.flag("is_defect"),
                threshold=_between(each, "threshold", 0, SCORE_MAX),
            )
        )
    if labels and all(each.is_defect for each in labels):
        raise MalformedError(
            f"manifest.labels has defects alone, {len(labels)} of them; one label at least must be"
            " for what conforms"
        )
    names = [each.label for each in labels]
    if not 1 <= len(names) <= LABELS_MAX or len(set(names)) != len(names):
        raise MalformedError(
            f"manifest.labels has {len(names)} labels, {len(set(names))} of them different; there"
            f" must be 1 to {LABELS_MAX}, each once"
        )
    return tuple(labels)


def _calibration(fields: JsonFields) -> tuple[tuple[int, int], ...]:
    knots = [
        (_between(each, "raw", 0, SCORE_MAX), _between(each, "calibrated", 0, SCORE_MAX))
        for each in fields.objects("calibration", ("raw", "calibrated"))
    ]
    for (raw, calibrated), (next_raw, next_calibrated) in pairwise(knots):
        if next_raw <= raw or next_calibrated < calibrated:
            raise MalformedError(
                f"manifest.calibration goes from ({raw}, {calibrated}) to ({next_raw},"
                f" {next_calibrated}); raw scores must rise, calibrated ones must not fall"
            )
    return tuple(knots)


def _vectors(fields: JsonFields, label_count: int) -> dict[int, tuple[int, ...]]:
    vectors: dict[int, tuple[int, ...]] = {}
    for each in fields.objects("vectors", ("seed", "scores")):
        seed, scores = each.u64("seed"), each.numbers("scores")
        if len(scores) != label_count or not all(0 <= score <= SCORE_MAX for score in scores):
            raise MalformedError(
                f"manifest.vectors has the scores {scores} for seed {seed}; they must be"
                f" {label_count} of 0 to {SCORE_MAX}"
            )
        if vectors and seed <= max(vectors):
            raise MalformedError(f"manifest.vectors has seed {seed} out of order")
        vectors[seed] = scores
    return vectors


def _identifier(fields: JsonFields, name: str, *, size_max: int = 64) -> str:
    value = fields.text(name)
    check_identifier(value, what=f"manifest: {name}", size_max=size_max)
    return value


def _between(fields: JsonFields, name: str, low: int, high: int) -> int:
    value = fields.number(name)
    if not low <= value <= high:
        raise MalformedError(f"manifest: {name} is {value}; it must be {low} to {high}")
    return value
