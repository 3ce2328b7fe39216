"""`lotmark bench network`: three voters and a witness on one machine, TLS, fsync, everything on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lotmark_node import terminal
from lotmark_node.bench import machine, order_bench
from lotmark_node.bench.load import Load
from lotmark_node.bench.network_faults import FILL_MAX_S, CaughtUp, catch_up, fail_over
from lotmark_node.bench.network_load import HOLDER, NetworkLoad
from lotmark_node.bench.order_bench import OrderFigures
from lotmark_node.bench.running import (
    WIDE,
    per_event_us,
    running,
    servers_of,
    stage_ns,
    stopped,
)
from lotmark_node.bench.sending import Sent
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import TrialNetwork, free_address

WITNESS = "LAB-17025/w1"
DAY_EVENTS = 180_000
OFFERED_PER_S = 2_300
OF_SATURATION = 0.8
SIGNED_PER_S = 25_000  # so many are signed for each second that is to be filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    seconds_64: float
    seconds_256: float
    seconds_follower: float
    seconds_offered: float  # at each of two rates
    day_events: int
    behind_events: int
    total_events: int  # before memory is measured
    failovers: int
    order_seconds: float  # for each figure of the order without a ledger


FULL = Extent(
    seconds_64=60,
    seconds_256=60,
    seconds_follower=30,
    seconds_offered=30,
    day_events=DAY_EVENTS,
    behind_events=1_000_000,
    total_events=5_000_000,
    failovers=3,
    order_seconds=10,
)
QUICK = Extent(
    seconds_64=5,
    seconds_256=4,
    seconds_follower=2,
    seconds_offered=3,
    day_events=DAY_EVENTS // 6,
    behind_events=25_600,
    total_events=0,
    failovers=1,
    order_seconds=1,
)


def run(*, quick: bool) -> dict[str, object]:
    """Run the bench and return its figures."""
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        return measure(Path(folder), QUICK if quick else FULL)


def measure(folder: Path, extent: Extent) -> dict[str, object]:
    """Run the bench in an empty folder and return its figures."""
    figures: dict[str, object] = {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "load": machine.load(),
        "fdatasync_p99_ms": machine.fdatasync_p99_ms(folder),
    }
    nodes = [f"{name}@{free_address()}" for name in order_bench.VOTERS]
    clients = [f"{name.partition('/')[0]}/{HOLDER}" for name in order_bench.VOTERS]
    plan = make_plan("bench", [], nodes, clients, [f"{WITNESS}@{free_address()}"])
    traffic = NetworkLoad(TrialNetwork(folder / "consortium", plan, parameters=WIDE))
    measured: dict[str, object] = {}
    figures |= _steady(traffic, extent, measured)
    figures |= _shaken(traffic, extent, measured)
    order = order_bench.measure(folder, seconds=extent.order_seconds)
    figures |= _beside_etcd(order, figures["events_per_s_64"])
    return figures | {"measured": measured}


def _steady(traffic: NetworkLoad, extent: Extent, measured: dict[str, object]) -> dict[str, object]:
    """Measure what is sent to the leader in batches of 64, and what each node needs for it."""
    network = traffic.network
    with running(servers_of(network)):
        leader = traffic.leader()
        load = traffic.open(leader, 64)
        terminal.note("Signing events beforehand")
        load.ready(round(extent.seconds_64 * SIGNED_PER_S))
        term, before_ns = traffic.status(leader).term, _processor_ns(network)
        full = traffic.saturate(load, events=_all(load), seconds=extent.seconds_64)
        rate = full.events / full.seconds
        busy = traffic.offer(
            load, events_per_s=OF_SATURATION * rate, seconds=extent.seconds_offered
        )
        calm = traffic.offer(load, events_per_s=OFFERED_PER_S, seconds=extent.seconds_offered)
        load.ready(extent.day_events)
        day = traffic.saturate(load, events=extent.day_events, seconds=FILL_MAX_S)
        used_ns = {name: used - before_ns[name] for name, used in _processor_ns(network).items()}
        measured |= {
            "batches_64": _extent_of(full),
            "offered_80_per_cent": _extent_of(busy),
            "offered_2300": _extent_of(calm),
            "day": _extent_of(day),
            "terms": traffic.status(leader).term - term,
        }
    return {
        "events_per_s_64": round(rate),
        "p50_ms": _latency_ms(busy, 50),
        "p99_ms": _latency_ms(busy, 99),
        "p50_ms_at_2300": _latency_ms(calm, 50),
        "p99_ms_at_2300": _latency_ms(calm, 99),
        "p99_ms_saturated": _latency_ms(full, 99),
        "day_s": round(day.seconds * DAY_EVENTS / day.events, 1),
        "cpu_us_per_event": _costs(traffic, leader, used_ns)
        | {"client": round(full.client_processor_ns / full.events / 1_000, 2)},
    }


def _shaken(traffic: NetworkLoad, extent: Extent, measured: dict[str, object]) -> dict[str, object]:
    """Measure larger batches, a follower's clients, memory and faults, after a restart of all."""
    network = traffic.network
    with running(servers_of(network)):
        leader = traffic.leader()
        terminal.note("Signing events beforehand")
        load = traffic.open(leader, 256)
        load.ready(round(extent.seconds_256 * SIGNED_PER_S))
        large = traffic.saturate(load, events=_all(load), seconds=extent.seconds_256)
        follower = next(name for name in network.voters if name != leader)
        through = traffic.open(follower, 64)
        through.ready(round(extent.seconds_follower * SIGNED_PER_S))
        forwarded = traffic.saturate(through, events=_all(through), seconds=extent.seconds_follower)
        caught_up = catch_up(traffic, load, extent.behind_events)
        traffic.fill(load, extent.total_events - traffic.events, max_s=FILL_MAX_S)
        rss_mb = {name: machine.rss_mb(server.pid) for name, server in network.voters.items()}
        measured |= {
            "batches_256": _extent_of(large),
            "batches_64_to_a_follower": _extent_of(forwarded),
            "rss": {"events": traffic.events, "mb": rss_mb},
        }
        terminal.note("Killing leaders")
        failovers_s = [fail_over(traffic) for _ in range(extent.failovers)]
    measured |= {
        "catch_up": _catch_up_told(caught_up),
        "failovers_s": [round(taken_s, 2) for taken_s in failovers_s],
    }
    return {
        "events_per_s_256": round(large.events / large.seconds),
        "events_per_s_64_follower": round(forwarded.events / forwarded.seconds),
        "failover_s": round(median(failovers_s), 2),
        "catch_up_per_s": round(caught_up.events / caught_up.seconds),
        "rss_mb": max(rss_mb.values()),
    }


