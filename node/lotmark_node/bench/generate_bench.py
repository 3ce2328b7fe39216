"""`lotmark bench generate`: a stator line's history, through the real apply path."""

import time
from pathlib import Path

from lotmark_node import terminal
from lotmark_node.bench import machine
from lotmark_node.bench.history_ledger import (
    NODE,
    HistoryLedger,
    found_history,
    node_settings_file,
)
from lotmark_node.bench.line_history import line_history
from lotmark_node.bench.running import per_event_us

UNITS = 20_000
UNITS_QUICK = 1_000
SEED = 1
FOLDER = Path("stator-line-history")

_EVENTS_PER_UNIT = 12.1  # about


def run(
    *, quick: bool, units: int | None = None, folder: Path | None = None, seed: int | None = None
) -> dict[str, object]:
    """Make a history, or go on with one that was broken off, and return what it cost.

    Args:
        quick: Whether `UNITS_QUICK` are enough.
        units: How many stators are made.
        folder: Where; a consortium's folder with its node's data. The same units and seed again
            go on with what is there.
        seed: Decides everything that is drawn.
    """
    folder = folder or FOLDER
    units = units or (UNITS_QUICK if quick else UNITS)
    if not node_settings_file(folder).exists():
        found_history(folder)
    with HistoryLedger(folder) as ledger:
        figures = generate(ledger, units, SEED if seed is None else seed)
    return {"folder": str(folder), "node": NODE, **figures}


def generate(ledger: HistoryLedger, units: int, seed: int) -> dict[str, object]:
    """Append a history and return what it cost."""
    before, start_s, start_ns = ledger.state.size, time.perf_counter(), time.process_time_ns()
    done = 0
    with terminal.progress("Generating events", round(units * _EVENTS_PER_UNIT)) as advance:
        for count in ledger.append(line_history(units, seed)):
            done += count
            advance(count)
    took_s, used_ns = time.perf_counter() - start_s, time.process_time_ns() - start_ns
    return {
        "machine": machine.machine(),
        "load": machine.load(),
        "units": units,
        "events": done,
        "entries": ledger.state.size - before,
        "height": ledger.state.height,
        "events_per_s": round(done / took_s),
        "generated_s": round(took_s, 1),
        "cpu_us_per_event": per_event_us(ledger.clock.used_ns, used_ns, done),
    }
