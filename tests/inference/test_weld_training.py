"""The shipped models' training: runs where the extra `train` is installed."""

import numpy as np
import pytest

from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.weld_images import weld_image
from tests.inference.sample_models import sample_manifest

jax = pytest.importorskip("jax", reason="needs lotmark[train]")


@pytest.mark.parametrize("name", ["weld-light", "weld-heavy"])
def test_the_onnx_file_computes_what_was_trained(name: str) -> None:
    from tools.weld_training.network import NETWORKS, new_weights, outputs
    from tools.weld_training.onnx_file import onnx_bytes

    network, random = NETWORKS[name], np.random.default_rng(2)
    weights = new_weights(network, random)
    statistics = [
        (random.normal(0, 0.1, layer.channels), random.uniform(0.5, 2, layer.channels))
        for layer in network
    ]
    pixels = np.stack([weld_image(seed).pixels for seed in range(4)])
    raw = onnx_bytes(network, weights, statistics, name=name, version=1)

    logits, heat, _ = outputs(network, weights, pixels, statistics)
    found = OnnxEngine(raw, sample_manifest(raw, name=name)).infer(pixels)

    assert found["prob"] == pytest.approx(np.asarray(jax.nn.softmax(logits)), abs=1e-4)
    assert found["heat"] == pytest.approx(np.asarray(jax.nn.sigmoid(heat)), abs=1e-4)


def test_a_residual_layer_keeps_what_comes_in_beside_what_it_makes() -> None:
    from tools.weld_training.network import Convolution, new_weights, outputs

    plain = (Convolution(5, 8, 4), Convolution(3, 1, 4))
    residual = (Convolution(5, 8, 4), Convolution(3, 1, 4, is_residual=True))
    weights = new_weights(residual, np.random.default_rng(1))
    weights["scale_1"] = weights["scale_1"] * 0
    pixels = weld_image(3).pixels[None]

    _, without, _ = outputs(plain, weights, pixels)
    _, kept, _ = outputs(residual, weights, pixels)

    assert np.ptp(np.asarray(without)) == 0
    assert np.ptp(np.asarray(kept)) > 0.1


def test_flips_of_an_image_flip_its_heat_map_and_nothing_else() -> None:
    from tools.weld_training.train import Dataset, turned

    images = [weld_image(seed) for seed in range(8)]
    kinds = np.arange(8)
    whole = Dataset(
        np.stack([image.pixels for image in images]),
        kinds,
        np.stack([image.heat for image in images]),
        range(8),
    )
    ways = set()
    for attempt in range(20):
        pixels, given, heat = turned(whole, kinds, np.random.default_rng(attempt))
        for rows, columns in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            if (pixels == whole.pixels[:, ::rows, ::columns]).all():
                assert (heat == whole.heat[:, ::rows, ::columns]).all()
                ways.add((rows, columns))
        assert (given == kinds).all()

    assert len(ways) == 4
