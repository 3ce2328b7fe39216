"""A site whose outbox is full and whose nodes are gone: it watches, tells alarms, and ends."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.client.client import Client
from lotmark.client.settings import read_client_settings
from lotmark.client.waiting import OutboxBounds
from lotmark_adapters.observation import Report, ReportTaker
from lotmark_adapters.trial.agent import Agent
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.edge import edge_site
from lotmark_node.edge.edge_site import open_site
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import SignalSettings, SiteSettings, SourceSettings
from lotmark_node.edge.source_watch import SourceWatch, WatchState
from lotmark_node.trial.network import free_address
from tests.node.edge.site_process import until
from tests.node.edge.trial_site import site_settings


@pytest.fixture
def client_file(tmp_path: Path) -> Path:
    """A client of a consortium whose node does not run."""
    plan = make_plan("stator-line", ["OEM-A:oem"], [f"OEM-A/n1@{free_address()}"], [], [])
    found_consortium(tmp_path / "consortium", plan, now_ms=time.time_ns() // 1_000_000)
    return tmp_path / "consortium/OEM-A/clients/erp/client.toml"


def _settings(folder: Path, client: Path, agent: Agent) -> SiteSettings:
    position = SignalSettings(name="z", address=agent.item("z_position").id, upper="10")
    source = SourceSettings(
        name="mill", protocol="mtconnect", address=agent.address, signals=(position,)
    )
    return replace(site_settings(folder / "data"), client=client, sources=(source,))


def test_a_site_whose_outbox_is_full_tells_alarms_and_trouble_and_can_be_stopped(
    client_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(edge_site, "BEGIN_S", 0.1)
    monkeypatch.setattr(edge_site, "LOOK_S", 0.05)
    monkeypatch.setattr(edge_site, "END_S", 0.2)

    async def scenario() -> str | None:
        # Room for the policy, and not for the session's beginning behind it.
        client = Client(read_client_settings(client_file), bounds=OutboxBounds(events_max=1))
        async with Agent() as agent:
            settings = _settings(tmp_path, client_file, agent)
            async with open_site(settings, client, is_insecure=False) as site:
                stop = asyncio.Event()
                running = asyncio.create_task(site.run(stop))
                agent.burst(100)
                await until(lambda: site.alarms.count > 70)
                agent.burst(100)
                await until(lambda: site.alarms.count > 140)
                alarms = settings.data / "alarms.jsonl"
                await until(lambda: '"reason": "trouble"' in alarms.read_text())
                not_ready = site.not_ready()
                stop.set()
                await running
        await asyncio.to_thread(client.close, timeout_s=0.0)
        return not_ready

    not_ready = asyncio.run(scenario())

    assert not_ready is not None
    assert not_ready.startswith("sources wait: ")
    assert "the site's end found no room" in caplog.text
    memory = SiteMemory.read(tmp_path / "data")
    assert memory.pending_count() > 0  # for the next run
    memory.close()


class FailingTaker:
    """Whoever keeps reports, with a defect until it is mended."""

    def __init__(self, taker: ReportTaker) -> None:
        self.is_mended = False
        self._taker = taker

    async def take(self, report: Report) -> None:
        if not self.is_mended:
            raise ZeroDivisionError
        await self._taker.take(report)


def test_a_source_whose_reports_cannot_be_kept_leaves_the_others_and_is_tried_again(
    client_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_site, "KEEP_RETRY_S", 0.05)
    monkeypatch.setattr(edge_site, "END_S", 0.2)

    async def scenario() -> None:
        client = Client(read_client_settings(client_file))
        async with Agent() as agent:
            settings = _settings(tmp_path, client_file, agent)
            mill = replace(settings.sources[0], options={"heartbeat_ms": 100})
            settings = replace(settings, sources=(mill, replace(mill, name="saw")))
            async with open_site(settings, client, is_insecure=False) as site:
                failing = FailingTaker(site.pipeline.taker("mill"))
                broken = SourceWatch(mill, failing, site.alarms, site.now_us)
                sound = site.watches[1]
                site.watches = [broken, sound]
                stop = asyncio.Event()
                running = asyncio.create_task(site.run(stop))
                await until(lambda: broken.state is WatchState.FAILED)
                agent.burst(10)
                await until(lambda: sound.observation_count >= 10)
                assert broken.observation_count == 0
                await until(lambda: "not kept: ZeroDivisionError" in (site.not_ready() or ""))
                failing.is_mended = True
                await until(lambda: broken.observation_count >= 10)
                await until(lambda: site.not_ready() is None)
                stop.set()
                await running
        await asyncio.to_thread(client.close, timeout_s=0.0)

    asyncio.run(scenario())
