"""A station's steps: what is on record is not judged again, and no image ends the run."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from lotmark.v1 import quality_pb2
from lotmark_inference.engine import Engine
from lotmark_inference.engine_process import EngineProcess
from lotmark_inference.engine_worker import WorkerEngine, WorkerLimits
from lotmark_inference.engines_here import engines_here
from lotmark_inference.manifest_file import dump_manifest
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_manifest import ModelInput
from lotmark_inference.model_metadata import metadata_of
from lotmark_inference.model_registry import LicensedModel
from lotmark_inference.policy import Mode, Trigger
from lotmark_inference.registered_models import Registration
from lotmark_inference.weld_surface import SIZE as WELD_SIZE
from lotmark_node.edge import station_run
from lotmark_node.edge.image_file import ImageFile
from lotmark_node.edge.image_folder import ImageFolder
from lotmark_node.edge.inspection_station import InspectionStation, Occasion
from lotmark_node.edge.station_licence import StationLicence
from lotmark_node.edge.station_mode import ModeFile
from lotmark_node.edge.station_run import ANSWER_S, StationImage, StationRun, opened_station
from tests.inference.judging_models import SIZE, encoded, image_file
from tests.inference.sample_models import FIELD_COUNT, sample_manifest, tiny_onnx
from tests.inference.test_image_reading import chunk
from tests.inference.test_label_catalogue import weld_labels
from tests.inference.weld_policy import weld_policy
from tests.node.edge.test_inspection_station import Station, bodies, read
from tests.node.edge.test_referenced_images import station as station_settings

END = chunk(b"IEND", b"")
SHORT_GAMMA = image_file()[: -len(END)] + chunk(b"gAMA", b"\0") + END


class Line:
    """A folder of images, and runs of a station over it, as one process has them."""

    def __init__(self, folder: Path) -> None:
        self.settings = dataclasses.replace(
            station_settings(folder), unit_prefix="https://id.gs1.org/01/04012345000023/21/"
        )
        self.mode_file = ModeFile(folder / "data", "aoi-cam07")
        self.folder = ImageFolder(self.settings.images)
        self.station = Station()
        self.run = self.opened()

    def opened(self) -> StationRun:
        """Return the next run of the process."""
        return StationRun(self.settings, self.station.station, self.mode_file, self.folder)

    def put(self, name: str, content: bytes) -> None:
        (self.settings.images / name).write_bytes(content)

    def judged(self) -> list[StationImage]:
        """Return what is judged now, before it is settled."""
        self.run.poll()
        judged = [self.run.judge(path) for path in self.run.poll()]
        return [each for each in judged if each is not None]


def test_what_is_on_record_is_not_judged_again_where_its_mode_cannot_be_kept(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path)
    (tmp_path / "data").touch()  # no folder, so no mode can be kept in it
    line.station.odd = True
    line.put("A1_weld_1.png", image_file())
    (image,) = line.judged()
    assert bodies(image.inspected.events)[-1] == "policy_switched"
    with pytest.raises(OSError, match="data"):
        line.run.settle(image)
    line.run = line.opened()

    assert line.judged() == []
    remembered = line.mode_file.read()
    assert remembered is not None
    assert remembered.reinforced is not None  # which the next run goes on in
    with pytest.raises(OSError, match="data"):
        line.run.keep_mode()
    (tmp_path / "data").unlink()
    line.run.keep_mode()
    assert ModeFile(tmp_path / "data", "aoi-cam07").read() == line.mode_file.read()


def test_a_mode_that_was_not_kept_gives_way_to_the_next(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.run.keep_mode()
    before = line.mode_file.read()
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "data").touch()
    line.station.odd = True
    line.station.inspect(1, odd=True)
    with suppress(OSError):
        line.run.keep_mode()
    assert line.mode_file.read() != before
    for unit in (2, 3, 4):
        line.station.inspect(unit)
    line.run.keep_mode()

    assert line.mode_file.read() == before


def test_an_image_on_which_the_decoder_fails_is_a_gap_and_the_next_is_judged(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path)
    line.put("A1_weld_1.png", SHORT_GAMMA)
    line.put("A2_weld_1.png", image_file(2))
    os.utime(line.settings.images / "A1_weld_1.png", ns=(0, 0))

    first, second = line.judged()

    assert bodies(first.inspected.events) == ["gap"]
    assert "damaged" in first.inspected.trouble
    assert second.inspected.judgement is not None


def test_an_image_that_cannot_be_read_is_told_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path)
    line.put("A1_weld_1.png", image_file())
    line.run.poll()
    (path,) = line.run.poll()
    path.unlink()
    path.symlink_to(tmp_path)
    for _ in range(3):
        assert line.run.judge(path) is None
    assert caplog.messages.count("image not read") == len(line.run.unread) == 1
    line.run.poll()

    assert line.run.unread == {}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("焊点_weld_1.png", "焊点_weld_1.png"),
        (os.fsdecode("焊点_weld_1.png".encode("gbk")), r"\udcba\udcb8\udcb5\udce3_weld_1.png"),
    ],
)
def test_people_are_told_of_a_file_whatever_its_name(tmp_path: Path, name: str, shown: str) -> None:
    line = Line(tmp_path)
    line.station.odd = True
    line.put(name, image_file())

    (image,) = line.judged()

    message = image.alert("aoi-cam07", made_ms=0)
    assert message is not None
    assert message.fields["image"] == image.alarm("aoi-cam07", now_us=0)["image"] == shown
    assert image.unit == ""


class PatientEngine(WorkerEngine):
    """An engine whose process has a minute for an answer, unless it hangs: then the station's."""

    def __init__(
        self, open_engine: Callable[[], Engine], image: ModelInput, limits: WorkerLimits
    ) -> None:
        self.given = limits
        super().__init__(open_engine, image, limits)

    def hang(self) -> int:
        """Let its process go on no more, and return which one that is."""
        assert self.process_id is not None
        os.kill(self.process_id, signal.SIGSTOP)
        self._limits = self.given
        return self.process_id

    def _started(self) -> EngineProcess:
        self._limits = dataclasses.replace(self.given, infer_s=60.0)
        return super()._started()


