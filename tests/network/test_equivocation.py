"""A leader signs two blocks for one place: never two final roots, and it convicts itself."""

import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lotmark.client.ledger_records import LedgerCheckpoint
from lotmark.client.session import LedgerSession
from tests.network.faulty_node import LIE
from tests.network.lying_wire import Lie
from tests.network.network import CLIENT, VOTERS, Network, lotmark, running_network, until

BUILD = "tests.network.faulty_node"
LOOK_S = 0.05


class FinalCheckpoints:
    """All final checkpoints that any voter shows while a test runs."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="final checkpoints", daemon=True)
        self.seen: dict[tuple[int, bytes], LedgerCheckpoint] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _look(self) -> None:
        sessions = [LedgerSession(self._network.settings_of(name)) for name in VOTERS]
        while not self._ended.wait(LOOK_S):
            for session in sessions:
                try:
                    shown = session.checkpoint(final=True)
                except ConnectionError:
                    continue
                if shown.findings.is_final:
                    self.seen[shown.size, shown.root] = shown
        for session in sessions:
            session.close()

    def check_one_history(self, at: str) -> None:
        """Each that was seen is a beginning of the largest one; a voter proves it."""
        checkpoints = sorted(self.seen.values(), key=lambda shown: shown.size)
        with self._network.session(at) as session:
            for smaller, larger in itertools.pairwise(checkpoints):
                session.prove_consistency(smaller, larger)
        assert len({shown.size for shown in checkpoints}) == len(checkpoints) > 1


@pytest.mark.parametrize("how", Lie)
def test_a_leader_that_signs_two_blocks_is_convicted_by_what_its_victim_keeps(
    tmp_path: Path, how: Lie
) -> None:
    with running_network(tmp_path / "consortium", build=BUILD) as network:
        finals = FinalCheckpoints(network)
        with finals.watched():
            network.submit(3)
            network.check_final()
            leader = network.leader()
            victim = network.followers()[-1]
            honest = next(name for name in VOTERS if name not in (leader, victim))
            evidence = network.trial.node_settings(victim).with_name("data") / "evidence"

            network.trial.node_settings(leader).with_name(LIE).write_text(f"{how.value} {victim}")
            network.submit(3, at=honest)
            until(lambda: any(evidence.glob("term-*.json")))
            until(lambda: not network.status(victim).takes_events)
            size = network.status(victim).size
            network.submit(3, at=honest)
            network.check_final(honest)
        finals.check_one_history(honest)
        check_convicted(network, next(evidence.glob("term-*.json")), leader)

        network.check_history((leader, honest))
        status = network.status(victim)
        assert (status.size, status.takes_events) == (size, False), "it answers, and takes nothing"
        assert (
            not network.trial.node_settings(honest).with_name("data").joinpath("evidence").exists()
        ), "who was told one thing has no cause to complain"
        assert network.voter(victim).stop() != 0
        assert "replace it by a node with a new id" in network.voter(victim).log.read_text()


def check_convicted(network: Network, file: Path, leader: str) -> None:
    """The program convicts the leader, and nobody else, from the file and the genesis alone."""
    client = network.trial.client_settings(CLIENT)
    done = subprocess.run(  # noqa: S603 - our own program
        lotmark(
            *("evidence", "verify", str(file), "--genesis", str(client.genesis)),
            *("--chain-id", client.chain_id.hex(), "--json"),
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    (convicted,) = json.loads(done.stdout)["convicted"]
    assert f"{convicted['party']}/{convicted['node']}" == leader
    assert "as block" in convicted["what"]
