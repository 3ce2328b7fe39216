"""How the context of an inspection moves the threshold: bounded, monotone, in integers alone.

A map says for one input, such as the takt in milliseconds, by how much a defect's threshold goes
up or down: linear between knots, level beyond them, and only ever in one direction. Sums are
clamped to bounds that the policy declares. So whatever a sensor says, no context makes an
inspection laxer than the policy's author has allowed, and everybody who reads the recorded inputs
gets the same threshold.

What is missing is not guessed: its map counts with its strictest end, and the result names it.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lotmark.canonical_json import INTEGER_MAX
from lotmark.errors import MalformedError
from lotmark.json_fields import JsonFields
from lotmark.text import check_identifier

SCORE_MAX = 10_000  # scores and thresholds are ten-thousandths
MAPS_MAX = 16
KNOTS_MAX = 32

# Attributes of a result's context that say what it led to, beside the inputs themselves.
THRESHOLD = "threshold"  # of the label given, ten-thousandths
THRESHOLD_SHIFT = "threshold_shift"  # what the context added to those of defects
RESERVED_INPUTS = (THRESHOLD, THRESHOLD_SHIFT)

_INPUT_SIZE_MAX = 64  # as names of attributes in events


@dataclass(frozen=True, slots=True)
class Knot:
    """A point that a map goes through."""

    at: int  # the input, in the unit that its name ends with
    by: int  # what is added to the threshold, ten-thousandths


@dataclass(frozen=True, slots=True)
class ThresholdMap:
    """By how much one input moves thresholds."""

    input: str  # "takt_ms", "temperature_dc", "humidity_permille", "vibration_rms_z_milli"
    knots: tuple[Knot, ...]  # ascending, monotone

    @property
    def strictest(self) -> int:
        """What it adds where its input is missing: the lower a threshold, the more is held."""
        return min(self.knots[0].by, self.knots[-1].by)

    def shift(self, value: int) -> int:
        """Return what is added to a threshold at this value; fractions go to the strict side."""
        right = bisect_right(self.knots, value, key=lambda knot: knot.at)
        if right == 0:
            return self.knots[0].by
        if right == len(self.knots):
            return self.knots[-1].by
        low, high = self.knots[right - 1], self.knots[right]
        return low.by + (high.by - low.by) * (value - low.at) // (high.at - low.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShift:
    """What a context does to thresholds, and what it was."""

    by: int  # ten-thousandths
    used: tuple[tuple[str, int], ...]  # the inputs that were there
    missing: tuple[str, ...]  # those that were not


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextThresholds:
    """All maps of a policy, and the bounds that no context leads beyond."""

    low: int = 1
    high: int = SCORE_MAX
    maps: tuple[ThresholdMap, ...] = ()

    def shift(self, context: Mapping[str, int]) -> ContextShift:
        """Return what a context does to thresholds.

        Args:
            context: Inputs by name. More than the policy asks for may be there; it is not used.
        """
        used, missing, by = [], [], 0
        for each in self.maps:
            value = context.get(each.input)
            if value is None:
                missing.append(each.input)
                by += each.strictest
            else:
                assert type(value) is int, f"{each.input} is {value!r}, no integer"
                used.append((each.input, value))
                by += each.shift(value)
        return ContextShift(by=by, used=tuple(used), missing=tuple(missing))

    def threshold(self, model_threshold: int, shift: ContextShift) -> int:
        """Return from which score on a label is given, ten-thousandths.

        Args:
            model_threshold: As the model's manifest has it.
            shift: What the context does.
        """
        return min(max(model_threshold + shift.by, self.low), self.high)


def read_context_thresholds(table: JsonFields) -> ContextThresholds:
    """Return the maps of a policy's table `threshold`.

    Raises:
        MalformedError: A bound or a knot is out of range, or a map is not monotone.
    """
    low, high = table.number("low"), table.number("high")
    if not 1 <= low <= high <= SCORE_MAX:
        raise MalformedError(
            f"threshold.low {low} and high {high} must ascend within 1 to {SCORE_MAX}"
        )
    maps = tuple(_read_map(each) for each in table.objects("maps", ("input", "knots")))
    if len(maps) > MAPS_MAX:
        raise MalformedError(f"threshold.maps has {len(maps)} members; at most {MAPS_MAX} may be")
    names = [each.input for each in maps]
    if len(set(names)) != len(names):
        raise MalformedError(
            f"threshold.maps has two of one input among {', '.join(names)}; make one of them"
        )
    return ContextThresholds(low=low, high=high, maps=maps)


def _read_map(table: JsonFields) -> ThresholdMap:
    name = table.text("input")
    check_identifier(name, what="threshold.maps.input", size_max=_INPUT_SIZE_MAX)
    if name in RESERVED_INPUTS:
        raise MalformedError(
            f"threshold.maps.input {name} is what results state beside the inputs; name it"
            " otherwise"
        )
    knots = tuple(
        Knot(each.number("at"), each.number("by")) for each in table.objects("knots", ("at", "by"))
    )
    _check_knots(name, knots)
    return ThresholdMap(name, knots)


def _check_knots(name: str, knots: Sequence[Knot]) -> None:
    if not 2 <= len(knots) <= KNOTS_MAX:
        raise MalformedError(f"the map of {name} has {len(knots)} knots; 2 to {KNOTS_MAX} may be")
    for knot in knots:
        if abs(knot.at) > INTEGER_MAX or abs(knot.by) > SCORE_MAX:
            raise MalformedError(
                f"the map of {name} has the knot ({knot.at}, {knot.by}); at most 2^53 - 1 and"
                f" {SCORE_MAX} may be"
            )
    steps = list(pairwise(knots))
    for before, after in steps:
        if after.at <= before.at:
            raise MalformedError(
                f"the map of {name} goes from {before.at} to {after.at}; knots must ascend"
            )
    rises = any(after.by > before.by for before, after in steps)
    falls = any(after.by < before.by for before, after in steps)
    if rises and falls:
        raise MalformedError(
            f"the map of {name} both rises and falls ({', '.join(str(each.by) for each in knots)});"
            " it must be monotone, so that more of an input never means both more and less care"
        )
