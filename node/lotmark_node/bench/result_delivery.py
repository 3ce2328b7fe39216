"""How long a model's result takes to be safe on this machine's disk, with no node in reach."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lotmark.client import Client, new_event
from lotmark.client.new_event import item
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.engine import Engine
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.scores import quantised
from lotmark_node.bench import machine
from lotmark_node.bench.running import WIDE
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import TrialNetwork, free_address

_CLIENT = "OEM-A/edge"
_STATOR = "https://id.gs1.org/01/04012345000023/21/ST{:010d}"


def result_to_outbox_p99_ms(
    engine: Engine, manifest: ModelManifest, images: NDArray[np.uint8], count: int
) -> float:
    """Return how long after its scores a result's event is on disk, 99th percentile.

    The network is cut: the node that the events are for does not run. So the outbox grows, and its
    client tries to reach somebody meanwhile, as it would at a site.
    """
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        plan = make_plan("bench", [], [f"OEM-A/n1@{free_address()}"], [_CLIENT])
        network = TrialNetwork(Path(folder) / "consortium", plan, parameters=WIDE)
        client = Client(network.client_settings(_CLIENT))
        try:
            taken = []
            for number in range(count):
                image = images[number % len(images)][np.newaxis]
                outputs = engine.infer(image)
                start = time.perf_counter()
                client.submit(_event(engine, manifest, outputs[manifest.scores_output], number))
                taken.append((time.perf_counter() - start) * 1_000)
        finally:
            client.close(timeout_s=0.0)
    return round(machine.percentile(taken, 99), 3)


def _event(
    engine: Engine, manifest: ModelManifest, scores: NDArray[np.float32], number: int
) -> bytes:
    """Return the event of one image's result."""
    whole = quantised(scores)[0].tolist()
    best = max(range(len(whole)), key=whole.__getitem__)
    body = quality_pb2.InferenceResult(
        model=manifest.model,
        engine_digest=engine.identity.artefact_sha256,
        input_digest=number.to_bytes(32),
        policy="bench/1",
        mode="NORMAL",
        label=manifest.labels[best].label,
        score_ppm=whole[best] * 100,
        calibrated_ppm=whole[best] * 100,
        feature=f"weld_{number % 192}",
        verdict=quality_pb2.VERDICT_CONFORMING,
        preprocessing=manifest.preprocessing,
        scores=whole,
        catalogue=manifest.catalogue,
    )
    return new_event(
        body,
        device="aoi-cam07",
        capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        time=datetime.now(UTC),
        uncertainty_us=1_000,
        items=[item(_STATOR.format(number))],
    )
