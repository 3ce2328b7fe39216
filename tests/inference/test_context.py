"""Thresholds by context: bounded, monotone, integer, and the same for everybody."""

import json
import subprocess
import sys

from hypothesis import given
from hypothesis.strategies import DrawFn, composite, integers, lists, sampled_from, sets

from lotmark_inference.context import ContextThresholds, Knot, ThresholdMap
from tests.inference.weld_policy import weld_policy

FAR = 2**53 - 1
VALUES = integers(-FAR, FAR)


@composite
def threshold_maps(draw: DrawFn) -> ThresholdMap:
    at = sorted(draw(sets(integers(-100_000, 100_000), min_size=2, max_size=6)))
    by = sorted(
        draw(lists(integers(-10_000, 10_000), min_size=len(at), max_size=len(at))),
        reverse=draw(sampled_from([False, True])),
    )
    return ThresholdMap("input", tuple(Knot(*pair) for pair in zip(at, by, strict=True)))


@given(each=threshold_maps(), first=VALUES, second=VALUES)
def test_a_map_is_monotone_and_stays_between_its_ends(
    each: ThresholdMap, first: int, second: int
) -> None:
    low, high = sorted((first, second))
    ends = sorted((each.knots[0].by, each.knots[-1].by))
    rising = each.knots[0].by <= each.knots[-1].by

    shifts = [each.shift(low), each.shift(high)]

    assert shifts == sorted(shifts, reverse=not rising)
    assert all(type(shift) is int and ends[0] <= shift <= ends[1] for shift in shifts)
    assert each.strictest == ends[0]


@given(each=threshold_maps())
def test_a_map_goes_through_its_knots(each: ThresholdMap) -> None:
    assert [each.shift(knot.at) for knot in each.knots] == [knot.by for knot in each.knots]


@given(
    maps=lists(threshold_maps(), max_size=3),
    values=lists(VALUES, min_size=3, max_size=3),
    base=integers(0, 10_000),
)
def test_no_context_leads_out_of_the_declared_bounds_or_makes_missing_inputs_laxer(
    maps: list[ThresholdMap], values: list[int], base: int
) -> None:
    named = tuple(ThresholdMap(f"input_{at}", each.knots) for at, each in enumerate(maps))
    thresholds = ContextThresholds(low=3_000, high=7_000, maps=named)
    context = {each.input: value for each, value in zip(named, values, strict=False)}

    known, unknown = thresholds.shift(context), thresholds.shift({})

    assert 3_000 <= thresholds.threshold(base, known) <= 7_000
    assert thresholds.threshold(base, unknown) <= thresholds.threshold(base, known)
    assert unknown.missing == tuple(each.input for each in named)
    assert known.missing == ()


def test_what_was_used_and_what_was_missing_is_said() -> None:
    thresholds = weld_policy().thresholds

    shift = thresholds.shift({"takt_ms": 1_075, "hall": 3})

    assert shift.used == (("takt_ms", 1_075),)
    assert shift.missing == ("vibration_rms_z_milli",)
    assert shift.by == -500 - 2_500
    assert thresholds.threshold(5_000, shift) == 2_000


def test_another_process_gets_the_same_thresholds() -> None:
    program = (
        "import json; from tests.inference.weld_policy import weld_policy;"
        " each = weld_policy().thresholds;"
        " print(json.dumps([each.shift({'takt_ms': takt, 'vibration_rms_z_milli': 7 * takt}).by"
        " for takt in range(0, 2000, 7)]))"
    )
    there = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=30
    )
    here = weld_policy().thresholds

    assert json.loads(there.stdout) == [
        here.shift({"takt_ms": takt, "vibration_rms_z_milli": 7 * takt}).by
        for takt in range(0, 2000, 7)
    ]
