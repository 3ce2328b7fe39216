"""Manifests and ONNX files for tests: a tiny model that needs no training."""

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lotmark_inference.model_manifest import (
    EvaluationCounts,
    LabelScore,
    ModelInput,
    ModelManifest,
)
from lotmark_inference.model_metadata import metadata_of
from lotmark_inference.weld_images import CATALOGUE, HEAT_SIZE, PREPROCESSING
from lotmark_inference.weld_surface import SIZE, UM_PER_PIXEL, WeldKind

FIELD_COUNT = HEAT_SIZE * HEAT_SIZE


def sample_manifest(raw: bytes, *, name: str = "weld-light", version: int = 1) -> ModelManifest:
    """Return a manifest of an ONNX file with the weld models' input, outputs and labels."""
    return ModelManifest(
        name=name,
        version=version,
        onnx_sha256=hashlib.sha256(raw).digest(),
        input=ModelInput(name="image", height=SIZE, width=SIZE, um_per_pixel=UM_PER_PIXEL),
        scores_output="prob",
        heat_output="heat",
        labels=tuple(
            LabelScore(
                label=kind.value,
                is_defect=kind is not WeldKind.SOUND,
                threshold=0 if kind is WeldKind.SOUND else 3_000,
            )
            for kind in WeldKind
        ),
        catalogue=CATALOGUE,
        preprocessing=PREPROCESSING,
        training_digest=hashlib.sha256(b"training").digest(),
        evaluation=EvaluationCounts(
            dataset_digest=hashlib.sha256(b"test").digest(),
            true_positives=97,
            false_positives=1,
            false_negatives=3,
            true_negatives=99,
        ),
        calibration=((0, 10), (5_000, 4_000), (10_000, 9_990)),
        vectors={1: (9_000, 600, 400), 2: (100, 9_800, 100)},
    )


def tiny_weights() -> NDArray[np.float32]:
    """Return weights of the tiny model, shape (256, 3)."""
    return np.random.default_rng(3).normal(0, 0.3, (FIELD_COUNT, 3)).astype(np.float32)


def tiny_onnx(
    *,
    weights: NDArray[np.float32] | None = None,
    metadata: Mapping[str, str] | None = None,
    opset: int = 17,
    image_type: int = TensorProto.UINT8,
    size: int = SIZE,
) -> bytes:
    """Return a model that rates an image by the brightness of its 256 fields.

    Args:
        weights: Of each field and label. None: `tiny_weights`.
        metadata: What the file says of itself. None: what `sample_manifest` says.
        opset: Version of ONNX's operators.
        image_type: Type of the pixels that it takes.
        size: Rows and columns of an image.
    """
    weights = tiny_weights() if weights is None else weights
    metadata = metadata_of(sample_manifest(b"")) if metadata is None else metadata
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["grey", "axis"], ["plane"]),
        helper.make_node("AveragePool", ["plane"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Div", ["pooled", "white"], ["share"]),
        helper.make_node("Squeeze", ["share", "axis"], ["heat"]),
        helper.make_node("Flatten", ["share"], ["fields"]),
        helper.make_node("MatMul", ["fields", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["prob"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array(255, np.float32), "white"),
        numpy_helper.from_array(weights, "weights"),
    ]
    fields = size // 8
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", image_type, ["n", size, size])],
        [
            helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["n", fields, fields]),
        ],
        constants,
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, dict(metadata))
    return bytes(onnx.ModelProto.SerializeToString(model, deterministic=True))
