"""A station within a site's process: beside the sources, alarmed at once, kept in the store."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.v1 import event_pb2
from lotmark_adapters.trial.agent import Agent
from lotmark_inference.image_reading import IMAGE_SIZE_MAX
from lotmark_inference.weld_surface import SIZE
from lotmark_node.edge.station_run import StationImage, StationRun
from lotmark_node.edge.station_settings import read_station_settings
from lotmark_node.edge.station_watch import StationWatch
from tests.adapters.opcua.vision_server import NODESET, VisionServer, address, opcua_server
from tests.inference.test_image_reading import chunk
from tests.node.edge.site_process import SiteProcess, agent_source, until
from tests.node.edge.test_edge_process import STATION_METRICS
from tests.node.running_node import lotmark, node_process
from tests.node.test_commands_inference import (
    CLIENTS,
    PARTIES,
    STATION,
    Site,
    station_settings,
)
from tests.shared_vectors import require_shared


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A ledger by which the station may run."""
    folder = tmp_path_factory.mktemp("stations")
    with node_process(folder / "consortium", parties=PARTIES, clients=CLIENTS) as node:
        ledger = Site(node, folder)
        ledger.register()
        ledger.approve_catalogue()
        ledger.promote()
        yield ledger


def edge_site(
    ledger: Site,
    folder: Path,
    sources: str = "",
    *,
    more: str = "",
    head: str = "",
    options: Sequence[str] = (),
) -> SiteProcess:
    """Return a site with one station, or more, which has not started."""
    folder.mkdir(exist_ok=True)
    settings = station_settings(ledger, folder)
    settings.write_text(f'{settings.read_text()}renew_s = 1\nimages_listen = "127.0.0.1:0"\n')
    stations = f'stations = ["{settings.name}"{more}]\n'
    client = ledger.node.client("T1-STATOR", "mes")
    return SiteProcess(
        folder, client, sources, name="line-3", head=stations + head, options=options
    )


@asynccontextmanager
async def running(site: SiteProcess) -> AsyncIterator[None]:
    """Run a site; end it as an operator does, unless it was killed."""
    await site.start()
    try:
        yield
        if site.runs:
            assert await site.end() == 0
    finally:
        if site.runs:
            site.kill()


def photograph(folder: Path, name: str, *, is_bright: bool) -> bytes:
    """Let the camera write an image, and return it: a bright one is sound to the tiny model."""
    pixels = np.random.default_rng(len(name)).integers(0, 40, (SIZE, SIZE), dtype=np.uint8)
    unfinished = folder / "unfinished"
    Image.fromarray(pixels + (200 if is_bright else 0)).save(unfinished, "PNG")
    return unfinished.replace(folder / "images" / f"{name}.png").read_bytes()


def on_ledger(ledger: Site) -> list[event_pb2.Event]:
    client = read_client_settings(ledger.node.client("T1-STATOR", "mes"))
    with LedgerSession(client) as session:
        return [event_pb2.Event.FromString(each.event) for each in session.entries() if each.event]


def station_gaps(ledger: Site) -> set[str]:
    """Return why the station has missed images."""
    gaps = [each.gap for each in on_ledger(ledger) if each.HasField("gap")]
    return {each.reason for each in gaps if each.source == STATION}


def results(ledger: Site, unit: str) -> list[event_pb2.Event]:
    """Return the results about a unit that are on the ledger."""
    return [
        each
        for each in on_ledger(ledger)
        if each.HasField("inference_result") and each.items and each.items[0].id.endswith(unit)
    ]


def judged(site: SiteProcess) -> int:
    """Return how many images lie in the site's store."""
    return len(list((site.data / "evidence").glob("??/*")))


def part_alarms(site: SiteProcess) -> list[dict[str, Any]]:
    file = site.data / "alarms.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [each for each in map(json.loads, lines) if "station" in each]


