"""What these tests need: a GPU, an edition of TensorRT, and an engine that it has built here."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from lotmark_inference import tensorrt_engine, tensorrt_rtx_engine
from lotmark_inference.engine import EngineIdentity
from lotmark_inference.errors import EngineError
from lotmark_inference.gpu_probe import Gpu, present_gpu
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.opened_engine import identity_here, opened_engine
from lotmark_inference.tensorrt_engine import TENSORRT
from lotmark_inference.tensorrt_plan_engine import PlanEngine
from lotmark_inference.tensorrt_rtx_engine import PORTABLE, TENSORRT_RTX
from tests.inference.tiny_models import tiny_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An engine that was built here, and the model that it was made of."""

    identity: EngineIdentity
    plan: bytes
    onnx: bytes
    manifest: ModelManifest

    def opened(self) -> PlanEngine:
        engine = opened_engine(self.identity, self.plan, self.manifest)
        assert isinstance(engine, PlanEngine)
        return engine


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    return present_gpu()  # without one, the tests' module is skipped


@pytest.fixture(scope="session", params=[TENSORRT.kind, TENSORRT_RTX.kind])
def kind(gpu: Gpu, request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    try:
        identity_here(chosen, b"")
    except EngineError as error:
        pytest.skip(f"{gpu.name} is there, but: {error}")
    return chosen


@pytest.fixture(scope="session")
def built(gpu: Gpu, kind: str) -> Built:
    return build(gpu, kind, *tiny_model())


def build(gpu: Gpu, kind: str, onnx: bytes, manifest: ModelManifest) -> Built:
    """Build an engine for this GPU."""
    target = gpu.target
    if kind == TENSORRT.kind:
        plan = tensorrt_engine.build_engine(onnx, target)
    else:
        try:
            plan = tensorrt_rtx_engine.build_engine(onnx, target)
        except EngineError:  # it has no name for this GPU, such as an H100
            target = PORTABLE
            plan = tensorrt_rtx_engine.build_engine(onnx, target)
    identity = replace(identity_here(kind, plan), target=target)
    return Built(identity=identity, plan=plan, onnx=onnx, manifest=manifest)


@pytest.fixture
def engine(built: Built) -> Iterator[PlanEngine]:
    opened = built.opened()
    yield opened
    opened.close()
