"""Image sources: whole files, once, in order, bounded; and nothing that a name leads elsewhere."""

import hashlib
import os
from pathlib import Path

import pytest

from lotmark.canonical_json import JsonValue, dump
from lotmark_adapters.observation import SourceRecord
from lotmark_inference.errors import InputRefused
from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_node.edge import image_sources
from lotmark_node.edge.image_sources import (
    ImageFolder,
    LargeImage,
    image_in_folder,
    read_image_file,
    referenced_image,
)


def test_a_file_is_taken_once_it_has_stopped_growing(tmp_path: Path) -> None:
    folder, path = ImageFolder(tmp_path), tmp_path / "a.png"
    path.write_bytes(b"half")
    assert folder.poll() == []
    path.write_bytes(b"half and half")
    assert folder.poll() == []
    assert folder.poll() == [path]


def test_images_come_oldest_first_and_other_files_not_at_all(tmp_path: Path) -> None:
    for age, name in enumerate(["c.png", "a.PGM", "b.bmp", "notes.txt", "x.png.part"]):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, ns=(10**18 + age, 10**18 + age))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "notes.txt")
    folder = ImageFolder(tmp_path)
    folder.poll()

    assert [path.name for path in folder.poll()] == ["c.png", "a.PGM", "b.bmp"]


def test_what_was_judged_is_kept_under_its_digest_and_not_taken_again(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    kept = []
    for name, was_judged in (("good.PNG", True), ("bad.png", False)):
        (tmp_path / name).write_bytes(name.encode())
        folder.poll()
        (path,) = folder.poll()
        image = read_image_file(path)
        kept.append(folder.keep(image, was_judged=was_judged))
        folder.remove(path)
        assert kept[-1].read_bytes() == image.content == name.encode()

    digests = [hashlib.sha256(name).hexdigest() for name in (b"good.PNG", b"bad.png")]
    assert kept[0] == tmp_path / "judged" / f"{digests[0]}.png"
    assert kept[1] == tmp_path / "refused" / f"{digests[1]}.png"
    folder.poll()
    assert folder.poll() == []


def test_an_image_that_its_camera_has_replaced_meanwhile_is_not_lost(tmp_path: Path) -> None:
    folder, path = ImageFolder(tmp_path), tmp_path / "weld.png"
    path.write_bytes(b"one")
    folder.poll()
    folder.poll()
    image = read_image_file(path)
    path.write_bytes(b"another")
    kept = folder.keep(image, was_judged=True)
    folder.remove(path)

    assert kept.read_bytes() == b"one"
    assert folder.poll() == []
    assert folder.poll() == [path]
    assert path.read_bytes() == b"another"


def test_a_folder_of_too_many_files_is_looked_at_in_part_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_sources, "FOLDER_FILES_MAX", 3)
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"x")
    folder = ImageFolder(tmp_path)
    folder.poll()

    assert len(folder.poll()) == 3
    assert "too many images wait" in caplog.messages


def test_triggers_are_files_by_name_oldest_first(tmp_path: Path) -> None:
    for age, name in enumerate(["tool_change.trigger", "lot_change.trigger", "a.png"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(10**18 - age, 10**18 - age))

    found = ImageFolder(tmp_path).triggers()

    assert [path.stem for path in found] == ["lot_change", "tool_change"]


def test_links_pipes_and_huge_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(IMAGE_SIZE_MAX + 1)

    with pytest.raises(OSError, match="symbolic links"):
        read_image_file(tmp_path / "link.png")
    with pytest.raises(InputRefused, match="no plain file"):
        read_image_file(tmp_path / "pipe.png")
    with pytest.raises(InputRefused, match=f"{IMAGE_SIZE_MAX + 1} bytes; at most"):
        read_image_file(tmp_path / "huge.png")


def test_a_file_that_is_too_large_is_hashed_and_set_aside_unless_replaced(tmp_path: Path) -> None:
    folder, path = ImageFolder(tmp_path), tmp_path / "huge.PNG"
    content = bytes(IMAGE_SIZE_MAX + 1)
    path.write_bytes(content)
    folder.poll()
    folder.poll()
    image = image_in_folder(path)
    assert isinstance(image, LargeImage)
    assert (image.size, image.digest) == (len(content), hashlib.sha256(content).digest())
    path.write_bytes(b"another")
    folder.set_aside(path, image)
    assert path.read_bytes() == b"another"

    path.write_bytes(content)
    folder.poll()
    folder.set_aside(path, image)

    assert not path.exists()
    assert folder.refused_place(image) == tmp_path / "refused" / f"{image.digest.hex()}.png"
    assert folder.refused_place(image).read_bytes() == content


def record(content: JsonValue) -> SourceRecord:
    return SourceRecord(
        kind="vision_result",
        record="r-1",
        signal="results",
        made_us=0,
        media_type="application/json",
        content=dump(content),
    )


@pytest.mark.parametrize(
    "named",
    ["weld_137.png", "D:\\images\\weld_137.png", "/srv/out/weld_137.png", "../weld_137.png"],
)
def test_a_result_names_a_file_of_the_folder_whatever_its_path(named: str, tmp_path: Path) -> None:
    told = record({"ResultContent": [{"ImageFile": named}]})

    assert (
        referenced_image(told, "ResultContent/0/ImageFile", tmp_path) == tmp_path / "weld_137.png"
    )


@pytest.mark.parametrize("named", ["", "..", "a/..", "/", "x\0.png", 7, None, ["weld.png"]])
def test_a_result_that_names_no_file_is_refused(named: JsonValue, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="vision_result r-1 names"):
        referenced_image(record({"ImageFile": named}), "ImageFile", tmp_path)
    with pytest.raises(InputRefused, match="names no file in Other/3"):
        referenced_image(record({"ImageFile": named}), "Other/3", tmp_path)
