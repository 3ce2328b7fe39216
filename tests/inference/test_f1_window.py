"""F1 over 72 hours: what is a breach, an episode, a confirmation, and what is too little."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import builds, integers, lists

from lotmark.event_rules import BODY_RULES
from lotmark_inference.f1_window import (
    CONFIRMED_HOURS,
    RECOVERED_HOURS,
    F1Watch,
    Grade,
    LabelCounts,
    Standing,
    WindowFinding,
    retrain_ticket,
)

BASELINE_PPM = 950_000
START = 491_000  # 2026-01-05T08Z
WELL = LabelCounts(true_positives=19, false_positives=1, false_negatives=1, true_negatives=79)
WORSE = LabelCounts(true_positives=16, false_positives=2, false_negatives=4, true_negatives=78)
NOTHING = LabelCounts()
EPISODE = "f1_72h-2026-01-08T00Z-587f6065512f"  # of SHA-256("weld-light/3\naoi-cam07")


def watched(hours: Sequence[LabelCounts]) -> tuple[F1Watch, list[WindowFinding]]:
    watch = F1Watch(model="weld-light/3", station="aoi-cam07", baseline_ppm=BASELINE_PPM)
    findings = []
    for hour, counts in enumerate(hours, start=START):
        watch, finding = watch.after(hour, counts)
        findings.append(finding)
    return watch, findings


def test_f1_is_computed_in_integers() -> None:
    assert WELL.f1_ppm == 2 * 19 * 1_000_000 // (2 * 19 + 2)
    assert NOTHING.f1_ppm == 0


def test_nothing_is_said_before_there_are_labels_for_nine_tenths_of_the_hours() -> None:
    _, findings = watched([WELL] * 72)

    assert [each.standing for each in findings] == [Standing.STARVED] * 64 + [Standing.WELL] * 8
    assert "nothing can be said: 20 labelled defects and labels in 1 %" in findings[0].said


def test_too_few_labelled_defects_say_nothing_however_many_hours_have_labels() -> None:
    sparse = LabelCounts(true_negatives=100)
    _, findings = watched([LabelCounts(false_negatives=39), *[sparse] * 71])
    _, enough = watched([LabelCounts(false_negatives=40), *[sparse] * 71])

    assert findings[-1].standing is Standing.STARVED
    assert enough[-1].standing is Standing.BREACH


def test_a_breach_opens_an_episode_and_72_in_a_row_confirm_it() -> None:
    watch, findings = watched([WORSE] * (65 + CONFIRMED_HOURS))

    grades = [each.grade for each in findings]
    assert grades == [None] * 64 + [Grade.SUSPECTED] * 71 + [Grade.CONFIRMED] * 2
    assert {each.episode for each in findings[64:]} == {EPISODE}
    ticket = retrain_ticket(watch, findings[64])
    assert (ticket.model, ticket.station) == ("weld-light/3", "aoi-cam07")
    assert (ticket.grade, ticket.metric) == ("suspected", "f1_72h")
    assert (ticket.value_ppm, ticket.baseline_ppm) == (WORSE.f1_ppm, BASELINE_PPM)
    assert (ticket.positive_count, ticket.coverage_ppm) == (65 * 20, 902_777)
    for name, rule in BODY_RULES["retrain_ticket"]:
        assert rule.passes(getattr(ticket, name))


def test_exactly_95_percent_of_the_baseline_is_no_breach() -> None:
    at_limit = LabelCounts(true_positives=361, false_negatives=39, false_positives=39)
    watch = F1Watch(model="m/1", station="s", baseline_ppm=at_limit.f1_ppm * 100 // 95 + 1)
    for hour in range(START, START + 65):
        watch, finding = watch.after(hour, at_limit)
    below = F1Watch(model="m/1", station="s", baseline_ppm=at_limit.f1_ppm * 100 // 95)
    for hour in range(START, START + 65):
        below, other = below.after(hour, at_limit)

    assert (finding.standing, other.standing) == (Standing.BREACH, Standing.WELL)


def test_missing_labels_freeze_the_count_and_say_so() -> None:
    breached = [WORSE] * 75
    _, findings = watched([*breached, *[NOTHING] * 20, *[WORSE] * 72])

    starved = [each for each in findings[75:] if each.standing is Standing.STARVED]
    assert len(starved) > 20
    counts = [each.breach_hours for each in findings[64:]]
    assert counts == sorted(counts)
    frozen = starved[0].breach_hours
    assert {each.breach_hours for each in starved} == {frozen}
    assert f"the count of breaches stands at {frozen}" in starved[0].said
    assert {each.episode for each in starved} == {findings[70].episode}


def test_hours_that_are_left_out_are_hours_without_labels() -> None:
    watch, _ = watched([WELL] * 72)

    _, finding = watch.after(START + 200, WELL)

    assert (finding.standing, finding.coverage_ppm) == (Standing.STARVED, 1_000_000 // 72)


def test_an_episode_ends_after_a_day_that_is_well_and_the_next_one_has_another_name() -> None:
    _, findings = watched([*[WORSE] * 75, *[WELL] * 140, *[WORSE] * 90])

    episodes = [each.episode for each in findings]
    named = list(dict.fromkeys(each for each in episodes if each))
    assert len(named) == 2
    over = episodes.index("", 65)
    assert [each.standing for each in findings[over - RECOVERED_HOURS + 1 : over + 1]] == [
        Standing.WELL
    ] * RECOVERED_HOURS


COUNTS = builds(
    LabelCounts,
    true_positives=integers(0, 30),
    false_positives=integers(0, 5),
    false_negatives=integers(0, 5),
    true_negatives=integers(0, 2),
)


@settings(max_examples=40)
@given(hours=lists(COUNTS, min_size=60, max_size=160))
def test_a_confirmed_episode_had_72_breaches_in_a_row_and_one_episode_has_one_name(
    hours: list[LabelCounts],
) -> None:
    _, findings = watched(hours)

    for before, after in pairwise(findings):
        if before.episode and after.episode:
            assert before.episode == after.episode
        if after.grade is Grade.CONFIRMED and before.grade is not Grade.CONFIRMED:
            assert after.breach_hours == CONFIRMED_HOURS
        if after.standing is Standing.STARVED:
            assert after.breach_hours == before.breach_hours


def simulated(seed: int, *, drop: float, from_hour: int, hours: int) -> list[LabelCounts]:
    """Return labels of a line with 5 % defects and 60 labels an hour, whose recall drops."""
    random = np.random.default_rng(seed)
    precision, recall, share = 0.96, 0.95, 0.05
    false_rate = share * recall * (1 - precision) / precision / (1 - share)
    made = []
    for hour in range(hours):
        kept = 1 - drop * (hour >= from_hour)
        is_defect = random.random(60) < share
        found = np.where(
            is_defect, random.random(60) < recall * kept, random.random(60) < false_rate
        )
        made.append(
            LabelCounts(
                true_positives=int((is_defect & found).sum()),
                false_positives=int((~is_defect & found).sum()),
                false_negatives=int((is_defect & ~found).sum()),
                true_negatives=int((~is_defect & ~found).sum()),
            )
        )
    return made


def alarmed(seeds: range, *, drop: float) -> int:
    base = 2 * 0.96 * 0.95 / (0.96 + 0.95)
    count = 0
    for seed in seeds:
        watch = F1Watch(model="m/1", station="s", baseline_ppm=round(base * 1_000_000))
        for hour, counts in enumerate(simulated(seed, drop=drop, from_hour=100, hours=250)):
            watch, finding = watch.after(hour, counts)
            if finding.grade:
                count += 1
                break
    return count


@pytest.mark.parametrize(("drop", "least", "most"), [(0.0, 0, 1), (0.095, 19, 20)])
def test_a_true_drop_of_five_percent_is_found_and_none_is_made_up(
    drop: float, least: int, most: int
) -> None:
    # Recall that falls by 9.5 % takes 5 % off this F1.
    assert least <= alarmed(range(20), drop=drop) <= most
