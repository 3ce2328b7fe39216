"""Three voters and a witness as real processes, as whoever watches them sees them."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from lotmark.client import LedgerSession
from lotmark_node.main import app
from lotmark_node.trial.network import TrialNetwork
from lotmark_node.trial.server_process import ServerProcess
from tests.deploy.named_metrics import named_metrics
from tests.network.network import (
    CLIENT,
    VOTERS,
    WAIT_MAX_S,
    WITNESS,
    running_network,
    until,
)
from tests.node.ledger_in_memory import measurement
from tests.node.submitting import submit_events

Samples = dict[tuple[str, str], float]  # by metric, and its only label's value


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialNetwork]:
    """One network for all tests; the last one leaves it without a majority."""
    with running_network(tmp_path_factory.mktemp("watched") / "consortium") as network:
        yield network.trial


def asked(process: ServerProcess, path: str) -> tuple[int, str]:
    address = process.ready["metrics"]
    assert isinstance(address, str)
    with closing(HTTPConnection(address, timeout=WAIT_MAX_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def metrics(process: ServerProcess) -> Samples:
    status, text = asked(process, "/metrics")
    assert status == 200
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metric_names(process: ServerProcess) -> set[str]:
    """Return all metrics there are, also those that have counted nothing yet."""
    _, text = asked(process, "/metrics")
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def takes_events(process: ServerProcess) -> bool:
    return metrics(process)["lotmark_takes_events", ""] == 1


def test_who_leads_how_far_each_peer_is_and_what_is_final_can_be_watched(
    trial: TrialNetwork,
) -> None:
    client = trial.client_settings(CLIENT)
    leader = trial.leader(client)
    submit_events(client, [measurement(1), measurement(2)])
    with LedgerSession(client) as session:
        size = session.ledger().size

    def is_final_everywhere() -> bool:
        return all(metrics(trial.voters[name])["lotmark_final_size", ""] >= size for name in VOTERS)

    until(is_final_everywhere)
    seen = {name: metrics(trial.voters[name]) for name in VOTERS}
    others = set(VOTERS) - {leader}

    for name, shown in seen.items():
        assert shown["lotmark_leader", leader] == 1
        assert shown["lotmark_role", "leader"] == float(name == leader)
        assert shown["lotmark_takes_events", ""] == 1
        assert shown["lotmark_order_write_seconds_count", ""] > 0
        assert shown["lotmark_evidence_files", ""] == 0
        for peer in set(VOTERS) - {name}:
            assert shown["lotmark_peer_certificate_expiry_seconds", peer] > 700 * 86_400
            assert shown["lotmark_peer_queued_bytes", peer] >= 0
    assert {peer for metric, peer in seen[leader] if metric == "lotmark_peer_lag_entries"} == others
    witness = metrics(trial.witnesses[WITNESS])
    (cosigned,) = (
        value for (name, _), value in witness.items() if name == "lotmark_witness_cosigned_size"
    )
    assert cosigned > 0
    assert witness["lotmark_witness_answers_total", "200"] > 0
    assert witness["lotmark_certificate_expiry_seconds", "witness"] > 700 * 86_400
    assert asked(trial.witnesses[WITNESS], "/readyz") == (200, "ready\n")
    there = set().union(*map(metric_names, [*trial.voters.values(), *trial.witnesses.values()]))
    assert named_metrics() <= there, "the rules and the board ask for what nobody shows"


def test_peers_see_a_voters_renewed_certificate_and_go_on_with_it(trial: TrialNetwork) -> None:
    client = trial.client_settings(CLIENT)
    leader = trial.leader(client)
    others = [name for name in VOTERS if name != leader]
    done = CliRunner().invoke(
        app, ["key", "renew-cert", str(trial.node_settings(leader)), "--days", "40"]
    )
    assert done.exit_code == 0, done.output

    def is_seen() -> bool:
        submit_events(client, [measurement(next(numbers))])  # whose checkpoint the leader shares
        return all(
            metrics(trial.voters[name])["lotmark_peer_certificate_expiry_seconds", leader]
            < 41 * 86_400
            for name in others
        )

    numbers = itertools.count(10)
    until(is_seen)
    for name in others:  # the order's streams are dialled anew, with that certificate
        assert trial.voters[name].stop() == 0
        trial.voters[name].launch()
        trial.voters[name].wait_ready()
        until(partial(takes_events, trial.voters[name]))
    (result,) = submit_events(client, [measurement(next(numbers))])
    assert result.index is not None


def test_a_voter_without_a_majority_lives_and_is_not_ready(trial: TrialNetwork) -> None:
    left, *lost = VOTERS
    until(lambda: asked(trial.voters[left], "/readyz")[0] == 200)
    for name in lost:
        trial.voters[name].kill()

    until(lambda: asked(trial.voters[left], "/readyz")[0] == 503)

    status, reason = asked(trial.voters[left], "/readyz")
    assert (status, "no leader" in reason) == (503, True)
    assert asked(trial.voters[left], "/healthz") == (200, "alive\n")
    assert metrics(trial.voters[left])["lotmark_takes_events", ""] == 0
