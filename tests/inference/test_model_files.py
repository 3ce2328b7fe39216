from pathlib import Path

import pytest

from lotmark_inference.errors import ModelRefused
from lotmark_inference.manifest_file import MANIFEST_SIZE_MAX, dump_manifest
from lotmark_inference.model_files import MANIFEST_FILE, ONNX_FILE, read_model, shipped_model
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.onnx_limits import ONNX_SIZE_MAX
from tests.inference.sample_models import sample_manifest, tiny_onnx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ONNX_FILE).write_bytes(tiny_onnx())
    (tmp_path / MANIFEST_FILE).write_bytes(dump_manifest(sample_manifest(tiny_onnx())))
    return tmp_path


def test_a_folder_s_two_files_are_a_model(folder: Path) -> None:
    files = read_model(folder)

    assert files.manifest == sample_manifest(tiny_onnx())
    assert OnnxEngine(files.onnx, files.manifest).identity.artefact_sha256


@pytest.mark.parametrize("name", [MANIFEST_FILE, ONNX_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(ModelRefused, match=f"{name}: No such file"):
        read_model(folder)


@pytest.mark.parametrize(
    ("name", "size_max"), [(MANIFEST_FILE, MANIFEST_SIZE_MAX), (ONNX_FILE, ONNX_SIZE_MAX)]
)
def test_a_file_that_is_absurdly_large_is_not_read(folder: Path, name: str, size_max: int) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(size_max + 1)

    with pytest.raises(ModelRefused, match=f"{name} has more than {size_max} bytes"):
        read_model(folder)


def test_an_engine_opens_no_model_that_is_absurdly_large() -> None:
    raw = bytes(ONNX_SIZE_MAX + 1)

    with pytest.raises(ModelRefused, match=f"at most {ONNX_SIZE_MAX} are opened"):
        OnnxEngine(raw, sample_manifest(raw))


def test_a_model_that_is_not_shipped_says_which_are() -> None:
    with pytest.raises(ModelRefused, match="no model 'weld-tiny' is shipped; weld-light"):
        shipped_model("weld-tiny")
