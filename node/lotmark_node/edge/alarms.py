"""Alarms: a value outside its limits is told at this machine, before anything else becomes of it.

An alarm waits for no disk, outbox, network or consensus: it is a line in `alarms.jsonl`, a line in
the log and, where the settings name somebody, an HTTP POST from a thread of its own. Each of the
three is tried whatever becomes of the others, and none of them holds up the observations.
"""

import json
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from lotmark.errors import MalformedError
from lotmark.text import check_decimal
from lotmark_adapters.observation import Observation, Quality
from lotmark_node.edge.site_settings import SignalSettings

FILE_NAME = "alarms.jsonl"
FILE_SIZE_MAX = 4 << 20  # then it is kept as alarms.jsonl.1, and what was kept before goes
LOGGED_MAX = 10  # of one report; further ones are counted
POSTS_WAITING_MAX = 256
POST_S = 2.0  # for each step of a POST
CLOSE_S = 3.0  # for the POSTs that wait when the site ends

logger = logging.getLogger(__name__)


class AlarmReason(StrEnum):
    """What is wrong with a value."""

    BELOW = "below"
    ABOVE = "above"
    BAD = "bad"  # the source says so; whether it is within its limits, nobody knows
    NO_NUMBER = "no_number"  # as before


@dataclass(frozen=True, slots=True)
class Alarm:
    """One value outside its limits."""

    source: str
    signal: SignalSettings
    observation: Observation
    reason: AlarmReason

    def document(self) -> dict[str, object]:
        """Return what is told of it."""
        seen = self.observation
        return {
            "source": self.source,
            "signal": self.signal.name,
            "reason": self.reason.value,
            "value": seen.value,
            "unit": self.signal.unit,
            "lower": self.signal.lower,
            "upper": self.signal.upper,
            "status": seen.status,
            "sequence": seen.sequence,
            "made": _time(seen.made_us),
            "captured": _time(seen.captured_us),
        }


class Limits:
    """The limits of one source's signals."""

    def __init__(self, source: str, signals: Sequence[SignalSettings]) -> None:
        self._source = source
        self._limits = {
            signal.address: (
                signal,
                Decimal(signal.lower) if signal.lower else None,
                Decimal(signal.upper) if signal.upper else None,
            )
            for signal in signals
            if signal.lower or signal.upper
        }

    def alarms(self, observations: Sequence[Observation]) -> list[Alarm]:
        """Return an alarm for each observation that is not known to be within its limits."""
        if not self._limits:
            return []
        found: list[Alarm] = []
        for observation in observations:
            limited = self._limits.get(observation.signal)
            if limited is None:
                continue
            signal, lower, upper = limited
            reason = _reason(observation, lower, upper)
            if reason is not None:
                found.append(Alarm(self._source, signal, observation, reason))
        return found


def _reason(
    observation: Observation, lower: Decimal | None, upper: Decimal | None
) -> AlarmReason | None:
    if observation.quality is Quality.BAD or observation.value is None:
        return AlarmReason.BAD
    try:
        check_decimal(observation.value, what="a value")
    except MalformedError:
        return AlarmReason.NO_NUMBER
    value = Decimal(observation.value)
    if lower is not None and value < lower:
        return AlarmReason.BELOW
    if upper is not None and value > upper:
        return AlarmReason.ABOVE
    return None


