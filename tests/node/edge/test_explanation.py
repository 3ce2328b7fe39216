"""Why something is on record: by event id, by digest, by signal and time."""

from pathlib import Path

import pytest

from lotmark.merkle import leaf_hash
from lotmark_adapters.observation import GapReason, SourceGap
from lotmark_node.edge.errors import MemoryUnusable
from lotmark_node.edge.evidence_store import DAY_US, EvidenceStore
from lotmark_node.edge.explanation import Explainer, Explanation, FileState
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import Policy
from tests.node.edge.trial_site import (
    RULES,
    START_US,
    TrialSite,
    observed,
    report,
    site_settings,
)


@pytest.fixture
def site(tmp_path: Path) -> TrialSite:
    site = TrialSite(site_settings(tmp_path))
    site.take(
        observed(1, "current", "9.1"),
        observed(2, "current", "8.1"),
        observed(3, "weld", "7"),
        observed(4, "note", "tip"),
    )
    return site


def explainer(site: TrialSite) -> Explainer:
    """Return one that reads while the site runs, as the command does."""
    memory = SiteMemory.read(site.settings.data)
    return Explainer(memory, EvidenceStore(site.settings.data, memory, site.settings.store))


def event_id(site: TrialSite, body: str) -> bytes:
    (found,) = [leaf_hash(raw) for raw in site.outbox.raw.values() if body == site.body_of(raw)]
    return found


def of_event(site: TrialSite, body: str) -> Explanation:
    (found,) = explainer(site).of_digest(event_id(site, body))
    return found


def test_a_number_in_full_is_there_by_the_rule_for_what_is_outside(site: TrialSite) -> None:
    found = of_event(site, "measurement")
    assert (found.decided.rule, found.decided.policy) == (2, "line-3/4")
    assert found.rule is not None
    assert (found.rule["signals"], found.rule["when"]) == ("*/current", "outside")
    assert found.file_state is FileState.OPEN

    site.close_all()
    found = of_event(site, "measurement")
    assert found.file_state is FileState.KEPT
    assert b'"value":"9.1"' in site.store.read(found.file)


def test_a_window_is_checked_against_its_file(site: TrialSite) -> None:
    found = of_event(site, "observation_window")  # of the note, in full
    assert (found.decided.rule, found.file_state) == (1, FileState.MATCHES)
    (same,) = explainer(site).of_digest(found.file)
    assert same == found

    site.store.path(found.file).write_bytes(b"{}\n")
    damaged = of_event(site, "observation_window")
    assert damaged.file_state is FileState.DAMAGED
    assert "is damaged" in damaged.detail


def test_a_file_that_is_gone_is_unavailable_since_a_day(site: TrialSite) -> None:
    site.recorder.forget_handed_on()
    site.clock.now_us = START_US + 31 * DAY_US
    site.recorder.remove_outdated()

    found = of_event(site, "observation_window")
    assert found.file_state is FileState.UNAVAILABLE
    assert "unavailable since 2026-" in found.detail


def test_what_stays_at_the_site_is_explained_by_its_signal(site: TrialSite) -> None:
    site.close_all()
    (found,) = explainer(site).of_signal("W07", "weld", at_us=None, count_max=5)

    assert (found.decided.rule, found.decided.anchor) == (4, "local")
    assert (found.decided.event_id, found.file_state) == (b"", FileState.KEPT)


def test_a_time_picks_what_was_made_then(site: TrialSite) -> None:
    site.close_all()
    explain = explainer(site)

    at_first = explain.of_signal("W07", "current", at_us=START_US + 100_000, count_max=5)
    assert {each.decided.what for each in at_first} == {"measurement", "window"}
    assert {each.decided.rule for each in at_first} == {2}
    assert explain.of_signal("W07", "current", at_us=START_US, count_max=5) == []


def test_a_gap_is_on_record_whatever_the_policy(site: TrialSite) -> None:
    gap = SourceGap(reason=GapReason.OVERRUN, first=5, last=6, count=2)
    site.recorder.take("W07", report([], gaps=[gap]))
    site.hand_on()

    found = of_event(site, "gap")
    assert (found.decided.policy, found.rule, found.file_state) == ("", None, FileState.NONE)


def test_a_rule_of_an_older_version_is_told_as_it_was(site: TrialSite) -> None:
    site.again(policy=Policy(name="line-3", version=5, rules=RULES[2:]))

    found = of_event(site, "measurement")
    assert found.rule is not None
    assert found.rule["when"] == "outside"


def test_what_was_decided_is_forgotten_after_twice_the_retention(site: TrialSite) -> None:
    site.clock.now_us = START_US + 59 * DAY_US
    site.recorder.remove_outdated()
    assert of_event(site, "measurement").decided.rule == 2

    site.clock.now_us = START_US + 61 * DAY_US
    site.recorder.remove_outdated()
    assert explainer(site).of_digest(event_id(site, "measurement")) == []


def test_of_too_much_that_was_decided_the_oldest_is_forgotten(site: TrialSite) -> None:
    site.close_all()
    site.memory.forget_decided(before_us=0, rows_max=1)

    left = [
        each
        for signal in ("current", "weld", "note")
        for each in site.memory.decided_for("W07", signal)
    ]
    assert len(left) == 1


def test_a_site_that_never_ran_has_no_memory_to_read(tmp_path: Path) -> None:
    with pytest.raises(MemoryUnusable, match=r"site\.sqlite"):
        SiteMemory.read(tmp_path / "nowhere")
