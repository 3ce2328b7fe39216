"""A station: the events of its images, in order, and the modes that follow from them."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

import pytest

from lotmark.event import check_event
from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.inspection import Inspector
from lotmark_inference.policy import Mode, Trigger
from lotmark_node.edge.image_file import ImageFile
from lotmark_node.edge.inspection_station import Inspected, InspectionStation, Occasion
from tests.inference.judging_models import INPUT, Scores, image_file, model
from tests.inference.test_inspection import COLD_SOLDER, CONTEXT, FINE, GREY
from tests.inference.test_label_catalogue import weld_labels
from tests.inference.weld_policy import weld_policy

STATOR = "https://id.gs1.org/01/04012345000023/21/ST{:04d}"
NOW = datetime(2026, 1, 12, 8, 6, tzinfo=UTC)


class Station:
    """A station whose models give one set of scores, and another for chosen images."""

    def __init__(
        self, odd: Sequence[float] = COLD_SOLDER, heavy: Sequence[float] | Scores | None = None
    ) -> None:
        self.odd = False
        scores = lambda _pixels: odd if self.odd else FINE  # noqa: E731
        nonces = count(1)
        self.station = InspectionStation(
            "aoi-cam07",
            Inspector(
                weld_policy(),
                weld_labels(),
                light=model(scores),
                heavy=model(scores if heavy is None else heavy, "weld-heavy"),
                now_ns=lambda: 5_000_000,
            ),
            INPUT,
            uncertainty_us=2_000,
            now=lambda: NOW,
            nonce=lambda: next(nonces).to_bytes(16),
        )

    def inspect(
        self,
        unit: int,
        *,
        odd: bool = False,
        image: bytes | None = None,
        context: dict[str, int] | None = None,
    ) -> Inspected:
        self.odd = odd
        return self.station.inspect(
            ImageFile("weld.png", image_file(unit) if image is None else image),
            Occasion(
                unit=STATOR.format(unit) if unit else "",
                feature="weld_137",
                context=CONTEXT if context is None else context,
                triggered_ns=0,
            ),
        )


def read(events: Sequence[bytes]) -> list[event_pb2.Event]:
    """Return events that keep every rule of the ledger."""
    return [check_event(each).message for each in events]


def bodies(events: Sequence[bytes]) -> list[str]:
    return [str(each.WhichOneof("body")) for each in read(events)]


def switch(event: bytes) -> quality_pb2.PolicySwitched:
    return read([event])[0].policy_switched


def test_the_first_event_names_the_policys_document() -> None:
    (opened,) = read([Station().station.opened()])

    assert opened.policy_switched.policy == "weld/12"
    assert (opened.policy_switched.from_mode, opened.policy_switched.to_mode) == ("", "NORMAL")
    assert opened.files[0].sha256 == weld_policy().digest


def test_a_sound_image_is_one_event_with_its_original() -> None:
    inspected = Station().inspect(1)

    (event,) = read(inspected.events)
    image = ImageFile("weld.png", image_file(1))
    assert event.items[0].id == STATOR.format(1)
    assert event.files[0].sha256 == image.digest
    assert event.files[0].name == f"{image.digest.hex()}.png"
    assert event.inference_result.latency_us == 5_000
    assert (inspected.to_review, inspected.trouble) == (b"", "")


def test_a_defect_is_judged_twice_reviewed_and_reinforces_the_next_units() -> None:
    station = Station()
    inspected = station.inspect(1, odd=True)

    assert bodies(inspected.events) == ["inference_result", "inference_result", "policy_switched"]
    assert inspected.to_review == leaf_hash(inspected.events[1])
    reinforced = switch(inspected.events[2])
    assert (reinforced.reason, reinforced.to_mode) == ("nonconforming", "REINFORCED")
    assert reinforced.cause_id == inspected.to_review
    assert reinforced.latch_units == 2

    modes = []
    for unit in range(2, 6):
        station.inspect(unit)
        modes.append(station.station.mode)
    assert modes == [Mode.REINFORCED, Mode.REINFORCED, Mode.NORMAL, Mode.NORMAL]


def test_many_images_of_one_unit_count_as_one() -> None:
    station = Station()
    (tool_change,) = station.station.trigger(Trigger.TOOL_CHANGE, bytes(32))
    assert switch(tool_change).latch_units == 5

    for unit in range(1, 6):
        for _ in range(3):
            assert bodies(station.inspect(unit).events) == ["inference_result"] * 2
    after = station.inspect(6)

    assert bodies(after.events) == ["policy_switched", "inference_result"]
    assert switch(after.events[0]).reason == "latch_over"


def test_images_of_no_known_unit_count_one_by_one() -> None:
    station = Station()
    station.station.trigger(Trigger.SHIFT_START)
    modes = [station.station.mode]
    for _ in range(5):
        station.inspect(0)
        modes.append(station.station.mode)

    assert modes == [Mode.FIRST_ARTICLE] * 4 + [Mode.NORMAL] * 2


def test_a_trigger_in_the_middle_of_a_unit_leaves_all_its_units_to_come() -> None:
    station = Station()
    station.inspect(1)
    station.station.trigger(Trigger.SHIFT_START)
    for unit in (2, 3, 4):
        station.inspect(unit)
        assert station.station.mode is Mode.FIRST_ARTICLE
    station.inspect(5)

    assert station.station.mode is Mode.NORMAL


def test_an_image_that_cannot_be_judged_is_a_gap_and_no_first_article() -> None:
    station = Station(odd=(float("nan"), 0.1, 0.1))
    station.station.trigger(Trigger.SHIFT_START)
    damaged = station.inspect(1, image=b"no image")
    failed = station.inspect(2, odd=True)
    for unit in (3, 4, 5):
        station.inspect(unit)
        assert station.station.mode is Mode.FIRST_ARTICLE

    (gap,) = read(damaged.events)
    assert (gap.gap.source, gap.gap.reason, gap.gap.missing_count) == (
        "aoi-cam07",
        "image_refused",
        1,
    )
    assert gap.files[0].sha256 == ImageFile("", b"no image").digest
    assert "use PNG, PGM or BMP" in damaged.trouble
    assert read(failed.events)[0].gap.reason == "engine_failed"
    assert failed.judgement is None


def test_a_defect_is_alarmed_reviewed_and_reinforces_where_the_heavy_model_fails() -> None:
    station = Station(heavy=(float("nan"), 0.1, 0.1))
    inspected = station.inspect(1, odd=True)

    assert bodies(inspected.events) == ["inference_result", "gap", "policy_switched"]
    result, gap, switched = read(inspected.events)
    assert result.inference_result.verdict == quality_pb2.VERDICT_NONCONFORMING
    assert gap.gap.reason == "engine_failed"
    assert (gap.items, gap.files[0].sha256) == (result.items, result.files[0].sha256)
    assert inspected.to_review == inspected.result_id == leaf_hash(inspected.events[0])
    assert switched.policy_switched.cause_id == inspected.result_id
    assert switched.policy_switched.to_mode == "REINFORCED"
    assert inspected.judgement is not None
    assert inspected.judgement.verdict == quality_pb2.VERDICT_NONCONFORMING
    assert "not probabilities" in inspected.trouble


def test_a_first_article_that_the_heavy_model_did_not_judge_is_none() -> None:
    station = Station(heavy=(float("nan"), 0.1, 0.1))
    station.station.trigger(Trigger.SHIFT_START)
    for unit in range(1, 6):
        inspected = station.inspect(unit)
        assert bodies(inspected.events) == ["inference_result", "gap"]
        assert inspected.to_review == leaf_hash(inspected.events[0])

    assert station.station.mode is Mode.FIRST_ARTICLE


@pytest.mark.parametrize("error", [RuntimeError("x"), struct.error("x"), MemoryError(), KeyError()])
def test_any_error_with_one_image_is_a_gap_and_the_next_is_judged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [error]

    def fails_once(_pixels: object) -> Sequence[float]:
        if errors:
            raise errors.pop()
        return FINE

    station = Station(heavy=fails_once)
    station.station.trigger(Trigger.NONCONFORMING)  # the heavy model judges alone
    failed = station.inspect(1)
    (gap,) = read(failed.events)
    assert (gap.gap.reason, failed.judgement) == ("station_failed", None)
    assert gap.items[0].id == STATOR.format(1)
    assert repr(error) in failed.trouble
    assert caplog.records[-1].exc_info is not None
    assert bodies(station.inspect(2).events) == ["inference_result"]


def test_a_switch_that_came_before_an_image_that_fails_is_on_record() -> None:
    station = Station()
    station.station.trigger(Trigger.SHIFT_START)
    for unit in (1, 2, 3):
        station.inspect(unit)

    assert bodies(station.inspect(4, image=b"no image").events) == ["policy_switched", "gap"]


def test_missing_context_asks_for_a_person_where_the_policy_says_so() -> None:
    inspected = Station(odd=GREY).inspect(1, context={})

    (event,) = read(inspected.events)
    assert list(event.inference_result.missing_context) == ["takt_ms", "vibration_rms_z_milli"]
    assert inspected.to_review == leaf_hash(inspected.events[0])