class Alarms:
    """Tells alarms, in the order in which it is called; any thread may call it.

    Attributes:
        count: How many there were.
        unwritten_count: How many of them are not in the file, as it could not be written.
        unposted_count: How many of them whoever is named in the settings did not get.
    """

    def __init__(self, folder: Path, *, post: str | None = None) -> None:
        """Begin.

        Args:
            folder: Where the file lies; it exists.
            post: The URL to send each to; None: nobody is told so.
        """
        self.count = 0
        self.unwritten_count = 0
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()
        self._file_works = True
        self._post = None if post is None else _Post(post)

    @property
    def unposted_count(self) -> int:
        """How many whoever is named in the settings did not get."""
        return self._post.failed_count if self._post else 0

    def tell(self, alarms: Sequence[Alarm]) -> None:
        """Tell alarms; it does not fail and waits for nothing but an append to a file."""
        if not alarms:
            return
        documents = [alarm.document() for alarm in alarms]
        for document in documents[:LOGGED_MAX]:
            logger.warning("value outside its limits", extra=document)
        if len(documents) > LOGGED_MAX:
            logger.warning(
                "further values outside their limits", extra={"count": len(alarms) - LOGGED_MAX}
            )
        self._send(documents)

    def close(self) -> None:
        """Give what is on its way a moment."""
        if self._post is not None:
            self._post.close()

    def tell_trouble(self, site: str, why: str, at_us: int) -> None:
        """Tell that the site keeps nothing more at present, so that its sources will wait."""
        logger.error("nothing can be kept", extra={"reason": why})
        self._send([{"site": site, "reason": "trouble", "detail": why, "made": _time(at_us)}])

    def tell_part(self, document: Mapping[str, object]) -> None:
        """Tell that a station has found a part that does not conform; as `tell`."""
        logger.warning("part does not conform", extra=dict(document))
        self._send([document])

    def _send(self, documents: Sequence[Mapping[str, object]]) -> None:
        lines = [json.dumps(document) + "\n" for document in documents]
        if self._post is not None:
            for line in lines:
                self._post.send(line.encode())
        with self._lock:
            self.count += len(lines)
            self._write(lines)

    def _write(self, lines: list[str]) -> None:
        try:
            with self._path.open("ab") as file:
                file.write("".join(lines).encode())
                is_full = file.tell() > FILE_SIZE_MAX
            if is_full:
                self._path.replace(self._path.with_name(f"{FILE_NAME}.1"))
        except OSError as error:
            self.unwritten_count += len(lines)
            if self._file_works:
                logger.error(
                    "alarms cannot be written to their file",
                    extra={"file": str(self._path), "reason": error.strerror},
                )
            self._file_works = False
        else:
            self._file_works = True


class _Post:
    """Sends bodies to a URL, one after the other, on a thread of its own; each is tried once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._bodies: queue.Queue[bytes | None] = queue.Queue(POSTS_WAITING_MAX)
        self._lock = threading.Lock()
        self._failed_count = 0
        self._works = True
        self._thread = threading.Thread(target=self._run, name="alarm-post", daemon=True)
        self._thread.start()

    @property
    def failed_count(self) -> int:
        """How many did not arrive, or found no room to wait."""
        return self._failed_count

    def send(self, body: bytes) -> None:
        """Send it as soon as those before it are done."""
        try:
            self._bodies.put_nowait(body)
        except queue.Full:
            self._failed("too many wait to be sent")

    def close(self) -> None:
        """Send what waits, for a bounded time."""
        try:
            self._bodies.put(None, timeout=CLOSE_S)
        except queue.Full:
            return  # the thread is a daemon, and ends with the process
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (body := self._bodies.get()) is not None:
            try:
                with closing(HTTPConnection(self._host, self._port, timeout=POST_S)) as connection:
                    headers = {"Content-Type": "application/json"}
                    connection.request("POST", self._target, body, headers)
                    status = connection.getresponse().status
            except (OSError, HTTPException) as error:
                self._failed(str(error) or type(error).__name__)
                continue
            if status // 100 == 2:
                self._works = True
            else:
                self._failed(f"it answers {status}")

    def _failed(self, reason: str) -> None:
        with self._lock:
            self._failed_count += 1
            was_working, self._works = self._works, False
        if was_working:
            logger.error("an alarm could not be posted", extra={"reason": reason})


def _time(at_us: int) -> str:
    try:
        return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a source's clock may say anything
        return f"{at_us} us"
