"""A leader whose state is spoilt, though it holds the same blocks as all: no hands, no votes."""

from pathlib import Path

from lotmark.outcome import Outcome
from tests.network.faulty_node import SPOILT
from tests.network.network import VOTERS, running_network, until
from tests.node.submitting import submit_events


def test_a_leader_whose_state_is_spoilt_is_stopped_by_its_followers_which_go_on(
    tmp_path: Path,
) -> None:
    with running_network(tmp_path / "consortium", build="tests.network.faulty_node") as network:
        network.submit(2)
        network.check_final()
        spoilt = network.leader()
        others = tuple(name for name in VOTERS if name != spoilt)

        network.trial.node_settings(spoilt).with_name(SPOILT).touch()
        (result,) = submit_events(network.settings_of(spoilt), [network.new_event()])
        assert result.outcome is Outcome.ACCEPTED
        until(lambda: not network.status(spoilt).takes_events)
        leader = network.leader(other_than=(spoilt,))
        network.submit(3, at=leader)

        network.check_final(leader)  # the witness did not follow the spoilt one
        network.check_history(others)
        assert "replace it by a node with a new id" in network.voter(spoilt).log.read_text()