def asked(site: SiteProcess, path: str) -> tuple[int, str]:
    with closing(HTTPConnection(str(site.ready["metrics"]), timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def pushed(site: SiteProcess, name: str, content: bytes) -> int:
    """Push an image to the site's first station, and return the answer's status."""
    stations: Any = site.ready["stations"]
    with closing(HTTPConnection(stations[0]["listen"], timeout=10)) as connection:
        connection.request("POST", f"/images/{name}", content)
        return connection.getresponse().status


def test_a_station_judges_beside_sources_and_a_refused_one_stops_neither(
    ledger: Site, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"

    async def scenario() -> tuple[tuple[int, str], str, SiteProcess]:
        async with Agent() as agent:
            site = edge_site(
                ledger,
                tmp_path,
                agent_source(agent.address),
                more=', "other.toml"',
                head='metrics_listen = "127.0.0.1:0"\n',
            )
            text = (tmp_path / "station.toml").read_text()
            other.write_text(
                text.replace(STATION, "aoi-cam08").replace('images = "images"', 'images = "more"')
            )
            async with running(site):
                bright = photograph(tmp_path, "A1_weld_1", is_bright=True)
                assert await asyncio.to_thread(pushed, site, "A4_weld_1.png", bright) == 202
                photograph(tmp_path, "A2_weld_1", is_bright=False)
                (tmp_path / "images" / "A3_weld_1.png").write_bytes(b"no image")
                with (tmp_path / "images" / "A5_weld_1.png").open("wb") as huge:
                    huge.truncate(IMAGE_SIZE_MAX + 1)
                agent.burst(50)
                await until(lambda: not list((tmp_path / "images").glob("*.png")))
                await until(lambda: site.next_sequence("mill") == agent.next_sequence)
                await until(lambda: bool(results(ledger, "A2")))
                ready = await asyncio.to_thread(asked, site, "/readyz")
                _, metrics = await asyncio.to_thread(asked, site, "/metrics")
            return ready, metrics, site

    (status, why), metrics, site = asyncio.run(scenario())

    assert status == 503
    assert "station aoi-cam08 does not judge: no version of weld-light is in use" in why
    assert f'lotmark_edge_inferences_total{{station="{STATION}"}} 3.0' in metrics
    assert f'lotmark_edge_refused_images_total{{station="{STATION}"}} 2.0' in metrics
    assert f'lotmark_edge_part_alarms_total{{station="{STATION}"}} 1.0' in metrics
    assert f'lotmark_edge_station_judges{{station="{STATION}"}} 1.0' in metrics
    (alarm,) = part_alarms(site)
    assert (alarm["image"], alarm["reason"]) == ("A2_weld_1.png", "nonconforming")
    (result,) = results(ledger, "A2")
    explained = lotmark("edge", "explain", str(site.settings), alarm["event_id"], "--json")
    (found,) = json.loads(explained.stdout)["explanations"]
    assert (found["what"], found["file_state"]) == ("inference", "matches")
    assert found["file"] == alarm["sha256"] == result.files[0].sha256.hex()
    assert not (tmp_path / "images" / "judged").exists()
    (aside,) = (tmp_path / "images" / "refused").iterdir()
    assert aside.stat().st_size == IMAGE_SIZE_MAX + 1
    again = ledger.document(
        "rerun", alarm["event_id"], "--image", found["path"], "--model", ledger.model
    )
    assert again["finding"] == "EXACT"
    stated = json.loads(lotmark("edge", "status", str(site.settings), "--json").stdout)
    assert [each.get("models") for each in stated["stations"]] == [["weld-light/1"], None]
    checked = lotmark("doctor", "--site", str(site.settings))
    assert re.search(rf"{STATION} may run by what a node said \d+ s ago", checked.stdout)
    assert "aoi-cam08 has no licence yet" in checked.stdout


HUGE = "G1_weld_1.png"


def test_odd_files_end_no_station_and_repeat_nothing(ledger: Site, tmp_path: Path) -> None:
    images = tmp_path / "images"
    gbk = os.fsdecode("焊点_weld_1".encode("gbk"))

    async def scenario() -> tuple[tuple[int, str], str, SiteProcess]:
        site = edge_site(ledger, tmp_path, head='metrics_listen = "127.0.0.1:0"\n')
        async with running(site):
            (images / "refused").touch()  # no folder: what is too large cannot be put there
            (images / "tool_change.trigger").mkdir()
            os.mkfifo(images / "G2_weld_1.json")
            (images / "G1_weld_1.jpg").touch()
            with (images / HUGE).open("wb") as huge:
                huge.truncate(IMAGE_SIZE_MAX + 1)
            photograph(tmp_path, gbk, is_bright=False)
            image = photograph(tmp_path, "G0_weld_1", is_bright=True)
            end = chunk(b"IEND", b"")
            damaged = image.removesuffix(end) + chunk(b"gAMA", b"\0") + end
            assert await asyncio.to_thread(pushed, site, "G3_weld_1.png", damaged) == 202
            for name in ("G2_weld_1", "G4_weld_1", "G5_weld_1", "G6_weld_1"):
                photograph(tmp_path, name, is_bright=False)
                await until(lambda: [path.name for path in images.glob("*.png")] == [HUGE])
            await until(lambda: bool(results(ledger, "G6")))
            ready = await asyncio.to_thread(asked, site, "/readyz")
            _, metrics = await asyncio.to_thread(asked, site, "/metrics")
        return ready, metrics, site

    ready, metrics, site = asyncio.run(scenario())

    assert ready[0] == 200, ready
    for metric, value in (
        ("inferences_total", 6),  # five units, and one whose name tells none
        ("refused_images_total", 2),
        ("unnamed_images_total", 1),
        ("unread_images", 0),
        ("unremoved_images", 1),
    ):
        assert f'lotmark_edge_{metric}{{station="{STATION}"}} {value:.1f}\n' in metrics, metric
    assert set(re.findall(r"^\w+", metrics, re.MULTILINE)) >= STATION_METRICS
    alarmed = {each["image"] for each in part_alarms(site)}
    shown = r"\udcba\udcb8\udcb5\udce3_weld_1.png"
    assert alarmed == {shown, *(f"G{unit}_weld_1.png" for unit in (2, 4, 5, 6))}
    for unit in ("G0", "G2", "G4", "G5", "G6"):
        assert len(results(ledger, unit)) == 1
    gaps = [each for each in on_ledger(ledger) if each.HasField("gap") and each.items]
    units = sorted(each.items[0].id[-2:] for each in gaps if each.items[0].id[-2] == "G")
    assert units == ["G1", "G3"]
    assert len(site.told("judged files cannot be removed")) == 1
    unjudged = map(json.loads, site.told("such files are not judged"))
    assert {each["file"] for each in unjudged} == {"refused", "G1_weld_1.jpg"}
    assert site.told("station failed") == []


def test_without_a_node_it_starts_by_its_last_licence_and_a_roll_back_takes_effect_at_once(
    ledger: Site, tmp_path: Path
) -> None:
    site = edge_site(ledger, tmp_path)
    images, licence = tmp_path / "images", site.data / "stations" / f"{STATION}.licence.json"

    async def judge(name: str) -> None:
        photograph(tmp_path, name, is_bright=False)
        await until(lambda: not list(images.glob("*.png")))

    async def scenario() -> None:
        async with running(site):
            await judge("C1_weld_1")
        ledger.node.stop()
        async with running(site):
            await judge("C2_weld_1")
        assert site.told("station starts by its last licence, as no node answers")
        (onnx,) = [
            path for path in ledger.registry.glob("??/*") if path.read_bytes() == ledger.onnx
        ]
        onnx.write_bytes(ledger.onnx + b"x")
        async with running(site):
            await until(lambda: any("it was changed" in line for line in not_judging(site)))
        onnx.write_bytes(ledger.onnx)
        ledger.node.start()
        async with running(site):
            await judge("C3_weld_1")
            await decide("rollback", "--reason", "scratches taken for grooves")
            await until(lambda: any("no version of weld-light" in it for it in not_judging(site)))
            assert not licence.exists()
            photograph(tmp_path, "C4_weld_1", is_bright=False)
            await decide("promote")
            await until(lambda: not list(images.glob("*.png")))

    async def decide(what: str, *arguments: str) -> None:
        done = await asyncio.to_thread(ledger.decide, what, *arguments)
        assert done.exit_code == 0, done.output

    asyncio.run(scenario())

    assert [each["image"][:2] for each in part_alarms(site)] == ["C1", "C2", "C3", "C4"]
    for unit in ("C1", "C2", "C3", "C4"):
        assert len(results(ledger, unit)) == 1


def not_judging(site: SiteProcess) -> list[str]:
    return site.told("station does not judge")


class SlowKeeper:
    """Keeps nothing before it is let; notes what it was asked to keep."""

    def __init__(self, order: list[str]) -> None:
        self.order = order
        self.has_room = asyncio.Event()

    async def put(self, events: Sequence[bytes]) -> None:
        pass

    async def keep(self, run: StationRun, image: StationImage) -> Path:
        self.order.append("keep")
        await self.has_room.wait()
        self.order.append("kept")
        return image.path


def test_an_alarm_waits_for_no_disk(ledger: Site, tmp_path: Path) -> None:
    settings = read_station_settings(station_settings(ledger, tmp_path))
    client = read_client_settings(ledger.node.client("T1-STATOR", "mes"))
    order: list[str] = []
    keeper = SlowKeeper(order)
    watch = StationWatch(
        settings,
        client,
        tmp_path,
        keeper,
        alarm=lambda _image: order.append("alarm"),
        tell=lambda _image, _kept: order.append("told"),
    )
    photograph(tmp_path, "E1_weld_1", is_bright=False)

    async def scenario() -> None:
        judging = asyncio.create_task(watch.run_once(asyncio.Event(), only_present=True))
        await until(lambda: "keep" in order)
        assert order == ["alarm", "keep"]
        keeper.has_room.set()
        await judging

    asyncio.run(scenario())

    assert order == ["alarm", "keep", "kept", "told"]


CAMERA = """
[[source]]
name = "V1"
protocol = "opcua"
address = "{address}"
options = {{ insecure = true, publishing_ms = 20, results = true }}
"""


def test_the_image_that_a_vision_system_names_is_judged(ledger: Site, tmp_path: Path) -> None:
    nodeset = require_shared(NODESET)

    async def scenario() -> SiteProcess:
        async with opcua_server() as server:
            camera = await VisionServer.begun(server, nodeset)
            source = CAMERA.format(address=address(server))
            site = edge_site(ledger, tmp_path, source, options=["--insecure-dev"])
            settings = tmp_path / "station.toml"
            reference = 'source = "V1", field = "ResultContent/0", folder = "vision"'
            settings.write_text(f"{settings.read_text()}images_from = {{ {reference} }}\n")
            vision = tmp_path / "vision"
            vision.mkdir()
            photograph(tmp_path, "F1_weld_1", is_bright=False)
            (tmp_path / "images" / "F1_weld_1.png").replace(vision / "F1_weld_1.png")
            async with running(site):
                await until(camera.is_watched)
                await camera.tell("R-1", content=r"D:\vision\F1_weld_1.png")
                await until(lambda: bool(results(ledger, "F1")))
                await camera.tell("R-2", content="F2_weld_1.png")  # which it never wrote
                await until(lambda: "image_missing" in station_gaps(ledger))
            return site

    site = asyncio.run(scenario())

    (alarm,) = part_alarms(site)
    (result,) = results(ledger, "F1")
    assert alarm["sha256"] == result.files[0].sha256.hex()


def test_first_articles_that_are_left_outlive_a_kill(ledger: Site, tmp_path: Path) -> None:
    site = edge_site(ledger, tmp_path)
    images = tmp_path / "images"

    async def judge(name: str) -> None:
        photograph(tmp_path, name, is_bright=True)
        await until(lambda: not list(images.glob("*.png")))

    async def scenario() -> None:
        async with running(site):
            (images / "tool_change.trigger").touch()  # two units are looked at as first articles
            await judge("D1_weld_1")
            site.kill()
        async with running(site):
            await judge("D1_weld_2")  # still the first
            await judge("D2_weld_1")
            site.kill()
        async with running(site):
            await judge("D3_weld_1")
            await until(lambda: bool(results(ledger, "D3")))

    asyncio.run(scenario())

    modes = [{each.inference_result.mode for each in results(ledger, f"D{n}")} for n in (1, 2, 3)]
    assert modes == [{"FIRST_ARTICLE"}, {"FIRST_ARTICLE"}, {"NORMAL"}]
