"""Pushed images: what is taken is in the folder whole, and what is refused is told why."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_node.edge import image_listener
from lotmark_node.edge.image_listener import ImageListener
from lotmark_node.edge.station_run import CONTEXT_SIZE_MAX

KEY = b"a key of a test, long enough"
SHOWN = {"Authorization": f"Bearer {KEY.decode()}"}


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ImageListener]:
    opened = ImageListener("127.0.0.1:0", tmp_path / "images", KEY)
    yield opened
    opened.stop()


def push(
    listener: ImageListener,
    path: str,
    content: bytes = b"P5 1 1 255\n\0",
    headers: dict[str, str] = SHOWN,
    method: str = "POST",
) -> tuple[int, str]:
    with closing(HTTPConnection(listener.address, timeout=10)) as connection:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_pushed_image_and_its_context_lie_in_the_folder_whole_once_taken(
    listener: ImageListener, tmp_path: Path
) -> None:
    taken = [
        push(listener, "/images/A1_weld_1.json", b'{"takt_ms": 1100}'),
        push(listener, "/images/A1_weld_1.pgm"),
        push(listener, "/images/A1_weld_1.pgm"),
    ]

    assert taken == [(202, "taken\n")] * 3
    files = {path.name: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert files == {"A1_weld_1.json": b'{"takt_ms": 1100}', "A1_weld_1.pgm": b"P5 1 1 255\n\0"}


def test_what_is_refused_is_told_by_name_and_leaves_nothing(
    listener: ImageListener, tmp_path: Path
) -> None:
    image = b"P5 1 1 255\n\0"
    huge = {**SHOWN, "Content-Length": str(IMAGE_SIZE_MAX + 1)}
    long = {**SHOWN, "Content-Length": "9" * 19}
    wrong, chunked = {"Authorization": "Bearer "}, {**SHOWN, "Transfer-Encoding": "chunked"}
    for status, said, answer in (
        (401, "give the key", push(listener, "/images/a.png", headers={})),
        (401, "give the key", push(listener, "/images/a.png", headers=wrong)),
        (404, "POST to /images/NAME", push(listener, "/other/a.png")),
        (404, "POST to /images/NAME", push(listener, "/images/../a.png")),
        (404, "POST to /images/NAME", push(listener, "/images/.png")),
        (415, "NAME ends with one of .png", push(listener, "/images/a.jpg")),
        (415, "NAME ends with one of .png", push(listener, "/images/a.JSON")),
        (411, "give one Content-Length", push(listener, "/images/a.png", headers=chunked)),
        (400, "no number of bytes", push(listener, "/images/a.png", headers=long)),
        (413, f"at most {IMAGE_SIZE_MAX} bytes", push(listener, "/images/a.png", headers=huge)),
        (413, f"at most {CONTEXT_SIZE_MAX} bytes", push(listener, "/images/a.json", bytes(5_000))),
        (501, "", push(listener, "/images/a.png", image, method="PUT")),
    ):  # fmt: skip
        assert (answer[0], said in answer[1]) == (status, True), (status, said, answer)
    assert not (tmp_path / "images").exists()


def test_another_image_of_a_name_that_waits_is_refused(
    listener: ImageListener, tmp_path: Path
) -> None:
    push(listener, "/images/a.pgm")

    status, said = push(listener, "/images/a.pgm", b"another")

    assert (status, "another a.pgm waits" in said) == (409, True)
    assert (tmp_path / "images" / "a.pgm").read_bytes() != b"another"


def test_beyond_as_many_as_may_wait_pushes_are_put_off(
    listener: ImageListener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_listener, "WAITING_MAX", 2)

    answers = [push(listener, f"/images/{at}.pgm")[0] for at in range(3)]
    (tmp_path / "images" / "0.pgm").unlink()  # it is judged
    answers.append(push(listener, "/images/2.pgm")[0])

    assert answers == [202, 202, 429, 202]


def test_contexts_without_images_are_bounded_and_hold_up_no_image(
    listener: ImageListener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_listener, "WAITING_MAX", 2)

    contexts = [push(listener, f"/images/{at}.json", b"{}")[0] for at in range(4)]
    images = [push(listener, f"/images/{at}.pgm")[0] for at in range(3)]

    assert contexts == [202, 202, 429, 429]
    assert images == [202, 202, 429]
    assert len(list((tmp_path / "images").iterdir())) == 4


@pytest.mark.parametrize("name", ["a.pgm", "a.json"])
def test_a_pipe_of_a_pushed_name_holds_up_no_push(
    listener: ImageListener, tmp_path: Path, name: str
) -> None:
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "images" / name)

    assert push(listener, f"/images/{name}", b"{}")[0] == 409
    assert push(listener, "/images/b.pgm")[0] == 202


def test_a_folder_that_cannot_be_written_puts_pushes_off(
    listener: ImageListener, tmp_path: Path
) -> None:
    (tmp_path / "images").write_bytes(b"no folder")

    status, said = push(listener, "/images/a.pgm")

    assert (status, "cannot be kept; push it again later" in said) == (503, True)


def test_an_image_that_is_cut_off_is_not_taken(listener: ImageListener, tmp_path: Path) -> None:
    host, port = listener.address.split(":")
    key = f"Authorization: {SHOWN['Authorization']}"
    head = f"POST /images/a.pgm HTTP/1.1\r\nContent-Length: 100\r\n{key}\r\n\r\n"
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(head.encode() + bytes(50))
        connection.shutdown(socket.SHUT_WR)

        assert connection.recv(1) == b""
    assert not (tmp_path / "images").exists()
