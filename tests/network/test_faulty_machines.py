"""Disks that are slow or take nothing more, and clocks that are wrong, under real voters."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.network.faulty_node import CLOCK_SHIFT, KEPT_ENTRIES, WRITE_DELAY
from tests.network.network import VOTERS, Network, running_network, until

BUILD = "tests.network.faulty_node"
TEN_YEARS_MS = 10 * 365 * 86_400_000
ONE_HOUR_MS = 3_600_000  # all certificates are still valid by such a clock
THREE_HOURS_MS = 3 * ONE_HOUR_MS
SLOW_WRITE_S = 0.7  # for each write; heartbeats and votes must not wait for it
EVENTS_MAX = 50
FEW_ENTRIES = 4
SANE_MS = 60_000


@pytest.fixture(scope="module")
def standing_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("machines") / "consortium"
    with running_network(folder, build=BUILD) as network:
        yield network


@pytest.fixture
def network(standing_network: Network) -> Network:
    standing_network.mend()
    standing_network.submit(1)
    return standing_network


def one_of(network: Network, role: str) -> str:
    return network.leader() if role == "leader" else network.followers()[0]


@contextmanager
def fault(network: Network, name: str, kind: str, value: float) -> Iterator[None]:
    """Switch a fault of a voter on, and off again at the end."""
    file = network.trial.node_settings(name).with_name(kind)
    new = file.with_suffix(".new")
    new.write_text(str(value))
    new.replace(file)
    try:
        yield
    finally:
        file.unlink()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_slow_disk_costs_time_and_no_election(network: Network, role: str) -> None:
    leader = network.leader()
    term = network.status(leader).term
    slow = one_of(network, role)
    with fault(network, slow, WRITE_DELAY, SLOW_WRITE_S):
        start_s = time.monotonic()
        network.submit(2, at=leader)
        taken_s = time.monotonic() - start_s

    if role == "leader":
        assert taken_s > SLOW_WRITE_S, "nothing counts before the leader's disk has it"
    network.check_history()
    network.check_final()
    assert (network.leader(), network.status(leader).term) == (leader, term)


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_a_disk_that_takes_nothing_more_ends_that_voter_only(network: Network, role: str) -> None:
    """No file of the order's log may grow any more: the kernel says so, as when a quota is full."""
    full = one_of(network, role)
    other = next(name for name in network.followers() if name != full)
    data = network.trial.node_settings(full).with_name("data")
    limit_size = max(file.stat().st_size for file in (data / "journal").glob("*.log"))
    pid = network.voter(full).pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit_size, hard))

    for _ in range(EVENTS_MAX):
        network.submit(1, at=other)
        if network.status(full).role == "failed":
            break
    until(lambda: network.status(full).role == "failed")
    assert not network.status(full).takes_events
    network.leader(other_than=(full,))
    network.submit(2, at=other)
    network.check_final(other)

    assert network.voter(full).stop() != 0, "its operator is told"
    network.restart(full)
    network.submit(1, at=other)
    network.check_history()


@pytest.mark.parametrize(
    "shift_ms",
    [TEN_YEARS_MS, ONE_HOUR_MS, -THREE_HOURS_MS],
    ids=["ten years ahead", "an hour ahead", "three hours behind"],
)
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_wrong_clock_becomes_no_ledger_time(network: Network, role: str, shift_ms: int) -> None:
    wrong = one_of(network, role)
    others = tuple(name for name in VOTERS if name != wrong)
    with network.session() as session:
        start_ms = session.ledger().time_ms
    with fault(network, wrong, CLOCK_SHIFT, shift_ms):
        before_ms = now_ms()
        network.submit(2, at=others[0])
        with network.session(others[0]) as session:
            ledger_ms = session.ledger().time_ms
        assert ledger_ms <= now_ms() + SANE_MS
        if shift_ms < 0 and role == "leader":
            assert ledger_ms >= start_ms, "the ledger's time stands still, and never goes back"
        else:
            assert ledger_ms >= before_ms - SANE_MS
        network.check_history(others)
        network.check_final(others[0])
        if shift_ms > 0:
            assert network.leader(other_than=(wrong,)) in others

    network.submit(1)
    network.check_history()
    network.check_final()


def test_a_voter_that_was_away_for_long_gets_the_blocks_from_the_leaders_ledger(
    tmp_path: Path,
) -> None:
    with running_network(
        tmp_path / "consortium", build=BUILD, faults={KEPT_ENTRIES: str(FEW_ENTRIES)}
    ) as network:
        network.submit(1)
        network.wait_same_size()
        away = network.followers()[-1]
        wanted_index = network.status(away).last_index + 1
        network.voter(away).kill()
        leader = network.leader()
        for _ in range(EVENTS_MAX):
            network.submit(1, at=leader)
            if network.status(leader).first_index > wanted_index:
                break
        assert network.status(leader).first_index > wanted_index, "the order goes back no further"
        network.restart(away)

        network.check_history()
        network.submit(1, at=away)
        network.check_history()
        network.check_final()
        assert network.voter(away).logged("state transfer done") is not None
