"""Whether a model has become worse: its F1 over the last 72 hours against that of its promotion.

"F1 5 % below baseline for 72 h" means here: the F1 of the last 72 hours together is below 95 % of
the baseline's, and by more than chance makes of a model that is as it was promoted. 72 hourly
values that are each below it find few true drops. Such a row is asked, too: 72 breaches make the
suspicion a confirmation. Simulated figures stand in docs/inference.md.

An F1 depends on the share of defects, and a line has fewer of them than the images that a model
was evaluated on. So the baseline is worked out for each window, from what the promotion says of
the defects that the model finds and of the sound parts that it rejects. And people seldom review
the same share of what a model rejects and of what it lets pass; so what a label says counts for
those results of its kind, too, that nobody reviewed.

Too few labels say nothing, either way: the count of breaches then stands still, and the finding
says why. Whoever wants a ticket must label; whoever stops labelling does not make a model well.

An episode begins with a breach and ends when a day of hours in a row, all with enough labels, had
none. Its name and its ticket follow from model, station and first hour, so whoever computes it
again makes the same ticket. All in exact numbers.
"""

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from math import comb

from lotmark.rfc3339 import text_of_ms
from lotmark.v1 import quality_pb2

PPM = 1_000_000
HOUR_MS = 3_600_000
WINDOW_HOURS = 72
CONFIRMED_HOURS = 72  # breaches in a row
RECOVERED_HOURS = 24  # hours without one, in a row
POSITIVES_MIN = 40
COVERAGE_MIN_PPM = 900_000
BREACH_PPM = 950_000  # of the baseline
CHANCE = 3_000  # in one window of so many an unchanged model has as many errors of one kind
METRIC = "f1_72h"

_DIGITS = 12  # of the digest that ends an episode's name


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """What people found about a model's results, and how many results there were."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0
    rejected: int = 0  # results, with or without label; labels alone stand for themselves
    passed: int = 0

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        return LabelCounts(
            true_positives=self.true_positives + other.true_positives,
            false_positives=self.false_positives + other.false_positives,
            false_negatives=self.false_negatives + other.false_negatives,
            true_negatives=self.true_negatives + other.true_negatives,
            rejected=self.rejected + other.rejected,
            passed=self.passed + other.passed,
        )

    def __neg__(self) -> "LabelCounts":
        return LabelCounts(
            true_positives=-self.true_positives,
            false_positives=-self.false_positives,
            false_negatives=-self.false_negatives,
            true_negatives=-self.true_negatives,
            rejected=-self.rejected,
            passed=-self.passed,
        )

    @property
    def positives(self) -> int:
        """Labelled defects."""
        return self.true_positives + self.false_negatives

    @property
    def negatives(self) -> int:
        """Labelled sound parts."""
        return self.false_positives + self.true_negatives

    @property
    def label_count(self) -> int:
        """All labels."""
        return self.positives + self.negatives


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimate:
    """A window's results as if all of them were labelled."""

    positives: Fraction
    negatives: Fraction
    missed: Fraction  # defects that it let pass
    false_rejects: Fraction
    pass_weight: Fraction  # results that the label of one counts for
    reject_weight: Fraction

    @classmethod
    def of(cls, window: LabelCounts) -> "_Estimate":
        """Return it; a kind of results that nobody labelled is taken for right."""
        labelled_rejects = window.true_positives + window.false_positives
        labelled_passes = window.false_negatives + window.true_negatives
        rejected = max(window.rejected, labelled_rejects)
        passed = max(window.passed, labelled_passes)
        reject_weight = Fraction(rejected, labelled_rejects) if labelled_rejects else Fraction(1)
        pass_weight = Fraction(passed, labelled_passes) if labelled_passes else Fraction(1)
        missed = window.false_negatives * pass_weight
        false_rejects = window.false_positives * reject_weight
        positives = rejected - false_rejects + missed
        return cls(
            positives=positives,
            negatives=rejected + passed - positives,
            missed=missed,
            false_rejects=false_rejects,
            pass_weight=pass_weight,
            reject_weight=reject_weight,
        )

    def f1(self, missed: Fraction, false_rejects: Fraction) -> Fraction:
        """Return the F1 of so many errors among these parts; without any defect it is 0."""
        found = 2 * (self.positives - missed)
        total = found + missed + false_rejects
        return found / total if total else Fraction(0)

    def is_beyond_chance(self, baseline: LabelCounts) -> bool:
        """Return whether an unchanged model hardly makes so many errors of one kind or the other.

        Asked of labels, not of what they stand for: ten labels are no more certain for standing
        for a thousand results.
        """
        return is_beyond_chance(
            int(self.missed / self.pass_weight),
            round(self.positives / self.pass_weight),
            baseline.false_negatives,
            baseline.positives,
        ) or is_beyond_chance(
            int(self.false_rejects / self.reject_weight),
            round(self.negatives / self.reject_weight),
            baseline.false_positives,
            baseline.negatives,
        )


