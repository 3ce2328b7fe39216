"""A site that is killed between any two writes: every observation is kept once, every event is one.

First in memory, at each place at which it makes a difference; then a real process, at any instant.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark.client.outbox import Outbox
from lotmark.merkle import leaf_hash
from lotmark_adapters.observation import GapReason, Observation, Report, SourceGap
from lotmark_node.edge import site_recorder
from lotmark_node.edge.kept_file import check_against_event
from tests.node.edge.trial_site import (
    Kept,
    Killed,
    TrialSite,
    observed,
    report,
    site_settings,
)

KILLS = int(os.environ.get("LOTMARK_KILLS", "4"))
SIGNAL_NAMES = ("current", "current", "current", "weld", "serial", "note")


@dataclass(frozen=True)
class Planned:
    """A source that always tells the same, from wherever it goes on."""

    reports: tuple[Report, ...]

    def from_position(self, next_sequence: int) -> tuple[Report, ...]:
        return tuple(each for each in self.reports if each.position.next_sequence > next_sequence)

    @property
    def observations(self) -> list[Observation]:
        return [each for report in self.reports for each in report.observations]


def value_of(sequence: int, signal: str, *, is_outside: bool) -> str:
    """Return a value that no other observation has, but for what names the part."""
    if signal == "current":
        return f"{'9' if is_outside else '8'}.0{sequence:06d}"
    return {"weld": str(sequence), "serial": f"P{sequence // 7}", "note": f"note {sequence}"}[
        signal
    ]


@st.composite
def planned_sources(draw: st.DrawFn) -> Planned:
    reports: list[Report] = []
    sequence = 1
    for _ in range(draw(st.integers(1, 8))):
        gaps = []
        if draw(st.integers(0, 4)) == 0:
            gaps = [SourceGap(reason=GapReason.OVERRUN, first=sequence, last=sequence, count=1)]
            sequence += 1
        observations = []
        for _ in range(draw(st.integers(1, 9))):
            signal = draw(st.sampled_from(SIGNAL_NAMES))
            value = value_of(sequence, signal, is_outside=draw(st.integers(0, 3)) == 0)
            observations.append(observed(sequence, signal, value))
            sequence += 1
        reports.append(report(observations, gaps=gaps))
    return Planned(tuple(reports))


def give_all(site: TrialSite, source: Planned) -> None:
    """Give the site what it does not have, as the source's process does after each start."""
    states = site.memory.sources()
    next_sequence = states[0].position.next_sequence if states else 1
    for each in source.from_position(next_sequence):
        places = site.recorder.take("W07", each)
        while site.recorder.hand_on_next(places):
            pass
        site.recorder.close_windows(due_only=True)
    site.close_all()
    site.recorder.forget_handed_on()


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=planned_sources(),
    lives=st.lists(st.integers(0, 25), max_size=6),
    turn=st.sampled_from((1, 2, 16)),
)
def test_whenever_it_is_killed_every_observation_is_kept_once_and_in_one_event_at_most(
    tmp_path_factory: pytest.TempPathFactory, source: Planned, lives: list[int], turn: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_recorder, "TURN_FILES_MAX", turn)
        check_kills(tmp_path_factory.mktemp("site"), source, lives)


def check_kills(folder: Path, source: Planned, lives: list[int]) -> None:
    site = TrialSite(site_settings(folder))
    for left in lives:
        site.fuse.left = left
        with suppress(Killed):
            give_all(site, source)
        site.kill()
        while True:  # it may be killed while it starts, too
            try:
                site.open()
                break
            except Killed:
                site.fuse.left = None
        check_at_most_once(site, source)
    site.fuse.left = None
    give_all(site, source)

    assert site.memory.pending_count() == 0
    assert site.memory.open_windows() == []
    check_all_once(site, source)
    site.kill()


