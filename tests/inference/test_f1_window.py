"""F1 over 72 hours: what is a breach, an episode, a confirmation, and what is too little."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import builds, integers, lists
from scipy import stats

from lotmark.event_rules import BODY_RULES
from lotmark_inference.f1_window import (
    CHANCE,
    CONFIRMED_HOURS,
    RECOVERED_HOURS,
    F1Watch,
    Grade,
    LabelCounts,
    Standing,
    WindowFinding,
    is_beyond_chance,
    retrain_ticket,
)

BASELINE = LabelCounts(
    true_positives=950, false_positives=50, false_negatives=50, true_negatives=3_950
)  # F1 0.95 at a fifth of defects
START = 491_000  # 2026-01-05T08Z
WELL = LabelCounts(true_positives=19, false_positives=1, false_negatives=1, true_negatives=79)
WORSE = LabelCounts(true_positives=16, false_positives=2, false_negatives=4, true_negatives=78)
NOTHING = LabelCounts()
EPISODE = "f1_72h-2026-01-08T00Z-587f6065512f"  # of SHA-256("weld-light/3\naoi-cam07")


def watched(hours: Sequence[LabelCounts]) -> tuple[F1Watch, list[WindowFinding]]:
    watch = F1Watch(model="weld-light/3", station="aoi-cam07", baseline=BASELINE)
    findings = []
    for hour, counts in enumerate(hours, start=START):
        watch, finding = watch.after(hour, counts)
        findings.append(finding)
    return watch, findings


def test_f1_and_baseline_are_told_in_millionths_rounded_down() -> None:
    _, findings = watched([WORSE])

    assert findings[0].f1_ppm == 2 * 16 * 1_000_000 // (2 * 16 + 6)
    assert findings[0].baseline_ppm == 950_000
    _, nothing = watched([NOTHING])
    assert (nothing[0].f1_ppm, nothing[0].baseline_ppm) == (0, 0)


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
    opening = watch.opening
    assert opening == findings[64]
    ticket = retrain_ticket(watch, opening)
    assert (ticket.model, ticket.station) == ("weld-light/3", "aoi-cam07")
    assert (ticket.grade, ticket.metric) == ("suspected", "f1_72h")
    assert (ticket.value_ppm, ticket.baseline_ppm) == (842_105, 950_000)
    assert (ticket.positive_count, ticket.coverage_ppm) == (65 * 20, 902_777)
    for name, rule in BODY_RULES["retrain_ticket"]:
        assert rule.passes(getattr(ticket, name))


def test_exactly_95_percent_of_the_baseline_is_no_breach() -> None:
    at_limit = LabelCounts(
        true_positives=361, false_negatives=39, false_positives=39, true_negatives=1_561
    )
    better = replace(BASELINE, true_positives=951, false_negatives=49)
    standings = []
    for baseline in (BASELINE, better):
        watch = F1Watch(model="m/1", station="s", baseline=baseline)
        for hour in range(START, START + 65):
            watch, finding = watch.after(hour, at_limit)
        standings.append(finding.standing)

    assert standings == [Standing.WELL, Standing.BREACH]


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


@pytest.mark.parametrize("missed", [0, 1, 4])
def test_rejects_that_nobody_reviewed_are_taken_for_right_and_misses_count(missed: int) -> None:
    passed_only = LabelCounts(false_negatives=missed, true_negatives=80, rejected=19, passed=84)
    reviewed = LabelCounts(true_positives=19, false_negatives=missed, true_negatives=80, passed=84)

    (*_, found), (*_, other) = (watched([counts] * 72)[1] for counts in (passed_only, reviewed))

    assert found.f1_ppm == other.f1_ppm
    assert other.standing is (Standing.BREACH if missed == 4 else Standing.WELL)
    assert found.standing is (other.standing if missed else Standing.STARVED)


def test_counts_that_are_taken_back_change_what_comes_and_not_what_was_said() -> None:
    watch, findings = watched([WORSE] * 65)
    mended = watch
    for hour, counts in watch.hours:
        better = LabelCounts(true_positives=4, false_negatives=-4, false_positives=-2)
        mended = mended.amended(hour, better)
        assert mended.amended(hour, -better).amended(hour, better) == mended
        assert counts == WORSE

    _, finding = mended.after(START + 65, WELL)

    assert finding.standing is Standing.WELL
    assert (mended.opening, finding.episode) == (findings[64], EPISODE)


@settings(max_examples=60)
@given(
    errors=integers(0, 40),
    right=integers(0, 2_000),
    base_errors=integers(0, 40),
    base_right=integers(0, 2_000),
)
def test_what_is_beyond_chance_is_so_by_another_librarys_exact_test(
    errors: int, right: int, base_errors: int, base_right: int
) -> None:
    parts, base_parts = errors + right, base_errors + base_right
    tail = stats.hypergeom.sf(errors - 1, parts + base_parts, errors + base_errors, parts)

    if abs(tail * CHANCE - 1) > 1e-6:
        found = is_beyond_chance(errors, parts, base_errors, base_parts)
        assert found == (tail * CHANCE < 1)


LIGHT = LabelCounts(  # as the shipped light model is promoted
    true_positives=4_917, false_negatives=31, false_positives=24, true_negatives=5_028
)


@settings(max_examples=60)
@given(
    positives=integers(1, 50),
    negatives=integers(0, 5_000),
    seen_rejects=integers(1, 20),
    seen_passes=integers(0, 20),
)
def test_a_model_that_errs_as_it_did_is_well_at_any_share_of_defects_and_of_reviews(
    positives: int, negatives: int, seen_rejects: int, seen_passes: int
) -> None:
    # Twentieths of what it rejects and of what it lets pass are reviewed; 100 x 20 x 20 parts make
    # every count whole.
    unit = 100 * 20 * 20
    missed, found = positives * unit // 100, positives * unit * 99 // 100
    false, right = negatives * unit // 200, negatives * unit * 199 // 200
    baseline = LabelCounts(
        true_positives=990, false_negatives=10, false_positives=5, true_negatives=995
    )
    counts = LabelCounts(
        true_positives=found * seen_rejects // 20,
        false_positives=false * seen_rejects // 20,
        false_negatives=missed * seen_passes // 20,
        true_negatives=right * seen_passes // 20,
        rejected=found + false,
        passed=missed + right,
    )
    watch = F1Watch(model="m/1", station="s", baseline=baseline)
    for hour in range(START, START + 65):
        watch, finding = watch.after(hour, counts)

    assert finding.standing is Standing.WELL
    if seen_passes:
        assert finding.f1_ppm == finding.baseline_ppm
    else:
        assert finding.f1_ppm >= finding.baseline_ppm


def simulated(
    seed: int,
    baseline: LabelCounts,
    *,
    share: float,
    per_hour: int,
    seen_passes: float = 1.0,
    drop: float = 0.0,
    hours: int = 250,
) -> Iterator[LabelCounts]:
    """Give a line's results and labels, hour by hour, whose recall drops after 100 hours.

    Args:
        seed: Of a line.
        baseline: Its model's rates.
        share: Of defects.
        per_hour: Results.
        seen_passes: Share of what the model lets pass that is reviewed; what it rejects all is.
        drop: Of the recall.
        hours: How many.
    """
    random = np.random.default_rng(seed)
    recall = baseline.true_positives / baseline.positives
    false_rate = baseline.false_positives / baseline.negatives
    for hour in range(hours):
        defects = int(random.binomial(per_hour, share))
        found = int(random.binomial(defects, recall * (1 - drop * (hour >= 100))))
        false = int(random.binomial(per_hour - defects, false_rate))
        missed, sound = defects - found, per_hour - defects - false
        yield LabelCounts(
            true_positives=found,
            false_positives=false,
            false_negatives=int(random.binomial(missed, seen_passes)),
            true_negatives=int(random.binomial(sound, seen_passes)),
            rejected=found + false,
            passed=missed + sound,
        )


def alarmed(
    seeds: range,
    baseline: LabelCounts,
    *,
    share: float,
    per_hour: int,
    seen_passes: float = 1.0,
    drop: float = 0.0,
) -> int:
    """Return how many of some simulated lines open an episode."""
    count = 0
    for seed in seeds:
        watch = F1Watch(model="m/1", station="s", baseline=baseline)
        line = simulated(
            seed, baseline, share=share, per_hour=per_hour, seen_passes=seen_passes, drop=drop
        )
        for hour, counts in enumerate(line):
            watch, finding = watch.after(hour, counts)
            if finding.grade:
                count += 1
                break
    return count


@pytest.mark.parametrize("share", [0.05, 0.03, 0.01, 0.005])
@pytest.mark.parametrize("seen_passes", [1.0, 0.1, 0.0])
def test_an_unchanged_model_is_well_on_a_line_with_fewer_defects_than_its_test(
    share: float, seen_passes: float
) -> None:
    per_hour = round(3 / share)

    found = alarmed(range(5), LIGHT, share=share, per_hour=per_hour, seen_passes=seen_passes)

    assert found == 0


MIDDLING = LabelCounts(  # F1 0.955 at 5 % of defects
    true_positives=9_500, false_negatives=500, false_positives=396, true_negatives=189_604
)


@pytest.mark.parametrize(
    ("per_hour", "drop", "least", "most"),
    [
        (60, 0.0, 0, 1),
        (60, 0.095, 18, 20),  # recall that falls by 9.5 % takes 5 % off this F1
        (14, 0.0, 0, 1),  # some 50 labelled defects a window
        (14, 0.18, 17, 20),  # takes 10 points off
    ],
)
def test_a_true_drop_is_found_and_none_is_made_up(
    per_hour: int, drop: float, least: int, most: int
) -> None:
    found = alarmed(range(20), MIDDLING, share=0.05, per_hour=per_hour, drop=drop)

    assert least <= found <= most
