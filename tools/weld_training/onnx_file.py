"""Writes a trained network as an ONNX file, its channels' normalisation folded into the weights."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lotmark_inference.model_metadata import model_metadata
from lotmark_inference.weld_images import CATALOGUE, HEAT_SIZE, PREPROCESSING
from lotmark_inference.weld_surface import SIZE, UM_PER_PIXEL, WeldKind
from tools.weld_training.network import (
    CONTRAST,
    EPSILON,
    LABEL_COUNT,
    Convolution,
    Statistics,
    Weights,
)

OPSET = 17  # which TensorRT and every ONNX Runtime of the last years read
IR_VERSION = 8


class _Graph:
    """Nodes and constants of a graph as it grows."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


def onnx_bytes(
    network: tuple[Convolution, ...],
    weights: Weights,
    statistics: Statistics,
    *,
    name: str,
    version: int,
) -> bytes:
    """Return the ONNX file: `image` (n, 128, 128) in, `prob` (n, 3) and `heat` (n, 16, 16) out."""
    graph = _Graph()
    features = _normalised(graph)
    features = _convolutions(graph, network, weights, statistics, features)
    _heads(graph, weights, features)
    outputs = [
        helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["n", LABEL_COUNT]),
        helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["n", HEAT_SIZE, HEAT_SIZE]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIZE, SIZE])
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, [image], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lotmark",
    )
    metadata = model_metadata(
        name=name,
        version=version,
        labels=[kind.value for kind in WeldKind],
        catalogue=CATALOGUE,
        preprocessing=PREPROCESSING,
        um_per_pixel=UM_PER_PIXEL,
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _normalised(graph: _Graph) -> str:
    grey = graph.add("Cast", ["image"], "grey", to=TensorProto.FLOAT)
    grey = graph.add("Unsqueeze", [grey, graph.constant("channel_axis", [1], np.int64)], "planes")
    share = graph.add("Div", [grey, graph.constant("white", 255.0)], "share")
    mean = graph.add("ReduceMean", [share], "brightness", axes=[2, 3], keepdims=1)
    centred = graph.add("Sub", [share, mean], "centred")
    return graph.add("Div", [centred, graph.constant("contrast", CONTRAST)], "normalised")


def _convolutions(
    graph: _Graph,
    network: Iterable[Convolution],
    weights: Weights,
    statistics: Statistics,
    features: str,
) -> str:
    for number, layer in enumerate(network):
        mean, variance = (np.asarray(value, np.float64) for value in statistics[number])
        scale = np.asarray(weights[f"scale_{number}"], np.float64) / np.sqrt(variance + EPSILON)
        kernel = np.asarray(weights[f"kernel_{number}"], np.float64) * scale
        shift = np.asarray(weights[f"shift_{number}"], np.float64) - mean * scale
        made = graph.add(
            "Conv",
            [
                features,
                graph.constant(f"kernel_{number}", kernel.transpose(3, 2, 0, 1)),
                graph.constant(f"shift_{number}", shift),
            ],
            f"convolved_{number}",
            kernel_shape=[layer.size, layer.size],
            strides=[layer.stride, layer.stride],
            pads=[layer.size // 2] * 4,
        )
        if layer.is_residual:
            made = graph.add("Add", [made, features], f"added_{number}")
        features = graph.add("Relu", [made], f"features_{number}")
    return features


def _heads(graph: _Graph, weights: Weights, features: str) -> None:
    heat_kernel = np.asarray(weights["heat_kernel"]).T[:, :, None, None]
    heat = graph.add(
        "Conv",
        [
            features,
            graph.constant("heat_kernel", heat_kernel),
            graph.constant("heat_shift", weights["heat_shift"]),
        ],
        "heat_plane",
        kernel_shape=[1, 1],
    )
    heat = graph.add("Squeeze", [heat, "channel_axis"], "heat_logits")
    graph.add("Sigmoid", [heat], "heat")
    mean = graph.add("ReduceMean", [features], "mean", axes=[2, 3], keepdims=0)
    largest = graph.add("ReduceMax", [features], "largest", axes=[2, 3], keepdims=0)
    whole = graph.add("Concat", [mean, largest], "whole", axis=1)
    logits = graph.add(
        "Gemm",
        [
            whole,
            graph.constant("verdict_kernel", weights["verdict_kernel"]),
            graph.constant("verdict_shift", weights["verdict_shift"]),
        ],
        "logits",
    )
    graph.add("Softmax", [logits], "prob", axis=1)
