"""Three voters and a witness as real processes, and what happens to them."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from lotmark.client import Client
from lotmark.outcome import Outcome
from tests.network.network import (
    VOTERS,
    WAIT_MAX_S,
    Network,
    lotmark,
    running_network,
    until,
)

KILLS = int(os.environ.get("LOTMARK_KILLS", "4"))


@pytest.fixture(scope="module")
def standing_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with running_network(tmp_path_factory.mktemp("voters") / "consortium") as network:
        yield network


@pytest.fixture
def network(standing_network: Network) -> Network:
    """Give a network that goes on after each test as after any fault: all voters run again."""
    standing_network.mend()
    return standing_network


@pytest.fixture
def own_network(tmp_path: Path) -> Iterator[Network]:
    """Give a network that is of no use afterwards."""
    with running_network(tmp_path / "consortium") as network:
        yield network


def test_a_killed_leader_costs_no_acknowledged_event_and_finality_goes_on(
    network: Network,
) -> None:
    network.submit()
    killed = network.leader()
    network.voter(killed).kill()
    network.submit()
    network.check_final()  # three of four parties still cosign: two voters and the witness
    network.restart(killed)
    network.submit()

    network.check_history()
    network.check_final()


def test_an_open_client_goes_on_by_itself_when_its_node_dies_and_when_no_majority_is_left(
    network: Network,
) -> None:
    with Client(network.client) as client:
        client.submit(network.new_event()).result(WAIT_MAX_S)
        network.voter(VOTERS[0]).kill()  # the one it is connected to
        second = client.submit(network.new_event()).result(WAIT_MAX_S)
        network.voter(VOTERS[1]).kill()
        third = client.submit(network.new_event())
        until(lambda: client.trouble != "")
        assert not third.done()
        network.restart(VOTERS[0])
        receipt = third.receipt()

        assert second.outcome is third.result(WAIT_MAX_S).outcome is Outcome.ACCEPTED
        assert receipt.result(WAIT_MAX_S)
    assert client.waiting_count == 0


def test_an_answer_that_is_to_be_fresh_holds_what_was_acknowledged_at_another_voter(
    network: Network,
) -> None:
    for at in VOTERS:
        network.submit(1, at=at)
        newest = max(network.acknowledged.values())
        for name in VOTERS:
            assert network.size(name, read="linearizable") > newest
            assert network.size(name, read=f"at-least={newest}") > newest


def test_with_two_voters_down_writing_stops_reading_goes_on_and_all_resumes(
    network: Network,
) -> None:
    network.submit()
    left = network.followers()[0]  # of a leader that is gone without a word
    down = [name for name in VOTERS if name != left]
    for name in down:
        network.voter(name).kill()
    until(lambda: not network.status(left).takes_events)

    with network.session(left) as session:
        for event_id, index in network.acknowledged.items():
            assert session.entry(event_id).head.index == index
    newest = max(network.acknowledged.values())
    assert "no leader" in network.status(left).closed
    assert network.size(left, read="local") > newest
    with pytest.raises(grpc.RpcError, match="no linearizable answer within"):
        network.size(left, read="linearizable")  # somebody may have ordered more

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
        network.restart(name)

    network.check_history()
    network.check_final()


def test_a_voter_whose_folder_is_an_older_copy_is_refused_by_the_others(
    own_network: Network, tmp_path: Path
) -> None:
    network = own_network
    network.submit()
    network.check_final()
    restored = network.followers()[-1]  # not the one that the client calls first
    data = network.trial.node_settings(restored).with_name("data")
    network.voter(restored).stop()
    shutil.copytree(data, tmp_path / "copy")
    network.restart(restored)
    network.submit(5)
    network.check_history()
    network.check_final()
    network.voter(restored).kill()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "copy", data)
    network.restart(restored)

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
        network.restart(victim)

    network.check_history()
    network.check_final()


def test_a_survivor_of_a_lost_quorum_goes_on_once_the_lost_voters_are_struck(
    own_network: Network,
) -> None:
    network = own_network
    network.submit()
    survivor = VOTERS[0]
    network.wait_same_size()
    for name in VOTERS:
        network.voter(name).kill()
    settings = network.trial.node_settings(survivor)
    command = lotmark("node", "recover", str(settings), "--lost", VOTERS[1], "--lost", VOTERS[2])
    refused = subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "the chain forks" in refused.stderr) == (2, True)

    done = subprocess.run(  # noqa: S603 - our own program
        [*command, "--gone-for-ever", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"voters": [survivor]}
    network.restart(survivor)
    network.submit()

    with network.session() as session:
        for event_id, index in network.acknowledged.items():
            assert session.entry(event_id).head.index == index
        checkpoint = session.checkpoint_over(max(network.acknowledged.values()))
    assert not checkpoint.findings.is_final, "two of four parties are no quorum"
