"""The same events lead to the same receipts and state, whatever Python hashes strings to."""

import os
import subprocess
import sys
from pathlib import Path

from tests.contracts import mixed_events
from tests.contracts.random_expressions import announced_chance

ROOT = Path(__file__).parents[2]
COUNT = int(os.environ.get("LOTMARK_MIXED_EVENTS", "20000"))  # `make determinism`: 100,000
HASH_SEEDS = ("0", "1", "777")


def test_digests_are_equal_whatever_the_seed_of_hashes() -> None:
    seed = announced_chance().randrange(2**32)
    digests = set()
    for hash_seed in HASH_SEEDS:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "tests.contracts.mixed_events", str(seed), str(COUNT)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)

    assert len(digests) == 1


def test_mixed_events_try_every_ending_and_all_accounts_sum_to_zero() -> None:
    desk, _, counts = mixed_events.run(1, 5_000)

    assert all(count > 100 for count in counts.values()), counts
    for package in desk.packages:
        sums = desk.state.sums(package.name)
        assert bool(sums) is bool(package.manifest.accounts)
        assert not any(sums.values())


def test_prefunded_accounts_are_never_below_zero() -> None:
    desk, _, _ = mixed_events.run(2, 5_000)

    held = [
        minor
        for package in ("lot-event", "tiers-and-disputes")
        for (_, account), minor in desk.state.balances(package).items()
        if account.startswith("escrow:")
    ]
    assert any(held)
    assert min(held) >= 0


def test_no_rule_costs_more_than_its_worst_case() -> None:
    desk, _, _ = mixed_events.run(3, 0)
    worst = {
        (package.name, rule.name): rule.worst_gas
        for package in desk.packages
        for rule in package.rules
    }
    chance = announced_chance()

    for event in mixed_events.mixed_events(chance, 5_000):
        for receipt in desk.execute(event):
            assert receipt.gas <= worst[receipt.package, receipt.rule]
