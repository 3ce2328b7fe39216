"""A whole consortium on this machine: its folder, its node as a process, its systems' sessions."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.client.submission import EventResult
from lotmark.key_file import read_key_file
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark_node.consortium.found import Founded, found_consortium
from lotmark_node.consortium.plan import DEFAULT_CLIENTS, DEFAULT_NAME, make_plan
from lotmark_node.node_settings import ENVIRONMENT_PREFIX
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.load import STORY, load_document

NODE = "OEM-A/n1"
EXPORTER = "OEM-A/erp"  # of the party that runs the node, which may export all of it
READY_MAX_S = 30.0
STOP_MAX_S = 30.0

_ANY_PORT = "127.0.0.1:0"
_DOCUMENTS = {document.name: document for document in STORY}


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event of the story, and what the ledger made of it."""

    event: event_pb2.Event
    result: EventResult

    @property
    def index(self) -> int:
        """Index of its entry."""
        assert self.result.index is not None, "what was told is on the ledger"
        return self.result.index


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Events that one system sent together, and how long that took."""

    client: str  # "<party>/<holder>"
    events: tuple[ToldEvent, ...]
    acknowledged_ms: float  # until they were on the ledger, fsynced and applied
    final_ms: float  # until a checkpoint over them was signed as the policy asks

    @property
    def party(self) -> str:
        """Whose system it was."""
        return self.client.partition("/")[0]

    def __str__(self) -> str:
        """Return where they stand, for the end of a chapter's line."""
        first, last = self.events[0].index, self.events[-1].index
        where = f"entry {first}" if first == last else f"entries {first} to {last}"
        return f"{where} in {self.acknowledged_ms:.0f} ms, final in {self.final_ms:.0f} ms"


def random_nonce() -> bytes:
    """Return 16 random bytes, as an event needs them."""
    return os.urandom(16)


class TrialLedger:
    """One ledger with one node. Every key is in the folder: a trial, as `lotmark init` makes it."""

    def __init__(self, folder: Path) -> None:
        """Found the four parties of a stator line in a folder that is new or empty."""
        planned = {text.partition(":")[0] for text in DEFAULT_CLIENTS}
        told = {f"{document.party}/{document.holder}" for document in STORY}
        plan = make_plan(
            DEFAULT_NAME,
            (),
            [f"{NODE}@{_ANY_PORT}"],
            [*DEFAULT_CLIENTS, *sorted(told - planned)],
        )
        self.folder = folder
        self.founded: Founded = found_consortium(folder, plan, now_ms=time.time_ns() // 1_000_000)
        self.tellings: dict[str, Telling] = {}  # by what was told
        self.startup_s = 0.0
        self.address = ""
        self._process: subprocess.Popen[str] | None = None
        self._sessions: dict[str, LedgerSession] = {}

    @property
    def chain_id(self) -> bytes:
        """The chain id."""
        return self.founded.chain_id

    @property
    def genesis_file(self) -> Path:
        """The founding document."""
        return self.folder / "genesis.json"

    # The node

    def start(self) -> None:
        """Run the node and return when it takes calls.

        Raises:
            StoryFailed: It does not, in time.
        """
        settings = self.folder / NODE.replace("/", "/nodes/") / "node.toml"
        log = self.folder / "node.log"
        started_s = time.perf_counter()
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-m", "lotmark_node.main", "node", "run", str(settings), "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # The settings file alone shall tell what the node does.
                env={k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)},
            )
        stdout = self._process.stdout
        assert stdout is not None, "it was asked for"
        ready, _, _ = select.select([stdout], [], [], READY_MAX_S)
        line = stdout.readline() if ready else ""
        if not line:
            self.stop()
            said = log.read_text(errors="replace").splitlines() or ["it says nothing"]
            raise StoryFailed(f"the node did not start within {READY_MAX_S:g} s: {said[-1]}")
        self.startup_s = time.perf_counter() - started_s
        self.address = json.loads(line)["address"]
        self._write_address()

    def _write_address(self) -> None:
        """Put the port that was free into every settings file, so that they can be used later."""
        for pattern in ("*/nodes/*/node.toml", "*/clients/*/client.toml"):
            for path in self.folder.glob(pattern):
                path.write_text(path.read_text().replace(f'"{_ANY_PORT}"', f'"{self.address}"'))

    def stop(self) -> int | None:
        """Hang up, end the node as an operator does, and return its exit status; None: none ran."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=STOP_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    # Its members' systems

    def session(self, client: str) -> LedgerSession:
        """Return the open session of a client, "<party>/<holder>"."""
        if client not in self._sessions:
            settings = read_client_settings(
                self.folder / client.replace("/", "/clients/") / "client.toml"
            )
            self._sessions[client] = LedgerSession(settings, read_key_file(settings.batch_key))
        return self._sessions[client]

    def submit(self, client: str, events: Sequence[event_pb2.Event]) -> list[ToldEvent]:
        """Submit events and return what became of each."""
        raw = [event.SerializeToString(deterministic=True) for event in events]
        results = self.session(client).submit(raw)
        return [ToldEvent(*pair) for pair in zip(events, results, strict=True)]

    def tell(self, name: str, client: str, events: Sequence[event_pb2.Event]) -> Telling:
        """Submit events of the story, and wait until a checkpoint covers them.

        Args:
            name: Under which they can be found in `tellings`.
            client: Whose system sends them, "<party>/<holder>".
            events: The events.

        Raises:
            StoryFailed: One was refused.
        """
        started_s = time.perf_counter()
        told = self.submit(client, events)
        acknowledged_s = time.perf_counter()
        for each in told:
            if each.result.outcome is not Outcome.ACCEPTED:
                raise StoryFailed(f"{client} was refused: {each.result.detail}")
        checkpoint = self.session(client).checkpoint_over(told[-1].index)
        if not checkpoint.findings.is_final:
            raise StoryFailed(f"the checkpoint of size {checkpoint.size} is not final")
        telling = Telling(
            client=client,
            events=tuple(told),
            acknowledged_ms=(acknowledged_s - started_s) * 1_000,
            final_ms=(time.perf_counter() - started_s) * 1_000,
        )
        self.tellings[name] = telling
        return telling

    def tell_document(self, name: str) -> Telling:
        """Submit a document of the story, as the system that writes it.

        Raises:
            StoryFailed: An event of it was refused.
        """
        document = _DOCUMENTS[name]
        events = load_document(name, random_nonce)
        return self.tell(name, f"{document.party}/{document.holder}", events)

    def export(self, path: Path) -> None:
        """Write a snapshot of all that was told so far."""
        session = self.session(EXPORTER)
        session.checkpoint_over(session.ledger().size - 1)
        with path.open("wb") as file:
            session.export_snapshot(file)
