"""The one way to an open engine: its bytes are compared with what was registered, then opened.

What an engine is called on the ledger (`EngineIdentity`) goes in, so an engine of another version,
target or content is refused before anything of it is run.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Final

from lotmark_inference.cuda_driver import CudaDriver
from lotmark_inference.engine import Engine, EngineIdentity
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.gpu_probe import present_gpu
from lotmark_inference.model_folder import FILE_SIZE_MAX
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.onnx_limits import KIND, TARGET
from lotmark_inference.tensorrt_api import load_edition
from lotmark_inference.tensorrt_engine import TENSORRT
from lotmark_inference.tensorrt_plan_engine import PlanEngine
from lotmark_inference.tensorrt_rtx_engine import PORTABLE, TENSORRT_RTX

_EDITIONS = {edition.kind: edition for edition in (TENSORRT, TENSORRT_RTX)}
KINDS: Final = (KIND, *_EDITIONS)


def opened_engine(identity: EngineIdentity, artefact: bytes, manifest: ModelManifest) -> Engine:
    """Return an engine, opened from the bytes whose hash was compared.

    With its arguments bound by `functools.partial` it is what `WorkerEngine` opens.

    Args:
        identity: What was registered, or what `identity_here` says of a candidate on trial.
        artefact: The ONNX file for ONNX Runtime, a plan for TensorRT.
        manifest: Of the model.

    Raises:
        ModelRefused: The artefact is not the registered one, or not of this model.
        EngineError: This machine lacks what the engine needs, or has another version or GPU.
    """
    found = hashlib.sha256(artefact).digest()
    if found != identity.artefact_sha256:
        raise ModelRefused(
            f"the engine file's SHA-256 is {found.hex()}, registered is"
            f" {identity.artefact_sha256.hex()}; fetch the file again"
        )
    here = identity_here(identity.kind, artefact)
    if identity.version != here.version:
        raise EngineError(
            f"the engine is of {identity.name}, this machine has {here.name}; install that version,"
            " or build and admit an engine with this one"
        )
    if identity.target not in targets_of(here):
        raise EngineError(
            f"the engine was built for {identity.target}, this machine is {here.target}; build and"
            f" admit one for {here.target}"
        )
    if identity.kind == KIND:
        # Only here: whoever has its engines in other processes need not load the runtime.
        from lotmark_inference.onnx_engine import OnnxEngine

        return OnnxEngine(artefact, manifest)
    bindings = load_edition(_EDITIONS[identity.kind])
    return PlanEngine(bindings, CudaDriver().opened(0), artefact, identity, manifest)


def read_artefact(path: Path) -> bytes:
    """Return the bytes of an engine's file.

    Raises:
        ModelRefused: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            artefact = file.read(FILE_SIZE_MAX + 1)
    except OSError as error:
        raise ModelRefused(f"engine file {path} cannot be read: {error}") from error
    if len(artefact) > FILE_SIZE_MAX:
        raise ModelRefused(f"engine file {path} has more than {FILE_SIZE_MAX} bytes")
    return artefact


def identity_here(kind: str, artefact: bytes) -> EngineIdentity:
    """Return what an artefact would be called if it ran on this machine as it is.

    Raises:
        EngineError: There is no such kind, or this machine lacks what it needs.
    """
    digest = hashlib.sha256(artefact).digest()
    if kind == KIND:
        return EngineIdentity(
            kind=kind,
            version=version("onnxruntime"),
            target=TARGET,
            artefact_sha256=digest,
        )
    if kind not in _EDITIONS:
        raise EngineError(f"engine kind {kind!a} is none of {', '.join(KINDS)}")
    # The GPU before the library: some editions of that end the process where there is no driver.
    gpu = present_gpu()
    bindings = load_edition(_EDITIONS[kind])
    return EngineIdentity(
        kind=kind, version=bindings.__version__, target=gpu.target, artefact_sha256=digest
    )


def targets_of(here: EngineIdentity) -> tuple[str, ...]:
    """Return the targets of engines that run on a machine, its own first.

    Args:
        here: What an engine would be called there, from `identity_here`.
    """
    return (here.target, PORTABLE) if here.kind == TENSORRT_RTX.kind else (here.target,)
