"""Half an hour without a node, by a clock that the test moves: everything arrives, and once."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from lotmark.client.client import Client
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.v1 import event_pb2
from lotmark_adapters.observation import Observation
from lotmark_node.edge.edge_site import open_site
from lotmark_node.edge.site_settings import Anchor, PolicyRule, SiteSettings, When
from tests.node.cutting_relay import CuttingRelay
from tests.node.edge.site_process import counted, sessions_of
from tests.node.edge.trial_site import Clock, report, site_settings
from tests.node.running_node import NodeProcess

OUTAGE_S = 1_800
STEP_S = 15
PER_STEP = 8
FLUSH_S = 30.0
SEED = 20_261
RULES = (
    PolicyRule(signals="*", when=When.OUTSIDE, anchor=Anchor.FULL),
    PolicyRule(signals="*", when=When.ALWAYS, anchor=Anchor.WINDOW, window_s=60),
)


def test_an_outage_of_half_an_hour_costs_no_observation_and_doubles_none(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201  # what a replay needs
    node = NodeProcess(tmp_path / "consortium", parties=["OEM-A:oem"])
    node.start()
    settings = replace(
        site_settings(tmp_path / "data", rules=RULES), client=node.client("OEM-A", "erp")
    )
    host, _, port = node.address.rpartition(":")
    with CuttingRelay((host, int(port))) as relay:
        client_settings = replace(
            read_client_settings(node.client("OEM-A", "erp")), node_address=relay.address
        )
        told_count = asyncio.run(_scenario(settings, Client(client_settings), node, relay))
    with LedgerSession(read_client_settings(node.client("OEM-A", "erp"))) as session:
        entries = [entry for entry in session.entries() if entry.event]
    node.stop()

    events = [event_pb2.Event.FromString(entry.event) for entry in entries]
    assert counted(events, "W07") == told_count
    assert max(Counter(entry.event_id for entry in entries).values()) == 1
    opened, closed = sessions_of(events)
    assert opened.session == closed.session
    assert closed.sources[0].observation_count == told_count
    assert closed.event_count == len(events) - 1
    assert not [each for each in events if each.HasField("gap")]
    # One window a minute, and what was outside its limits: nothing waited for the node.
    windows = [each for each in events if each.HasField("observation_window")]
    assert len(windows) >= OUTAGE_S // 60


async def _scenario(
    settings: SiteSettings, client: Client, node: NodeProcess, relay: CuttingRelay
) -> int:
    """Take observations before, during and after an outage; return how many."""
    chance, clock, sequence = random.Random(SEED), Clock(), 0  # noqa: S311  # no secret

    async with open_site(settings, client, is_insecure=False, now_us=clock) as site:
        (watch,) = site.watches
        keeping = asyncio.create_task(watch.keep())

        async def pass_time(duration_s: int) -> None:
            nonlocal sequence
            for _ in range(duration_s // STEP_S):
                seen = []
                for _ in range(PER_STEP):
                    sequence += 1
                    value = f"{chance.gauss(8.2, 0.25):.3f}"
                    seen.append(
                        Observation("ns=2;s=Current", sequence, clock.now_us, clock.now_us, value)
                    )
                await watch.take(report(seen))
                clock.now_us += STEP_S * 1_000_000
                await site.pipeline.close_due()

        await pass_time(120)
        assert await asyncio.to_thread(client.flush, FLUSH_S) == 0
        await asyncio.to_thread(node.stop)
        await pass_time(OUTAGE_S)
        assert client.waiting_count > OUTAGE_S // 60
        await asyncio.to_thread(node.start)
        host, _, port = node.address.rpartition(":")
        relay.target = host, int(port)
        await pass_time(60)
        await watch.finish()
        await keeping
    assert await asyncio.to_thread(client.flush, FLUSH_S) == 0
    await asyncio.to_thread(client.close)
    return sequence
