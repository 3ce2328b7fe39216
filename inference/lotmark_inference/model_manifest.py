"""What a model is, in one signed JSON file beside its ONNX file: the manifest.

The ONNX file's own metadata repeats name and version; where the two differ, nothing runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """The images that a model takes: 8-bit grey, rows first."""

    name: str
    height: int  # pixels
    width: int
    um_per_pixel: int  # how large a pixel is on the part, in micrometres


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """One label of the catalogue, and from which score on it is given."""

    label: str  # phenomenon/effect/customer-standard
    is_defect: bool
    threshold: int  # ten-thousandths


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationCounts:
    """How a model did on inputs that it was not trained on."""

    dataset_digest: bytes  # SHA-256 of the list of seeds and labels
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """A model's manifest. Numbers are integers: it is hashed and signed as canonical JSON."""

    name: str  # "weld-light"
    version: int
    onnx_sha256: bytes
    input: ModelInput
    scores_output: str  # shape (n, labels), probabilities
    heat_output: str  # shape (n, rows, columns); "": none
    labels: tuple[LabelScore, ...]
    catalogue: str  # "weld-labels/1"
    preprocessing: str  # how the image that goes in is made of what the camera gave
    training_digest: bytes  # SHA-256 of the list of seeds and labels it was trained on
    evaluation: EvaluationCounts
    calibration: tuple[tuple[int, int], ...]  # ascending (raw, calibrated) in ten-thousandths
    vectors: Mapping[int, tuple[int, ...]]  # seed of a generated image -> scores, ten-thousandths

    @property
    def model(self) -> str:
        """Name and version as events name the model, such as "weld-light/1"."""
        return f"{self.name}/{self.version}"
