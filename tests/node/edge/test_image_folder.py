"""A camera's folder: whole files, once, in order, bounded; and nothing that it leaves is lost."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_node.edge import image_folder
from lotmark_node.edge.image_file import LargeImage, image_in_folder, read_image_file
from lotmark_node.edge.image_folder import CONTEXT_ALONE_S, ImageFolder


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
    monkeypatch.setattr(image_folder, "FOLDER_FILES_MAX", 3)
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


def test_a_folder_of_a_triggers_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "tool_change.trigger").mkdir()

    assert ImageFolder(tmp_path).triggers() == []


def refuse_removal(patch: pytest.MonkeyPatch) -> None:
    """Let no file be removed, as in a folder of another user; tests may be run by root."""

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.exists() or not missing_ok:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    patch.setattr(Path, "unlink", unlink)


def test_what_cannot_be_removed_is_given_out_once_told_once_and_removed_when_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, names = ImageFolder(tmp_path), ["a.png", "b.png", "c.png"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "tool_change.trigger").touch()
    (tmp_path / "tool_change.json").touch()  # of an image of that name, not of the trigger
    folder.poll()
    with pytest.MonkeyPatch.context() as patch:
        refuse_removal(patch)
        for path in folder.triggers():
            folder.remove(path)
        for path in folder.poll():
            folder.remove(path)
        for _ in range(5):
            assert (folder.poll(), folder.triggers()) == ([], [])
        assert folder.unremoved_count == 4
        (tmp_path / "b.png").write_bytes(b"another one")
        assert folder.poll() == []
        assert folder.poll() == [tmp_path / "b.png"]
        for _ in names:  # one that cannot be removed is tried at each poll
            folder.poll()
        assert folder.unremoved_count == 3
    assert caplog.messages.count("judged files cannot be removed") == 1
    folder.poll()

    assert folder.unremoved_count == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "tool_change.json"]


def test_a_file_too_large_that_cannot_be_set_aside_is_given_out_once(tmp_path: Path) -> None:
    folder, path = ImageFolder(tmp_path), tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(IMAGE_SIZE_MAX + 1)
    (tmp_path / "refused").touch()  # no folder
    folder.poll()
    (found,) = folder.poll()
    image = image_in_folder(found)
    assert isinstance(image, LargeImage)
    folder.remove(path, image)
    assert (folder.poll(), folder.unremoved_count) == ([], 1)
    (tmp_path / "refused").unlink()
    folder.poll()

    assert (path.exists(), folder.unremoved_count) == (False, 0)
    assert folder.refused_place(image).stat().st_size == IMAGE_SIZE_MAX + 1


def test_what_is_settled_is_not_given_out_again_before_it_is_removed(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    (tmp_path / "a.png").touch()
    folder.poll()
    (path,) = folder.poll()
    folder.settle(path)

    assert folder.poll() == []
    assert not path.exists()


def test_a_kind_of_files_that_is_not_judged_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.jpg", "b.JPG", "c.tif", "d.json", "e.trigger", "f.png", "g.new"):
        (tmp_path / name).touch()
    (tmp_path / "judged").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "f.png")
    (tmp_path / "other.png").symlink_to(tmp_path / "f.png")
    folder = ImageFolder(tmp_path)
    for _ in range(3):
        folder.poll()
    for number in range(100):
        (tmp_path / f"x.{number}").touch()
    folder.poll()
    folder.poll()

    told = [vars(each)["why"] for each in caplog.records]
    assert sorted(told[:3]) == ["it is no plain file", "its ending is .jpg", "its ending is .tif"]
    assert len(told) == len(set(told)) == image_folder.UNJUDGED_TOLD_MAX


def test_a_context_that_no_image_comes_to_is_removed_in_time(tmp_path: Path) -> None:
    now = [0.0]
    folder = ImageFolder(tmp_path, now_s=lambda: now[0])
    for name in ("a.json", "b.json", "b.png", "c.json"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "folder.json").mkdir()
    folder.poll()
    now[0] += CONTEXT_ALONE_S - 1
    (tmp_path / "c.png").touch()  # late, but it came
    folder.poll()
    assert len(list(tmp_path.glob("*.json"))) == 4
    now[0] += 1
    folder.poll()

    assert {path.name for path in tmp_path.glob("*.json")} == {"b.json", "c.json", "folder.json"}
    (tmp_path / "a.json").touch()
    now[0] += CONTEXT_ALONE_S - 1
    folder.poll()
    assert (tmp_path / "a.json").exists()


def test_an_images_context_goes_with_it(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    for name in ("a.png", "a.json", "b.json"):
        (tmp_path / name).touch()
    folder.poll()
    folder.poll()
    folder.remove(tmp_path / "a.png")

    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize("is_image_new", [True, False])
@pytest.mark.parametrize("had_context", [True, False])
def test_a_context_of_the_next_image_of_a_name_stays(
    tmp_path: Path, *, had_context: bool, is_image_new: bool
) -> None:
    folder, image, context = ImageFolder(tmp_path), tmp_path / "last.png", tmp_path / "last.json"
    image.write_bytes(b"one")
    if had_context:
        context.write_bytes(b"{}")
    folder.poll()
    (path,) = folder.poll()
    new = tmp_path / "new"  # while that one is judged
    new.write_bytes(b'{"takt_ms": 1180}')
    new.replace(context)
    if is_image_new:
        image.write_bytes(b"another")
    folder.remove(path)

    assert context.read_bytes() == b'{"takt_ms": 1180}'
    assert image.exists() is is_image_new


def test_a_context_of_the_image_before_goes_with_it_where_the_next_has_none(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)
    for name in ("last.png", "last.json"):
        (tmp_path / name).touch()
    folder.poll()
    (path,) = folder.poll()
    path.write_bytes(b"another")
    folder.remove(path)

    assert [each.name for each in tmp_path.iterdir()] == ["last.png"]


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
    folder.remove(path, image)
    assert path.read_bytes() == b"another"

    path.write_bytes(content)
    folder.poll()
    folder.remove(path, image)

    assert not path.exists()
    assert folder.refused_place(image) == tmp_path / "refused" / f"{image.digest.hex()}.png"
    assert folder.refused_place(image).read_bytes() == content
