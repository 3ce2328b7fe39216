"""`lotmark bench generate`: a stator line's history, through the real apply path."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lotmark_node import collector, terminal
from lotmark_node.bench import machine
from lotmark_node.bench.history_ledger import NODE, HistoryLedger, found_history
from lotmark_node.bench.line_history import line_history
from lotmark_node.bench.running import per_event_us

UNITS = 20_000
UNITS_QUICK = 1_000
SEED = 1
FOLDER = Path("stator-line-history")

_FILE = "line-history.json"
_EVENTS_PER_UNIT = 12.1  # about


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a folder holds."""

    units: int
    seed: int
    events: int  # 0: it is not finished


def run(
    *, quick: bool, units: int | None = None, folder: Path | None = None, seed: int | None = None
) -> dict[str, object]:
    """Make a history, or go on with one that was broken off, and return what it cost.

    Args:
        quick: Whether a small one is enough.
        units: How many stators are made.
        folder: Where; it becomes a consortium's folder, with its node's data.
        seed: Decides everything that is drawn.
    """
    folder = folder or FOLDER
    wanted = units or (UNITS_QUICK if quick else UNITS)
    history, figures = make_history(folder, units=wanted, seed=SEED if seed is None else seed)
    return {
        "machine": machine.machine(),
        "load": machine.load(),
        "folder": str(folder),
        "node": NODE,
        **asdict(history),
        **figures,
    }


def read_history(folder: Path) -> History | None:
    """Return which history a folder holds, finished or not; None: none."""
    path = folder / _FILE
    return History(**json.loads(path.read_text())) if path.exists() else None


def make_history(folder: Path, *, units: int, seed: int) -> tuple[History, dict[str, object]]:
    """Make a history in a folder, or what is missing of it; return it, and what that cost."""
    wanted = History(units=units, seed=seed, events=0)
    begun = read_history(folder)
    if begun is None:
        found_history(folder)
        (folder / _FILE).write_text(json.dumps(asdict(wanted)))
    elif replace(begun, events=0) != wanted:
        terminal.fail(
            f"{folder} holds a history of {begun.units} units with seed {begun.seed}.",
            "Ask for the same, or name another folder.",
        )
    collector.settle()
    with HistoryLedger(folder) as ledger:
        events, figures = _append(ledger, units, seed)
    history = replace(wanted, events=events)
    (folder / _FILE).write_text(json.dumps(asdict(history)))
    return history, figures


def _append(ledger: HistoryLedger, units: int, seed: int) -> tuple[int, dict[str, object]]:
    """Append a history; return how many events it has, and what it cost."""
    first_size, start_s, start_ns = ledger.state.size, time.perf_counter(), time.process_time_ns()
    done = 0
    with terminal.progress("Generating events", round(units * _EVENTS_PER_UNIT)) as advance:
        for count in ledger.append(line_history(units, seed)):
            done += count
            advance(count)
    took_s, used_ns = time.perf_counter() - start_s, time.process_time_ns() - start_ns
    return done, {
        "entries": ledger.state.size - first_size,
        "height": ledger.state.height,
        "events_per_s": round(done / took_s),
        "generated_s": round(took_s, 1),
        "cpu_us_per_event": per_event_us(ledger.clock.used_ns, used_ns, done),
    }