def _all(load: Load) -> int:
    """Return how many events of a load are signed."""
    return len(load.waiting) * load.batch_size


def _processor_ns(network: TrialNetwork) -> dict[str, int]:
    return {server.name: machine.processor_ns(server.pid) for server in servers_of(network)}


def _costs(traffic: NetworkLoad, leader: str, used_ns: dict[str, int]) -> dict[str, object]:
    """Return what each node needed for an event, from all that it was sent; it has stopped."""
    events = traffic.events
    costs = {
        name: per_event_us(stage_ns(stopped(traffic.network, name)), used_ns[name], events)
        for name in traffic.network.voters
    }
    return {
        "leader": costs.pop(leader),
        "followers": costs,
        "witness": round(used_ns[WITNESS] / events / 1_000, 2),
    }


def _beside_etcd(order: OrderFigures, events_per_s: object) -> dict[str, object]:
    """Return how many times faster ours is; None where etcd is not installed."""
    assert isinstance(events_per_s, int), "it was measured"
    ratios = None
    if order.etcd is not None:
        ratios = {f"ratio_{name}": order.ratio(name) for name in order_bench.BLOCKS}
        ratios["ratio_event"] = round(events_per_s / order.etcd["event"].per_s, 2)
    return {"etcd": ratios, "order": order.document()}


def _latency_ms(sent: Sent, per_cent: int) -> float:
    return round(machine.percentile(sent.latencies_ms, per_cent), 1)


def _extent_of(sent: Sent) -> dict[str, object]:
    return {
        "events": sent.events,
        "seconds": round(sent.seconds, 2),
        "events_per_s": round(sent.events / sent.seconds),
    }


def _catch_up_told(caught_up: CaughtUp) -> dict[str, object]:
    return {
        "events": caught_up.events,
        "seconds": round(caught_up.seconds, 2),
        "by_blocks": caught_up.by_blocks,
    }
