"""Whether a model has become worse: its F1 over the last 72 hours against that of its promotion.

"F1 5 % below baseline for 72 h" means here: the F1 of all labels of the last 72 hours together is
below 95 % of the baseline's. Simulated with 60 labels an hour, that finds 94 of 100 true drops of
5 % within 150 hours; 72 hourly values that are each below it find 8 to 15. Such a row is asked,
too: 72 breaches make the suspicion a confirmation.

Too few labels say nothing, either way: the count of breaches then stands still, and the finding
says why. Whoever wants a ticket must label; whoever stops labelling does not make a model well.

An episode begins with a breach and ends when a day of hours in a row, all with enough labels, had
none. Its name follows from model, station and first hour, so whoever computes it again finds the
ticket that is there. All in integers.
"""

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum

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
METRIC = "f1_72h"

_DIGITS = 12  # of the digest that ends an episode's name


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """What people found about a model's results; true negatives do not enter an F1."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0  # they cover an hour all the same

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        return LabelCounts(
            true_positives=self.true_positives + other.true_positives,
            false_positives=self.false_positives + other.false_positives,
            false_negatives=self.false_negatives + other.false_negatives,
            true_negatives=self.true_negatives + other.true_negatives,
        )

    @property
    def positives(self) -> int:
        """Labelled defects."""
        return self.true_positives + self.false_negatives

    @property
    def label_count(self) -> int:
        """All labels."""
        return self.positives + self.false_positives + self.true_negatives

    @property
    def f1_ppm(self) -> int:
        """F1 in parts per million, rounded down; without any defect it is 0."""
        twice = 2 * self.true_positives
        total = twice + self.false_positives + self.false_negatives
        return twice * PPM // total if total else 0


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
    baseline_ppm: int
    hours: tuple[tuple[int, LabelCounts], ...] = field(default=())  # with labels, the newest 72 h
    last_hour: int | None = None
    breach_hours: int = 0
    well_hours: int = 0
    episode_hour: int | None = None  # of the open episode's first breach
    is_confirmed: bool = False

    def __post_init__(self) -> None:
        assert 0 < self.baseline_ppm <= PPM, f"{self.baseline_ppm} is no F1 in ppm"

    def after(self, hour: int, counts: LabelCounts) -> "tuple[F1Watch, WindowFinding]":
        """Return the watch after an hour, and what its window says.

        Args:
            hour: Hours since 1970; each once, ascending. Hours that are left out had no labels.
            counts: What was labelled in it.
        """
        assert self.last_hour is None or hour > self.last_hour, f"hour {hour} is over already"
        kept = tuple(each for each in self.hours if each[0] > hour - WINDOW_HOURS)
        if counts.label_count:
            kept = (*kept, (hour, counts))
        window = sum((each for _, each in kept), LabelCounts())
        coverage_ppm = len(kept) * PPM // WINDOW_HOURS
        standing = self._standing(window, coverage_ppm)
        watch = replace(self, hours=kept, last_hour=hour)._counted(standing, hour)
        finding = WindowFinding(
            hour=hour,
            standing=standing,
            f1_ppm=window.f1_ppm,
            baseline_ppm=self.baseline_ppm,
            positives=window.positives,
            coverage_ppm=coverage_ppm,
            breach_hours=watch.breach_hours,
            episode=watch.episode,
            grade=watch.grade,
        )
        return watch, finding

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

    def _standing(self, window: LabelCounts, coverage_ppm: int) -> Standing:
        if window.positives < POSITIVES_MIN or coverage_ppm < COVERAGE_MIN_PPM:
            return Standing.STARVED
        below = window.f1_ppm * PPM < self.baseline_ppm * BREACH_PPM
        return Standing.BREACH if below else Standing.WELL

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
                return replace(watch, episode_hour=None, is_confirmed=False)


def retrain_ticket(watch: F1Watch, finding: WindowFinding) -> quality_pb2.RetrainTicket:
    """Return the ticket of an open episode; one an episode is put on record."""
    assert finding.grade is not None, "no episode is open"
    return quality_pb2.RetrainTicket(
        model=watch.model,
        station=watch.station,
        episode=finding.episode,
        grade=finding.grade,
        metric=METRIC,
        value_ppm=finding.f1_ppm,
        baseline_ppm=finding.baseline_ppm,
        positive_count=finding.positives,
        coverage_ppm=finding.coverage_ppm,
    )
