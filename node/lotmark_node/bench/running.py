"""The processes that a bench measures, from start to stop, and what they tell when they stop."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lotmark.genesis import Parameters
from lotmark_node import terminal
from lotmark_node.trial.network import TrialNetwork
from lotmark_node.trial.server_process import ServerFailed, ServerProcess

# Quotas that no bench meets.
WIDE = Parameters(
    duplicate_window_events=100_000,
    quota_events=10**9,
    quota_bytes=10**12,
    quota_signatures=10**9,
    quota_state_keys=10**9,
    item_epoch_entries=100_000,
    item_epoch_ms=60_000,
)


@contextmanager
def running(servers: Sequence[ServerProcess]) -> Iterator[None]:
    """Run processes for a while; the command ends where one does not start."""
    try:
        try:
            for server in servers:
                server.launch()
            for server in servers:
                server.wait_ready()
        except ServerFailed as error:
            terminal.fail(str(error))
        yield
    finally:
        # All at once: one after the other, each leader would wait for the next to take over.
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.stop(), servers))


def servers_of(network: TrialNetwork) -> list[ServerProcess]:
    """Return the processes of a whole network."""
    return [*network.witnesses.values(), *network.voters.values()]


def stopped(network: TrialNetwork, name: str) -> dict[str, object]:
    """Return what a node logged when it stopped.

    Raises:
        RuntimeError: It did not stop well.
    """
    server = network.voters[name]
    record = server.logged("ledger stopped")
    if record is None:
        raise RuntimeError(f"{name} did not stop well: {server.log.read_text()[-2_000:]}")
    return record


def stage_ns(record: dict[str, object]) -> dict[str, int]:
    """Return the processor time of each stage, from what a node logged when it stopped."""
    stages = record["stage_ns"]
    assert isinstance(stages, dict), "a node logs its stages"
    return stages


def per_event_us(stages: dict[str, int], processor_ns: int, events: int) -> dict[str, float]:
    """Return the processor time of each stage and of the rest, in us for each event."""
    costs = {name: ns / events / 1_000 for name, ns in sorted(stages.items())}
    costs["transport_and_rest"] = (processor_ns - sum(stages.values())) / events / 1_000
    costs["total"] = processor_ns / events / 1_000
    return {name: round(cost, 2) for name, cost in costs.items()}
