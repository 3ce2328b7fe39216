"""How long a network needs after a fault: without its leader, and for a voter that was away."""

import threading
import time
from dataclasses import dataclass

import grpc

from lotmark.client.connection import open_channel
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_node.bench.load import Load
from lotmark_node.bench.network_load import NetworkLoad
from lotmark_node.trial.server_process import ServerFailed

AGAIN_S = 0.01  # from a refusal to the next try
LIGHT_PAUSE_S = 0.02  # between two events of the light load
ACKNOWLEDGED_MAX_S = 60.0
POLL_S = 0.05
CATCH_UP_MAX_S = 600.0
FILL_MAX_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """How a voter caught up that had been away."""

    events: int  # that it was behind when it took calls again
    seconds: float
    by_blocks: bool  # fetched from a peer's ledger, as the order no longer held all of them


def fail_over(traffic: NetworkLoad) -> float:
    """Kill the leader under a light load, and return how long nobody was served, in seconds.

    It is the time from the kill until the first event is acknowledged that was submitted after it,
    by a client of one surviving voter's party through the other. The killed voter is back and has
    caught up when this returns.
    """
    leader = traffic.leader()
    node, other = (name for name in traffic.network.voters if name != leader)
    probe = traffic.open(node, 1, party_of=other)
    light = _LightLoad(traffic.open(node, 1))
    with light:
        start_s = time.perf_counter()
        traffic.network.voters[leader].kill()
        with open_channel(probe.settings) as channel:
            _submit_until_acknowledged(ledger_pb2_grpc.LedgerServiceStub(channel), probe)
        taken_s = time.perf_counter() - start_s
    size = traffic.status(node).size
    _restart(traffic, leader)
    _wait_size(traffic, leader, size)
    return taken_s


def catch_up(traffic: NetworkLoad, load: Load, events: int) -> CaughtUp:
    """Stop a follower, send events, start it, and return how it caught up."""
    network = traffic.network
    leader = traffic.leader()
    follower = [name for name in network.voters if name != leader][-1]
    size = traffic.status(follower).size
    network.voters[follower].stop()
    traffic.fill(load, events, max_s=FILL_MAX_S)
    target = traffic.status(leader).size
    _restart(traffic, follower)
    start_s = time.perf_counter()
    server = network.voters[follower]
    size_ready = server.ready["size"]
    assert isinstance(size_ready, int), "a node tells its size when it is ready"
    _wait_size(traffic, follower, target)
    return CaughtUp(
        events=events * (target - size_ready) // (target - size),
        seconds=time.perf_counter() - start_s,
        by_blocks=server.logged("state transfer done") is not None,
    )


class _LightLoad:
    """One event after the other on a thread, from the first acknowledgement to the end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._flows = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="light load", daemon=True)

    def __enter__(self) -> "_LightLoad":
        self._thread.start()
        if not self._flows.wait(ACKNOWLEDGED_MAX_S):
            raise TimeoutError(f"nothing was acknowledged within {ACKNOWLEDGED_MAX_S:g} s")
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with open_channel(self._load.settings) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            while not self._stop.is_set():
                _submit_until_acknowledged(stub, self._load)
                self._flows.set()
                self._stop.wait(LIGHT_PAUSE_S)


def _submit_until_acknowledged(stub: ledger_pb2_grpc.LedgerServiceStub, load: Load) -> None:
    """Submit one event, again and again: the log takes it once.

    Raises:
        TimeoutError: It was not acknowledged in time.
    """
    request = ledger_pb2.SubmitRequest(batches=load.ready(1))
    end_s = time.monotonic() + ACKNOWLEDGED_MAX_S
    told = "no answer"
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            response = stub.Submit(request, timeout=left_s)
        except grpc.RpcError as error:
            told = str(error)
            time.sleep(AGAIN_S)
            continue
        if any(answer.HasField("acknowledgement") for answer in response.answers):
            load.took(1)
            return
        told = "the batch was refused"
        time.sleep(AGAIN_S)
    raise TimeoutError(f"nothing was acknowledged within {ACKNOWLEDGED_MAX_S:g} s: {told}")


def _restart(traffic: NetworkLoad, name: str) -> None:
    server = traffic.network.voters[name]
    server.launch()
    server.wait_ready()


def _wait_size(traffic: NetworkLoad, name: str, size: int) -> None:
    end_s = time.monotonic() + CATCH_UP_MAX_S
    while time.monotonic() < end_s:
        if (found := traffic.status(name).size) >= size:
            return
        time.sleep(POLL_S)
    raise ServerFailed(f"{name} has {found} of {size} entries after {CATCH_UP_MAX_S:g} s")
