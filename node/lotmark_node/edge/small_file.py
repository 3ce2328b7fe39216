"""Files of a few bytes that a station keeps, and others may have spoilt."""

from pathlib import Path


def read_small_file(path: Path, *, size_max: int) -> bytes | None:
    """Return a file's content, of one that is too large one byte more than may be; None: no file.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size_max + 1)
    except FileNotFoundError:
        return None