def check_at_most_once(site: TrialSite, source: Planned) -> None:
    """What was taken is kept once or about to be, and an event's file is there before it."""
    states = site.memory.sources()
    taken = states[0].position.next_sequence if states else 1
    for event in site.outbox.events("observation_window"):
        assert site.store.path(event.files[0].sha256).exists()
    kept = site.kept_sequences()
    assert set(kept.values()) <= {1}
    assert {sequence for _, sequence in kept} <= {
        each.sequence for each in source.observations if each.sequence < taken
    }


def check_all_once(site: TrialSite, source: Planned) -> None:
    expected = Counter(("1", each.sequence) for each in source.observations)
    assert site.kept_sequences() == expected
    gaps = [gap for each in source.reports for gap in each.gaps]
    assert len(site.outbox.events("gap")) == len(gaps)
    assert len(site.outbox.events("anchoring_policy")) == 1

    on_record: Counter[int] = Counter()
    by_value = {each.value: each.sequence for each in source.observations}
    for event in site.outbox.events("measurement"):
        on_record[by_value[event.measurement.value]] += 1
    for event in site.outbox.events("observation_window"):
        kept = check_against_event(site.store.read(event.files[0].sha256), event)
        on_record.update(each.sequence for each in kept.observations)
    anchored = [each.sequence for each in source.observations if each.signal in ("current", "note")]
    assert on_record == Counter(anchored)
    decided = sum(bool(site.memory.decided_of(leaf_hash(raw))) for raw in site.outbox.raw.values())
    assert decided == len(site.outbox.raw) - 1, "each event but the policy's can be explained"


# Takes reports of a deterministic source for ever, from wherever the memory is, and kills itself a
# while after it has begun: in the middle of anything.
SITE = """
import os, signal, sys, threading
from pathlib import Path
from tests.node.edge.test_recorder_kills import StoredOutbox, endless_reports
from tests.node.edge.trial_site import TrialSite, site_settings
folder, life_s = Path(sys.argv[1]), float(sys.argv[2])
site = TrialSite(site_settings(folder / "data"), StoredOutbox(folder))
states = site.memory.sources()
threading.Timer(life_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
for report in endless_reports(states[0].position.next_sequence if states else 1):
    site.recorder.take("W07", report)
    site.hand_on()
"""


class StoredOutbox(Kept):
    """The client's own outbox file, where an event that comes twice stands twice."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = Outbox(folder / "outbox.db", chain_id=bytes(32))

    def submit(self, events: Sequence[bytes]) -> None:
        self.file.write(events=events)


def endless_reports(first: int) -> Iterator[Report]:
    """Return what the source tells from an observation on, the same each time."""
    while True:
        count = 1 + first % 37
        yield report(
            observed(
                sequence,
                signal := SIGNAL_NAMES[sequence % len(SIGNAL_NAMES)],
                value_of(sequence, signal, is_outside=sequence % 5 == 0),
            )
            for sequence in range(first, first + count)
        )
        first += count


def test_a_process_that_is_killed_at_random_instants_keeps_every_observation_once(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("LOTMARK_SEED") or time.time_ns() % 2**32)
    print(f"seed {seed}")  # noqa: T201 - to draw the same instants again
    pick = random.Random(seed)  # noqa: S311 - as said
    for _ in range(KILLS):
        done = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-c", SITE, str(tmp_path), str(pick.uniform(0.0, 0.5))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == -9, done.stderr

    outbox = StoredOutbox(tmp_path)
    site = TrialSite(site_settings(tmp_path / "data"), outbox)
    site.close_all()
    (state,) = site.memory.sources()
    taken = state.position.next_sequence - 1
    assert taken > KILLS, "it came to take something"
    assert site.kept_sequences() == Counter(("1", each) for each in range(1, taken + 1))

    # The ledger, and the client while they wait, take the same bytes once.
    Kept.submit(outbox, [each.raw for each in outbox.file.all_events()])
    source = Planned((report(take_until(taken)),))
    check_all_once(site, source)
    outbox.file.close()
    site.kill()


def take_until(last: int) -> list[Observation]:
    """Return the first observations of the endless source."""
    found: list[Observation] = []
    for each in endless_reports(1):
        found += each.observations
        if len(found) >= last:
            return found[:last]
    raise AssertionError("it is endless")
