"""Each protection switched off must be noticed, or nobody knows whether the simulator can see."""

import re
from dataclasses import fields

import pytest

from lotmark_consensus.raft.protections import Protections
from tests.simulation.run import Kind, run_seed
from tests.simulation.scenarios import ScenarioFailed, play
from tests.simulation.simulate import PROTECTION_NAMES, without

# By protection: the story that cannot go as it is told without it, and what it fails with.
STORIES = {
    "ack_term": ("stale_acknowledgements", "durable majority"),
    "vote_set": ("duplicated_votes", "expect no leader"),
    "member_check": ("answers_of_no_voters", "expect no leader"),
    "normalise": ("late_append_requests", "own disk first"),
    "pointer_clamp": ("divergent_tail_behind_a_pruned_log", "commit agreement"),
    "wait_for_disk": ("slow_disks", "durable majority|own disk first"),
    "stickiness": ("stickiness", "expect no election"),
    "prevote": ("prevote", "expect no election"),
    "term_notice": ("the_longest_log_has_the_oldest_term", "expect leader a"),
    "time_rule": ("fast_clock", "time rule"),
    "regression": ("restored_from_an_old_copy", "expect refused b by a"),
}
# By protection that chance alone finds missing: within how many seeds of which kind. What is
# caught by fewer than one seed in fifty is left to its story.
SEED_COUNTS = {
    "normalise": (Kind.LOSSY, 5),
    "wait_for_disk": (Kind.FIFO, 2),
    "time_rule": (Kind.FIFO, 150),
}


def test_every_protection_has_a_story() -> None:
    assert set(STORIES) == {field.name for field in fields(Protections)}


@pytest.mark.parametrize("protection", PROTECTION_NAMES)
def test_a_story_fails_without_its_protection(protection: str) -> None:
    story, words = STORIES[protection]

    with pytest.raises(ScenarioFailed) as failure:
        play(story, seed=1, protections=without(protection))

    assert re.search(words, failure.value.reason)


@pytest.mark.parametrize("protection", SEED_COUNTS)
def test_random_faults_find_a_protection_missing(protection: str) -> None:
    kind, count = SEED_COUNTS[protection]
    reports = (run_seed(kind, seed, protections=without(protection)) for seed in range(1, count))

    assert any(report.violation for report in reports), f"none of {count} seeds of {kind} did"
