"""The machines of the story's line while an edge site watches them, and the account of it.

The machines are real servers in this process, the site is a process of its own. All that they told
is then either in a file of the site, whose digest and root are on the ledger, or in a gap that is.
"""

import asyncio
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lotmark.v1 import event_pb2
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE, SERIAL, Welder
from lotmark_node.edge.errors import MemoryUnusable
from lotmark_node.edge.kept_file import check_against_event
from lotmark_node.edge.site_memory import SiteMemory, SourceState
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.welds import COLD_WELD, STATOR, WELD_COUNT, WELDER
from lotmark_node.trial.server_process import ServerProcess

SITE = "line-3"
WELDER_NAME, MILL_NAME = "W07", "mill"
LOWER_KA, COLD_KA = "7.9", 7.75  # 4 % less than the others have
MISSED = range(60, 64)  # welds that are made while the site cannot reach the welder
BURST_COUNT, BUFFER_COUNT = 2_000, 256  # values of the mill at once; those that its agent keeps

_WAIT_MAX_S = 30.0
_POLL_S = 0.02

_SETTINGS = f"""\
site = "{SITE}"
data = "data"
client = "{{client}}"

[[source]]
name = "{WELDER_NAME}"
protocol = "opcua"
address = "{{welder}}"
equipment = "{WELDER}"
subject = {{{{ signal = "serial", prefix = "{STATOR.rpartition("/")[0]}/" }}}}
options = {{{{ trusted = "trusted", publishing_ms = 50 }}}}
signal = [
    {{{{ name = "weld", address = "{COUNTER}", is_counter = true }}}},
    {{{{ name = "serial", address = "{SERIAL}" }}}},
    {{{{ name = "current", address = "{CURRENT}", feature = "weld_{{{{weld}}}}.current", unit = "kA", lower = "{LOWER_KA}" }}}},
    {{{{ name = "force", address = "{FORCE}", feature = "weld_{{{{weld}}}}.force", unit = "kN" }}}},
]

[[source]]
name = "{MILL_NAME}"
protocol = "mtconnect"
address = "{{mill}}"
options = {{{{ interval_ms = 20 }}}}

[policy]
name = "{SITE}"
version = 1
rules = [
    {{{{ signals = "{WELDER_NAME}/*", when = "outside", anchor = "full" }}}},
    {{{{ signals = "*/*", anchor = "window", window_s = 60, window_count = 1000 }}}},
]
"""  # noqa: E501


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What came of everything that the machines told."""

    observation_count: int  # that are kept
    gaps: Sequence[event_pb2.Event]
    outside: Sequence[event_pb2.Event]  # measurements beyond their limits
    event_count: int
    unaccounted: int  # neither kept nor in a gap


def watch_machines(folder: Path, client: Path) -> tuple[int, int]:
    """Let the machines work while a site in `folder` watches them, and lose two things on the way.

    Returns:
        How many welds there were, and how many values the mill's agent told.

    Raises:
        StoryFailed: The site did not see, in time, what it must, or ended badly.
        ServerFailed: It did not start.
    """
    folder.mkdir()
    return asyncio.run(_watch(folder, client.absolute()))


async def _watch(folder: Path, client: Path) -> tuple[int, int]:
    settings, data = folder / "site.toml", folder / "data"
    hosts = ("127.0.0.1", socket.gethostname())
    async with (
        Welder(folder / "welder", hosts=hosts) as welder,
        Agent(buffer_size=BUFFER_COUNT) as mill,
    ):
        (folder / "trusted").mkdir()
        shutil.copy(welder.certificate, folder / "trusted")
        settings.write_text(
            _SETTINGS.format(client=client, welder=welder.address, mill=mill.address)
        )
        await welder.prepare()
        site = ServerProcess(
            SITE, ["-m", "lotmark_node.main", "edge", "run", str(settings), "--json"],
            folder / "site.log",
        )  # fmt: skip
        site.launch()
        try:
            await asyncio.to_thread(site.wait_ready)
            await _until(lambda: {WELDER_NAME, MILL_NAME} <= _states(data).keys())
            last_us = await _weld_a_stator(welder, data)
            mill.burst(BURST_COUNT)
            await _until_seen(data, last_us)
            await _until(
                lambda: _states(data)[MILL_NAME].position.next_sequence == mill.next_sequence
            )
        finally:
            status = await asyncio.to_thread(site.stop)
        if status:
            raise StoryFailed(f"the edge site ended with {status}, as {site.log} says")
        return len(welder.made), mill.next_sequence - 1


async def _weld_a_stator(welder: Welder, data: Path) -> int:
    """Make all welds of the story's stator; return after which time the last one was made."""
    last_us = 0
    for number in range(1, WELD_COUNT + 1):
        if number == MISSED.start:
            await _until_seen(data, last_us)
            welder.shut()
        last_us = time.time_ns() // 1_000
        await welder.weld(COLD_KA if number == COLD_WELD else 8.05 + number % 5 / 100)
        if number == MISSED.stop - 1:
            welder.open()
            await _until(lambda: _states(data)[WELDER_NAME].gap_count > 0)
    return last_us


async def _until_seen(data: Path, made_us: int) -> None:
    """Wait until what the welder made at a time is kept."""
    await _until(lambda: _states(data)[WELDER_NAME].position.last_made_us >= made_us)


def _states(data: Path) -> dict[str, SourceState]:
    try:
        memory = SiteMemory.read(data)
    except MemoryUnusable:
        return {}  # it is made when the site starts
    with closing(memory):
        return {each.name: each for each in memory.sources()}


async def _until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _WAIT_MAX_S
    while not condition():
        if time.monotonic() > end_s:
            raise StoryFailed(f"the edge site saw not all within {_WAIT_MAX_S:g} s")
        await asyncio.sleep(_POLL_S)


def account(
    events: Iterable[event_pb2.Event], folder: Path, *, welds: int, mill_count: int
) -> Account:
    """Hold what is on the ledger, and the files that it names, against what the machines told.

    Args:
        events: All of the site's that are on the ledger.
        folder: Of the site; its files are read and checked against their events.
        welds: That the welder made, numbered from 1.
        mill_count: That the mill's agent told, numbered from 1.

    Raises:
        EvidenceDamaged: A file is not what its event says.
    """
    events = list(events)
    missing = {WELDER_NAME: set(range(1, welds + 1)), MILL_NAME: set(range(1, mill_count + 1))}
    kept_count = 0
    for each in events:
        match each.WhichOneof("body"):
            case "observation_window":
                name = each.files[0].sha256.hex()
                kept = check_against_event(
                    (folder / "data" / "evidence" / name[:2] / name[2:]).read_bytes(), each
                )
                kept_count += len(kept.observations)
                if kept.header.source == MILL_NAME:
                    missing[MILL_NAME] -= {one.sequence for one in kept.observations}
                elif kept.header.signal == "weld":
                    missing[WELDER_NAME] -= {int(one.value or 0) for one in kept.observations}
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
        unaccounted=sum(map(len, missing.values())),
    )
