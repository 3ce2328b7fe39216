"""What a station in a site needs from an image to its alarm and to the outbox, no node in reach."""

import asyncio
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from lotmark.client import Client
from lotmark.client.settings import ClientSettings
from lotmark_inference.engines_here import engines_here
from lotmark_inference.label_catalogue import read_catalogue
from lotmark_inference.manifest_file import dump_manifest
from lotmark_inference.model_files import ModelFiles
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_registry import LicensedModel
from lotmark_inference.policy import InspectionPolicy, read_policy
from lotmark_inference.registered_models import Registration
from lotmark_inference.weld_images import FRESH_SEEDS, weld_image
from lotmark_inference.weld_surface import SIZE, WeldKind
from lotmark_node.bench import machine
from lotmark_node.bench.running import WIDE
from lotmark_node.consortium.plan import make_plan
from lotmark_node.edge.edge_site import EdgeSite, machine_time_us, open_site
from lotmark_node.edge.licence_file import LicenceFile
from lotmark_node.edge.site_settings import Anchor, Policy, PolicyRule, SiteSettings, When
from lotmark_node.edge.station_keeping import SiteKeeper
from lotmark_node.edge.station_licence import StationLicence
from lotmark_node.edge.station_run import StationImage, StationRun
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.edge.station_watch import StationState, StationWatch
from lotmark_node.trial.network import TrialNetwork, free_address

_CLIENT = "OEM-A/edge"
_STATION = "aoi-cam07"
_DIFFERENT = 8  # images, in turn
_DEFECT_UM = 300
_WAIT_S = 60.0  # for one image, and for the station to open


def station_figures(models: Mapping[str, ModelFiles], count: int) -> dict[str, float]:
    """Return what a station with these models takes, an image after the other, all of bad welds.

    `alarm_p99_ms` is from the file's last rename to the alarm's line, so the looks at the folder
    are in it; `result_to_outbox_p99_ms` is from the scores until original and events are on disk
    and in the outbox; `rss_mb` is of this process and of its workers. The network is cut: the node
    that the site's client names does not run, and the station starts by a licence.

    Args:
        models: "light", and "heavy" where there is one, which judges each of them again.
        count: Of images.
    """
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        plan = make_plan("bench", [], [f"OEM-A/n1@{free_address()}"], [_CLIENT])
        network = TrialNetwork(folder / "consortium", plan, parameters=WIDE)
        settings = network.client_settings(_CLIENT)
        client = Client(settings)
        try:
            file = network.client_file(_CLIENT)
            return asyncio.run(_figures(folder, file, client, settings, models, count))
        finally:
            client.close(timeout_s=0.0)


async def _figures(
    folder: Path,
    client_file: Path,
    client: Client,
    client_settings: ClientSettings,
    models: Mapping[str, ModelFiles],
    count: int,
) -> dict[str, float]:
    site_settings = SiteSettings(
        site="bench",
        data=folder / "data",
        client=client_file,
        sources=(),
        policy=Policy(
            name="bench",
            version=1,
            rules=(PolicyRule(signals="*/*", when=When.ALWAYS, anchor=Anchor.LOCAL),),
        ),
    )
    settings = _station_settings(folder, client_file, models)
    policy = read_policy(settings.policy.read_bytes(), source=str(settings.policy))
    licence = _licence(settings, client_settings.party, models, policy)
    LicenceFile(site_settings.stations_folder, _STATION).keep(licence)
    async with open_site(site_settings, client, is_insecure=False) as site:
        measured = _Measured(site)
        station = StationWatch(
            settings,
            client_settings,
            site_settings.stations_folder,
            measured,
            alarm=measured.alarm,
            tell=measured.tell,
        )
        async with _running(station):
            for number in range(count):
                await measured.judged(settings.images, number)
            rss_mb = machine.rss_mb(os.getpid())
    return {
        "alarm_p99_ms": round(machine.percentile(measured.alarms_ms, 99), 3),
        "result_to_outbox_p99_ms": round(machine.percentile(measured.kept_ms, 99), 3),
        "rss_mb": rss_mb,
    }


@asynccontextmanager
async def _running(station: StationWatch) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(station.run(stop))
    try:
        async with asyncio.timeout(_WAIT_S):
            while station.state is not StationState.JUDGING:
                assert station.state is not StationState.FAILED, station.why
                await asyncio.sleep(0.01)
        yield
    finally:
        stop.set()
        await running


