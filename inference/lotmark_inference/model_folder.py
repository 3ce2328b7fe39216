"""Model files by their hash: `ab/abcdef…`, each written once, and checked whenever it is read.

A manifest lies at the digest that the ledger names, which is of its file without the signature.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from lotmark_inference.errors import ModelRefused
from lotmark_inference.manifest_file import ReadManifest, read_manifest

FILE_SIZE_MAX: Final = 512 * 2**20  # an engine built for a GPU is larger than the model


class ModelFolder:
    """ONNX files, manifests and engine artefacts under one folder."""

    def __init__(self, path: Path) -> None:
        """Use a folder, which is made with the first file."""
        self.path = path

    def put(self, content: bytes) -> bytes:
        """Keep a file, on disk when this returns, and return its SHA-256.

        Raises:
            ModelRefused: It is larger than 512 MiB.
            OSError: It cannot be written.
        """
        if len(content) > FILE_SIZE_MAX:
            raise ModelRefused(f"a file of {len(content)} bytes; at most {FILE_SIZE_MAX} are kept")
        digest = hashlib.sha256(content).digest()
        self._write(self._place(digest), content)
        return digest

    def put_manifest(self, raw: bytes) -> bytes:
        """Keep a manifest's file as it is, on disk when this returns, and return its digest.

        Raises:
            ModelRefused: It is no manifest, or its signature does not hold.
            OSError: It cannot be written.
        """
        digest = read_manifest(raw).digest
        self._write(self._place(digest), raw)
        return digest

    def _write(self, place: Path, content: bytes) -> None:
        # Nearly what `replace_file` of lotmark_consensus does: these two packages do not know each
        # other, and an fsync is too little for a package of its own beneath both.
        made = [path for path in (place.parent, *place.parent.parents) if not path.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists() or place.read_bytes() != content:
            new = place.with_suffix(f".{os.getpid()}.new")
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(place)
        # Also where it was there: whoever put it may have died before its name was on disk.
        for folder in (place.parent, self.path, *(path.parent for path in made)):
            _sync_folder(folder)

    def has(self, digest: bytes) -> bool:
        """Whether there is a file of this name; what is in it, `get` checks."""
        return self._place(digest).is_file()

    def get(self, digest: bytes, *, what: str) -> bytes:
        """Return the file of a hash; the bytes that are returned are those that were hashed.

        Args:
            digest: SHA-256.
            what: What it is, for messages.

        Raises:
            ModelRefused: There is none, or it was changed.
        """
        place = self._place(digest)
        content = self._read(place, what)
        self._check(place, hashlib.sha256(content).digest(), digest, what)
        return content

    def manifest(self, digest: bytes, *, what: str) -> ReadManifest:
        """Return the manifest of a digest; a signature that its file carries holds.

        Args:
            digest: As the ledger names it.
            what: What it is, for messages.

        Raises:
            ModelRefused: There is none, or it was changed.
        """
        place = self._place(digest)
        raw = self._read(place, what)
        try:
            found = read_manifest(raw)
        except ModelRefused as error:
            raise ModelRefused(
                f"{what}: {place}: {error}; copy it there again from where it was registered"
            ) from error
        self._check(place, found.digest, digest, what)
        return found

    def _read(self, place: Path, what: str) -> bytes:
        try:
            with place.open("rb") as file:
                return file.read(FILE_SIZE_MAX + 1)
        except FileNotFoundError as error:
            raise ModelRefused(
                f"{what}: there is no file {place}; copy it there from where it was registered"
            ) from error

    def _check(self, place: Path, found: bytes, digest: bytes, what: str) -> None:
        if found != digest:
            raise ModelRefused(
                f"{what}: {place} has SHA-256 {found.hex()}, not {digest.hex()}: it was changed;"
                " copy it there again from where it was registered"
            )

    def _place(self, digest: bytes) -> Path:
        name = digest.hex()
        return self.path / name[:2] / name


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, without which a new file may be lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
