"""Run seeds, or tell the story of one.

python -m tests.simulation.simulate --kind fifo --seeds 1..500
python -m tests.simulation.simulate --kind lossy --seeds 42..42 --trace
python -m tests.simulation.simulate --kind fifo --seeds 1..100 --without normalise
"""

import argparse
import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from functools import partial
from multiprocessing import get_context

from lotmark_consensus.raft.protections import Protections
from tests.simulation.run import Kind, Report, run_seed

BATCH_COUNT = 128
PROTECTION_NAMES = tuple(field.name for field in fields(Protections))


def without(name: str | None) -> Protections:
    """Return all protections but one."""
    return replace(Protections(), **{name: False}) if name else Protections()


def run_seeds(
    kind: Kind,
    seeds: Sequence[int],
    *,
    missing: str | None = None,
    process_count: int = 2,
    limit_s: float = math.inf,
) -> Iterator[Report]:
    """Run seeds in processes of their own, and give reports in the order of the seeds.

    Args:
        kind: What the runs are about.
        seeds: One for each run.
        missing: A protection to switch off.
        process_count: How many run at once.
        limit_s: Begin no more batches of runs after so long.
    """
    job = partial(_run_one, kind, missing)
    end_s = time.monotonic() + limit_s
    # A fork would inherit the threads of whoever calls.
    with ProcessPoolExecutor(process_count, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(seeds), BATCH_COUNT):
            if time.monotonic() >= end_s:
                return
            yield from pool.map(job, seeds[start : start + BATCH_COUNT], chunksize=8)


def _run_one(kind: Kind, missing: str | None, seed: int) -> Report:
    logging.disable(logging.CRITICAL)  # without a protection the core complains; so do we
    return run_seed(kind, seed, protections=without(missing))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each run and one JSON line at the end; returns 1 on any violation."""
    parser = argparse.ArgumentParser(description="Simulate a network of voters.")
    parser.add_argument("--kind", choices=[kind.value for kind in Kind], required=True)
    parser.add_argument("--seeds", required=True, help="first..last")
    parser.add_argument("--without", choices=PROTECTION_NAMES, help="switch one protection off")
    parser.add_argument("--trace", action="store_true", help="tell the story of one seed")
    parser.add_argument("--processes", type=int, default=2, help="how many run at once (2)")
    parser.add_argument(
        "--limit-s", type=float, default=math.inf, help="begin no batch after so many seconds"
    )
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    kind = Kind(options.kind)
    if options.trace:
        return _tell(kind, seeds, options.without)
    return _count(kind, seeds, options)


def _tell(kind: Kind, seeds: Sequence[int], missing: str | None) -> int:
    report = run_seed(kind, seeds[0], protections=without(missing), trace=True)
    sys.stdout.write("\n".join([*report.trace, _line(report), ""]))
    return int(report.violation is not None)


def _count(kind: Kind, seeds: Sequence[int], options: argparse.Namespace) -> int:
    started_s = time.monotonic()
    counts: Counter[str] = Counter()
    violated: Counter[str] = Counter()
    run_count = 0
    reports = run_seeds(
        kind,
        seeds,
        missing=options.without,
        process_count=options.processes,
        limit_s=options.limit_s,
    )
    for report in reports:
        run_count += 1
        counts.update(report.counts)
        sys.stdout.write(_line(report) + "\n")
        if report.violation is not None:
            violated[report.violation.partition(":")[0]] += 1
            sys.stdout.write(f"    replay: {report.replay}\n")
        sys.stdout.flush()
    summary = {
        "kind": kind.value,
        "without": options.without,
        "seeds": run_count,
        "violations": violated.total(),
        "violated": dict(violated),
        "counts": dict(sorted(counts.items())),
        "took_s": round(time.monotonic() - started_s, 1),
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return int(bool(violated))


def _line(report: Report) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in sorted(report.counts.items()))
    return f"{report.kind.value} {report.seed}: {report.violation or 'holds'} ({counts})"


if __name__ == "__main__":
    sys.exit(main())
