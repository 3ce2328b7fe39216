"""`lotmark bench order`: three voters order opaque blocks without a ledger; beside them etcd.

Ours have mTLS and propose in the leader's process, as a ledger does; etcd's members talk in clear,
and its puts come from a client, as it has no other way in. Both keep their data on one disk.
"""

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from lotmark.client.connection import open_channel
from lotmark.client.settings import ClientSettings
from lotmark_node import terminal
from lotmark_node.bench import machine
from lotmark_node.bench.etcd_cluster import (
    etcd_cluster,
    etcd_version,
    missing_programs,
    pump_puts,
)
from lotmark_node.bench.order_voter import ANSWERS_MAX_S, METHOD, SERVICE
from lotmark_node.bench.pumped import Pumped
from lotmark_node.bench.running import WIDE, running
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import TrialNetwork, free_address
from lotmark_node.trial.server_process import ServerProcess

FULL_S = 10.0  # for each figure
QUICK_S = 1.0
VOTERS = ("OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1")
CLIENT = "OEM-A/load"
LEADER_MAX_S = 30.0
POLL_S = 0.1

# Name of a figure -> block size, and how many are always on their way.
BLOCKS = {"64k": (64 << 10, 16), "1m": (1 << 20, 4)}
EVENT = (350, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFigures:
    """How fast both were."""

    ours: dict[str, Pumped]  # by the names in `BLOCKS`
    etcd: dict[str, Pumped] | None  # the same, and "event"; None where it is not installed
    etcd_told: str  # its version, or why it was not measured

    def ratio(self, name: str) -> float | None:
        """Return how many times faster ours is."""
        if self.etcd is None:
            return None
        return round(self.ours[name].per_s / self.etcd[name].per_s, 2)

    def document(self) -> dict[str, object]:
        """Return what a bench prints of it."""
        return {
            "ours": {name: pumped.figures() for name, pumped in self.ours.items()},
            "etcd": self.etcd and {name: pumped.figures() for name, pumped in self.etcd.items()},
            "etcd_told": self.etcd_told,
        }


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        about = {
            "machine": machine.machine(),
            "versions": machine.versions(),
            "load": machine.load(),
            "fdatasync_p99_ms": machine.fdatasync_p99_ms(Path(folder)),
        }
        measured = measure(Path(folder), seconds=QUICK_S if quick else FULL_S)
        ratios = {f"ratio_{name}": measured.ratio(name) for name in BLOCKS}
        return about | measured.document() | ratios


def measure(folder: Path, *, seconds: float) -> OrderFigures:
    """Measure ours and, where it is installed, etcd, one after the other.

    Args:
        folder: Where both may make a folder of their own.
        seconds: For each figure.
    """
    ours = _measure_ours(folder / "order", seconds)
    if missing := missing_programs():
        told = f"not measured: {' and '.join(missing)} not installed"
        return OrderFigures(ours=ours, etcd=None, etcd_told=told)
    return OrderFigures(
        ours=ours, etcd=_measure_etcd(folder / "etcd", seconds), etcd_told=etcd_version()
    )


def _measure_ours(folder: Path, seconds: float) -> dict[str, Pumped]:
    plan = make_plan("bench", [], [f"{name}@{free_address()}" for name in VOTERS], [CLIENT])
    network = TrialNetwork(folder, plan, parameters=WIDE)
    client = network.client_settings(CLIENT)
    voters = [_voter(name, network.node_settings(name)) for name in VOTERS]
    terminal.note("Ordering opaque blocks")
    with running(voters):
        return {
            name: _ask_leader(client, {"size": size, "in_flight": in_flight, "seconds": seconds})
            for name, (size, in_flight) in BLOCKS.items()
        }


def _voter(name: str, settings: Path) -> ServerProcess:
    module = "lotmark_node.bench.order_voter"
    return ServerProcess(name, ["-m", module, str(settings)], settings.with_name("node.log"))


def _ask_leader(client: ClientSettings, load: dict[str, float]) -> Pumped:
    """Have the voter that leads, or will lead soon, make a load of blocks.

    Raises:
        TimeoutError: None leads, in time.
        RuntimeError: The load failed.
    """
    end_s = time.monotonic() + LEADER_MAX_S
    while time.monotonic() < end_s:
        for voter in client.each_node():
            with open_channel(voter) as channel:
                ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                    f"/{SERVICE}/{METHOD}"
                )
                try:
                    answer = ask(json.dumps(load).encode(), timeout=load["seconds"] + ANSWERS_MAX_S)
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                        raise RuntimeError(f"no load was ordered: {error}") from error
                else:
                    return Pumped(**json.loads(answer))
        time.sleep(POLL_S)
    raise TimeoutError(f"none of {', '.join(VOTERS)} leads after {LEADER_MAX_S:g} s")


def _measure_etcd(folder: Path, seconds: float) -> dict[str, Pumped]:
    terminal.note("Putting the same to etcd")
    with etcd_cluster(folder) as address:
        return {
            name: asyncio.run(pump_puts(address, size=size, in_flight=in_flight, seconds=seconds))
            for name, (size, in_flight) in (BLOCKS | {"event": EVENT}).items()
        }