@contextmanager
def opened_on_engines(
    folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[InspectionStation, PatientEngine, PatientEngine]]:
    """Give a station with two tiny models in processes of their own, and these."""
    engines: list[PatientEngine] = []

    def opened(
        open_engine: Callable[[], Engine], image: ModelInput, limits: WorkerLimits
    ) -> PatientEngine:
        engines.append(PatientEngine(open_engine, image, limits))
        return engines[-1]

    patch.setattr(station_run, "WorkerEngine", opened)
    (here,) = engines_here("onnxruntime")
    weights = np.tile(np.array([0, -0.01, -0.01], dtype=np.float32), (FIELD_COUNT, 1))
    licensed, registry = list[LicensedModel](), ModelFolder(folder / "models")
    for name in ("weld-light", "weld-heavy"):
        onnx = tiny_onnx(weights=weights, metadata=metadata_of(sample_manifest(b"", name=name)))
        manifest = sample_manifest(onnx, name=name)
        registration = Registration(
            model=manifest.model,
            party="T1-STATOR",
            onnx_sha256=registry.put(onnx),
            manifest_digest=registry.put(dump_manifest(manifest)),
            training_digest=manifest.training_digest,
            index=1,
        )
        licensed.append(
            LicensedModel(
                registered=registration, engine=here, artefact_sha256=manifest.onnx_sha256
            )
        )
    policy = weld_policy()
    licence = StationLicence(
        station="aoi-cam07",
        party="T1-STATOR",
        light=licensed[0],
        heavy=licensed[1],
        catalogue=weld_labels().document,
        policy_digest=policy.digest,
        read_ms=0,
    )
    settings = dataclasses.replace(station_settings(folder), registry=registry.path)
    with opened_station(settings, policy, licence) as station:
        light, heavy = engines
        yield station, light, heavy


DARK = ImageFile(
    "a.png",
    encoded(np.random.default_rng(1).integers(0, 40, (WELD_SIZE, WELD_SIZE), dtype=np.uint8)),
)
OCCASION = Occasion(unit="", feature="", context={}, triggered_ns=0)


def test_a_model_that_hangs_behind_the_first_is_not_waited_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_on_engines(tmp_path, monkeypatch) as (station, _, heavy):
        heavy.hang()
        found = station.inspect(DARK, OCCASION)

        assert heavy.process_id is None  # not opened anew before the alarm
        assert bodies(found.events) == ["inference_result", "gap", "policy_switched"]
        assert found.judgement is not None
        assert found.judgement.verdict == quality_pb2.VERDICT_NONCONFORMING
        assert f"within {ANSWER_S:g} s" in found.trouble
        assert bodies(station.inspect(DARK, OCCASION).events)[0] == "inference_result"
        assert heavy.process_id is not None


