"""Image files: nothing that a name leads elsewhere is read, and nothing without a bound."""

import os
from pathlib import Path

import pytest

from lotmark_inference.errors import InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_node.edge.image_file import read_image_file


def test_links_pipes_and_huge_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(IMAGE_SIZE_MAX + 1)

    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputRefused, match="is no plain file"):
        read_image_file(tmp_path / "folder.png")
    with pytest.raises(OSError, match="symbolic links"):
        read_image_file(tmp_path / "link.png")
    with pytest.raises(InputRefused, match="no plain file"):
        read_image_file(tmp_path / "pipe.png")
    with pytest.raises(InputRefused, match=f"{IMAGE_SIZE_MAX + 1} bytes; at most"):
        read_image_file(tmp_path / "huge.png")
