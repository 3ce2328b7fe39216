"""`lotmark bench provenance`: traces, recalls and histories, SQLite beside them."""

import os
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Generic, Self, TypeVar

from lotmark.client.provenance import ProvenanceReader
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.event import CheckedEvent, check_event
from lotmark.event_links import LINKING_BODIES, links
from lotmark_node import collector, terminal
from lotmark_node.bench import machine
from lotmark_node.bench.generate_bench import SEED, History, make_history, read_history
from lotmark_node.bench.history_ledger import (
    NODE,
    HistoryLedger,
    client_settings_file,
    node_settings_file,
)
from lotmark_node.bench.index_cost import index_and_chain_us
from lotmark_node.bench.line_history import (
    CUSTOMER,
    STATOR_STEM,
    UNITS_PER_CONTAINER,
    UNITS_PER_HEAT,
    container,
    heat,
    stator,
)
from lotmark_node.bench.running import running
from lotmark_node.bench.sqlite_graph import SqliteGraph
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Postings
from lotmark_node.provenance.trace import TraceQuestion, trace
from lotmark_node.trial.server_process import ServerProcess

Answer = TypeVar("Answer", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    units: int  # stators in the history
    questions: int  # of each kind but recalls
    recalls: int
    cost_units: int  # of the ledgers by which the index is priced
    cost_rounds: int


FULL = Extent(units=1_000_000, questions=400, recalls=20, cost_units=5_000, cost_rounds=3)
QUICK = Extent(units=6_000, questions=100, recalls=5, cost_units=1_000, cost_rounds=1)


def run(
    *, quick: bool, units: int | None = None, folder: Path | None = None, seed: int | None = None
) -> dict[str, object]:
    """Run the bench and return its figures.

    Args:
        quick: Whether a small history is enough.
        units: How many stators it has.
        folder: Where `lotmark bench generate` has left a history, or it is left; None: in a
            temporary folder.
        seed: Decides what is drawn.
    """
    extent = QUICK if quick else FULL
    with _kept_or_temporary(folder) as place:
        figures: dict[str, object] = {
            "machine": machine.machine(),
            "versions": machine.versions(),
            "load": machine.load(),
            "fdatasync_p99_ms": machine.fdatasync_p99_ms(place),
        }
        there = read_history(place)
        wanted = units or (there.units if there else extent.units)
        history = there if there and there.events and there.units == wanted else None
        if history is None:
            history, figures["generated"] = make_history(
                place, units=wanted, seed=SEED if seed is None else seed
            )
        figures |= {"units": history.units, "events": history.events}
        collector.settle()
        with HistoryLedger(place) as ledger:
            containers = _containers(history, IndexReader(ledger.store.provenance))
            asked = _Asked(history, containers, extent)
            figures |= _answered(ledger, asked, place / "sqlite.db")
        figures |= index_and_chain_us(place / "cost", extent.cost_units, rounds=extent.cost_rounds)
        figures |= _answered_over_grpc(place, asked.containers)
        return figures


@contextmanager
def _kept_or_temporary(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as temporary:
        yield Path(temporary)


class _Asked:
    """What is asked about, drawn by the history's seed."""

    def __init__(self, history: History, containers: Sequence[str], extent: Extent) -> None:
        drawn = Random(history.seed)  # noqa: S311  # which are asked about decides nothing
        self.events = history.events
        self.containers = [drawn.choice(containers) for _ in range(extent.questions)]
        self.stators = [stator(drawn.randrange(history.units)) for _ in range(extent.questions)]
        whole = max(1, history.units // UNITS_PER_HEAT)  # heats that are in as many as any
        self.heats = [heat(at % whole) for at in range(extent.recalls)]
        self.places = [drawn.random() for _ in range(extent.questions)]  # in the log


def _answered(ledger: HistoryLedger, asked: _Asked, database: Path) -> dict[str, object]:
    """Ask the index and SQLite the same questions in turn."""
    ours = _Ours(ledger)
    for each in (*asked.containers, *asked.stators):
        ours.trace(each)
        ours.events(each)
    own_mb = machine.rss_mb(os.getpid())
    with SqliteGraph(database) as sqlite:
        _fill(sqlite, ledger)
        traces = _Duel(ours.trace, sqlite.trace).ask(asked.containers)
        recalls = _Duel(ours.recall, sqlite.recall).ask(asked.heats)
        histories = _Duel(ours.history, sqlite.history).ask(asked.stators)
        events = _Duel(ours.events, sqlite.events).ask(asked.stators)
    return {
        "trace_p99_ms": traces.p99_ms,
        "trace_p50_ms": traces.median_ms,
        "trace_nodes": len(ours.trace(asked.containers[0])),
        "recall_ms": recalls.median_ms,
        "recall_units": sum(_is_stator(name) for name in ours.recall(asked.heats[0])),
        "history_p99_ms": events.p99_ms,
        "history_p50_ms": events.median_ms,
        "proof_ms": ours.proof_p99_ms(asked.places),
        "index_bytes_per_event": round(ledger.store.provenance.file_size() / asked.events),
        "rss_mb": own_mb,
        "sqlite": {
            "trace_ratio": traces.ratio,
            "recall_ratio": recalls.ratio,
            "history_ratio": histories.ratio,
            "history_with_events_ratio": events.ratio,
        },
    }


class _Ours:
    """The index's answers, as a caller in this process has them."""

    def __init__(self, ledger: HistoryLedger) -> None:
        self._reader = ledger.reader
        self._tree = ledger.store.tree
        self._size = ledger.state.size
        self.index = IndexReader(ledger.store.provenance)

    def trace(self, item: str) -> list[tuple[str, int]]:
        """Return what an item was made of, and itself, with each one's depth."""
        return [(item, 0), *self._reached(item, backward=True)]

    def recall(self, item: str) -> list[str]:
        """Return what an item went into, and itself."""
        question = TraceQuestion(item=item, backward=False, size=self._size)
        found = [item]
        for step in trace(self.index, question, _all_may_be_read):
            found += step.nodes
        return found

    def history(self, item: str) -> list[int]:
        """Return the entries that name an item."""
        return list(self.index.entries(Postings.ITEM, item))

    def events(self, item: str) -> list[tuple[int, bytes]]:
        """Return the entries that name an item, with their events."""
        entries = self.index.entries(Postings.ITEM, item)
        return [(entry.index, entry.event) for entry in self._reader.events(entries)]

    def proof_p99_ms(self, places: Sequence[float]) -> float:
        """Return how long the inclusion proofs of entries take, by their places from 0 to 1."""
        taken_ms = []
        for place in places:
            index = int(place * self._size)
            start_s = time.perf_counter()
            self._tree.inclusion_path(index, self._size)
            taken_ms.append((time.perf_counter() - start_s) * 1_000)
        return round(machine.percentile(taken_ms, 99), 3)

    def _reached(self, item: str, *, backward: bool) -> Iterator[tuple[str, int]]:
        question = TraceQuestion(item=item, backward=backward, size=self._size)
        for step in trace(self.index, question, _all_may_be_read):
            depth = step.depth
            for name in step.nodes:
                yield name, depth


class _Duel(Generic[Answer]):
    """The same questions to the index and to SQLite, in turn."""

    def __init__(
        self, ours: Callable[[str], list[Answer]], theirs: Callable[[str], list[Answer]]
    ) -> None:
        self._sides = ours, theirs
        self._taken_ms: tuple[list[float], list[float]] = [], []

    def ask(self, items: Sequence[str]) -> Self:
        """Ask about each item; all of them were asked about before, so that both are warm.

        Raises:
            RuntimeError: The answers differ.
        """
        for item in items:
            for answer in self._sides:
                answer(item)
        for item in items:
            answers = []
            for answer, taken_ms in zip(self._sides, self._taken_ms, strict=True):
                start_s = time.perf_counter()
                answers.append(answer(item))
                taken_ms.append((time.perf_counter() - start_s) * 1_000)
            if len(answers[0]) != len(answers[1]) or set(answers[0]) != set(answers[1]):
                raise RuntimeError(f"index and SQLite answer otherwise about {item}")
        return self

    @property
    def median_ms(self) -> float:
        """Of ours."""
        return round(median(self._taken_ms[0]), 3)

    @property
    def p99_ms(self) -> float:
        """Of ours."""
        return round(machine.percentile(self._taken_ms[0], 99), 3)

    @property
    def ratio(self) -> float:
        """How many times as long SQLite takes, by the medians."""
        ours, theirs = (median(taken) for taken in self._taken_ms)
        return round(theirs / ours, 2)


def _all_may_be_read(_entry: int) -> bool:
    return True


def _is_stator(name: str) -> bool:
    return name.startswith(STATOR_STEM)


def _containers(history: History, index: IndexReader) -> list[str]:
    """Return the containers that were filled.

    Raises:
        RuntimeError: None was.
    """
    most = history.units // UNITS_PER_CONTAINER
    found = [name for name in map(container, range(most)) if index.has_item(name)]
    if not found:
        raise RuntimeError(f"{history.units} stators fill no container; make more")
    return found


def _fill(sqlite: SqliteGraph, ledger: HistoryLedger) -> None:
    """Give SQLite the accepted events of all blocks that it has not."""
    first, last = sqlite.height + 1, ledger.state.height
    with terminal.progress("Copying blocks to SQLite", last + 1 - first) as advance:
        for height in range(first, last + 1):
            told = list(_accepted(ledger, height))
            sqlite.add_block(
                height,
                links=[
                    (link.source, link.product, entry)
                    for entry, event, _ in told
                    if event.body_name in LINKING_BODIES
                    for link in links(event.message, event.body_name)
                ],
                named=[(name, entry) for entry, event, _ in told for name in event.item_names],
                events=[(entry, raw) for entry, _, raw in told],
            )
            advance(1)


def _accepted(ledger: HistoryLedger, height: int) -> Iterator[tuple[int, CheckedEvent, bytes]]:
    for placed in ledger.reader.placed_batches(height):
        outcomes = placed.result.event_outcomes
        for at, (raw, outcome) in enumerate(zip(placed.batch.events, outcomes, strict=False)):
            if not outcome:
                yield placed.index + 1 + at, check_event(raw), raw


def _answered_over_grpc(folder: Path, containers: Sequence[str]) -> dict[str, object]:
    """Ask a node that runs on the folder, over mTLS, for traces with all their links."""
    settings_file = node_settings_file(folder)
    arguments = ["-m", "lotmark_node.main", "node", "run", str(settings_file), "--json"]
    node = ServerProcess(NODE, arguments, settings_file.with_name("node.log"))
    taken_ms = []
    settings = read_client_settings(client_settings_file(folder, CUSTOMER))
    with running([node]), LedgerSession(settings) as session:
        reader = ProvenanceReader(session)
        for item in (*containers, *containers):
            start_s = time.perf_counter()
            reader.trace_back(item)
            taken_ms.append((time.perf_counter() - start_s) * 1_000)
        node_mb = machine.rss_mb(node.pid)
    warm_ms = taken_ms[len(containers) :]
    return {
        "grpc_trace_p99_ms": round(machine.percentile(warm_ms, 99), 1),
        "grpc_trace_p50_ms": round(median(warm_ms), 1),
        "node_rss_mb": node_mb,
        "node_startup_s": round(node.startup_s, 2),
    }
