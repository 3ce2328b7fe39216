"""A clock that is set: what is young stays, and becomes old in its time."""

import time
from pathlib import Path

import pytest

from lotmark_node.edge.clock_jumps import ClockJumps
from lotmark_node.edge.evidence_store import DAY_US
from tests.node.edge.trial_site import START_US, TrialSite, observed, site_settings

HOUR_US = DAY_US // 24


@pytest.fixture
def site(tmp_path: Path) -> TrialSite:
    """A site that has kept a file."""
    site = TrialSite(site_settings(tmp_path))
    site.take(observed(1, "current", "8.1"))
    site.close_all()
    site.recorder.forget_handed_on()
    return site


def pass_time(site: TrialSite, days: int) -> None:
    site.clock.now_us += days * DAY_US


def set_clock(site: TrialSite, days: int) -> None:
    site.clock.now_us += days * DAY_US
    site.jumped_us += days * DAY_US


def file_count(site: TrialSite) -> int:
    site.recorder.remove_outdated()
    return len(site.files())


@pytest.mark.parametrize("days", [-4_000, -40, 40, 4_000])
def test_files_keep_their_ages_when_the_clock_is_set(site: TrialSite, days: int) -> None:
    pass_time(site, 10)
    set_clock(site, days)
    assert file_count(site) == 1
    pass_time(site, 20)
    assert file_count(site) == 1

    pass_time(site, 1)
    assert file_count(site) == 0


def test_a_clock_that_is_set_ahead_and_back_changes_nothing(site: TrialSite) -> None:
    set_clock(site, 40)
    site.take(observed(2, "current", "8.1"))
    site.close_all()
    site.recorder.forget_handed_on()
    set_clock(site, -40)
    assert file_count(site) == 2

    pass_time(site, 31)
    assert file_count(site) == 0


def test_a_start_with_a_clock_that_is_behind_makes_no_file_older(site: TrialSite) -> None:
    set_clock(site, -4_000)
    site.jumped_us = 0
    site.again()
    set_clock(site, 4_000)
    assert file_count(site) == 1

    pass_time(site, 31)
    assert file_count(site) == 0


def test_a_full_store_does_not_make_room_by_a_clock_that_was_set(site: TrialSite) -> None:
    set_clock(site, 40)
    site.recorder.close_windows(due_only=True)  # as each second
    assert site.store.remove_outdated(now_us=site.clock.now_us) == 0


def test_what_a_clock_was_set_by_shows_against_the_steady_one() -> None:
    set_by_us = 0
    jumps = ClockJumps(lambda: time.time_ns() // 1_000 + set_by_us)
    assert abs(jumps()) < HOUR_US

    set_by_us = START_US
    assert abs(jumps() - START_US) < HOUR_US
