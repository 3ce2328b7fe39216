"""Turns reports into kept observations and events, one transaction of the memory each.

The plain, single-threaded heart of the pipeline: what `SitePipeline` does for coroutines happens
here. Changes are made to copies, which count once they are on disk; so whatever fails, what is
known here is what the memory has.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lotmark_adapters.observation import Report
from lotmark_node.edge.anchoring import check_succession, policy_document, policy_id
from lotmark_node.edge.evidence_store import DAY_US, JUMP_US, EvidenceStore
from lotmark_node.edge.kept_file import WindowHeader, number_of, parse_header, parse_line
from lotmark_node.edge.memory_records import Changes, Pending, Session, SourceState
from lotmark_node.edge.recording import Calibration, Recording
from lotmark_node.edge.site_events import policy_event
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import SiteSettings, SourceSettings
from lotmark_node.edge.watched_source import WatchedSource
from lotmark_node.edge.windows import OpenWindow

logger = logging.getLogger(__name__)

HAND_ON_COUNT = 256  # that are handed on together
# In one turn, before those of others: so no source waits long where very many windows are closed.
TURN_FILES_MAX = 16  # to be written, or windows to be closed
TURN_SIZE_MAX = 16 << 20  # bytes of these files, but for the last


class EventOutbox(Protocol):
    """Whoever sends events to the ledger."""

    def submit(self, events: Sequence[bytes]) -> None:
        """Take events, in order; they are on disk when this returns. One may come twice.

        Raises:
            OutboxFull: There is no room at present.
            OutboxUnusable: The disk refused them.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a site stands."""

    last_session: Session | None
    session_before: bytes  # id of the run before that; b"": there was none
    event_count: int  # over all runs
    sources: Sequence[SourceState]
    window_count: int  # that are open
    pending_count: int  # files and events that are to be handed on
    evidence_size: int  # bytes of the files that are kept


class SiteRecorder:
    """Records what the sources of a site tell. For one thread at once."""

    def __init__(
        self,
        settings: SiteSettings,
        memory: SiteMemory,
        store: EvidenceStore,
        outbox: EventOutbox,
        *,
        calibration: Calibration,
        now_us: Callable[[], int],
        jumped_us: Callable[[], int],
    ) -> None:
        """Go on where the memory ends; a new policy goes on record first of all.

        Args:
            settings: The site's.
            memory: The site's.
            store: The site's.
            outbox: Takes events.
            calibration: Tells of a source's gauge at a time.
            now_us: This machine's clock.
            jumped_us: By how much that was set ahead since this began.

        Raises:
            PolicyRefused: The policy contradicts what is on record under its name.
            MemoryUnusable: The memory cannot be read or written.
        """
        self._settings = settings
        self._policy = policy_id(settings.policy)
        self._document = policy_document(settings.policy)
        self._memory, self._store, self._outbox = memory, store, outbox
        self._calibration, self._now_us = calibration, now_us
        self._jumped_us, self._dated_us = jumped_us, 0  # the latter is what the files' dates have
        self._sources: dict[str, WatchedSource] = {}
        self._handed_on = 0  # place of the last that is where it belongs, and not forgotten yet
        self._overtaken = 0  # place up to which events without a file are, too
        self._store_refuses = False
        store.begin(now_us=now_us())
        self._load()

    # What comes in

    def take(self, source: str, report: Report) -> range:
        """Keep a report; it is on disk when this returns. One that was taken is not taken twice.

        Returns:
            The places of what is to be handed on because of it.

        Raises:
            MemoryUnusable: Nothing of it was kept.
        """
        self._memory.check_room()
        watched = self._sources[source].copy()
        fresh = watched.not_taken_yet(report.observations, report.position)
        if len(fresh) < len(report.observations):
            logger.warning(
                "observations were told twice",
                extra={"source": source, "count": len(report.observations) - len(fresh)},
            )
            if not fresh and report.position == watched.position:
                return range(0)  # it was taken, and its source did not hear of it
        recording = self._recording()
        recording.take(watched, report, fresh)
        return self._write(recording.finished(), watched)

    def put(self, events: Sequence[bytes], *, session: Session | None = None) -> None:
        """Put events on record that were made elsewhere, and perhaps begin or end a run.

        Raises:
            MemoryUnusable: Nothing was kept.
        """
        recording = self._recording()
        recording.changes.pending += [Pending(event=event) for event in events]
        recording.changes.session = session
        copies = []
        if session is not None and not session.is_closed:
            copies = [each.copy() for each in self._sources.values() if each.position is not None]
            for each in copies:
                each.observation_count = each.gap_count = 0
                recording.remember(each)
        self._write(recording.finished(), *copies)

    def put_original(self, station: str, content: bytes, events: Sequence[bytes]) -> range:
        """Keep a station's original, and put its events on record.

        Returns:
            The places of what is to be handed on because of it.

        Raises:
            MemoryUnusable: Nothing was kept.
        """
        self._memory.check_room()
        recording = self._recording()
        recording.take_original(station, content, events)
        return self._write(recording.finished())

    def path_of(self, content: bytes) -> Path:
        """Return where a file with this content lies in the store, if it was kept."""
        return self._store.path(hashlib.sha256(content).digest())

    def close_windows(self, *, due_only: bool) -> bool:
        """Close some of the windows whose time is over, or of all; return whether there are more.

        Raises:
            MemoryUnusable: None was closed.
        """
        now_us = self._keep_ages()
        recording = self._recording()
        copies = {each.name: each.copy() for each in self._sources.values()}
        due = [
            (source.name, key)
            for source in copies.values()
            for key, window in source.windows.items()
            if not due_only or window.is_due(now_us)
        ]
        for name, key in due[:TURN_FILES_MAX]:
            recording.close(copies[name], key)
        changes = recording.finished()
        if changes.pending or self._handed_on:
            self._write(changes, *copies.values())
        return len(due) > TURN_FILES_MAX

    def _recording(self) -> Recording:
        return Recording(self._settings, self._memory, self._calibration, now_us=self._keep_ages())

    def _keep_ages(self) -> int:
        """Return the time, once files are as old by it as they were before the clock was set."""
        jumped_us = self._jumped_us()
        if abs(jumped_us - self._dated_us) > JUMP_US:
            self._store.keep_ages(jumped_us - self._dated_us)
            self._dated_us = jumped_us
        return self._now_us()

    def _write(self, changes: Changes, *sources: WatchedSource) -> range:
        """Write changes; the sources they were made to take the place of what they were.

        Returns:
            The places of what is to be handed on because of them.
        """
        self._memory.write(changes, handed_on=self._handed_on)
        self._handed_on = 0
        for each in sources:
            self._sources[each.name] = each
        last = self._memory.last_place()
        return range(last - len(changes.pending) + 1, last + 1)

    # What goes out

    def hand_on_next(self, wanted: range | None = None) -> bool:
        """Hand on the next files and events, in order: an event only once its file is on disk.

        Where more files wait than one turn writes, events without one do not wait for them.

        Args:
            wanted: The places of what whoever calls waits for, unless few files wait; None: of all.

        Returns:
            Whether there is more of it to be handed on.

        Raises:
            StoreFull, StoreUnusable: The store does not take a file now.
            OutboxFull, OutboxUnusable: The outbox does not take an event now.
            MemoryUnusable: The memory cannot be read.
        """
        waiting = self._memory.pending_file_count(after=self._handed_on)
        if waiting > TURN_FILES_MAX and not self._store_refuses:
            self._overtake()
            if wanted is not None and self._has(wanted):
                return False
        found = self._memory.pending(after=self._handed_on, count_max=HAND_ON_COUNT)
        files: dict[bytes, bytes] = {}
        events: list[bytes] = []
        last, size = self._handed_on, 0
        for place, each in found:
            if len(files) == TURN_FILES_MAX or size >= TURN_SIZE_MAX:
                break
            if each.file:
                files[each.file] = self._memory.content_at(place)
                size += len(files[each.file])
            if each.event and (each.file or place > self._overtaken):
                events.append(each.event)
            last = place
        if files:
            self._store_refuses = True
            self._store.keep(files, now_us=self._keep_ages())
            self._store_refuses = False
        if events:
            self._outbox.submit(events)
        self._handed_on = last
        return len(found) == HAND_ON_COUNT or (bool(found) and last < found[-1][0])

    def _overtake(self) -> None:
        """Hand on the events that have no file."""
        after = max(self._overtaken, self._handed_on)
        if found := self._memory.pending_events(after=after, count_max=HAND_ON_COUNT):
            self._outbox.submit([event for _, event in found])
        # Where these were all, whoever waits for the places between waits for nothing.
        is_all = len(found) < HAND_ON_COUNT
        self._overtaken = self._memory.last_place() if is_all else found[-1][0]

    def _has(self, wanted: range) -> bool:
        """Return whether all of what has these places was handed on."""
        last = wanted.stop - 1
        return last <= self._overtaken and not self._memory.pending_file_count(
            after=max(self._handed_on, wanted.start - 1), up_to=last
        )

    def forget_handed_on(self) -> None:
        """Forget what is where it belongs; else that goes with the next change.

        Raises:
            MemoryUnusable: It could not be written.
        """
        if self._handed_on:
            self._write(Changes())

    def remove_outdated(self) -> None:
        """Remove files that are beyond their retention, and forget as much of what was decided.

        Raises:
            MemoryUnusable: It could not be noted.
        """
        now_us = self._keep_ages()
        self._store.remove_outdated(now_us=now_us)
        # Twice as long: so it can be told of a file that it was kept, and why it is gone.
        kept_us = 2 * self._settings.store.retention_days * DAY_US
        kept_us += max(0, self._jumped_us())  # what is known of files stays as long as they
        self._memory.forget_decided(before_us=now_us - kept_us)

    def standing(self) -> Standing:
        """Return where the site stands.

        Raises:
            MemoryUnusable: The memory cannot be read.
        """
        return Standing(
            last_session=self._memory.last_session(),
            session_before=self._memory.session_before(),
            evidence_size=self._memory.evidence_size,
            event_count=self._memory.event_count,
            sources=self._memory.sources(),
            window_count=sum(len(each.windows) for each in self._sources.values()),
            pending_count=self._memory.pending_count(after=self._handed_on),
        )

    # Beginning

    def _load(self) -> None:
        policy = self._settings.policy
        check_succession(policy, self._document, self._memory.policies(policy.name))
        states = {each.name: each for each in self._memory.sources()}
        self._sources = {
            each.name: self._watched(each, states.get(each.name)) for each in self._settings.sources
        }
        recording = self._recording()
        for raw_header, lines in self._memory.open_windows():
            self._open_again(parse_header(raw_header), lines, states, recording)
        if self._memory.policy_in_force() != (policy.name, policy.version):
            self._put_in_force(recording.changes)
        changes = recording.finished()
        if changes.pending:
            self._write(changes)

    def _watched(self, settings: SourceSettings, state: SourceState | None) -> WatchedSource:
        return WatchedSource(self._settings.site, settings, self._settings.policy, state)

    def _open_again(
        self,
        header: WindowHeader,
        lines: bytes,
        states: dict[str, SourceState],
        recording: Recording,
    ) -> None:
        """Go on with a window; one of another policy, or of a source that is gone, is closed."""
        source = self._sources.get(header.source)
        is_over = source is None or header.policy != self._policy
        if source is None:
            settings = SourceSettings(name=header.source, protocol="", address="", signals=())
            source = self._watched(settings, states.get(header.source))
        rules = self._settings.policy.rules
        rule = None if is_over or not header.rule else rules[header.rule - 1]
        kept = [(parse_line(line), line) for line in lines.split(b"\n")[:-1]]
        window_s = 0 if rule is None else rule.window_s
        window = OpenWindow(header, kept[0][0], window_s=window_s)
        for observation, line in kept:
            window.add(observation, line, number_of(observation.value))
        window.take_new_lines()  # the memory has them
        key = (header.signal, header.rule)
        source.windows[key] = window
        if is_over:
            recording.close(source, key)

    def _put_in_force(self, changes: Changes) -> None:
        """Put the policy on record, before it decides anything."""
        policy = self._settings.policy
        event = policy_event(self._settings.site, policy, self._document, now_us=self._now_us())
        changes.policy = (policy.name, policy.version, self._document)
        changes.pending.append(Pending(event=event))
        logger.info("an anchoring policy is put in force", extra={"policy": self._policy})
