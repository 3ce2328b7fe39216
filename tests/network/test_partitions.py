"""Partitions: whoever keeps a majority goes on, and nothing acknowledged is lost or doubled.

Every test ends with all voters holding one history; what was cut off has caught up by then.
"""

from collections.abc import Iterator

import pytest

from tests.network.network import VOTERS, Network, running_network, until
from tests.network.relays import Relays


@pytest.fixture(scope="module")
def standing_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    relays = Relays()
    try:
        folder = tmp_path_factory.mktemp("partitions") / "consortium"
        with running_network(folder, relays=relays) as network:
            yield network
    finally:
        relays.close()


@pytest.fixture
def network(standing_network: Network) -> Iterator[Network]:
    standing_network.mend()
    yield standing_network
    relays_of(standing_network).heal()


def relays_of(network: Network) -> Relays:
    assert network.relays is not None
    return network.relays


def said_by(name: str) -> list[tuple[str, str]]:
    return [(name, other) for other in VOTERS if other != name]


def heard_by(name: str) -> list[tuple[str, str]]:
    return [(other, name) for other in VOTERS if other != name]


@pytest.mark.parametrize("cut", ["both ways", "heard by nobody", "hears nobody"])
def test_a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back(
    network: Network, cut: str
) -> None:
    network.submit(2)
    old = network.leader()
    term = network.status(old).term
    said = [] if cut == "hears nobody" else said_by(old)
    heard = [] if cut == "heard by nobody" else heard_by(old)

    relays_of(network).stall(*said, *heard)
    new = network.leader(other_than=(old,))
    network.submit(2, at=new)
    until(lambda: network.status(old).role != "leader")

    relays_of(network).heal()
    until(lambda: network.status(old).leader == network.leader())
    network.submit(1, at=old)
    network.check_history()
    network.check_final()
    assert network.status(new).term > term


@pytest.mark.parametrize("cut", ["both ways", "heard by nobody", "hears nobody"])
def test_a_follower_that_is_cut_off_costs_no_election_and_catches_up(
    network: Network, cut: str
) -> None:
    network.submit(1)
    leader = network.leader()
    term = network.status(leader).term
    alone = network.followers()[0]
    said = [] if cut == "hears nobody" else said_by(alone)
    heard = [] if cut == "heard by nobody" else heard_by(alone)

    relays_of(network).stall(*said, *heard)
    if heard:
        until(lambda: not network.status(alone).leader)
    network.submit(2, at=leader)
    network.check_final(leader)
    size = network.status(leader).size

    relays_of(network).heal()
    until(lambda: network.status(alone).size >= size)
    network.submit(1, at=alone)
    network.check_history()
    assert (network.leader(), network.status(leader).term) == (leader, term)
