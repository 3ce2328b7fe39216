"""Three voters and a witness as real processes, and what happens to them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lotmark.client import Client
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings
from lotmark.outcome import Outcome
from lotmark_node.consortium.plan import make_plan
from lotmark_node.trial.network import NodeStatus, TrialNetwork, free_address
from lotmark_node.trial.server_process import ServerProcess
from tests.node.ledger_in_memory import measurement
from tests.node.submitting import submit_events

VOTERS = ("OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1")
WITNESS = "LAB-17025/w1"
CLIENT = "OEM-A/erp"
WAIT_MAX_S = 30.0
KILLS = int(os.environ.get("LOTMARK_KILLS", "4"))


class Network:
    """A network under test, and the history that its client has seen."""

    def __init__(self, folder: Path) -> None:
        plan = make_plan(
            "faults",
            [],
            [f"{name}@{free_address()}" for name in VOTERS],
            [CLIENT],
            [f"{WITNESS}@{free_address()}"],
        )
        self.trial = TrialNetwork(folder, plan)
        self.client: ClientSettings = self.trial.client_settings(CLIENT)
        self.acknowledged: dict[bytes, int] = {}  # event id -> entry index
        self._made_count = 0

    def voter(self, name: str) -> ServerProcess:
        return self.trial.voters[name]

    def leader(self, *, other_than: tuple[str, ...] = ()) -> str:
        return self.trial.leader(self.client, other_than=other_than)

    def followers(self) -> list[str]:
        leader = self.leader()
        return [name for name in VOTERS if name != leader]

    def status(self, name: str) -> NodeStatus:
        status = self.trial.status(name, self.client)
        assert status is not None, f"{name} does not answer"
        return status

    def session(self) -> LedgerSession:
        return LedgerSession(self.client)

    def submit(self, count: int = 3) -> None:
        """Put events on record, each in a batch of its own, by whatever node answers."""
        for _ in range(count):
            self._made_count += 1
            event = measurement(self._made_count)
            (result,) = submit_events(self.client, [event])
            assert result.outcome is Outcome.ACCEPTED, result.detail
            assert result.index is not None
            assert result.event_id not in self.acknowledged, "acknowledged twice"
            self.acknowledged[result.event_id] = result.index

    def check_history(self) -> None:
        """Every acknowledged event stands once, at its place, on every voter, in one order."""
        until(lambda: len({self.status(name).size for name in VOTERS}) == 1)
        orders = []
        for node in self.client.each_node():
            with LedgerSession(node) as session:
                for event_id, index in self.acknowledged.items():
                    assert session.entry(event_id).head.index == index
                size = session.ledger().size
                orders.append([session.entry(index).leaf_data for index in range(size)])
        assert orders[0] == orders[1] == orders[2]

    def check_final(self) -> None:
        """A final checkpoint comes to cover the newest acknowledged event."""
        with self.session() as session:
            checkpoint = session.checkpoint_over(max(self.acknowledged.values()))
        assert checkpoint.findings.is_final


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_MAX_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.05)  # another process's state, which nothing announces


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path / "consortium")
    try:
        network.trial.start()
        network.leader()
        yield network
    finally:
        network.trial.stop()


def test_a_killed_leader_costs_no_acknowledged_event_and_finality_goes_on(
    network: Network,
) -> None:
    network.submit()
    killed = network.leader()
    network.voter(killed).kill()
    network.submit()
    network.check_final()  # three of four parties still cosign: two voters and the witness
    network.voter(killed).launch()
    network.voter(killed).wait_ready()
    network.submit()

    network.check_history()
    network.check_final()


def test_an_open_client_goes_on_by_itself_when_its_node_dies_and_when_no_majority_is_left(
    network: Network,
) -> None:
    with Client(network.client) as client:
        client.submit(measurement(1)).result(WAIT_MAX_S)
        network.voter(VOTERS[0]).kill()  # the one it is connected to
        second = client.submit(measurement(2)).result(WAIT_MAX_S)
        network.voter(VOTERS[1]).kill()
        third = client.submit(measurement(3))
        until(lambda: client.trouble != "")
        assert not third.done()
        network.voter(VOTERS[0]).launch()
        network.voter(VOTERS[0]).wait_ready()
        receipt = third.receipt()

        assert second.outcome is third.result(WAIT_MAX_S).outcome is Outcome.ACCEPTED
        assert receipt.result(WAIT_MAX_S)
    assert client.waiting_count == 0


def test_with_two_voters_down_writing_stops_reading_goes_on_and_all_resumes(
    network: Network,
) -> None:
    network.submit()
    left = network.leader()
    down = [name for name in VOTERS if name != left]
    for name in down:
        network.voter(name).kill()
    until(lambda: not network.status(left).takes_events)

    own = next(
        node for node in network.client.each_node() if f"{node.node_party}/{node.node_name}" == left
    )
    with LedgerSession(own) as session:
        for event_id, index in network.acknowledged.items():
            assert session.entry(event_id).head.index == index
    assert "no leader" in network.status(left).closed

    for name in down:
        network.voter(name).launch()
    for name in down:
        network.voter(name).wait_ready()
    network.submit()
    network.check_history()


def test_a_kill_of_all_loses_nothing(network: Network) -> None:
    network.submit(5)
    for name in VOTERS:
        network.voter(name).kill()
    for name in VOTERS:
        network.voter(name).launch()
    for name in VOTERS:
        network.voter(name).wait_ready()
    network.submit()

    network.check_history()
    network.check_final()


def test_a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on(
    network: Network,
) -> None:
    network.submit()
    stopped = network.leader()
    network.voter(stopped).send_signal(signal.SIGSTOP)
    try:
        leader = network.leader(other_than=(stopped,))
    finally:
        network.voter(stopped).send_signal(signal.SIGCONT)
    network.submit()

    assert leader != stopped
    until(lambda: network.status(stopped).role == "follower")
    network.check_history()


def test_a_stop_hands_leadership_over_and_a_rolling_restart_costs_no_event(
    network: Network,
) -> None:
    for name in VOTERS:
        network.submit(2)
        assert network.voter(name).stop() == 0
        network.submit(2)
        network.voter(name).launch()
        network.voter(name).wait_ready()

    network.check_history()
    network.check_final()


def test_a_voter_whose_folder_is_an_older_copy_is_refused_by_the_others(
    network: Network, tmp_path: Path
) -> None:
    network.submit()
    network.check_final()
    restored = network.followers()[-1]  # not the one that the client calls first
    data = network.trial.node_settings(restored).with_name("data")
    network.voter(restored).stop()
    shutil.copytree(data, tmp_path / "copy")
    network.voter(restored).launch()
    network.voter(restored).wait_ready()
    network.submit(5)
    network.check_history()
    network.check_final()
    network.voter(restored).kill()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "copy", data)
    network.voter(restored).launch()
    network.voter(restored).wait_ready()

    network.submit()
    others = [name for name in VOTERS if name != restored]

    def refused() -> bool:
        return any(
            "older copy" in network.voter(name).log.read_text(errors="replace")
            for name in (*others, restored)
        )

    until(refused)
    assert network.status(restored).size < network.status(others[0]).size
    network.check_final()


def test_kills_one_after_the_other_lose_nothing(network: Network) -> None:
    """Each voter in turn, the leader every other time; `make kills` makes it 200."""
    for number in range(KILLS):
        network.submit(1)
        victim = network.leader() if number % 2 else VOTERS[number % 3]
        network.voter(victim).kill()
        network.submit(1)
        network.voter(victim).launch()
        network.voter(victim).wait_ready()

    network.check_history()
    network.check_final()


def test_a_survivor_of_a_lost_quorum_goes_on_once_the_lost_voters_are_struck(
    network: Network,
) -> None:
    network.submit()
    survivor = VOTERS[0]
    until(lambda: len({network.status(name).size for name in VOTERS}) == 1)
    for name in VOTERS:
        network.voter(name).kill()
    settings = network.trial.node_settings(survivor)
    command = [sys.executable, "-m", "lotmark_node.main", "node", "recover", str(settings)]
    command += ["--lost", VOTERS[1], "--lost", VOTERS[2]]
    refused = subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "the chain forks" in refused.stderr) == (2, True)

    done = subprocess.run(  # noqa: S603 - our own program
        [*command, "--gone-for-ever", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"voters": [survivor]}
    network.voter(survivor).launch()
    network.voter(survivor).wait_ready()
    network.submit()

    with network.session() as session:
        for event_id, index in network.acknowledged.items():
            assert session.entry(event_id).head.index == index
        checkpoint = session.checkpoint_over(max(network.acknowledged.values()))
    assert not checkpoint.findings.is_final, "two of four parties are no quorum"
