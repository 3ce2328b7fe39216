"""Three voters and a witness as real processes, and the history that their client has seen."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lotmark.client import LedgerSession
from lotmark.client.connection import open_channel
from lotmark.client.session import READ_KEY
from lotmark.client.settings import ClientSettings
from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import NodeStatus, TrialNetwork, free_address
from lotmark_node.trial.server_process import ServerProcess
from tests.network.relays import Relays
from tests.node.ledger_in_memory import measurement
from tests.node.submitting import submit_events

VOTERS = ("OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1")
WITNESS = "LAB-17025/w1"
CLIENT = "OEM-A/erp"
WAIT_MAX_S = 30.0


class Network:
    """A network under test.

    Attributes:
        trial: Its folder and processes.
        client: Whose events go in.
        acknowledged: By event id: the entry index that the acknowledgement named.
        relays: Between the voters, where it was made with them.
    """

    def __init__(self, folder: Path, *, relays: Relays | None = None) -> None:
        plan = make_plan(
            "faults",
            [],
            [f"{name}@{free_address()}" for name in VOTERS],
            [CLIENT],
            [f"{WITNESS}@{free_address()}"],
        )
        self.trial = TrialNetwork(folder, plan)
        self.client: ClientSettings = self.trial.client_settings(CLIENT)
        self.acknowledged: dict[bytes, int] = {}
        self.relays = relays
        self._made_count = 0
        if relays is not None:
            for name in VOTERS:
                self._relay(name, relays)

    def _relay(self, name: str, relays: Relays) -> None:
        """Let a voter call each other one through a relay."""
        settings = self.trial.node_settings(name)
        text = settings.read_text()
        for peer in VOTERS:
            if peer != name:
                line = f'"{peer}" = "{self.settings_of(peer).node_address}"'
                assert line in text, "each peer has a line in the settings"
                address = relays.open(name, peer, self.settings_of(peer).node_address)
                text = text.replace(line, f'"{peer}" = "{address}"')
        settings.write_text(text)

    def build(self, module: str) -> None:
        """Let every voter be a test build, a module that is run with the node's settings file."""
        for name in VOTERS:
            settings = self.trial.node_settings(name)
            self.trial.voters[name] = ServerProcess(
                name, ["-m", module, str(settings)], settings.with_name("node.log")
            )

    def mend(self) -> None:
        """Start whoever does not run, and wait until all have come to one size under a leader."""
        down = [voter for voter in self.trial.voters.values() if not voter.runs]
        for voter in down:
            voter.launch()
        for voter in down:
            voter.wait_ready()
        self.leader()
        self.wait_same_size()

    def wait_same_size(self, names: tuple[str, ...] = VOTERS) -> None:
        until(lambda: len({self.status(name).size for name in names}) == 1)

    def voter(self, name: str) -> ServerProcess:
        return self.trial.voters[name]

    def restart(self, name: str) -> None:
        """Start a voter that does not run, and wait until it takes calls."""
        self.voter(name).launch()
        self.voter(name).wait_ready()

    def leader(self, *, other_than: tuple[str, ...] = ()) -> str:
        return self.trial.leader(self.client, other_than=other_than)

    def followers(self) -> list[str]:
        leader = self.leader()
        return [name for name in VOTERS if name != leader]

    def status(self, name: str) -> NodeStatus:
        """Return what a voter tells of itself; a busy machine is given time."""
        told: list[NodeStatus] = []

        def answers() -> bool:
            status = self.trial.status(name, self.client)
            told.extend([status] if status is not None else [])
            return bool(told)

        until(answers)
        return told[0]

    def size(self, at: str, *, read: str) -> int:
        """Return the tree size that a voter answers to a question that says how fresh it must be.

        Raises:
            grpc.RpcError: It gives no such answer.
        """
        with open_channel(self.settings_of(at)) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            wish = ((READ_KEY, read),)
            position = stub.GetLedger(
                ledger_pb2.GetLedgerRequest(), metadata=wish, timeout=WAIT_MAX_S
            )
        return position.size

    def settings_of(self, name: str) -> ClientSettings:
        """Return the client's settings with this voter as the only one."""
        party, _, node = name.partition("/")
        return next(
            each
            for each in self.client.each_node()
            if (each.node_party, each.node_name) == (party, node)
        )

    def session(self, at: str | None = None) -> LedgerSession:
        """Open a session at whatever node answers, or at one voter."""
        return LedgerSession(self.client if at is None else self.settings_of(at))

    def new_event(self) -> bytes:
        """Return an event that was not there before."""
        self._made_count += 1
        return measurement(self._made_count)

    def submit(self, count: int = 3, *, at: str | None = None) -> None:
        """Put events on record, each in a batch of its own, and remember what was acknowledged."""
        for _ in range(count):
            settings = self.client if at is None else self.settings_of(at)
            (result,) = submit_events(settings, [self.new_event()])
            assert result.outcome is Outcome.ACCEPTED, result.detail
            assert result.index is not None
            assert result.event_id not in self.acknowledged, "acknowledged twice"
            self.acknowledged[result.event_id] = result.index

    def check_history(self, names: tuple[str, ...] = VOTERS) -> None:
        """Every acknowledged event stands once, at its place, on each voter, in one order."""
        self.wait_same_size(names)
        orders = []
        for name in names:
            with self.session(name) as session:
                for event_id, index in self.acknowledged.items():
                    assert session.entry(event_id).head.index == index
                size = session.ledger().size
                orders.append([session.entry(index).leaf_data for index in range(size)])
        assert all(order == orders[0] for order in orders)

    def check_final(self, at: str | None = None) -> None:
        """A final checkpoint comes to cover the newest acknowledged event."""
        with self.session(at) as session:
            checkpoint = session.checkpoint_over(max(self.acknowledged.values()))
        assert checkpoint.findings.is_final


@contextmanager
def running_network(
    folder: Path,
    *,
    relays: Relays | None = None,
    build: str | None = None,
    faults: Mapping[str, str] | None = None,
) -> Iterator[Network]:
    """Run a network in a new folder, and end it.

    Args:
        folder: Which one.
        relays: Between the voters; None: they call each other directly.
        build: As of `Network.build`; None: the program.
        faults: That every voter of a test build has from its start, by file.
    """
    network = Network(folder, relays=relays)
    if build is not None:
        network.build(build)
    for name in VOTERS:
        for file, value in (faults or {}).items():
            network.trial.node_settings(name).with_name(file).write_text(value)
    try:
        network.trial.start()
        network.leader()
        yield network
    finally:
        network.trial.stop()


def until(condition: Callable[[], bool]) -> None:
    """Wait, with a deadline, for another process's state, which nothing announces."""
    end_s = time.monotonic() + WAIT_MAX_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.05)


def lotmark(*arguments: str) -> list[str]:
    """Return the command line of our program."""
    return [sys.executable, "-m", "lotmark_node.main", *arguments]
