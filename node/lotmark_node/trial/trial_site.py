"""An edge site on trial: a process that watches a welder and a milling centre on this machine."""

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE, SERIAL, Welder
from lotmark_node.edge.errors import MemoryUnusable
from lotmark_node.edge.memory_records import SourceState
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.trial.server_process import ServerFailed, ServerProcess

SITE = "line-3"
WELDER, MILL = "W07", "mill"
EQUIPMENT = "https://id.gs1.org/8004/4012345W07"
SUBJECT_PREFIX = "https://id.gs1.org/01/04012345000023/21/"
LOWER_KA = "7.9"
SEEN_MAX_S = 30.0

_POLL_S = 0.02


class TrialSite(ServerProcess):
    """The process and its folder.

    Attributes:
        settings: Its settings file.
    """

    def __init__(self, folder: Path, client: Path, welder: Welder, mill: Agent) -> None:
        """Write its settings; nothing runs yet.

        Args:
            folder: For all that it keeps; exists.
            client: Who signs.
            welder: It is trusted from now on.
            mill: Watched whole.
        """
        self.settings = folder / "site.toml"
        self._data = folder / "data"
        (folder / "trusted").mkdir()
        shutil.copy(welder.certificate, folder / "trusted")
        self.settings.write_text(_settings(client.absolute(), welder.address, mill.address))
        arguments = ["-m", "lotmark_node.main", "edge", "run", str(self.settings), "--json"]
        super().__init__(SITE, arguments, folder / "site.log")

    async def start(self) -> None:
        """Start it, and return once it has seen both machines, which go on meanwhile.

        Raises:
            ServerFailed: It does not start, or sees them not in time.
        """
        self.launch()
        await asyncio.to_thread(self.wait_ready)
        await self.until(lambda: {WELDER, MILL} <= self.sources().keys())

    def sources(self) -> dict[str, SourceState]:
        """Return where each of its sources stands, as is on disk."""
        try:
            memory = SiteMemory.read(self._data)
        except MemoryUnusable:
            return {}  # it is made when the site starts
        with closing(memory):
            return {each.name: each for each in memory.sources()}

    def kept_file(self, digest: bytes) -> Path:
        """Return where a raw file is."""
        name = digest.hex()
        return self._data / "evidence" / name[:2] / name[2:]

    async def until_seen(self, made_us: int) -> None:
        """Wait until what the welder made at a time is kept.

        Raises:
            ServerFailed: It is not, in time.
        """
        await self.until(lambda: self.sources()[WELDER].position.last_made_us >= made_us)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the site does.

        Raises:
            ServerFailed: It does not, in time.
        """
        end_s = time.monotonic() + SEEN_MAX_S
        while not condition():
            if time.monotonic() > end_s:
                raise ServerFailed(f"{SITE} has not seen all within {SEEN_MAX_S:g} s; see its log")
            await asyncio.sleep(_POLL_S)


def _settings(client: Path, welder: str, mill: str) -> str:
    return f"""\
site = "{SITE}"
data = "data"
client = "{client}"

[[source]]
name = "{WELDER}"
protocol = "opcua"
address = "{welder}"
equipment = "{EQUIPMENT}"
subject = {{ signal = "serial", prefix = "{SUBJECT_PREFIX}" }}
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
lower = "{LOWER_KA}"

[[source.signal]]
name = "force"
address = "{FORCE}"
feature = "weld_{{weld}}.force"
unit = "kN"

[[source]]
name = "{MILL}"
protocol = "mtconnect"
address = "{mill}"
options = {{ interval_ms = 20 }}

[policy]
name = "{SITE}"
version = 1
rules = [
    {{ signals = "{WELDER}/*", when = "outside", anchor = "full" }},
    {{ signals = "*/*", anchor = "window", window_s = 60, window_count = 1000 }},
]
"""
