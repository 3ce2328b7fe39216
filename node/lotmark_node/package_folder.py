"""Rule packages as folders: read into bytes by path, and begun from what is shipped."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.package import FILES_MAX, MANIFEST, SIZE_MAX

_NAME = re.compile(rb'"name":\s*"[a-z0-9-]*"')


def read_package_folder(folder: Path) -> dict[str, bytes]:
    """Return what is in each file of a package's folder, by path; hidden files are left out.

    Raises:
        PackageRefused: There is too much in it to be a package, or a link or other special file.
        OSError: The folder or a file in it cannot be read.
    """
    files: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.is_symlink():
            raise PackageRefused([Problem(relative.as_posix(), None, "a link is not followed", "")])
        if path.is_dir():
            continue
        if not path.is_file():
            raise PackageRefused([Problem(relative.as_posix(), None, "no plain file", "")])
        size += path.stat().st_size
        if size > SIZE_MAX or len(files) == FILES_MAX:
            reason = f"the folder has more than {FILES_MAX} files or {SIZE_MAX:,} bytes"
            raise PackageRefused([Problem(relative.as_posix(), None, reason, "")])
        files[relative.as_posix()] = path.read_bytes()
    return files


def shipped_names() -> list[str]:
    """Return the names of the packages that are shipped."""
    return sorted(each.name for each in _shipped().iterdir() if each.joinpath(MANIFEST).is_file())


def shipped_files(name: str) -> dict[str, bytes]:
    """Return the files of a shipped package, by path."""
    return _files(_shipped() / name)


def beginning(name: str, like: str | None) -> dict[str, bytes]:
    """Return the files of a new package, by path.

    Args:
        name: What it shall be called.
        like: A shipped package that it begins as; None: the smallest one that works.
    """
    files = _files(_contracts() / "template") if like is None else shipped_files(like)
    files[MANIFEST] = _NAME.sub(f'"name": "{name}"'.encode(), files[MANIFEST], count=1)
    return files


def _contracts() -> Traversable:
    return resources.files("lotmark_contracts")


def _shipped() -> Traversable:
    return _contracts() / "shipped"


def _files(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for each in folder.iterdir():
        if each.is_dir():
            files |= _files(each, f"{prefix}{each.name}/")
        else:
            files[prefix + each.name] = each.read_bytes()
    return files
