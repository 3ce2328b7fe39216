"""A station's watch: what it tries again, how often, and what it never does twice."""

import asyncio
import dataclasses
import errno
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lotmark.client.settings import ClientSettings
from lotmark_adapters.webhooks.message import Message
from lotmark_inference.errors import CatalogueRefused, EngineError, ModelRefused
from lotmark_node.edge import station_watch
from lotmark_node.edge.inspection_station import InspectionStation
from lotmark_node.edge.station_alerts import alerting
from lotmark_node.edge.station_run import StationImage, StationRun
from lotmark_node.edge.station_watch import (
    POLL_S,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    StationState,
    StationWatch,
)
from tests.inference.judging_models import image_file
from tests.inference.weld_policy import weld_policy
from tests.node.edge.site_process import until
from tests.node.edge.test_image_folder import refuse_removal
from tests.node.edge.test_inspection_station import Station, bodies
from tests.node.edge.test_referenced_images import station as station_settings
from tests.node.edge.test_station_licence import NO_ANSWERS


class Kept:
    """Keeps a station's events in memory, while it has room."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.has_room = True
        self.attempts = 0

    async def put(self, events: Sequence[bytes]) -> None:
        self.events += events

    async def keep(self, run: StationRun, image: StationImage) -> Path:
        self.attempts += 1
        if not self.has_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        await self.put(image.inspected.events)
        return image.path

    @property
    def bodies(self) -> Counter[str]:
        return Counter(bodies(self.events))


class LicenceInMemory:
    """Allows everything, as a ledger would, or fails at renewals."""

    failure: Exception | None = None
    renewals = 0

    def __init__(self, _folder: Path, _station: str) -> None:
        self._licence = SimpleNamespace(read_ms=0)

    def obtained(self, *_: object, now_ms: int) -> SimpleNamespace:
        return self._licence

    def renewed(self, *_: object, now_ms: int) -> SimpleNamespace:
        LicenceInMemory.renewals += 1
        if self.failure is not None:
            raise self.failure
        return self._licence


class Line:
    """A station with models in memory, a folder of images, and how long its watch has paused."""

    watch: StationWatch

    def __init__(self, folder: Path) -> None:
        self.kept, self.told, self.pauses_s = Kept(), list[str](), list[float]()
        self.station = Station()
        self.images = folder / "images"
        self.images.mkdir()
        self.alarm: Callable[[StationImage], None] = lambda _image: None

    @property
    def retries_s(self) -> list[float]:
        return [each for each in self.pauses_s if each != POLL_S]

    def put(self, name: str) -> None:
        (self.images / name).write_bytes(image_file(len(name)))

    async def polls(self, count: int) -> None:
        """Return once it has looked at its folder so many times more."""
        wanted = self.pauses_s.count(POLL_S) + count
        await until(lambda: self.pauses_s.count(POLL_S) >= wanted)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = asyncio.create_task(self.watch.run(stop))
        yield
        stop.set()
        await running


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line(tmp_path)

    @contextmanager
    def opened_station(*_: object) -> Iterator[InspectionStation]:
        yield line.station.station

    async def paused(event: asyncio.Event, timeout_s: float) -> None:
        line.pauses_s.append(timeout_s)
        await asyncio.sleep(0)

    monkeypatch.setattr(station_watch, "LicenceFile", LicenceInMemory)
    monkeypatch.setattr(station_watch, "_read_policy", lambda _path: weld_policy())
    monkeypatch.setattr(station_watch, "opened_station", opened_station)
    monkeypatch.setattr(station_watch, "_set_within", paused)
    line.watch = StationWatch(
        station_settings(tmp_path),
        cast("ClientSettings", None),  # nobody is asked
        tmp_path / "data",
        line.kept,
        alarm=lambda image: line.alarm(image),
        tell=lambda image, _kept: line.told.append(image.name),
    )
    return line


def test_an_image_that_cannot_be_removed_is_judged_once_and_told(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with pytest.MonkeyPatch.context() as patch:
            refuse_removal(patch)
            for name in ("a_1.png", "b_1.png", "shift_start.trigger"):
                line.put(name)
            async with line.running():
                await until(lambda: len(line.told) == 2)
                line.put("c_1.png")
                await until(lambda: len(line.told) == 3)
                await line.polls(20)
                assert line.watch.unremoved_count == 4

    asyncio.run(scenario())

    # All in one opening, and in the mode to which the one trigger led.
    assert line.kept.bodies == {"policy_switched": 2, "inference_result": 6}
    assert line.told == ["a_1.png", "b_1.png", "c_1.png"]
    assert line.retries_s == []
    assert caplog.messages.count("judged files cannot be removed") == 1


def test_pauses_grow_as_long_as_no_image_is_settled(line: Line) -> None:
    line.put("a_1.png")
    line.kept.has_room = False

    async def scenario() -> None:
        async with line.running():
            await until(lambda: len(line.retries_s) >= 10)
            line.kept.has_room = True
            await until(lambda: line.told == ["a_1.png"])
            grown = line.retries_s
            assert grown[:10] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
            assert {RETRY_FIRST_S, RETRY_MAX_S} == {grown[0], grown[-1]}
            line.kept.has_room = False
            line.put("b_1.png")
            await until(lambda: len(line.retries_s) >= len(grown) + 2)
            assert line.retries_s[len(grown) :][:2] == [1, 2]

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_read_makes_no_events(line: Line) -> None:
    line.images.rmdir()
    line.images.touch()

    async def scenario() -> None:
        async with line.running():
            await until(lambda: len(line.retries_s) >= 8)
            assert line.watch.state is StationState.REFUSED
            assert line.kept.events == []
            line.images.unlink()
            await until(lambda: line.watch.state is StationState.JUDGING)

    asyncio.run(scenario())

    assert line.kept.bodies == {"policy_switched": 1}


def test_a_mode_that_cannot_be_kept_repeats_no_event_and_tells_people_all_the_same(
    line: Line, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with line.running():
            await until(lambda: line.watch.state is StationState.JUDGING)
            (tmp_path / "data").rename(tmp_path / "away")
            (tmp_path / "data").touch()
            line.station.odd = True
            line.put("a_1.png")
            await until(lambda: len(line.retries_s) >= 8)
            assert line.told == ["a_1.png"]
            once = {"policy_switched": 2, "inference_result": 2}
            assert (line.kept.bodies, line.kept.attempts) == (once, 1)
            (tmp_path / "data").unlink()
            await until(lambda: line.watch.state is StationState.JUDGING)

    asyncio.run(scenario())

    assert line.kept.bodies == {"policy_switched": 3, "inference_result": 2}


@pytest.mark.parametrize("failure", NO_ANSWERS, ids=repr)
def test_a_node_that_fails_does_not_end_a_station_whose_licence_is_good(
    line: Line,
    failure: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(LicenceInMemory, "failure", failure)
    line.watch.settings = dataclasses.replace(line.watch.settings, renew_s=0)

    async def scenario() -> None:
        async with line.running():
            before = LicenceInMemory.renewals
            await until(lambda: LicenceInMemory.renewals >= before + 5)
            line.put("a_1.png")
            await until(lambda: line.told == ["a_1.png"])

    asyncio.run(scenario())

    assert line.kept.bodies == {"policy_switched": 1, "inference_result": 1}  # one opening
    assert line.retries_s == []
    assert caplog.messages.count("licence is not renewed") == 1


@pytest.mark.parametrize(
    "no", [ModelRefused("x"), CatalogueRefused("x"), EngineError("x")], ids=repr
)
def test_a_no_ends_the_opening(line: Line, no: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LicenceInMemory, "failure", no)
    line.watch.settings = dataclasses.replace(line.watch.settings, renew_s=0)

    async def scenario() -> None:
        async with line.running():
            await until(lambda: line.kept.bodies["policy_switched"] >= 3)

    asyncio.run(scenario())

    assert set(line.kept.bodies) == {"policy_switched"}  # each opening's, and no image's


def test_a_disk_that_hangs_with_an_alarm_holds_up_nothing_but_its_station(line: Line) -> None:
    hangs, answers = threading.Event(), threading.Event()

    def alarm(_image: StationImage) -> None:
        hangs.set()
        assert answers.wait(10), "the loop was held up"

    line.alarm = alarm
    line.station.odd = True
    line.put("a_1.png")

    async def scenario() -> None:
        async with line.running():
            await until(hangs.is_set)
            assert (line.kept.attempts, line.told) == (0, [])
            answers.set()
            await until(lambda: line.told == ["a_1.png"])

    asyncio.run(scenario())


def test_images_whose_name_tells_no_unit_are_judged_and_counted(line: Line) -> None:
    line.put("a_1.png")
    line.put("noname.png")

    async def scenario() -> None:
        async with line.running():
            await until(lambda: len(line.told) == 2)

    asyncio.run(scenario())

    assert (line.watch.inference_count, line.watch.unnamed_count) == (2, 1)


def test_an_alert_never_ends_judging_and_is_not_made_where_nobody_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Message] = []

    def broken() -> Message:
        made.append(Message(kind="alert", title="\udcba", event_id=b"", made_ms=0, fields={}))
        return made[0]

    (tmp_path / "webhooks.toml").write_text(
        '[[target]]\nname = "quality"\nkind = "json"\nurl = "http://127.0.0.1:9/"\n'
        'secret_file = "secret"\n'
    )
    (tmp_path / "secret").write_text("a secret of a test, long enough")
    (tmp_path / "secret").chmod(0o600)
    with alerting(None) as alert:
        alert(broken)
    assert caplog.messages == []
    with alerting(tmp_path / "webhooks.toml") as alert:
        alert(broken)
        alert(lambda: None)

    assert (made, caplog.messages) == ([], ["nobody is told"])
