"""The events that a site makes of what it takes.

Whatever a source tells, what is made here keeps the ledger's rules: names that are no identifiers
are made ones, and a time that no clock can mean gives way to the time at which it was captured.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from lotmark.client.new_event import EventBody, item, new_event
from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS
from lotmark.text import IDENTIFIER_CHARACTER
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import Observation, Quality, SourceGap, SourceRecord
from lotmark_node.edge.anchoring import policy_id
from lotmark_node.edge.kept_file import MEDIA_TYPE, WindowHeader
from lotmark_node.edge.site_settings import Policy, SignalSettings, SourceSettings
from lotmark_node.edge.windows import OpenWindow

UNIT_NOT_KNOWN = "ZZ"  # UN/ECE Recommendation 20: as agreed between the parties
UNCERTAINTY_MAX_US = 2**32 - 1
ID_SIZE_MAX = 64
PATH_SIZE_MAX = 128
SALT_SIZE = 16

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NO_IDENTIFIER = re.compile(f"(?!{IDENTIFIER_CHARACTER}).", re.DOTALL)
_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._~+-]")


class SourceEvents:
    """Makes the events of one source."""

    def __init__(self, site: str, settings: SourceSettings, policy: Policy) -> None:
        """Make the events of a source under a policy."""
        self._name = settings.name
        self._device = identifier_of(f"{site}/{settings.name}", ID_SIZE_MAX)
        self._equipment = settings.equipment
        self._uncertainty_us = min(settings.clock_uncertainty_ms * 1_000, UNCERTAINTY_MAX_US)
        self._policy = policy_id(policy)

    def measurement(
        self,
        observation: Observation,
        *,
        signal: SignalSettings,
        feature: str,
        header: WindowHeader,
        verdict: quality_pb2.Verdict.ValueType,
    ) -> bytes:
        """Return the event of one number in full.

        Args:
            observation: The number.
            signal: Its signal's settings.
            feature: What it is on the drawing.
            header: Of the window that its line is kept in.
            verdict: By the limits.
        """
        assert observation.value is not None
        body = quality_pb2.Measurement(
            feature=identifier_of(feature, ID_SIZE_MAX),
            value=observation.value,
            unit=header.unit or UNIT_NOT_KNOWN,
            lower_limit=signal.lower,
            upper_limit=signal.upper,
            verdict=verdict,
            certificate=header.certificate,
        )
        if header.calibration:
            body.calibration = calibration_state(header.calibration)
        made_us, captured_us = observation.made_us, observation.captured_us
        return self._event(body, made_us, made_us, captured_us, subject=header.subject)

    def window(self, window: OpenWindow, content: bytes) -> bytes:
        """Return the event of a window that is closed.

        Args:
            window: The window.
            content: Its file.
        """
        header = window.header
        minimum, maximum = window.bounds
        path = self.path(header.signal)
        body = quality_pb2.ObservationWindow(
            source=path,
            observation_count=window.count,
            root=window.root(),
            first_sequence=window.first_sequence,
            last_sequence=window.last_sequence,
            minimum=minimum,
            maximum=maximum,
            unit=header.unit,
            policy=header.policy,
            certificate=header.certificate,
        )
        if header.calibration and window.has_number:
            body.calibration = calibration_state(header.calibration)
        file = event_pb2.FileDigest(
            sha256=hashlib.sha256(content).digest(),
            size=len(content),
            media_type=MEDIA_TYPE,
            name=_file_name(f"{path}.{window.first_sequence}-{window.last_sequence}.jsonl"),
        )
        return self._event(
            body,
            window.first_made_us,
            window.last_made_us,
            window.first_captured_us,
            subject=header.subject,
            files=[file],
        )

    def record(
        self, record: SourceRecord, *, signal: str, subject: str, captured_us: int
    ) -> tuple[bytes, bytes]:
        """Return the event of a record, and the digest of its file that stands there.

        The digest is salted: what a machine tells in few words could be guessed otherwise.
        """
        body = quality_pb2.SourceRecord(
            source=self.path(signal),
            kind=identifier_of(record.kind, ID_SIZE_MAX),
            record=identifier_of(record.record, PATH_SIZE_MAX),
            policy=self._policy,
        )
        if record.is_conforming is not None:
            body.verdict = (
                quality_pb2.VERDICT_CONFORMING
                if record.is_conforming
                else quality_pb2.VERDICT_NONCONFORMING
            )
        salt = os.urandom(SALT_SIZE)
        file = event_pb2.FileDigest(
            sha256=hashlib.sha256(salt + record.content).digest(),
            size=len(record.content),
            salt=salt,
            media_type=identifier_of(record.media_type, ID_SIZE_MAX),
            name=_file_name(f"{record.kind}.{record.record}"),
        )
        event = self._event(
            body, record.made_us, record.made_us, captured_us, subject=subject, files=[file]
        )
        return event, file.sha256

    def gap(self, gap: SourceGap, *, signal: str, now_us: int) -> bytes:
        """Return the event of observations that are missing.

        Args:
            gap: What the source says of them.
            signal: The signal's name at the site; "": any of the source may be concerned.
            now_us: By this machine's clock.
        """
        body = quality_pb2.Gap(
            source=self.path(signal) if signal else identifier_of(self._name, PATH_SIZE_MAX),
            first_sequence=max(gap.first, 0),
            last_sequence=max(gap.last, 0),
            reason=gap.reason.value,
            instance=instance_id(gap.instance),
            next_instance=instance_id(gap.next_instance),
        )
        seen_us, resumed_us = _sound(gap.last_seen_us), _sound(gap.resumed_us)
        if seen_us is not None:
            body.last_seen_ms = seen_us // 1_000
        if resumed_us is not None:
            body.resumed_ms = resumed_us // 1_000
        if gap.count is not None:
            body.missing_count = max(gap.count, 0)
        end_us = now_us if resumed_us is None else resumed_us
        start_us = end_us if seen_us is None else min(seen_us, end_us)
        return self._event(body, start_us, end_us, now_us)

    def path(self, signal: str) -> str:
        """Return SOURCE/SIGNAL as events name it."""
        return identifier_of(f"{self._name}/{signal}", PATH_SIZE_MAX)

    def _event(
        self,
        body: EventBody,
        start_us: int,
        end_us: int,
        captured_us: int,
        *,
        subject: str = "",
        files: Sequence[event_pb2.FileDigest] = (),
    ) -> bytes:
        uncertainty_us = self._uncertainty_us
        if _sound(start_us) is None or _sound(end_us) is None:
            # The source's clock was never set. This machine's says at least when it was told.
            start_us = end_us = captured_us
            uncertainty_us = UNCERTAINTY_MAX_US
        items = [item(subject)] if subject else []
        if self._equipment:
            items.append(item(self._equipment, role=event_pb2.ITEM_ROLE_USED))
        return new_event(
            body,
            device=self._device,
            capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
            time=(_moment(start_us), _moment(end_us)),
            uncertainty_us=uncertainty_us,
            items=items,
            files=files,
        )


def policy_event(site: str, policy: Policy, document: bytes, *, now_us: int) -> bytes:
    """Return the event of a policy that decides from here on."""
    return new_event(
        quality_pb2.AnchoringPolicy(policy=policy.name, version=policy.version, document=document),
        device=identifier_of(site, ID_SIZE_MAX),
        capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        time=_moment(now_us),
        uncertainty_us=0,
    )


def verdict_of(
    observation: Observation,
    number: Decimal | None,
    *,
    lower: Decimal | None,
    upper: Decimal | None,
) -> quality_pb2.Verdict.ValueType:
    """Return the verdict by a signal's limits.

    Without limits, without a number, or where the source does not call its value good, none can be
    told.
    """
    no_limits = lower is None and upper is None
    if no_limits or number is None or observation.quality is not Quality.GOOD:
        return quality_pb2.VERDICT_UNDETERMINED
    if (lower is not None and number < lower) or (upper is not None and number > upper):
        return quality_pb2.VERDICT_NONCONFORMING
    return quality_pb2.VERDICT_CONFORMING


def identifier_of(text: str, size_max: int) -> str:
    """Return an identifier for a text: itself where it is one.

    Else what no identifier may have becomes an underscore, and the first 8 hex digits of the
    text's SHA-256 stand behind a tilde, so that two texts hardly ever have one identifier.
    """
    plain = _NO_IDENTIFIER.sub("_", text)
    if plain == text and 0 < len(text) <= size_max:
        return text
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{plain[: size_max - 9]}~{digest}"


def instance_id(instance: str) -> str:
    """Return a source's instance as events name it."""
    return identifier_of(instance, ID_SIZE_MAX) if instance else ""


@lru_cache(maxsize=16)
def calibration_word(state: quality_pb2.CalibrationState.ValueType) -> str:
    """Return the word for a state in kept files, such as "valid"; "": it is not stated."""
    if not state:
        return ""
    return quality_pb2.CalibrationState.Name(state).removeprefix(_STATE_PREFIX).lower()


def calibration_state(word: str) -> quality_pb2.CalibrationState.ValueType:
    """Return the state that `calibration_word` has a word for."""
    return quality_pb2.CalibrationState.Value(_STATE_PREFIX + word.upper())


_STATE_PREFIX = "CALIBRATION_STATE_"


def _file_name(name: str) -> str:
    return _NO_FILE_NAME.sub("_", name)[:255]


def borne_us(observation: Observation) -> int:
    """Return the time that an observation's event bears, Unix time."""
    made_us = _sound(observation.made_us)
    return observation.captured_us if made_us is None else made_us


def _sound(time_us: int | None) -> int | None:
    """Return a time that an event can bear; None: it cannot."""
    if time_us is None or not TIME_MIN_MS <= time_us // 1_000 < TIME_MAX_MS:
        return None
    return time_us


def _moment(time_us: int) -> datetime:
    return _EPOCH + time_us * _MICROSECOND