def _error_rates(counts: LabelCounts) -> tuple[Fraction, Fraction]:
    """Return the shares of defects that are let pass, and of sound parts that are rejected."""
    return (
        Fraction(counts.false_negatives, counts.positives),
        Fraction(counts.false_positives, max(counts.negatives, 1)),
    )


def is_beyond_chance(errors: int, parts: int, base_errors: int, base_parts: int) -> bool:
    """Return whether one rate of errors hardly leaves so many of them to the newer parts.

    Source: Fisher's exact test, one-sided.
    """
    all_errors = errors + base_errors
    every = comb(parts + base_parts, all_errors)
    ways = comb(parts, errors) * comb(base_parts, base_errors)
    tail = 0
    for count in range(errors, min(all_errors, parts) + 1):
        tail += ways
        if tail * CHANCE > every:
            return False
        ways = ways * (parts - count) * (all_errors - count)
        ways //= (count + 1) * (base_parts - all_errors + count + 1)
    return True


class Standing(StrEnum):
    """What an hour's window says."""

    WELL = "well"
    BREACH = "breach"
    STARVED = "starved"  # too few labels: nothing can be said, and the count stands still


class Grade(StrEnum):
    """How sure it is that the model has become worse; as tickets have it."""

    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFinding:
    """What is known at the end of an hour."""

    hour: int  # since 1970
    standing: Standing
    f1_ppm: int
    baseline_ppm: int
    positives: int
    coverage_ppm: int
    breach_hours: int  # in a row, not counting starved ones
    episode: str  # "": none
    grade: Grade | None  # of the episode

    @property
    def said(self) -> str:
        """The finding in words."""
        f1, baseline = self.f1_ppm / PPM, self.baseline_ppm / PPM
        if self.standing is Standing.STARVED:
            return (
                f"nothing can be said: {self.positives} labelled defects and labels in"
                f" {self.coverage_ppm / 10_000:.0f} % of {WINDOW_HOURS} hours, where"
                f" {POSITIVES_MIN} and {COVERAGE_MIN_PPM // 10_000} % are needed; the count of"
                f" breaches stands at {self.breach_hours}"
            )
        return (
            f"F1 {f1:.3f} over {WINDOW_HOURS} hours, {f1 / baseline:.1%} of the baseline"
            f" {baseline:.3f}: {self.standing}, {self.breach_hours} in a row"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class F1Watch:
    """One model at one station, up to the hour that was closed last."""

    model: str
    station: str
    baseline: LabelCounts  # at its promotion
    hours: tuple[tuple[int, LabelCounts], ...] = field(default=())  # the newest 72 h
    last_hour: int | None = None
    breach_hours: int = 0
    well_hours: int = 0
    episode_hour: int | None = None  # of the open episode's first breach
    opening: WindowFinding | None = None  # of that hour
    is_confirmed: bool = False

    def __post_init__(self) -> None:
        assert self.baseline.true_positives > 0, "nothing can be below an F1 of 0"

    def after(self, hour: int, counts: LabelCounts) -> "tuple[F1Watch, WindowFinding]":
        """Return the watch after an hour, and what its window says.

        Args:
            hour: Hours since 1970; each once, ascending. Hours that are left out had no labels.
            counts: Its results, and what was labelled in it.
        """
        assert self.last_hour is None or hour > self.last_hour, f"hour {hour} is over already"
        kept = tuple(each for each in self.hours if each[0] > hour - WINDOW_HOURS)
        if counts != LabelCounts():
            kept = (*kept, (hour, counts))
        window = sum((each for _, each in kept), LabelCounts())
        coverage_ppm = sum(each.label_count > 0 for _, each in kept) * PPM // WINDOW_HOURS
        estimate = _Estimate.of(window)
        f1_ppm, baseline_ppm = self._compared(estimate)
        is_starved = window.positives < POSITIVES_MIN or coverage_ppm < COVERAGE_MIN_PPM
        limit = Fraction(baseline_ppm * BREACH_PPM, PPM * PPM)
        if is_starved:
            standing = Standing.STARVED
        elif Fraction(f1_ppm, PPM) < limit and estimate.is_beyond_chance(self.baseline):
            standing = Standing.BREACH
        else:
            standing = Standing.WELL
        watch = replace(self, hours=kept, last_hour=hour)._counted(standing, hour)
        finding = WindowFinding(
            hour=hour,
            standing=standing,
            f1_ppm=f1_ppm,
            baseline_ppm=baseline_ppm,
            positives=window.positives,
            coverage_ppm=coverage_ppm,
            breach_hours=watch.breach_hours,
            episode=watch.episode,
            grade=watch.grade,
        )
        if watch.episode_hour == hour:
            watch = replace(watch, opening=finding)
        return watch, finding

    def amended(self, hour: int, counts: LabelCounts) -> "F1Watch":
        """Return the watch with counts added to an hour; what it said before stands."""
        return replace(
            self,
            hours=tuple(
                (each, kept + counts if each == hour else kept) for each, kept in self.hours
            ),
        )

    @property
    def episode(self) -> str:
        """The name of the open episode; "" where there is none."""
        if self.episode_hour is None:
            return ""
        start = text_of_ms(self.episode_hour * HOUR_MS)[:13]
        whose = hashlib.sha256(f"{self.model}\n{self.station}".encode()).hexdigest()
        return f"{METRIC}-{start}Z-{whose[:_DIGITS]}"

    @property
    def grade(self) -> Grade | None:
        """How sure the open episode is; None where there is none."""
        if self.episode_hour is None:
            return None
        return Grade.CONFIRMED if self.is_confirmed else Grade.SUSPECTED

    def _compared(self, estimate: _Estimate) -> tuple[int, int]:
        """Return a window's F1, and that of the baseline's rates on the same parts, in ppm."""
        miss_rate, false_rate = _error_rates(self.baseline)
        found = estimate.f1(estimate.missed, estimate.false_rejects)
        expected = estimate.f1(estimate.positives * miss_rate, estimate.negatives * false_rate)
        return int(found * PPM), int(expected * PPM)

    def _counted(self, standing: Standing, hour: int) -> "F1Watch":
        match standing:
            case Standing.STARVED:
                return self
            case Standing.BREACH:
                breach_hours = self.breach_hours + 1
                return replace(
                    self,
                    breach_hours=breach_hours,
                    well_hours=0,
                    episode_hour=hour if self.episode_hour is None else self.episode_hour,
                    is_confirmed=self.is_confirmed or breach_hours >= CONFIRMED_HOURS,
                )
            case Standing.WELL:
                well_hours = self.well_hours + 1
                watch = replace(self, breach_hours=0, well_hours=well_hours)
                if well_hours < RECOVERED_HOURS:
                    return watch
                return replace(watch, episode_hour=None, opening=None, is_confirmed=False)


def retrain_ticket(watch: F1Watch, opening: WindowFinding) -> quality_pb2.RetrainTicket:
    """Return the ticket of an episode: what its first hour said, whenever it is made."""
    assert opening.grade is not None, "no episode is open"
    return quality_pb2.RetrainTicket(
        model=watch.model,
        station=watch.station,
        episode=opening.episode,
        grade=opening.grade,
        metric=METRIC,
        value_ppm=opening.f1_ppm,
        baseline_ppm=opening.baseline_ppm,
        positive_count=opening.positives,
        coverage_ppm=opening.coverage_ppm,
    )
