"""Birth and death of a site: what it says when it begins and ends, and of an end without a word.

Each run is a *session* with an id of 16 random bytes. A run that opens while the one before is not
closed says first that that one was broken off, with what the site's memory knows of it. So the
ledger shows when a site was blind, and where each source stood before and after.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from lotmark.client.clock import Clock
from lotmark.client.new_event import new_event
from lotmark.event_rules import SESSION_ID_SIZE, SITE_SOURCES_MAX
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.edge.memory_records import Session, SourceState
from lotmark_node.edge.site_events import UNCERTAINTY_MAX_US, instance_id
from lotmark_node.edge.site_recorder import Standing
from lotmark_node.edge.site_settings import SiteSettings


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What to put on record, and into the memory, when a session begins or ends."""

    events: tuple[bytes, ...]
    session: Session


class SiteSessions:
    """Words a site's sessions."""

    def __init__(self, settings: SiteSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def opening(self, standing: Standing) -> SessionChange:
        """Return what to say when the site begins; its sources' counts begin anew with it."""
        session = os.urandom(SESSION_ID_SIZE)
        events = []
        last = standing.last_session
        if last is not None and not last.is_closed:
            events.append(
                self._event(
                    quality_pb2.SESSION_STATE_BROKEN_OFF,
                    last.session,
                    previous=standing.session_before,
                    event_count=standing.event_count,
                    sources=[_position(each) for each in self._ordered(standing.sources)],
                )
            )
        fresh = [_position(each, is_fresh=True) for each in self._ordered(standing.sources)]
        events.append(
            self._event(
                quality_pb2.SESSION_STATE_OPENED,
                session,
                previous=b"" if last is None else last.session,
                event_count=standing.event_count + len(events),
                sources=fresh,
            )
        )
        return SessionChange(tuple(events), Session(session, is_closed=False))

    def closing(self, standing: Standing) -> SessionChange:
        """Return what to say when the site ends, after all else."""
        last = standing.last_session
        assert last is not None, "a session is open"
        event = self._event(
            quality_pb2.SESSION_STATE_CLOSED,
            last.session,
            previous=standing.session_before,
            event_count=standing.event_count,
            sources=[_position(each) for each in self._ordered(standing.sources)],
        )
        return SessionChange((event,), Session(last.session, is_closed=True))

    def _ordered(self, sources: Iterable[SourceState]) -> list[SourceState]:
        """Return those that are watched first: an event has room for so many."""
        watched = {each.name for each in self._settings.sources}
        ordered = sorted(sources, key=lambda each: (each.name not in watched, each.name))
        return ordered[:SITE_SOURCES_MAX]

    def _event(
        self,
        state: quality_pb2.SessionState.ValueType,
        session: bytes,
        *,
        previous: bytes,
        event_count: int,
        sources: Iterable[quality_pb2.SourcePosition],
    ) -> bytes:
        now = self._clock.read()
        body = quality_pb2.SiteSession(
            site=self._settings.site,
            session=session,
            state=state,
            previous_session=previous,
            event_count=event_count,
            software=f"lotmark/{version('lotmark')}",
            settings_digest=self._settings.settings_digest,
            sources=sources,
        )
        return new_event(
            body,
            device=self._settings.site,
            capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
            time=datetime.fromtimestamp(now.time_ms / 1_000, UTC),
            uncertainty_us=min(now.uncertainty_us, UNCERTAINTY_MAX_US),
        )


def _position(state: SourceState, *, is_fresh: bool = False) -> quality_pb2.SourcePosition:
    return quality_pb2.SourcePosition(
        source=state.name,
        instance=instance_id(state.position.instance),
        last_sequence=max(0, state.position.next_sequence - 1),
        observation_count=0 if is_fresh else state.observation_count,
        gap_count=0 if is_fresh else state.gap_count,
    )
