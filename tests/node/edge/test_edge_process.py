"""A site as a process: real machines, a real node, and every observation accounted for."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lotmark.v1 import quality_pb2
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.welder import Welder
from tests.node.edge.site_process import (
    SiteProcess,
    agent_source,
    counted,
    on_record,
    sessions_of,
    until,
    welder_source,
)
from tests.node.running_node import NodeProcess, node_process

OPENED = quality_pb2.SESSION_STATE_OPENED
CLOSED = quality_pb2.SESSION_STATE_CLOSED
BROKEN_OFF = quality_pb2.SESSION_STATE_BROKEN_OFF


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with node_process(tmp_path / "consortium", parties=["OEM-A:oem"]) as running:
        yield running


def _site(folder: Path, node: NodeProcess, sources: str, *, head: str = "") -> SiteProcess:
    return SiteProcess(folder, node.client("OEM-A", "erp"), sources, head=head)


def _trust(welder: Welder, folder: Path) -> str:
    """Let a site trust a welder, and return its source."""
    (folder / "trusted").mkdir()
    shutil.copy(welder.certificate, folder / "trusted")
    return welder_source(welder.address)


async def _connected(site: SiteProcess) -> None:
    await until(lambda: bool(site.told("opcua source connected")))


def test_what_machines_tell_is_on_record_from_birth_to_death(
    tmp_path: Path, node: NodeProcess
) -> None:
    async def scenario() -> tuple[int, int]:
        async with Welder(tmp_path / "welder") as welder, Agent() as agent:
            sources = _trust(welder, tmp_path) + agent_source(agent.address)
            site = _site(tmp_path, node, sources)
            await site.start()
            await _connected(site)
            for current in (8.0, 8.25, 9.5):
                await welder.weld(current)
            agent.burst(300)
            await until(lambda: "9.5" in site.alarms())
            await until(lambda: site.next_sequence("mill") == agent.next_sequence)
            exit_code = await site.end()
            return exit_code or 0, agent.next_sequence - 1

    exit_code, told_count = asyncio.run(scenario())

    events = on_record(node.client("OEM-A", "erp"))
    opened, closed = sessions_of(events)
    assert (exit_code, opened.state, closed.state) == (0, OPENED, CLOSED)
    assert opened.session == closed.session
    assert opened.previous_session == b""
    # The machine had no current before its first weld.
    measured = [each.measurement for each in events if each.HasField("measurement")]
    assert [(each.feature, each.value) for each in measured] == [
        ("weld_0.current", "0"),
        ("weld_3.current", "9.5"),
    ]
    assert {each.verdict for each in measured} == {quality_pb2.VERDICT_NONCONFORMING}
    standing = {each.source: each for each in closed.sources}
    assert standing["mill"].last_sequence == told_count
    assert standing["mill"].observation_count == counted(events, "mill") == told_count
    assert standing["W07"].observation_count == counted(events, "W07")
    assert closed.event_count == len(events) - 1
