"""Alarms: which values make one, and that telling them waits for nobody."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lotmark_adapters.observation import Observation, Quality
from lotmark_node.edge import alarms as alarms_module
from lotmark_node.edge.alarms import (
    FILE_NAME,
    POSTS_WAITING_MAX,
    Alarm,
    AlarmReason,
    Alarms,
    Limits,
)
from lotmark_node.edge.site_settings import SignalSettings

DEADLINE_S = 10.0
AT_US = 1_790_000_000_123_000
CURRENT = SignalSettings(
    name="current", address="ns=2;s=Current", unit="kA", lower="7.6", upper="8.8"
)
LIMITS = Limits("W07", [CURRENT, SignalSettings(name="weld", address="ns=2;s=Weld")])


def _seen(
    value: str | None, quality: Quality = Quality.GOOD, *, signal: str = CURRENT.address
) -> Observation:
    return Observation(
        signal=signal,
        sequence=1,
        made_us=AT_US,
        captured_us=AT_US + 5_000,
        value=value,
        quality=quality,
    )


def _alarm() -> Alarm:
    (alarm,) = LIMITS.alarms([_seen("9.10")])
    return alarm


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (_seen("7.6"), None),
        (_seen("7.599999999999"), AlarmReason.BELOW),
        (_seen("8.8"), None),
        (_seen("8.800000000001"), AlarmReason.ABOVE),
        (_seen("8.80"), None),
        (_seen("-8"), AlarmReason.BELOW),
        (_seen(None, Quality.BAD), AlarmReason.BAD),
        (_seen("8.0", Quality.BAD), AlarmReason.BAD),
        (_seen("8.0", Quality.UNCERTAIN), None),
        (_seen("high"), AlarmReason.NO_NUMBER),
        (_seen("NaN"), AlarmReason.NO_NUMBER),
        (_seen("99", signal="ns=2;s=Weld"), None),
        (_seen("99", signal="ns=2;s=Unknown"), None),
    ],
)
def test_what_is_not_known_to_be_within_its_limits_is_an_alarm(
    observation: Observation, reason: AlarmReason | None
) -> None:
    assert [alarm.reason for alarm in LIMITS.alarms([observation])] == ([reason] if reason else [])


def test_one_limit_is_enough() -> None:
    lower = Limits("W07", [SignalSettings(name="a", address="a", lower="1")])

    assert lower.alarms([_seen("1000", signal="a")]) == []
    assert [alarm.reason for alarm in lower.alarms([_seen("0.9", signal="a")])] == ["below"]


def test_an_alarm_is_a_line_in_the_file_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alarms = Alarms(tmp_path)

    alarms.tell([_alarm()])

    (line,) = (tmp_path / FILE_NAME).read_text().splitlines()
    assert json.loads(line) == {
        "source": "W07",
        "signal": "current",
        "reason": "above",
        "value": "9.10",
        "unit": "kA",
        "lower": "7.6",
        "upper": "8.8",
        "status": "",
        "sequence": 1,
        "made": "2026-09-21T14:13:20.123+00:00",
        "captured": "2026-09-21T14:13:20.128+00:00",
    }
    assert [record.getMessage() for record in caplog.records] == ["value outside its limits"]


def test_an_alarm_of_a_part_is_one_alarm(tmp_path: Path) -> None:
    alarms = Alarms(tmp_path)

    alarms.tell_part({"station": "aoi-cam07", "reason": "nonconforming"})
    alarms.tell([_alarm()] * 3)
    alarms.tell_trouble("line-3", "disk full", AT_US)

    assert alarms.count == len((tmp_path / FILE_NAME).read_text().splitlines()) == 5


def test_the_log_shows_some_alarms_of_a_report_and_counts_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Alarms(tmp_path).tell([_alarm()] * 1_000)

    assert len(caplog.records) == alarms_module.LOGGED_MAX + 1
    assert vars(caplog.records[-1])["count"] == 1_000 - alarms_module.LOGGED_MAX
    assert len((tmp_path / FILE_NAME).read_text().splitlines()) == 1_000


def test_the_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_module, "FILE_SIZE_MAX", 2_000)
    alarms = Alarms(tmp_path)

    for _ in range(100):
        alarms.tell([_alarm()])

    assert {path.name for path in tmp_path.iterdir()} <= {FILE_NAME, f"{FILE_NAME}.1"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5_000
    kept = "".join(path.read_text() for path in sorted(tmp_path.iterdir(), reverse=True))
    assert all(json.loads(line)["value"] == "9.10" for line in kept.splitlines())


def test_a_full_disk_is_told_once_and_the_log_still_has_each_alarm(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).symlink_to("/dev/full")
    alarms = Alarms(tmp_path)

    alarms.tell([_alarm()])
    alarms.tell([_alarm()])

    told = [record.getMessage() for record in caplog.records]
    assert told.count("value outside its limits") == 2
    assert told.count("alarms cannot be written to their file") == 1
    assert (alarms.count, alarms.unwritten_count) == (2, 2)


def test_a_source_whose_clock_is_out_of_bounds_still_raises_alarms(tmp_path: Path) -> None:
    seen = Observation(signal="a", sequence=1, made_us=2**62, captured_us=AT_US, value="0")

    Alarms(tmp_path).tell(
        Limits("W07", [SignalSettings(name="a", address="a", lower="1")]).alarms([seen])
    )

    assert json.loads((tmp_path / FILE_NAME).read_text())["made"] == f"{2**62} us"


@contextmanager
def _listener(status: int) -> Iterator[tuple[str, list[bytes]]]:
    """Listen for POSTs, and return the URL and the bodies that came."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/alarm", bodies
        server.shutdown()
        thread.join()


def test_whoever_is_named_gets_each_alarm(tmp_path: Path) -> None:
    with _listener(204) as (url, bodies):
        alarms = Alarms(tmp_path, post=url)
        alarms.tell([_alarm(), _alarm()])
        alarms.close()

    assert [json.loads(body)["value"] for body in bodies] == ["9.10", "9.10"]
    assert alarms.unposted_count == 0


def test_a_listener_that_refuses_is_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _listener(500) as (url, _):
        alarms = Alarms(tmp_path, post=url)
        alarms.tell([_alarm()])
        alarms.close()

    assert alarms.unposted_count == 1
    assert "an alarm could not be posted" in caplog.text


def test_a_listener_that_says_nothing_holds_up_no_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(alarms_module, "CLOSE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alarms = Alarms(tmp_path, post=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        began_s = time.monotonic()
        alarms.tell([_alarm()] * (POSTS_WAITING_MAX * 4))
        took_s = time.monotonic() - began_s
        alarms.close()

    # One is on its way, a bounded number waits, and the rest is counted.
    assert alarms.unposted_count >= POSTS_WAITING_MAX * 3 - 1
    assert took_s < alarms_module.POST_S
    assert len((tmp_path / FILE_NAME).read_text().splitlines()) == POSTS_WAITING_MAX * 4
