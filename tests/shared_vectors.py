"""Where foreign test vectors and real documents stand: beside the repository, never in it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shared_folder() -> Path | None:
    """Return the folder of vectors and data, or None where this machine has none."""
    folder = Path(os.environ.get("LOTMARK_SHARED") or ROOT.parent / "shared")
    return folder if (folder / "vectors").is_dir() else None


def require_shared(relative: str) -> Path:
    """Return a path below the shared folder: skip without the folder, fail without the file."""
    folder = shared_folder()
    if folder is None:
        pytest.skip(
            f"no shared folder beside the repository: {relative} was not tried; set LOTMARK_SHARED"
        )
    path = folder / relative
    assert path.exists(), f"{path} is missing though the shared folder exists"
    return path
