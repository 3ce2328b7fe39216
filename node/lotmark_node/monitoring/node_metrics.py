"""A node's metrics, read when somebody asks for them from what the node knows anyway.

Labels are of closed sets: voters, roles, stages, outcomes, purposes. Keys, items, clients and
parties without a voter are in none, so that the number of series is known beforehand.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lotmark.key_grant import NEVER, KeyPurpose
from lotmark.outcome import MEANINGS, Outcome
from lotmark.state_rows import node_keys
from lotmark_consensus.ordering import OrderingStatus, Role
from lotmark_node.engine.evidence_folder import FOLDER as EVIDENCE
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.monitoring.families import counter, counters, gauge, gauges, histogram
from lotmark_node.monitoring.lifetimes import lifetimes
from lotmark_node.rpc.identity import Identities

_NS = 1_000_000_000


def node_registry(
    engine: LedgerEngine, identities: Identities, certificates: Callable[[], Mapping[str, int]]
) -> CollectorRegistry:
    """Return all metrics of a node and of its process.

    Args:
        engine: The node's.
        identities: Who has called it.
        certificates: Returns when each of the node's own certificates ends, Unix time in ms.
    """
    registry = CollectorRegistry()
    registry.register(NodeMetrics(engine, identities, certificates))
    ProcessCollector(registry=registry)
    return registry


def not_ready(engine: LedgerEngine) -> str | None:
    """Return why a node takes no events, None while it does."""
    closed = engine.admission.closed
    if closed is None:
        return None
    meaning = MEANINGS[closed]
    why = f"; the ledger has failed: {engine.failure}" if engine.failure else ""
    return f"{engine.name} takes no events: {meaning.text}{why}"


class NodeMetrics(Collector):
    """Reads a running node; from any thread, and never waits for the node's own."""

    def __init__(
        self,
        engine: LedgerEngine,
        identities: Identities,
        certificates: Callable[[], Mapping[str, int]],
    ) -> None:
        self._engine = engine
        self._identities = identities
        self._certificates = certificates
        self._voters = sorted(f"{voter.party}/{voter.node}" for voter in engine.genesis.voters)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        yield gauges("build_info", "Always 1.", "version", {version("lotmark"): 1})
        order = self._engine.ordering.status()
        yield from self._order(order)
        yield from self._network(order)
        yield from self._admission()
        yield from self._ledger()
        yield from self._checkpoints()
        yield from self._disk()
        yield from self._lifetimes()

    def _order(self, order: OrderingStatus) -> Iterator[Metric]:
        leader = self._engine.name if self._engine.leadership.leads else order.leader
        roles = {role.value: float(role is order.role) for role in Role}
        yield gauges("role", "1 for what this node does for the order.", "role", roles)
        yield gauges(
            "leader",
            "1 for the voter that leads, as far as this node knows.",
            "node",
            {name: float(name == leader) for name in self._voters},
        )
        yield gauge("term", "Term of the order.", order.term)
        yield gauge("order_first_index", "First entry of the journal.", order.first_index)
        yield gauge("order_last_index", "Last entry of the journal.", order.last_index)
        yield gauge("order_committed_index", "Last committed entry.", order.committed_index)
        applied_index = self._engine.applied_index
        yield gauge("order_applied_index", "Last entry in the ledger.", applied_index)
        if order.durable_writes is not None:
            yield histogram(
                "order_write_seconds", "A write of the journal, fsync too.", order.durable_writes
            )

    def _network(self, order: OrderingStatus) -> Iterator[Metric]:
        if (network := order.network) is None:
            return
        yield counter("elections", "Elections that this node began.", network.elections)
        lag = {
            peer: float(max(0, order.last_index - index))
            for peer, index in network.match_index.items()
            if peer in network.voters and peer != self._engine.name
        }
        yield gauges(
            "peer_lag_entries", "While leading: entries a peer has not acknowledged.", "peer", lag
        )
        yield gauges(
            "peer_queued_bytes",
            "Bytes that wait to be sent to a peer.",
            "peer",
            dict(network.queued_size),
        )
        yield counters(
            "frames_refused",
            "Peers' frames, votes and entries not followed, by reason.",
            ("reason",),
            [((reason,), count) for reason, count in network.counters.items()],
        )

    def _admission(self) -> Iterator[Metric]:
        engine, admission, traffic = self._engine, self._engine.admission, self._engine.traffic
        takes = float(admission.closed is None)
        yield gauge("takes_events", "1 while new events are taken.", takes)
        yield _by_outcome("admission_answers", "Batches answered here.", traffic.admission)
        yield counter("admitted_events", "Events taken here.", traffic.admitted_events)
        yield gauge("waiting_batches", "Batches taken, not applied.", engine.waiting_count)
        yield gauge("waiting_events", "Events taken, not applied.", admission.waiting_events)
        yield gauge("waiting_bytes", "Bytes taken, not applied.", admission.waiting_size)
        yield gauge("held_batches", "Batches before their turn.", admission.held_count)
        yield histogram(
            "acknowledgement_seconds",
            "From a batch's admission here to its acknowledgement.",
            traffic.acknowledgement.read(),
        )
        calls = dict(self._identities.refused.counts)
        yield counters(
            "calls_refused",
            "Calls ended before they began, by reason and method.",
            ("reason", "rpc"),
            [((reason.value, rpc), count) for (reason, rpc), count in calls.items()],
        )

    def _ledger(self) -> Iterator[Metric]:
        state, traffic = self._engine.state, self._engine.traffic
        yield counter("applied_blocks", "Blocks applied.", traffic.blocks)
        yield _by_outcome("applied_batches", "Batches that came on the log.", traffic.batches)
        yield _by_outcome("applied_events", "Events that came on the log.", traffic.events)
        yield gauge("height", "Newest block.", state.height)
        yield gauge("tree_size", "Entries of the log.", state.size)
        yield gauge(
            "newest_block_timestamp_seconds", "Time of the newest block.", state.time_ms / 1_000
        )
        used_ns = dict(self._engine.clock.used_ns)
        yield counters(
            "stage_processor_seconds",
            "Processor time by stage.",
            ("stage",),
            [((stage,), ns / _NS) for stage, ns in used_ns.items()],
        )

    def _checkpoints(self) -> Iterator[Metric]:
        checkpoints = self._engine.checkpoints
        final, since_s = checkpoints.newest_final, checkpoints.final_since_s
        yield gauge("signed_size", "Largest tree signed here.", checkpoints.signed_size)
        yield gauge("final_size", "Largest final tree known.", final.head.size if final else 0)
        if since_s is not None:
            yield gauge(
                "final_checkpoint_age_seconds",
                "Since the newest final checkpoint was found.",
                time.monotonic() - since_s,
            )
        yield gauge(
            "checkpoints_failed", "1: nothing is signed any more.", float(bool(checkpoints.failure))
        )
        evidence = _file_sizes(self._engine.folder / EVIDENCE)
        yield gauge("evidence_files", "Files of evidence kept.", len(evidence))

    def _disk(self) -> Iterator[Metric]:
        folder = self._engine.folder
        sizes = {name: float(sum(_file_sizes(folder / name))) for name in ("journal", "ledger")}
        yield gauges("folder_bytes", "Bytes of a folder of the data.", "folder", sizes)
        disk = shutil.disk_usage(folder)
        yield gauge("disk_free_bytes", "Free on the disk of the data.", disk.free)
        yield gauge("disk_size_bytes", "Size of the disk of the data.", disk.total)

    def _lifetimes(self) -> Iterator[Metric]:
        seen = dict(self._identities.ends_ms)
        voters = set(self._voters)
        yield from lifetimes(
            certificates=self._certificates(),
            keys=self._key_ends_ms(),
            peers={name: end_ms for name, end_ms in seen.items() if name in voters},
            clients=[end_ms for name, end_ms in seen.items() if name not in voters],
            now_ms=self._engine.now_ms(),
        )

    def _key_ends_ms(self) -> dict[str, int]:
        """Return when the node's newest key of each purpose ends, by the ledger."""
        ends: dict[str, int] = {}
        party = self._engine.name.partition("/")[0]
        for _, row in node_keys(self._engine.store, party=party):
            own = f"{row.party}/{row.holder}" == self._engine.name
            if own and row.revoked_height == NEVER:
                name = KeyPurpose(row.purpose).name.lower()
                ends[name] = max(ends.get(name, 0), row.not_after_ms)
        return ends


def _by_outcome(name: str, text: str, counts: Mapping[int, int]) -> Metric:
    shown = [((Outcome(code).name,), count) for code, count in dict(counts).items()]
    return counters(name, text, ("outcome",), shown)


def _file_sizes(folder: Path) -> list[int]:
    """Return the sizes of the files in a folder; those deleted meanwhile are passed over."""
    sizes = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    sizes.append(entry.stat().st_size)
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        return []
    return sizes
