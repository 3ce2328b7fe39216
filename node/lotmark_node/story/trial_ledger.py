"""The story's consortium on this machine: its nodes, and its systems' sessions."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lotmark.client import Client, Delivery, EventResult, LedgerSession, SubmissionRefused
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2
from lotmark_node.consortium.found import PARAMETERS, Founded
from lotmark_node.consortium.plan import DEFAULT_CLIENTS, DEFAULT_NAME, make_plan
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.load import STORY, load_document
from lotmark_node.trial.network import TrialNetwork, free_address
from lotmark_node.trial.server_process import ServerFailed

VOTERS = ("OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1")
WITNESSES = ("LAB-17025/w1",)
ACKNOWLEDGED_S = 30.0
EXPORTER = "OEM-A/erp"  # of a party that runs a node, from which it may export everything

# A history is provably whole two epochs later; in earnest one has a minute or 100,000 entries.
_QUICK_EPOCHS = replace(PARAMETERS, item_epoch_entries=16)

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
    """One consortium with its nodes. Every key is in the folder: a trial, as `lotmark init` makes.

    Attributes:
        network: Its nodes and witnesses.
        founded: What was founded.
        tellings: What was told so far, by name.
    """

    def __init__(
        self, folder: Path, *, voters: Sequence[str] = VOTERS, witnesses: Sequence[str] = WITNESSES
    ) -> None:
        """Found the four parties of a stator line in a folder that is new or empty."""
        planned = {text.partition(":")[0] for text in DEFAULT_CLIENTS}
        told = {f"{document.party}/{document.holder}" for document in STORY}
        plan = make_plan(
            DEFAULT_NAME,
            (),
            [f"{name}@{free_address()}" for name in voters],
            [*DEFAULT_CLIENTS, *sorted(told - planned)],
            [f"{name}@{free_address()}" for name in witnesses],
        )
        self.folder = folder
        self.network = TrialNetwork(folder, plan, parameters=_QUICK_EPOCHS)
        self.founded: Founded = self.network.founded
        self.tellings: dict[str, Telling] = {}
        self._clients: dict[str, Client] = {}
        self._sessions: dict[str, LedgerSession] = {}
        self._newest_index = 0  # of what was acknowledged

    @property
    def chain_id(self) -> bytes:
        """The chain id."""
        return self.founded.chain_id

    @property
    def genesis_file(self) -> Path:
        """The founding document."""
        return self.folder / "genesis.json"

    def root(self, party: str) -> PrivateKey:
        """Return the root key of a party, which in a trial has one."""
        return read_key_file(self.folder / party / "roots" / "root-1.key")

    # Its nodes

    def start(self) -> float:
        """Run the nodes and return how many seconds it took until one leads.

        Raises:
            StoryFailed: They do not, in time.
        """
        started_s = time.perf_counter()
        try:
            self.network.start()
            self.leader()
        except ServerFailed as error:
            self.stop()
            raise StoryFailed(str(error)) from error
        return time.perf_counter() - started_s

    def leader(self) -> str:
        """Return which voter leads, waiting for one that does.

        Raises:
            ServerFailed: None does, in time.
        """
        return self.network.leader(self.network.client_settings(EXPORTER))

    def stop(self) -> None:
        """Hang up, and end the nodes as an operator does.

        Raises:
            StoryFailed: One did not end well.
        """
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self.hang_up()
        ended = self.network.stop()
        bad = {name: status for name, status in ended.items() if status}
        if bad:
            raise StoryFailed(f"ended badly, as their logs say: {bad}")

    # Its members' systems

    def session(self, client: str) -> LedgerSession:
        """Return a client's session, "<party>/<holder>", to read by: all that was told is there."""
        if client not in self._sessions:
            self._sessions[client] = LedgerSession(self.network.client_settings(client))
        self._sessions[client].reach(self._newest_index)
        return self._sessions[client]

    def hang_up(self) -> None:
        """Close the sessions that read, as their nodes may be gone; they are opened anew."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def submit(self, client: str, events: Sequence[event_pb2.Event]) -> list[ToldEvent]:
        """Submit events and return what became of each."""
        if client not in self._clients:
            self._clients[client] = Client(self.network.client_settings(client))
        raw = [event.SerializeToString(deterministic=True) for event in events]
        deliveries = self._clients[client].submit_all(raw)
        results = [_result_of(delivery) for delivery in deliveries]
        self._newest_index = max(self._newest_index, results[-1].index or 0)
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
        checkpoint = self.session(client).checkpoint_over(told[-1].index)
        if not checkpoint.findings.is_final:
            raise StoryFailed(f"the checkpoint of size {checkpoint.size} is not final")
        final_s = time.perf_counter()
        return self.remember(
            name,
            client,
            told,
            acknowledged_ms=(acknowledged_s - started_s) * 1_000,
            final_ms=(final_s - started_s) * 1_000,
        )

    def remember(
        self,
        name: str,
        client: str,
        told: Sequence[ToldEvent],
        *,
        acknowledged_ms: float = 0.0,
        final_ms: float = 0.0,
    ) -> Telling:
        """Keep what was told for later chapters.

        Raises:
            StoryFailed: An event was refused.
        """
        for each in told:
            if each.result.outcome is not Outcome.ACCEPTED:
                raise StoryFailed(f"{client} was refused: {each.result.detail}")
        self.tellings[name] = Telling(
            client=client,
            events=tuple(told),
            acknowledged_ms=acknowledged_ms,
            final_ms=final_ms,
        )
        return self.tellings[name]

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


def _result_of(delivery: Delivery) -> EventResult:
    """Return what became of an event, also where it was refused."""
    try:
        return delivery.result(ACKNOWLEDGED_S)
    except SubmissionRefused as error:
        return error.result
