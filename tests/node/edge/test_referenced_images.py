"""Images that results name: in the station's folder before the result is kept, or a gap."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from lotmark.canonical_json import dump
from lotmark.client.settings import SettingsError
from lotmark.event import check_event
from lotmark_adapters.observation import Position, Report, SourceRecord
from lotmark_node.edge import referenced_images
from lotmark_node.edge.referenced_images import ReferencedImages
from lotmark_node.edge.settings_file import read_site_settings
from lotmark_node.edge.station_settings import ImageReference, StationSettings
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

    async def take(self, report: Report) -> None:
        found = self.folder.iterdir() if self.folder.exists() else ()
        self.seen.append(sorted(path.name for path in found))

    async def put(self, events: Sequence[bytes]) -> None:
        self.events += events


def take(folder: Path, name: str, source: str = "V1") -> Taken:
    taken = Taken(folder / "images")
    images = ReferencedImages(source, taken, [station(folder)], taken.put)
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


@pytest.mark.parametrize("name", ["gone.pgm", "link.pgm", "", "../secret.pgm"])
def test_an_image_that_is_not_there_is_a_gap_and_the_result_is_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referenced_images, "WAIT_S", 0.3)
    (tmp_path / "vision").mkdir()
    (tmp_path / "secret.pgm").write_bytes(b"x")
    (tmp_path / "vision" / "link.pgm").symlink_to(tmp_path / "secret.pgm")

    taken = take(tmp_path, name)

    (event,) = taken.events
    gap = check_event(event).message.gap
    assert (gap.source, gap.reason, gap.missing_count) == ("aoi-cam07", "image_missing", 1)
    assert taken.seen == [[]]


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
