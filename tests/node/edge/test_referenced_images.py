"""Images that results name: in the station's folder before the result is kept, or a gap."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from lotmark.canonical_json import JsonValue, dump
from lotmark.client.settings import SettingsError
from lotmark.event import check_event
from lotmark_adapters.observation import Position, Report, SourceRecord
from lotmark_inference.errors import InputRefused
from lotmark_node.edge import referenced_images
from lotmark_node.edge.image_listener import ImageInbox
from lotmark_node.edge.referenced_images import ReferencedImages, referenced_image
from lotmark_node.edge.settings_file import read_site_settings
from lotmark_node.edge.station_settings import ImageReference, StationSettings
from tests.node.edge.site_process import until
from tests.node.edge.site_toml import SITE_TOML
from tests.node.edge.test_station_settings import TEXT


def station(folder: Path) -> StationSettings:
    return StationSettings(
        station="aoi-cam07",
        client=folder / "client.toml",
        images=folder / "images",
        registry=folder,
        policy=folder,
        light="weld-light",
        heavy="",
        file_name=re.compile("(?P<unit>.*)_(?P<feature>.*)"),
        unit_prefix="",
        clock_uncertainty_us=1_000,
        webhooks=None,
        renew_s=60,
        folder=folder,
        images_from=ImageReference(source="V1", field="Image", folder=folder / "vision"),
    )


def told(name: str) -> Report:
    record = SourceRecord(
        kind="vision_result",
        record="r-1",
        signal="results",
        made_us=0,
        media_type="application/json",
        content=dump({"Image": name}),
    )
    return Report(
        position=Position(instance="1", next_sequence=1, last_made_us=0),
        observations=[],
        gaps=[],
        records=[record],
    )


class Taken:
    """Keeps reports, and what lay in the folder when each came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[list[str]] = []
        self.events: list[bytes] = []
        self.originals: list[bytes] = []

    async def take(self, report: Report) -> None:
        found = self.folder.iterdir() if self.folder.exists() else ()
        self.seen.append(sorted(path.name for path in found))

    async def put(self, events: Sequence[bytes]) -> None:
        self.events += events

    async def put_original(self, station: str, content: bytes, events: Sequence[bytes]) -> Path:
        assert station == "aoi-cam07"
        self.originals.append(content)
        await self.put(events)
        return self.folder


def bringing(folder: Path, taken: Taken, source: str = "V1") -> ReferencedImages:
    return ReferencedImages(source, taken, [station(folder)], taken.put, taken.put_original)


def take(folder: Path, name: str, source: str = "V1") -> Taken:
    taken = Taken(folder / "images")
    images = bringing(folder, taken, source)
    asyncio.run(images.take(told(name)))
    return taken


def test_a_results_image_is_in_the_stations_folder_before_the_result_is_kept(
    tmp_path: Path,
) -> None:
    (tmp_path / "vision").mkdir()
    (tmp_path / "vision" / "A1_weld_1.pgm").write_bytes(b"P5 1 1 255\n\0")

    other = take(tmp_path, "D:\\out\\A1_weld_1.pgm", source="V2")
    taken = take(tmp_path, "D:\\out\\A1_weld_1.pgm")

    assert (other.seen, other.events) == ([[]], [])
    assert (taken.seen, taken.events) == ([["A1_weld_1.pgm"]], [])
    assert (tmp_path / "images" / "A1_weld_1.pgm").read_bytes() == b"P5 1 1 255\n\0"


NO_IMAGES = ["a.jpg", "b.tif", "noext", "C.json", "tool_change.trigger", "a.pgm.new", ".pgm/"]


@pytest.mark.parametrize(
    "name", ["gone.pgm", "link.pgm", "", "../secret.pgm", "x" * 300 + ".pgm", *NO_IMAGES]
)
def test_an_image_that_is_not_there_is_a_gap_and_the_result_is_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referenced_images, "WAIT_S", 0.3)
    (tmp_path / "vision").mkdir()
    (tmp_path / "secret.pgm").write_bytes(b"x")
    (tmp_path / "vision" / "link.pgm").symlink_to(tmp_path / "secret.pgm")
    for other in NO_IMAGES[:-1]:
        (tmp_path / "vision" / other).write_bytes(b"x")

    taken = take(tmp_path, name)

    (event,) = taken.events
    gap = check_event(event).message.gap
    assert (gap.source, gap.reason, gap.missing_count) == ("aoi-cam07", "image_missing", 1)
    assert taken.seen == [[]]


def test_the_gap_of_an_image_that_is_not_there_names_the_unit_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referenced_images, "WAIT_S", 0.3)

    (event,) = take(tmp_path, "ST26_weld.pgm").events

    message = check_event(event).message
    assert [each.id for each in message.items] == ["ST26"]
    assert list(message.files) == []


def test_a_name_that_is_used_again_waits_until_the_image_before_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, images = tmp_path / "vision", tmp_path / "images"
    vision.mkdir()
    taken = Taken(images)
    refusals: list[str] = []
    put = ImageInbox.put

    def noted(inbox: ImageInbox, name: str, content: bytes) -> None:
        try:
            put(inbox, name, content)
        except FileExistsError:
            refusals.append(name)
            raise

    monkeypatch.setattr(ImageInbox, "put", noted)
    monkeypatch.setattr(referenced_images, "WAIT_S", 60)

    async def scenario() -> None:
        bring = bringing(tmp_path, taken)
        (vision / "last.png").write_bytes(b"one")
        await bring.take(told("last.png"))
        (vision / "last.png").write_bytes(b"another")
        second = asyncio.create_task(bring.take(told("last.png")))
        await until(lambda: bool(refusals))
        assert not second.done()
        assert (images / "last.png").read_bytes() == b"one"
        (images / "last.png").unlink()  # it is judged
        await second

    asyncio.run(scenario())

    assert (images / "last.png").read_bytes() == b"another"
    assert (taken.seen, taken.events) == ([["last.png"]] * 2, [])


def test_an_image_that_finds_no_place_is_kept_and_its_gap_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referenced_images, "WAIT_S", 0.5)
    (tmp_path / "vision").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "vision" / "ST26_weld.png").write_bytes(b"another")
    (tmp_path / "images" / "ST26_weld.png").write_bytes(b"one")

    taken = take(tmp_path, "ST26_weld.png")

    (event,) = taken.events
    message = check_event(event).message
    assert message.gap.reason == "image_not_taken"
    assert message.files[0].sha256 == hashlib.sha256(b"another").digest()
    assert message.files[0].size == len(b"another")
    assert [each.id for each in message.items] == ["ST26"]
    assert taken.originals == [b"another"]
    assert (tmp_path / "images" / "ST26_weld.png").read_bytes() == b"one"


def test_a_source_without_results_gives_a_station_no_images(tmp_path: Path) -> None:
    wanted = 'images_from = { source = "W07", field = "Image", folder = "vision" }\n'
    (tmp_path / "aoi.toml").write_text(TEXT + wanted)
    path = tmp_path / "site.toml"
    path.write_text(f'stations = ["aoi.toml"]\n{SITE_TOML}')

    with pytest.raises(SettingsError, match=r"whose images are from 'W07'; .* results = true"):
        read_site_settings(path)
    path.write_text(path.read_text().replace("publishing_ms = 50", "results = true"))
    (found,) = read_site_settings(path).stations

    assert found.images_from is not None
    assert found.images_from.folder == tmp_path / "vision"


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
