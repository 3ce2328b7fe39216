"""The default engine: ONNX Runtime on the CPU, set up so that the same image gets the same scores.

One thread, nodes in sequence, no optimisation that depends on the processor's kind, and every image
run by itself: so no image's scores depend on what else was in its batch, or on how many cores
there are. Measured: the same bits in every run of one machine; between optimisation levels less
than 1e-6, which a score in ten-thousandths does not show.
"""

import hashlib
import os
from collections.abc import Mapping
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from lotmark_inference.engine import EngineIdentity
from lotmark_inference.errors import EngineError, ModelRefused
from lotmark_inference.image_checks import check_batch
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.model_metadata import metadata_of
from lotmark_inference.onnx_limits import KIND, ONNX_SIZE_MAX, TARGET

BATCH_IMAGES_MAX: Final = 4_096

_FLOAT, _UINT8 = "tensor(float)", "tensor(uint8)"
_FATAL = 4  # ONNX Runtime's own lines stay out of the output; every error comes as an exception
_ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.ModelLoaded,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OnnxEngine:
    """An open model on ONNX Runtime; for one thread."""

    def __init__(self, onnx: bytes, manifest: ModelManifest) -> None:
        """Open a model from the bytes of its ONNX file, once they are those of its manifest.

        Raises:
            ModelRefused: File, what it says of itself, and manifest do not agree.
            EngineError: ONNX Runtime cannot run it.
        """
        digest = hashlib.sha256(onnx).digest()
        _check_file(onnx, digest, manifest)
        self._session = _opened(onnx, manifest)
        _check_metadata(self._session, manifest)
        _check_ends(self._session, manifest)
        self._manifest = manifest
        self._heat_shape = _heat_shape(self._session, manifest)
        self._identity = EngineIdentity(
            kind=KIND, version=ort.__version__, target=TARGET, artefact_sha256=digest
        )

    @property
    def identity(self) -> EngineIdentity:
        """Which engine it is."""
        return self._identity

    def infer(self, batch: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Return the scores of a batch, and its heat maps if the model makes them.

        Args:
            batch: Images, shape (n, height, width), n of 1 to 4,096. They are read where they lie.

        Raises:
            InputRefused: They are not what the model takes.
            EngineError: ONNX Runtime failed, or a score is no finite number; nothing was scored.
        """
        manifest = self._manifest
        check_batch(batch, manifest.input)
        count = len(batch)
        if count > BATCH_IMAGES_MAX or not batch.flags.c_contiguous:
            raise EngineError(
                f"a batch of {count} images, contiguous: {batch.flags.c_contiguous}; give at most"
                f" {BATCH_IMAGES_MAX}, contiguous in memory"
            )
        outputs = {manifest.scores_output: np.empty((count, len(manifest.labels)), np.float32)}
        if manifest.heat_output:
            outputs[manifest.heat_output] = np.empty((count, *self._heat_shape), np.float32)
        for place in range(count):
            one = slice(place, place + 1)
            self._run(batch[one], {name: array[one] for name, array in outputs.items()})
        for name, array in outputs.items():
            _check_finite(name, array)
        return outputs

    def _run(self, image: NDArray[np.uint8], outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Run one image; ONNX Runtime reads and writes the arrays' own memory."""
        binding = self._session.io_binding()
        try:
            _bind_input(binding, self._manifest.input.name, image)
            for name, array in outputs.items():
                binding.bind_output(name, TARGET, 0, np.float32, array.shape, array.ctypes.data)
            self._session.run_with_iobinding(binding)
        except _ORT_ERRORS as error:
            raise EngineError(f"{self._manifest.model}: ONNX Runtime failed: {error}") from error

    def close(self) -> None:
        """Give back the model's memory; the engine is of no use afterwards."""
        del self._session


def _bind_input(binding: ort.IOBinding, name: str, image: NDArray[np.uint8]) -> None:
    binding.bind_input(name, TARGET, 0, np.uint8, image.shape, image.ctypes.data)


def _check_file(onnx: bytes, digest: bytes, manifest: ModelManifest) -> None:
    if len(onnx) > ONNX_SIZE_MAX:
        raise ModelRefused(
            f"{manifest.model}: the ONNX file has {len(onnx)} bytes; at most {ONNX_SIZE_MAX} are"
            " opened"
        )
    if digest != manifest.onnx_sha256:
        raise ModelRefused(
            f"{manifest.model}: the ONNX file's SHA-256 is {digest.hex()}, the manifest names"
            f" {manifest.onnx_sha256.hex()}; put the file beside it that it was made with"
        )


def _opened(onnx: bytes, manifest: ModelManifest) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # The level above chooses memory layouts by the processor's kind.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    # A model may keep weights in files of its own, which nobody hashed, and which would be looked
    # for in the working directory. No folder lies in the null device, so none is found.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    options.log_severity_level = _FATAL
    try:
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise ModelRefused(f"{manifest.model}: ONNX Runtime cannot open it: {error}") from error


def _check_metadata(session: ort.InferenceSession, manifest: ModelManifest) -> None:
    found = dict(session.get_modelmeta().custom_metadata_map)
    for key, wanted in metadata_of(manifest).items():
        if found.get(key) != wanted:
            raise ModelRefused(
                f"{manifest.model}: the ONNX file says {key} = {found.get(key)!r}, the manifest"
                f" {wanted!r}; one of them is of another model"
            )


def _check_ends(session: ort.InferenceSession, manifest: ModelManifest) -> None:
    image = manifest.input
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {
        image.name: (_UINT8, (image.height, image.width)),
        manifest.scores_output: (_FLOAT, (len(manifest.labels),)),
    }
    found = {
        end.name: (end.type, tuple(end.shape[1:]))
        for end in (*session.get_inputs(), *session.get_outputs())
    }
    for name, (kind, shape) in wanted.items():
        if found.get(name) != (kind, shape):
            raise ModelRefused(
                f"{manifest.model}: the manifest says that {name!r} is {kind} of shape"
                f" {('n', *shape)}; the ONNX file has {found}"
            )
    if extra := {end.name for end in session.get_inputs()} - {image.name}:
        raise ModelRefused(f"{manifest.model}: the ONNX file also asks for {sorted(extra)}")


def _heat_shape(session: ort.InferenceSession, manifest: ModelManifest) -> tuple[int, int]:
    """Return rows and columns of the heat map; (0, 0): the model makes none."""
    if not manifest.heat_output:
        return 0, 0
    for end in session.get_outputs():
        if end.name == manifest.heat_output:
            match tuple(end.shape[1:]):
                case (int(rows), int(columns)) if end.type == _FLOAT:
                    return rows, columns
                case other:
                    raise ModelRefused(
                        f"{manifest.model}: the heat map {end.name!r} is {end.type} of shape"
                        f" {('n', *other)}, not floats of shape (n, rows, columns)"
                    )
    raise ModelRefused(
        f"{manifest.model}: the manifest says that {manifest.heat_output!r} is the heat map; the"
        f" ONNX file has {[end.name for end in session.get_outputs()]}"
    )


def _check_finite(name: str, array: NDArray[np.float32]) -> None:
    if not np.isfinite(array).all():
        places = sorted(set(np.argwhere(~np.isfinite(array))[:, 0].tolist()))
        raise EngineError(
            f"output {name!r} is not finite for images {places[:8]} of the batch; the engine or its"
            " weights are damaged: open it anew, and admit it again"
        )
