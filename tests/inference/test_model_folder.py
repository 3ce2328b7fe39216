"""Files by their hash: what `put` has returned for, a power cut does not take away."""

import hashlib
import os
from pathlib import Path

import pytest

from lotmark_inference.model_folder import ModelFolder

CONTENT = b"stands for a model"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, frozenset[str]]]:
    """Return a list that gets each file or folder that is synced, with the names in it then."""
    found: list[tuple[Path, frozenset[str]]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        names = {each.name for each in path.iterdir()} if path.is_dir() else ()
        found.append((path, frozenset(names)))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("times", [1, 2])
def test_a_file_and_all_the_names_that_lead_to_it_are_on_disk(
    tmp_path: Path, synced: list[tuple[Path, frozenset[str]]], depth: int, times: int
) -> None:
    root = tmp_path.joinpath(*["deeper"] * depth)
    folder = ModelFolder(root)
    for _ in range(times):
        digest = folder.put(CONTENT)
    place = root / digest.hex()[:2] / digest.hex()

    assert any(path.parent == place.parent for path, _ in synced)
    child = place
    while child != tmp_path:
        # Synced when the name was there already.
        assert any(path == child.parent and child.name in names for path, names in synced), child
        child = child.parent


def test_a_file_that_was_put_by_a_process_that_died_is_synced_by_the_next(
    tmp_path: Path, synced: list[tuple[Path, frozenset[str]]]
) -> None:
    ModelFolder(tmp_path).put(CONTENT)
    synced.clear()
    digest = ModelFolder(tmp_path).put(CONTENT)

    assert (tmp_path / digest.hex()[:2]) in [path for path, _ in synced]


def test_what_is_put_is_given_by_its_hash_and_nothing_else_lies_there(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path)
    digest = folder.put(CONTENT)

    assert digest == hashlib.sha256(CONTENT).digest()
    assert folder.get(digest, what="model") == CONTENT
    assert folder.has(digest)
    assert not folder.has(bytes(32))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [digest.hex()]


def test_a_file_that_was_damaged_is_put_anew(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path)
    digest = folder.put(CONTENT)
    (tmp_path / digest.hex()[:2] / digest.hex()).write_bytes(b"damaged")
    folder.put(CONTENT)

    assert folder.get(digest, what="model") == CONTENT
