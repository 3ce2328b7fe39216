"""What the provenance index and the item chain cost: a part of the history, with and without each.

What is told is the differences: of the stages of the apply loop that have to do with it, and of
what runs beside the loop, where RocksDB flushes and compacts its rows.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from lotmark.block_results import BlockResults
from lotmark.genesis import Parameters
from lotmark_node.bench.history_ledger import HistoryLedger, found_history
from lotmark_node.bench.line_history import line_history
from lotmark_node.bench.running import WIDE
from lotmark_node.engine.store import LedgerStore
from lotmark_node.provenance.writer import Row
from lotmark_node.state_machine.prepared_batch import PreparedBatch

_UNCHAINED = replace(WIDE, item_epoch_entries=0, item_epoch_ms=0)


class _UnindexedStore(LedgerStore):
    """A store that keeps no provenance index."""

    def index(self, results: BlockResults, prepared: Sequence[PreparedBatch]) -> list[Row]:
        """Return nothing."""
        return []


Costs = dict[str, float]  # us of the processor for each event, by stage of the apply loop

_REST = "background"  # RocksDB's threads, which flush and compact, and the order's


def index_and_chain_us(folder: Path, units: int, *, rounds: int) -> dict[str, object]:
    """Return what index and item chain take of the processor, in us for each event.

    Args:
        folder: For ledgers that are made and removed.
        units: How many stators each of them has.
        rounds: How often; the medians count.
    """
    runs: dict[str, list[Costs]] = {"whole": [], "unindexed": [], "unchained": []}
    for _ in range(rounds):
        runs["whole"].append(_run(folder / "whole", units))
        runs["unindexed"].append(_run(folder / "unindexed", units, store=_UnindexedStore))
        runs["unchained"].append(_run(folder / "unchained", units, parameters=_UNCHAINED))

    def more(stage: str, without: str) -> float:
        """Return what a stage takes more than where something is left out."""
        whole, less = (
            median(run.get(stage, 0.0) for run in runs[name]) for name in ("whole", without)
        )
        return whole - less

    # The names of an event's items are found where they are wanted first: by the chain.
    index = [more(stage, "unindexed") for stage in ("index", "write", _REST)]
    chain = [more(stage, "unchained") for stage in ("apply", "items", "write", _REST)]
    return {
        "index_us_per_event": round(sum(index), 2),
        "index_stage_us_per_event": round(index[0], 2),
        "item_chain_us_per_event": round(sum(chain), 2),
    }


def _run(
    folder: Path,
    units: int,
    *,
    store: type[LedgerStore] = LedgerStore,
    parameters: Parameters = WIDE,
) -> Costs:
    found_history(folder, parameters=parameters)
    start_ns, own_start_ns = time.process_time_ns(), time.thread_time_ns()
    with HistoryLedger(folder, store=store) as ledger:
        events = sum(ledger.append(line_history(units, seed=1)))
    used_ns = ledger.clock.used_ns
    own_ns = time.thread_time_ns() - own_start_ns + used_ns.get("items", 0)
    used_ns[_REST] = time.process_time_ns() - start_ns - own_ns
    shutil.rmtree(folder)
    return {name: ns / events / 1_000 for name, ns in used_ns.items()}
