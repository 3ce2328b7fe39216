"""A model's two files, beside each other in a folder: of this package, or your own."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from lotmark_inference.errors import ModelRefused
from lotmark_inference.manifest_file import MANIFEST_SIZE_MAX, ReadManifest, read_manifest
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.onnx_limits import ONNX_SIZE_MAX

MANIFEST_FILE: Final = "manifest.json"
ONNX_FILE: Final = "model.onnx"
SHIPPED: Final = ("weld-light", "weld-heavy")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What was read of a model's folder."""

    manifest_file: ReadManifest
    onnx: bytes

    @property
    def manifest(self) -> ModelManifest:
        """What the manifest's file says."""
        return self.manifest_file.manifest


def shipped_model(name: str) -> ModelFiles:
    """Return a model that comes with this package; it is registered with no ledger yet.

    Raises:
        ModelRefused: There is none of this name.
    """
    if name not in SHIPPED:
        raise ModelRefused(f"no model {name!r} is shipped; {' and '.join(SHIPPED)} are")
    return read_model(Path(str(files("lotmark_inference") / "shipped" / name)))


def read_model(folder: Path) -> ModelFiles:
    """Return the model in a folder: `manifest.json` and `model.onnx`.

    Whether they agree is seen when an engine opens them.

    Raises:
        ModelRefused: A file is missing, too large, or the manifest is none.
    """
    manifest_file = read_manifest(_read(folder / MANIFEST_FILE, MANIFEST_SIZE_MAX))
    return ModelFiles(manifest_file, _read(folder / ONNX_FILE, ONNX_SIZE_MAX))


def _read(path: Path, size_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(size_max + 1)
    except OSError as error:
        raise ModelRefused(
            f"{path}: {error.strerror}; a model's folder holds {MANIFEST_FILE} and {ONNX_FILE}"
        ) from error
    if len(raw) > size_max:
        raise ModelRefused(f"{path} has more than {size_max} bytes; none so large is read")
    return raw
