"""Sessions: what a site says of its beginning, its end, and an end without a word."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lotmark.client.clock import Clock
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import Position
from lotmark_node.edge.memory_records import Session, SourceState
from lotmark_node.edge.sessions import SiteSessions
from lotmark_node.edge.site_recorder import Standing
from tests.node.edge.trial_site import site_settings

FIRST, SECOND = b"\x01" * 16, b"\x02" * 16
MILL = SourceState(
    name="mill",
    position=Position(instance="1764", next_sequence=101),
    observation_count=40,
    gap_count=2,
    context=b"{}",
)
NEW = Standing(
    last_session=None,
    session_before=b"",
    event_count=0,
    sources=[],
    window_count=0,
    pending_count=0,
    evidence_size=0,
)
UNCLOSED = replace(
    NEW,
    last_session=Session(SECOND, is_closed=False),
    session_before=FIRST,
    event_count=7,
    sources=[MILL],
)


def _sessions(folder: Path) -> SiteSessions:
    return SiteSessions(replace(site_settings(folder), settings_digest=b"\x09" * 32), Clock())


def _said(events: Sequence[bytes]) -> list[quality_pb2.SiteSession]:
    return [event_pb2.Event.FromString(event).site_session for event in events]


def test_the_first_session_follows_none(tmp_path: Path) -> None:
    change = _sessions(tmp_path).opening(NEW)

    (opened,) = _said(change.events)
    assert opened.state == quality_pb2.SESSION_STATE_OPENED
    assert (opened.site, opened.previous_session, opened.event_count) == ("line-3", b"", 0)
    assert opened.settings_digest == b"\x09" * 32
    assert opened.software.startswith("lotmark/")
    assert change.session == Session(opened.session, is_closed=False)


def test_a_session_that_was_not_closed_is_told_as_broken_off_before_the_next(
    tmp_path: Path,
) -> None:
    broken_off, opened = _said(_sessions(tmp_path).opening(UNCLOSED).events)

    assert broken_off.state == quality_pb2.SESSION_STATE_BROKEN_OFF
    assert (broken_off.session, broken_off.previous_session) == (SECOND, FIRST)
    assert broken_off.event_count == 7
    (known,) = broken_off.sources
    assert (known.source, known.instance, known.last_sequence) == ("mill", "1764", 100)
    assert (known.observation_count, known.gap_count) == (40, 2)
    assert opened.state == quality_pb2.SESSION_STATE_OPENED
    assert (opened.previous_session, opened.event_count) == (SECOND, 8)
    (fresh,) = opened.sources
    assert (fresh.last_sequence, fresh.observation_count, fresh.gap_count) == (100, 0, 0)


def test_a_session_that_was_closed_is_only_followed(tmp_path: Path) -> None:
    standing = replace(UNCLOSED, last_session=Session(SECOND, is_closed=True))

    (opened,) = _said(_sessions(tmp_path).opening(standing).events)

    assert (opened.state, opened.previous_session) == (quality_pb2.SESSION_STATE_OPENED, SECOND)


def test_the_end_names_its_session_and_where_sources_stand(tmp_path: Path) -> None:
    change = _sessions(tmp_path).closing(UNCLOSED)

    (closed,) = _said(change.events)
    assert closed.state == quality_pb2.SESSION_STATE_CLOSED
    assert (closed.session, closed.previous_session, closed.event_count) == (SECOND, FIRST, 7)
    assert closed.sources[0].observation_count == 40
    assert change.session == Session(SECOND, is_closed=True)


def test_of_more_sources_than_fit_those_that_are_watched_are_told(tmp_path: Path) -> None:
    former = [replace(MILL, name=f"a{at:03}") for at in range(100)]
    standing = replace(UNCLOSED, sources=[*former, replace(MILL, name="W07")])

    (closed,) = _said(_sessions(tmp_path).closing(standing).events)

    assert len(closed.sources) == 64
    assert closed.sources[0].source == "W07"
