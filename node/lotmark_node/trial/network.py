"""A network of voters and witnesses, each a process: founded, started, killed and asked."""

import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lotmark.client.calls import node_errors
from lotmark.client.connection import open_channel, place
from lotmark.client.settings import ClientSettings, read_client_settings
from lotmark.genesis import Parameters
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_node.consortium.found import Founded, found_consortium
from lotmark_node.consortium.plan import ConsortiumPlan
from lotmark_node.trial.server_process import ServerFailed, ServerProcess

ANSWER_S = 2.0
POLL_S = 0.02
LEADER_MAX_S = 30.0

NodeStatus = ledger_pb2.GetNodeStatusResponse


def free_address() -> str:
    """Return an address on this machine where nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def servers_in(folder: Path) -> list[ServerProcess]:
    """Return the nodes and witnesses whose settings stand in the folder of a consortium.

    Raises:
        ServerFailed: There are none.
    """
    found = [
        _server(kind, f"{settings.parts[-4]}/{settings.parts[-2]}", settings)
        for kind, where in (("witness", "witnesses"), ("node", "nodes"))
        for settings in sorted(folder.glob(f"*/{where}/*/{kind}.toml"))
    ]
    if not found:
        raise ServerFailed(
            f"{folder} holds no PARTY/nodes/NODE/node.toml; name the folder that `lotmark init` or"
            " `lotmark demo` made, such as demo-run/consortium"
        )
    return found


def start_all(servers: Iterable[ServerProcess]) -> None:
    """Start processes and return when all take calls.

    Raises:
        ServerFailed: One does not, in time.
    """
    servers = list(servers)
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_ready()


def stop_all(servers: Iterable[ServerProcess]) -> dict[str, int | None]:
    """End processes, as an operator does; return the exit status of each by name."""
    servers = list(servers)
    with ThreadPoolExecutor(len(servers)) as pool:  # no voter waits for a quorum that is gone
        ended = pool.map(lambda server: server.stop(), servers)
        return dict(zip((server.name for server in servers), ended, strict=True))


def _server(kind: str, name: str, settings: Path) -> ServerProcess:
    """Return the process of a node or witness, not started yet."""
    arguments = ["-m", "lotmark_node.main", kind, "run", str(settings), "--json"]
    return ServerProcess(name, arguments, settings.with_name(f"{kind}.log"))


class TrialNetwork:
    """A consortium in a folder, with every key: a trial, as `lotmark init` makes it.

    Attributes:
        founded: What was founded.
        voters: The nodes' processes, by "<party>/<node>".
        witnesses: The witnesses' processes, by "<party>/<witness>".
    """

    def __init__(
        self, folder: Path, plan: ConsortiumPlan, *, parameters: Parameters | None = None
    ) -> None:
        """Found a consortium in a folder that is new or empty; nothing runs yet."""
        now_ms = time.time_ns() // 1_000_000 - 1_000
        more = {} if parameters is None else {"parameters": parameters}
        self.folder = folder
        self.founded: Founded = found_consortium(folder, plan, now_ms=now_ms, **more)
        self.voters = {
            node.full_name: _server("node", node.full_name, self.node_settings(node.full_name))
            for node in plan.nodes
        }
        self.witnesses = {
            witness.full_name: _server(
                "witness", witness.full_name, self._witness_settings(witness.full_name)
            )
            for witness in plan.witnesses
        }

    def node_settings(self, name: str) -> Path:
        """Return a voter's settings file."""
        return self.folder / name.replace("/", "/nodes/") / "node.toml"

    def _witness_settings(self, name: str) -> Path:
        return self.folder / name.replace("/", "/witnesses/") / "witness.toml"

    def client_file(self, name: str) -> Path:
        """Return the settings file of a client, "<party>/<holder>"."""
        return self.folder / name.replace("/", "/clients/") / "client.toml"

    def client_settings(self, name: str) -> ClientSettings:
        """Return the settings of a client, "<party>/<holder>"."""
        return read_client_settings(self.client_file(name))

    def start(self) -> None:
        """Start everything and return when all take calls.

        Raises:
            ServerFailed: One does not, in time.
        """
        start_all([*self.witnesses.values(), *self.voters.values()])

    def stop(self) -> dict[str, int | None]:
        """End everything that runs, as an operator does; return the exit status of each."""
        return stop_all([*self.voters.values(), *self.witnesses.values()])

    def status(self, name: str, client: ClientSettings) -> NodeStatus | None:
        """Return what a voter tells a client of itself, None where it does not answer."""
        party, _, own = name.partition("/")
        node = next(
            each for each in client.each_node() if (each.node_party, each.node_name) == (party, own)
        )
        with open_channel(node) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            try:
                with node_errors(place(node), ANSWER_S):
                    return stub.GetNodeStatus(ledger_pb2.GetNodeStatusRequest(), timeout=ANSWER_S)
            except (ConnectionError, TimeoutError):
                return None

    def leader(
        self, client: ClientSettings, *, other_than: Iterable[str] = (), max_s: float = LEADER_MAX_S
    ) -> str:
        """Wait until a voter leads, and return its name.

        Args:
            client: Who asks.
            other_than: Voters that are not asked.
            max_s: How long to wait.

        Raises:
            ServerFailed: None does, in time.
        """
        asked = [name for name in self.voters if name not in set(other_than)]
        end_s = time.monotonic() + max_s
        while time.monotonic() < end_s:
            told = [self.status(name, client) for name in asked if self.voters[name].runs]
            leaders = [each for each in told if each is not None and each.role == "leader"]
            if leaders:
                return max(leaders, key=lambda each: each.term).node
            time.sleep(POLL_S)
        raise ServerFailed(f"none of {', '.join(asked)} leads after {max_s:g} s")