class _Measured:
    """Keeps as a site does, and takes note of when; gives the station one image after the other."""

    def __init__(self, site: EdgeSite) -> None:
        self.alarms_ms: list[float] = []
        self.kept_ms: list[float] = []
        self._site = site
        self._keeper = SiteKeeper(site.pipeline, _STATION)
        self._written_s = 0.0
        self._told = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def put(self, events: Sequence[bytes]) -> None:
        await self._keeper.put(events)

    async def keep(self, run: StationRun, image: StationImage) -> Path:
        start_s = time.perf_counter()
        place = await self._keeper.keep(run, image)
        self.kept_ms.append(1_000 * (time.perf_counter() - start_s))
        return place

    def alarm(self, image: StationImage) -> None:
        self._site.alarms.tell_part(image.alarm(_STATION, now_us=machine_time_us()))
        self.alarms_ms.append(1_000 * (time.perf_counter() - self._written_s))

    def tell(self, _image: StationImage, _kept: Path) -> None:
        self._loop.call_soon_threadsafe(self._told.set)

    async def judged(self, images: Path, number: int) -> None:
        """Write an image as a camera does, and return once the station is done with it."""
        self._told.clear()
        pixels = weld_image(
            FRESH_SEEDS.start + number % _DIFFERENT,
            kind=WeldKind.COLD_SOLDER,
            defect_width_um=_DEFECT_UM,
        ).pixels
        unfinished = images / "unfinished"
        unfinished.write_bytes(b"P5 %d %d 255\n" % (SIZE, SIZE) + pixels.tobytes())
        unfinished.replace(images / f"ST{number:06d}_weld_1.pgm")
        self._written_s = time.perf_counter()
        async with asyncio.timeout(_WAIT_S):
            await self._told.wait()


def _station_settings(
    folder: Path, client: Path, models: Mapping[str, ModelFiles]
) -> StationSettings:
    registry, images = ModelFolder(folder / "models"), folder / "images"
    images.mkdir()
    for each in models.values():
        registry.put(each.onnx)
        registry.put(dump_manifest(each.manifest))
    policy = {
        "name": "bench",
        "version": 1,
        "catalogue": models["light"].manifest.catalogue,
        "modality": "ring_light_grey",
        "grey_zone": 500,
        "escalate": ["defect"] if "heavy" in models else [],
        "review": ["defect"],
        "judges": dict.fromkeys(("NORMAL", "FIRST_ARTICLE", "REINFORCED"), "light"),
        "triggers": [],
    }
    (folder / "policy.json").write_text(json.dumps(policy))
    return StationSettings(
        station=_STATION,
        client=client,
        images=images,
        registry=registry.path,
        policy=folder / "policy.json",
        light=models["light"].manifest.name,
        heavy=models["heavy"].manifest.name if "heavy" in models else "",
        file_name=re.compile("(?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+)"),
        unit_prefix="https://id.gs1.org/01/04012345000023/21/",
        clock_uncertainty_us=1_000,
        webhooks=None,
        renew_s=60,
        folder=folder,
    )


def _licence(
    settings: StationSettings,
    party: str,
    models: Mapping[str, ModelFiles],
    policy: InspectionPolicy,
) -> StationLicence:
    """Return what a ledger would allow the station."""
    labels = files("lotmark_inference") / "shipped" / "weld-labels.toml"
    (engine,) = engines_here(settings.engine)
    licensed = {
        weight: LicensedModel(
            registered=Registration(
                model=each.manifest.model,
                party=party,
                onnx_sha256=each.manifest.onnx_sha256,
                manifest_digest=hashlib.sha256(dump_manifest(each.manifest)).digest(),
                training_digest=each.manifest.training_digest,
                index=1,
            ),
            engine=engine,
            artefact_sha256=each.manifest.onnx_sha256,
        )
        for weight, each in models.items()
    }
    return StationLicence(
        station=settings.station,
        party=party,
        light=licensed["light"],
        heavy=licensed.get("heavy"),
        catalogue=read_catalogue(labels.read_bytes(), source=str(labels)).document,
        policy_digest=policy.digest,
        read_ms=time.time_ns() // 1_000_000,
    )