def test_the_first_model_is_asked_again_where_it_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_on_engines(tmp_path, monkeypatch) as (station, light, _):
        hung = light.hang()
        found = station.inspect(DARK, OCCASION)

        assert found.trouble == ""
        assert bodies(found.events) == ["inference_result", "inference_result", "policy_switched"]
        assert light.process_id not in (None, hung)


def takts(image: StationImage) -> set[str | None]:
    """Return the takt that each result of an image was judged with; None: with none."""
    results = [
        each.inference_result
        for each in read(image.inspected.events)
        if each.HasField("inference_result")
    ]
    assert results
    return {{named.name: named.value for named in each.context}.get("takt_ms") for each in results}


def put_context(line: Line, takt_ms: int) -> None:
    """Put a context as a camera does, whole."""
    line.put("new", json.dumps({"takt_ms": takt_ms}).encode())
    (line.settings.images / "new").replace(line.settings.images / "last_weld_1.json")


def test_the_context_of_the_next_image_is_not_signed_into_this_one(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.put("last_weld_1.png", image_file(1))
    line.run.poll()
    (path,) = line.run.poll()
    put_context(line, 1_180)
    first = line.run.judge(path)
    assert first is not None
    line.run.settle(first)
    line.put("last_weld_1.png", image_file(2))
    (second,) = line.judged()
    line.run.settle(second)

    assert (takts(first), takts(second)) == ({None}, {"1180"})
    assert [each.name for each in line.settings.images.iterdir() if each.is_file()] == []


@pytest.mark.parametrize("had_context", [True, False])
@pytest.mark.parametrize("has_next_context", [True, False])
@pytest.mark.parametrize("is_image_new", [True, False])
def test_no_image_is_judged_with_the_context_of_another(
    tmp_path: Path, *, had_context: bool, has_next_context: bool, is_image_new: bool
) -> None:
    """The next image of the name, its context, or both come before this one is judged."""
    line = Line(tmp_path)
    if had_context:
        put_context(line, 1_180)
    line.put("last_weld_1.png", image_file(1))
    line.run.poll()
    (path,) = line.run.poll()
    if has_next_context:
        put_context(line, 1_250)
    if is_image_new:
        line.put("last_weld_1.png", image_file(2))
    first = line.run.judge(path)
    assert first is not None
    line.run.settle(first)
    line.put("last_weld_1.png", image_file(2))
    (second,) = line.judged()

    is_own = had_context and not has_next_context and not is_image_new
    assert takts(first) == ({"1180"} if is_own else {None})
    assert takts(second) == ({"1250"} if has_next_context else {None})


def test_the_mode_that_is_told_is_the_one_that_is_signed(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.run.trigger(Trigger.SHIFT_START)
    told, signed = list[str](), list[str]()
    for unit in range(1, 7):
        line.station.odd = unit == 5  # which is looked at harder from the next unit on
        line.put(f"A{unit}_weld.png", image_file(unit))
        (image,) = line.judged()
        results = [
            each.inference_result
            for each in read(image.inspected.events)
            if each.HasField("inference_result")
        ]
        told.append(image.mode.value)
        signed += {each.mode for each in results}
        if image.is_nonconforming:
            assert image.alarm("aoi-cam07", now_us=0)["mode"] == "NORMAL"
        line.run.settle(image)
    line.put("A7_weld.png", b"no image")
    (unjudged,) = line.judged()

    assert told == signed == ["FIRST_ARTICLE"] * 3 + ["NORMAL"] * 2 + ["REINFORCED"]
    assert unjudged.mode is Mode.REINFORCED


def test_a_unit_that_a_name_tells_is_known(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.put("A1_weld_1.png", encoded(np.eye(SIZE, dtype=np.uint8) * 200))

    (image,) = line.judged()

    assert image.unit == "https://id.gs1.org/01/04012345000023/21/A1_weld"
    assert (image.mode, image.verdict) == (Mode.NORMAL, "CONFORMING")
    assert not image.is_nonconforming
    assert image.inspected.judgement is not None
    assert image.inspected.judgement.verdict == quality_pb2.VERDICT_CONFORMING
