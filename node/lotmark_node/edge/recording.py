"""One transaction in the making: what reports, gaps and closed windows come to."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import (
    GapReason,
    Observation,
    Quality,
    Report,
    SourceGap,
    SourceRecord,
)
from lotmark_node.edge.anchoring import Decision, decide_record, policy_id
from lotmark_node.edge.kept_file import NONCE_SIZE, WindowHeader, kept_line, number_of
from lotmark_node.edge.memory_records import Changes, Decided, Pending
from lotmark_node.edge.site_events import borne_us, calibration_word, instance_id, verdict_of
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import Anchor, SiteSettings
from lotmark_node.edge.watched_source import (
    UNNAMED_SIGNALS_MAX,
    Signal,
    WatchedSource,
)
from lotmark_node.edge.windows import Common, OpenWindow

logger = logging.getLogger(__name__)

# Number and state of the certificate of a source's gauge at a time.
Calibration: TypeAlias = Callable[[str, int], tuple[str, quality_pb2.CalibrationState.ValueType]]


class Recording:
    """What one transaction will write.

    Attributes:
        changes: The same for the memory, up to now.
    """

    def __init__(
        self, settings: SiteSettings, memory: SiteMemory, calibration: Calibration, *, now_us: int
    ) -> None:
        """Begin with nothing."""
        self.changes = Changes()
        self._site = settings.site
        self._policy = settings.policy
        self._policy_id = policy_id(settings.policy)
        self._memory = memory
        self._calibration = calibration
        self._now_us = now_us
        self._touched: dict[bytes, OpenWindow] = {}

    def take(self, source: WatchedSource, report: Report, fresh: Sequence[Observation]) -> None:
        """Take a report, of whose observations only the fresh ones count.

        Args:
            source: A copy, which is to take the place of the original once all is on disk.
            report: The report.
            fresh: Those of its observations that were not taken yet.
        """
        for gap in report.gaps:
            self._take_gap(source, gap)
        instance = instance_id(report.position.instance)
        admitted = [each for each in fresh if source.admits(each.signal)]
        for observation in source.in_order(admitted):
            self._take_observation(source, observation, instance)
        records = [each for each in report.records if source.admits(each.signal)]
        for record in records:
            self._take_record(source, record)
        if len(admitted) < len(fresh) or len(records) < len(report.records):
            refused = [each for each in fresh if not source.admits(each.signal)]
            self._refuse(source, refused, report.position.instance)
        if admitted:
            source.context.forget_before(max(each.made_us for each in admitted))
        source.observation_count += len(admitted)
        source.position = report.position
        self.remember(source)

    def remember(self, source: WatchedSource) -> None:
        """Write where a source stands."""
        self.changes.sources[source.name] = source.state()

    def close(self, source: WatchedSource, key: tuple[str, int]) -> None:
        """Close a window of a source, which is a copy."""
        window = source.windows.pop(key)
        self._finish(source, window, has_event=window.header.anchor == Anchor.WINDOW)

    def finished(self) -> Changes:
        """Return all that is to be written."""
        for window in self._touched.values():
            self._add_lines(window)
        return self.changes

    # Gaps

    def _take_gap(self, source: WatchedSource, gap: SourceGap) -> None:
        for key in list(source.windows):
            self.close(source, key)
        signal = source.signal(gap.signal) if gap.signal and source.admits(gap.signal) else None
        if signal is None or signal.is_context:
            source.context.forget()
        self._put_gap(source, gap, "" if signal is None else signal.name)

    def _refuse(self, source: WatchedSource, refused: Sequence[Observation], instance: str) -> None:
        """Put on record that observations of signals were not kept that are one too many.

        They have no windows and are no context, so those of the others go on.
        """
        if not source.has_refused:
            logger.error(
                "a source has too many signals that the settings do not name:"
                " name in site.toml those that are to be kept",
                extra={"source": source.name, "signals_max": UNNAMED_SIGNALS_MAX},
            )
        source.has_refused = True
        sequences = [each.sequence for each in refused]
        made_us = [each.made_us for each in refused]
        gap = SourceGap(
            reason=GapReason.UNREADABLE,
            instance=instance,
            first=min(sequences, default=0),
            last=max(sequences, default=0),
            count=len(refused) or None,
            last_seen_us=min(made_us, default=None),
            resumed_us=max(made_us, default=None),
        )
        self._put_gap(source, gap, "")

    def _put_gap(self, source: WatchedSource, gap: SourceGap, name: str) -> None:
        source.gap_count += 1
        event = source.events.gap(gap, signal=name, now_us=self._now_us)
        self.changes.pending.append(Pending(event=event))
        self.changes.decided.append(
            Decided(
                what="gap",
                source=source.name,
                signal=name,
                policy="",
                rule=0,
                anchor=Anchor.FULL.value,
                first_sequence=gap.first,
                last_sequence=gap.last,
                first_made_us=self._now_us if gap.last_seen_us is None else gap.last_seen_us,
                last_made_us=self._now_us if gap.resumed_us is None else gap.resumed_us,
                observation_count=gap.count or 0,
                event_id=leaf_hash(event),
                event=b"",
                file=b"",
                anchored=b"",
                nonce=b"",
                decided_us=self._now_us,
            )
        )

    # Observations

    def _take_observation(
        self, source: WatchedSource, observation: Observation, instance: str
    ) -> None:
        signal = source.signal(observation.signal)
        number = number_of(observation.value)
        made_us = observation.made_us
        if signal.is_context:
            is_known = observation.quality is not Quality.BAD
            source.context.learn(signal.name, made_us, observation.value if is_known else None)
        decision = signal.decide(observation, number)
        certificate, calibration = self._calibration(source.name, borne_us(observation))
        common = (
            source.context.subject_at(made_us),
            instance,
            signal.unit(observation),
            certificate,
            calibration_word(calibration),
        )
        line = kept_line(observation, signal.json_name)
        is_full = decision.anchor is Anchor.FULL
        if is_full and number is None:
            # No measurement can say it: a window of its own does.
            single = self._open(source, signal, decision, common, observation)
            single.add(observation, line, None)
            self._finish(source, single, has_event=True)
            return
        key = signal.name, decision.rule
        window = source.windows.get(key)
        if window is not None and (
            window.common != common or window.is_due(observation.captured_us)
        ):
            self.close(source, key)
            window = None
        if window is None:
            window = self._open(source, signal, decision, common, observation)
        elif window.nonce not in self._touched:
            window = window.copy()
        source.windows[key] = self._touched[window.nonce] = window
        window.add(observation, line, number)
        if is_full and not self._is_told_again(source, signal, made_us):
            self._measure(source, signal, observation, number, window)
        if window.count >= decision.window_count:
            self.close(source, key)

    def _is_told_again(self, source: WatchedSource, signal: Signal, made_us: int) -> bool:
        """Return whether a value is one from before a gap, which a source tells again behind it.

        Two values of one time without a gap between them are two values: some clocks are coarse.
        """
        measured_us = self._memory.measured_us(source.name, signal.name, made_us)
        if measured_us is None:
            return False
        gap_us = self._memory.last_gap_us(source.name)
        new_gap = any(
            each.what == "gap" and each.source == source.name for each in self.changes.decided
        )
        return new_gap or (gap_us is not None and gap_us >= measured_us)

    def _measure(
        self,
        source: WatchedSource,
        signal: Signal,
        observation: Observation,
        number: Decimal | None,
        window: OpenWindow,
    ) -> None:
        """Put one number on record in full; its line is kept in a window nevertheless."""
        header = window.header
        event = source.events.measurement(
            observation,
            signal=signal.settings,
            feature=source.context.feature_at(signal.settings, observation.made_us),
            header=header,
            verdict=verdict_of(observation, number, lower=signal.lower, upper=signal.upper),
        )
        self.changes.pending.append(Pending(event=event))
        self.changes.decided.append(
            Decided(
                what="measurement",
                source=source.name,
                signal=header.signal,
                policy=header.policy,
                rule=header.rule,
                anchor=header.anchor,
                first_sequence=observation.sequence,
                last_sequence=observation.sequence,
                first_made_us=observation.made_us,
                last_made_us=observation.made_us,
                observation_count=1,
                event_id=leaf_hash(event),
                event=b"",
                file=b"",
                anchored=b"",
                nonce=window.nonce,
                decided_us=self._now_us,
            )
        )

    # Windows

    def _open(
        self,
        source: WatchedSource,
        signal: Signal,
        decision: Decision,
        common: Common,
        first: Observation,
    ) -> OpenWindow:
        subject, instance, unit, certificate, calibration = common
        nonce = os.urandom(NONCE_SIZE)
        header = WindowHeader(
            site=self._site,
            source=source.name,
            signal=signal.name,
            instance=instance,
            subject=subject,
            unit=unit,
            policy=self._policy_id,
            rule=decision.rule,
            anchor=decision.anchor.value,
            certificate=certificate,
            calibration=calibration,
            nonce=nonce.hex(),
        )
        self.changes.opened.append((nonce, header.line()))
        return OpenWindow(header, first, window_s=decision.window_s)

    def _finish(self, source: WatchedSource, window: OpenWindow, *, has_event: bool) -> None:
        """Let a window's file go to the store, and its event to the outbox."""
        self._touched.pop(window.nonce, None)
        lines = self._memory.lines(window.nonce) + self._add_lines(window)
        content = window.header.line() + b"\n" + lines
        file = hashlib.sha256(content).digest()
        event = source.events.window(window, content) if has_event else b""
        header = window.header
        self._keep(event, file, len(content), nonce=window.nonce)
        self.changes.decided.append(
            Decided(
                what="window",
                source=source.name,
                signal=header.signal,
                policy=header.policy,
                rule=header.rule,
                anchor=header.anchor,
                first_sequence=window.first_sequence,
                last_sequence=window.last_sequence,
                first_made_us=window.first_made_us,
                last_made_us=window.last_made_us,
                observation_count=window.count,
                event_id=leaf_hash(event) if event else b"",
                event=event,
                file=file,
                anchored=file if event else b"",
                nonce=window.nonce,
                decided_us=self._now_us,
            )
        )

    def _add_lines(self, window: OpenWindow) -> bytes:
        """Write a window's new lines, and return them."""
        new = window.take_new_lines()
        if not new:
            return b""
        lines = b"\n".join(new) + b"\n"
        self.changes.chunks.append((window.nonce, lines))
        return lines

    def _keep(
        self, event: bytes, file: bytes, size: int, *, nonce: bytes = b"", content: bytes = b""
    ) -> None:
        self.changes.pending.append(Pending(event=event, file=file, nonce=nonce, content=content))
        self.changes.kept.append((file, size, self._now_us))

    # Records

    def _take_record(self, source: WatchedSource, record: SourceRecord) -> None:
        signal = source.signal(record.signal)
        decision = decide_record(
            self._policy, f"{source.name}/{signal.name}", is_conforming=record.is_conforming
        )
        event = anchored = b""
        if decision.anchor is not Anchor.LOCAL:
            event, anchored = source.events.record(
                record,
                signal=signal.name,
                subject=source.context.subject_at(record.made_us),
                captured_us=self._now_us,
            )
        file = hashlib.sha256(record.content).digest()
        self._keep(event, file, len(record.content), content=record.content)
        self.changes.decided.append(
            Decided(
                what="record",
                source=source.name,
                signal=signal.name,
                policy=self._policy_id,
                rule=decision.rule,
                anchor=decision.anchor.value,
                first_sequence=0,
                last_sequence=0,
                first_made_us=record.made_us,
                last_made_us=record.made_us,
                observation_count=0,
                event_id=leaf_hash(event) if event else b"",
                event=event,
                file=file,
                anchored=anchored,
                nonce=b"",
                decided_us=self._now_us,
            )
        )

    # Originals of stations

    def take_original(self, station: str, content: bytes, events: Sequence[bytes]) -> None:
        """Take a station's original and the events that follow from it, in their order."""
        file = hashlib.sha256(content).digest()
        self._keep(b"", file, len(content), content=content)
        for raw in events:
            self.changes.pending.append(Pending(event=raw))
            event = event_pb2.Event.FromString(raw)
            if not any(each.sha256 == file for each in event.files):
                continue
            self.changes.decided.append(
                Decided(
                    what="inference" if event.HasField("inference_result") else "gap",
                    source=station,
                    signal=event.inference_result.feature,
                    policy="",
                    rule=0,
                    anchor=Anchor.FULL.value,
                    first_sequence=0,
                    last_sequence=0,
                    first_made_us=1_000 * event.time.start_ms,
                    last_made_us=1_000 * event.time.end_ms,
                    observation_count=0,
                    event_id=leaf_hash(raw),
                    event=raw,
                    file=file,
                    anchored=file,
                    nonce=b"",
                    decided_us=self._now_us,
                )
            )
