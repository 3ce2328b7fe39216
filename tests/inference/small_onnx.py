"""A small ONNX model with its manifest: of no use, but with all that a real one has."""

import hashlib
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lotmark_inference.model_manifest import LabelScore, ModelInput, ModelManifest
from lotmark_inference.model_metadata import metadata_of
from tests.inference.engines_in_memory import MANIFEST

SIZE = 32  # pixels, both ways
FIELD = 8  # of the heat map


@cache
def small_model(seed: int = 1) -> tuple[bytes, ModelManifest]:
    """Return a model with weights of a seed, and its manifest."""
    draw = np.random.default_rng(seed)
    label = LabelScore(label="sound/none/example", is_defect=False, threshold=5_000)
    manifest = replace(
        MANIFEST,
        name="small",
        input=ModelInput(name="image", height=SIZE, width=SIZE, um_per_pixel=50),
        labels=(
            label,
            replace(label, label="pore/leak/example", is_defect=True, threshold=3_000),
            replace(label, label="crack/open/example", is_defect=True, threshold=4_000),
        ),
    )
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(1 / 255, np.float32),
        "channel": np.array([1], np.int64),
        "kernel": draw.normal(0, 0.4, (4, 1, 3, 3)).astype(np.float32),
        "weights": draw.normal(0, 4, (4, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "channel"], ["plane"]),
        helper.make_node("Conv", ["plane", "kernel"], ["edges"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["edges"], ["lit"]),
        helper.make_node("GlobalAveragePool", ["lit"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["scores"], axis=1),
        helper.make_node(
            "AveragePool",
            ["lit"],
            ["fields"],
            kernel_shape=[FIELD, FIELD],
            strides=[FIELD, FIELD],
        ),
        helper.make_node("ReduceMean", ["fields"], ["heat"], axes=[1], keepdims=0),
    ]
    fields = SIZE // FIELD
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["n", fields, fields]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata_of(manifest))
    onnx.checker.check_model(model, full_check=True)
    written = model.SerializeToString()
    return written, replace(manifest, onnx_sha256=hashlib.sha256(written).digest())


def small_images(seed: int, count: int) -> NDArray[np.uint8]:
    """Return images of noise, each of another brightness."""
    draw = np.random.default_rng(seed)
    bright = draw.integers(20, 256, (count, 1, 1))
    return (draw.random((count, SIZE, SIZE)) * bright).astype(np.uint8)
