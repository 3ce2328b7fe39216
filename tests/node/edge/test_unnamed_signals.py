"""Signals that the settings do not name: kept up to a bound, and beyond it on record as missing."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark_adapters.observation import SourceRecord
from lotmark_node.edge import watched_source
from lotmark_node.edge.watched_source import NAME_SIZE_MAX
from tests.node.edge.trial_site import TrialSite, observed, report, site_settings


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialSite:
    """A site that keeps two unnamed signals."""
    monkeypatch.setattr(watched_source, "UNNAMED_SIGNALS_MAX", 2)
    return TrialSite(site_settings(tmp_path))


def kept_signals(site: TrialSite) -> list[str]:
    site.close_all()
    return sorted({file.header.signal for file in site.files()})


def test_signals_beyond_the_bound_are_gaps_that_disturb_no_other(
    site: TrialSite, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for first in (1, 101):
            site.take(
                observed(first, "ns=2;s=Current", "8.1"),
                *(observed(first + n, f"s{n}", "1") for n in range(1, 50)),
            )

    gaps = [each.gap for each in site.outbox.events("gap")]
    assert [(each.reason, each.source) for each in gaps] == [("unreadable", "W07")] * 2
    assert [(each.first_sequence, each.last_sequence) for each in gaps] == [(4, 50), (104, 150)]
    assert [each.missing_count for each in gaps] == [47, 47]
    assert len(caplog.records) == 1
    assert site.outbox.events("observation_window") == []  # none was closed by it
    assert kept_signals(site) == ["current", "s1", "s2"]


def test_a_long_name_is_not_held(site: TrialSite) -> None:
    source = site.recorder._sources["W07"]
    site.take(observed(1, "x" * 1_000_000, "1"), observed(2, "x" * 1_000_000, "2"))

    assert max(map(len, source._signals)) <= NAME_SIZE_MAX
    assert site.outbox.events("gap") == []
    assert len(kept_signals(site)) == 1


def test_a_record_of_a_signal_beyond_the_bound_is_a_gap(site: TrialSite) -> None:
    site.take(observed(1, "s1", "1"), observed(2, "s2", "1"))
    record = SourceRecord(
        kind="mtconnect_asset",
        record="T1",
        signal="s3",
        made_us=1,
        media_type="application/xml",
        content=b"<T1/>",
    )
    site.recorder.take("W07", replace(report([observed(3, "s1", "1")]), records=[record]))
    site.hand_on()

    assert len(site.outbox.events("gap")) == 1
    assert site.outbox.events("source_record") == []
