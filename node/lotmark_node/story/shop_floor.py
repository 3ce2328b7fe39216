"""The machines of the story's line while an edge site watches them, and the account of it.

The machines are real servers in this process, the site is a process of its own. All that they told
is then either in a file of the site, whose digest and root are on the ledger, or in a gap that is.
"""

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lotmark.v1 import event_pb2
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.welder import Welder
from lotmark_node.edge.kept_file import check_against_event
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.welds import COLD_WELD, WELD_COUNT
from lotmark_node.trial.trial_site import MILL, WELDER, TrialSite

COLD_KA = 7.75  # 4 % less than the others have
MISSED = range(60, 63)  # welds that are made while the site cannot reach the welder
BURST_COUNT, BUFFER_COUNT = 2_000, 256  # values of the mill at once; those that its agent keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the machines told while a site watched them."""

    site: TrialSite  # ended
    weld_count: int  # numbered from 1
    mill_count: int  # values of the mill, numbered from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What came of everything that the machines told."""

    observation_count: int  # that are kept
    gaps: Sequence[event_pb2.Event]
    outside: Sequence[event_pb2.Event]  # measurements beyond their limits
    event_count: int
    unaccounted_count: int  # neither kept nor in a gap


def watch_machines(folder: Path, client: Path) -> Watched:
    """Let the machines work while a site in `folder` watches them, and lose two things on the way.

    Raises:
        ServerFailed: The site did not start, or did not see, in time, what it must.
        StoryFailed: It ended badly.
    """
    folder.mkdir()
    return asyncio.run(_watch(folder, client))


async def _watch(folder: Path, client: Path) -> Watched:
    hosts = ("127.0.0.1", socket.gethostname())
    async with (
        Welder(folder / "welder", hosts=hosts) as welder,
        Agent(buffer_size=BUFFER_COUNT) as mill,
    ):
        await welder.prepare()
        site = TrialSite(folder, client, welder, mill)
        try:
            await site.start()
            last_us = await _weld_a_stator(welder, site)
            mill.burst(BURST_COUNT)
            await site.until_seen(last_us)
            await site.until(
                lambda: site.sources()[MILL].position.next_sequence == mill.next_sequence
            )
        finally:
            status = await asyncio.to_thread(site.stop)
        if status:
            raise StoryFailed(f"the edge site ended with {status}, as {site.log} says")
        return Watched(site=site, weld_count=len(welder.made), mill_count=mill.next_sequence - 1)


async def _weld_a_stator(welder: Welder, site: TrialSite) -> int:
    """Make all welds of the story's stator; return after which time the last one was made."""
    last_us = 0
    for number in range(1, WELD_COUNT + 1):
        if number == MISSED.start:
            await site.until_seen(last_us)
            welder.shut()
        last_us = time.time_ns() // 1_000
        await welder.weld(COLD_KA if number == COLD_WELD else 8.05 + number % 5 / 100)
        if number == MISSED.stop - 1:
            welder.open()
            await site.until(lambda: site.sources()[WELDER].gap_count > 0)
    return last_us


def account(events: Iterable[event_pb2.Event], watched: Watched) -> Account:
    """Hold what is on the ledger, and the files that it names, against what the machines told.

    Args:
        events: All of the site's that are on the ledger; their files are checked.
        watched: What there was.

    Raises:
        EvidenceDamaged: A file is not what its event says.
    """
    events = list(events)
    missing = {
        WELDER: set(range(1, watched.weld_count + 1)),
        MILL: set(range(1, watched.mill_count + 1)),
    }
    kept_count = 0
    for each in events:
        match each.WhichOneof("body"):
            case "observation_window":
                content = watched.site.kept_file(each.files[0].sha256).read_bytes()
                kept = check_against_event(content, each)
                kept_count += len(kept.observations)
                if kept.header.source == MILL:
                    missing[MILL] -= {one.sequence for one in kept.observations}
                elif kept.header.signal == "weld":
                    missing[WELDER] -= {int(one.value or 0) for one in kept.observations}
            case "measurement":
                kept_count += 1
            case "gap":
                source = each.gap.source.partition("/")[0]
                missing[source] -= set(range(each.gap.first_sequence, each.gap.last_sequence + 1))
    return Account(
        observation_count=kept_count,
        gaps=[each for each in events if each.HasField("gap")],
        outside=[each for each in events if each.HasField("measurement")],
        event_count=len(events),
        unaccounted_count=sum(map(len, missing.values())),
    )
