import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.shared_vectors import ROOT
from tests.simulation.run import Kind, run_seed
from tests.simulation.simulate import run_seeds

SEED_COUNTS = {Kind.FIFO: 400, Kind.LOSSY: 350, Kind.MEMBERSHIP: 250}
TRACE_PROGRAM = """
import hashlib
from tests.simulation.run import Kind, run_seed
for kind in Kind:
    lines = run_seed(kind, 7, trace=True).trace
    print(kind.value, len(lines), hashlib.sha256("\\n".join(lines).encode()).hexdigest())
"""


@pytest.mark.parametrize("kind", list(Kind))
def test_no_invariant_breaks_under_random_faults(kind: Kind) -> None:
    counts: Counter[str] = Counter()
    violations = []
    for report in run_seeds(kind, range(1, SEED_COUNTS[kind] + 1)):
        counts.update(report.counts)
        if report.violation is not None:
            violations.append(f"{report.violation}\n    {report.replay}")

    assert not violations, "\n".join([f"{len(violations)} of {SEED_COUNTS[kind]}:", *violations])
    # The seeds must meet what they are meant to meet.
    assert counts["acknowledged"] > 50 * SEED_COUNTS[kind]
    assert counts["elections"] > 2 * SEED_COUNTS[kind]
    assert counts["state transfers"] > SEED_COUNTS[kind] // 10
    if kind is Kind.MEMBERSHIP:
        assert counts["membership: Ordered"] > SEED_COUNTS[kind]


def test_a_seed_tells_the_same_story_twice() -> None:
    assert run_seed(Kind.LOSSY, 7, trace=True) == run_seed(Kind.LOSSY, 7, trace=True)


def test_a_seed_tells_the_same_story_in_processes_with_different_hash_seeds() -> None:
    stories = {
        subprocess.run(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", TRACE_PROGRAM],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1")
    }

    assert len(stories) == 1
