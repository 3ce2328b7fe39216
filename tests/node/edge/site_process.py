"""An edge site as a process of its own, and what of it is on the ledger."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE, SERIAL
from lotmark_node.edge.errors import MemoryUnusable
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.trial.server_process import ServerProcess

WAIT_S = 20.0
POLL_S = 0.02

POLICY = """
[policy]
name = "line-3"
version = 1
rules = [
    { signals = "W07/*", when = "outside", anchor = "full" },
    { signals = "*/*", anchor = "window", window_s = 1, window_count = 50 },
]
"""


def welder_source(address: str) -> str:
    """Return the settings of a welder that is trusted by `trusted`."""
    return f"""
[[source]]
name = "W07"
protocol = "opcua"
address = "{address}"
equipment = "https://id.gs1.org/8004/4012345W07"
subject = {{ signal = "serial", prefix = "https://id.gs1.org/01/04012345000023/21/" }}
options = {{ trusted = "trusted", publishing_ms = 50 }}

[[source.signal]]
name = "weld"
address = "{COUNTER}"
is_counter = true

[[source.signal]]
name = "serial"
address = "{SERIAL}"

[[source.signal]]
name = "current"
address = "{CURRENT}"
feature = "weld_{{weld}}.current"
unit = "kA"
lower = "7.6"
upper = "8.8"

[[source.signal]]
name = "force"
address = "{FORCE}"
unit = "kN"
"""


def agent_source(address: str) -> str:
    """Return the settings of an agent that is watched whole."""
    return f"""
[[source]]
name = "mill"
protocol = "mtconnect"
address = "{address}"
options = {{ interval_ms = 20 }}
"""


class SiteProcess(ServerProcess):
    """A site of its own folder.

    Attributes:
        settings: Its settings file.
        data: Its data folder.
    """

    def __init__(
        self,
        folder: Path,
        client: Path,
        sources: str,
        *,
        name: str = "line-3",
        head: str = "",
        options: Sequence[str] = (),
    ) -> None:
        """Write its settings; nothing runs yet.

        Args:
            folder: For settings, data and trust store; exists.
            client: Who signs.
            sources: As `welder_source` and the like return.
            name: The site's.
            head: Further lines for the file's head.
            options: Of the command.
        """
        self.settings = folder / "site.toml"
        self.data = folder / "data"
        self.settings.write_text(
            f'site = "{name}"\ndata = "data"\nclient = "{client}"\n{head}{sources}{POLICY}'
        )
        arguments = [
            "-m",
            "lotmark_node.main",
            "edge",
            "run",
            str(self.settings),
            "--json",
            *options,
        ]
        super().__init__(name, arguments, folder / "site.log")

    async def start(self) -> None:
        """Start it and return when it is ready; the machines of the test go on meanwhile."""
        self.launch()
        await asyncio.to_thread(self.wait_ready)

    async def end(self) -> int | None:
        """End it as an operator does, and return its exit status."""
        return await asyncio.to_thread(self.stop)

    def next_sequence(self, source: str) -> int:
        """Return which observation of a source the site wants next; 0: it knows none."""
        try:
            memory = SiteMemory.read(self.data)
        except MemoryUnusable:
            return 0
        with closing(memory):
            found = {each.name: each.position.next_sequence for each in memory.sources()}
        return found.get(source, 0)

    def alarms(self) -> list[str | None]:
        """Return the values that were outside their limits, as the site has told them at once."""
        file = self.data / "alarms.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line)["value"] for line in lines]

    def told(self, event: str) -> list[str]:
        """Return the lines of its log with a phrase."""
        return [line for line in self.log.read_text().splitlines() if f'"{event}"' in line]


async def until(condition: Callable[[], bool]) -> None:
    """Wait, with a deadline, for what another process does."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        await asyncio.sleep(POLL_S)


def on_record(client: Path, site: str) -> list[event_pb2.Event]:
    """Return the events of a site that the ledger accepted, in its order.

    After a kill an event may be handed on again; then it is on record once more, as refused.
    """
    with LedgerSession(read_client_settings(client)) as session:
        entries = [
            entry.event
            for entry in session.entries()
            if entry.event and entry.head.outcome == Outcome.ACCEPTED
        ]
    events = [event_pb2.Event.FromString(raw) for raw in entries]
    return [each for each in events if each.device.partition("/")[0] == site]


def sessions_of(events: Sequence[event_pb2.Event]) -> list[quality_pb2.SiteSession]:
    """Return what was said of sessions."""
    return [each.site_session for each in events if each.HasField("site_session")]


def counted(events: Sequence[event_pb2.Event], source: str) -> int:
    """Return how many observations of a source are on record: each is in just one window.

    Those that are there in full are kept in a window without an event, so they count themselves.
    """
    windows = [each.observation_window for each in events if each.HasField("observation_window")]
    measured = [each for each in events if each.HasField("measurement")]
    return sum(
        window.observation_count for window in windows if window.source.startswith(f"{source}/")
    ) + sum(each.device.endswith(f"/{source}") for each in measured)
