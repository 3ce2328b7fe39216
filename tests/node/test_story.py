"""The story's documents agree with one another, with their raw files and with the rules."""

import csv
import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from importlib.resources import files
from itertools import count
from xml.etree import ElementTree

import pytest

from lotmark.canonical_json import dump
from lotmark.event import check_event
from lotmark.merkle import leaf_hash, root
from lotmark.report import read_report, seal_event
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.story.load import STORY, load_document, read_file
from lotmark_node.story.welds import COLD_WELD, STATOR, review_verdict, weld_inspections

WIRE_LOT = "https://id.gs1.org/01/04012345000016/10/CU-20251223-07"
CSV = "resistivity-CU-20251223-07.csv"
REPORT = "report-4711.toml"  # sealed by its fields' digest, which names no file
DOCUMENTS = files("lotmark_node.story").joinpath("documents")
SEED = 137


def counted_nonces() -> Callable[[], bytes]:
    numbers = count()
    return lambda: next(numbers).to_bytes(16, "big")


def story_events() -> list[event_pb2.Event]:
    """Return the whole story in order."""
    nonce = counted_nonces()
    events = [event for document in STORY for event in load_document(document.name, nonce)]
    welds = weld_inspections(SEED, nonce)
    return [*events, *welds, review_verdict(event_id(welds[COLD_WELD]), nonce)]


def event_id(event: event_pb2.Event) -> bytes:
    return leaf_hash(event.SerializeToString(deterministic=True))


def only(name: str, body: str) -> event_pb2.Event:
    (event,) = (
        event for event in load_document(name, counted_nonces()) if event.WhichOneof("body") == body
    )
    return event


def test_every_document_in_the_folder_is_told_or_named_by_one_that_is() -> None:
    told = {f"{document.name}.toml" for document in STORY}
    named = {file.name for event in story_events() for file in event.files}

    assert {entry.name for entry in DOCUMENTS.iterdir()} == told | named | {REPORT}


def test_every_event_of_the_story_keeps_the_rules_and_none_is_there_twice() -> None:
    events = story_events()

    for event in events:
        check_event(event.SerializeToString(deterministic=True))
    assert len({event_id(event) for event in events}) == len(events) == 206


def test_the_story_is_told_in_the_order_of_time() -> None:
    ends = [event.time.end_ms for event in story_events()]

    assert ends == sorted(ends)


def test_every_product_of_the_story_has_a_sound_check_digit() -> None:
    items = {item.id for event in story_events() for item in event.items}
    products = {match[1] for item in items if (match := re.search(r"/01/(\d{14})/", item))}

    assert len(products) == 5
    for product in products:
        weighted = sum(int(digit) * (3, 1)[at % 2] for at, digit in enumerate(product[:-1]))
        assert (weighted + int(product[-1])) % 10 == 0, product


def test_a_lot_is_on_record_before_it_is_used() -> None:
    known: set[str] = set()
    for event in story_events():
        used = {item.id for item in event.items if item.role == event_pb2.ITEM_ROLE_INPUT}
        assert used <= known
        known |= {item.id for item in event.items}


def test_the_stator_is_made_of_the_wire_lot_among_others() -> None:
    event = only("stator", "transformation")

    roles = event_pb2.ItemRole
    inputs = {i.id: i.quantity.value for i in event.items if i.role == roles.ITEM_ROLE_INPUT}
    outputs = [i.id for i in event.items if i.role == roles.ITEM_ROLE_OUTPUT]
    assert inputs[WIRE_LOT] == "1.84"
    assert len(inputs) == 4
    assert outputs == [STATOR]


def test_the_measurement_names_the_raw_file_as_it_is_shipped() -> None:
    raw = read_file(CSV)

    (file,) = only("resistivity", "measurement").files
    assert (file.name, file.size) == (CSV, len(raw))
    assert file.sha256 == hashlib.sha256(raw).digest()


def test_each_reading_follows_from_its_current_and_voltage() -> None:
    for row in csv.DictReader(read_file(CSV).decode().splitlines()):
        voltage, current, length, area, temperature, stated = (
            Decimal(row[column])
            for column in (
                "voltage_uv", "current_a", "length_mm", "area_mm2", "temperature_c",
                "resistivity_20c_nohm_m",
            )
        )  # fmt: skip
        # Ohm's law on a wire, corrected to 20 degrees with copper's coefficient.
        derived = voltage / current * area / length / (1 + Decimal("0.00393") * (temperature - 20))
        assert abs(derived - stated) <= Decimal("0.00005"), row


def test_the_measured_value_is_the_mean_of_the_raw_readings() -> None:
    rows = list(csv.DictReader(read_file(CSV).decode().splitlines()))
    readings = [Decimal(row["resistivity_20c_nohm_m"]) for row in rows]
    mean = sum(readings, Decimal(0)) / len(readings)

    measurement = only("resistivity", "measurement").measurement
    assert str(mean.quantize(Decimal("0.001"))) == measurement.value == "17.241"
    assert Decimal(measurement.value) <= Decimal(measurement.upper_limit)


def test_the_seal_is_the_one_that_sealing_the_shipped_report_makes() -> None:
    raw = read_file(REPORT)
    sealed = only("resistivity", "report_seal")

    report = read_report(raw, name=REPORT, folder=DOCUMENTS, nonce=lambda: bytes(16))
    made = seal_event(
        report,
        device=sealed.device,
        time_ms=sealed.time.start_ms,
        uncertainty_us=sealed.time.uncertainty_us,
        nonce=sealed.nonce,
    )
    assert made == sealed
    assert sealed.report_seal.report_digest == hashlib.sha256(dump(dict(report.fields))).digest()
    measured = only("resistivity", "measurement").measurement.value
    assert report.fields["results"][0]["value"] == measured


def test_the_calibration_is_of_the_certificate_that_is_shipped_and_in_force_at_the_welds() -> None:
    raw = read_file("dcc-88-12.xml")
    certificate = ElementTree.fromstring(raw)  # noqa: S314  # a file of this package

    event = only("calibration", "calibration")
    calibration = event.calibration
    welded_ms = weld_inspections(SEED, counted_nonces())[-1].time.end_ms
    assert calibration.certificate_digest == hashlib.sha256(raw).digest()
    assert calibration.certificate == certificate.findtext(".//{*}uniqueIdentifier")
    assert event.items[0].id == certificate.findtext(".//{*}items//{*}value")
    assert calibration.valid_from_ms <= welded_ms < calibration.valid_until_ms


def test_192_welds_are_judged_and_only_weld_137_is_bad_and_judged_twice() -> None:
    results = [event.inference_result for event in weld_inspections(SEED, counted_nonces())]

    assert [result.feature for result in results] == [
        f"weld_{weld}" for weld in range(1, 193) for _ in range(2 if weld == 137 else 1)
    ]
    bad = [r for r in results if r.verdict != quality_pb2.VERDICT_CONFORMING]
    assert [(r.feature, r.mode, r.label, r.score_ppm) for r in bad] == [
        ("weld_137", "NORMAL", "COLD_SOLDER/winding_end/OEM-A-std-3", 981_234),
        ("weld_137", "REINFORCED", "COLD_SOLDER/winding_end/OEM-A-std-3", 994_102),
    ]
    for result in bad:
        assert {entry.name: entry.value for entry in result.context}["geometry_mm"] == "0.15"


def test_the_welds_are_the_same_for_the_same_seed_in_every_version() -> None:
    ids = [event_id(event) for event in weld_inspections(SEED, counted_nonces())]

    assert root(ids).hex() == "161539a22a5b82f6096916a65afe2b54f5bea4565d4a2c633f425213974fb299"
    assert ids != [event_id(event) for event in weld_inspections(SEED + 1, counted_nonces())]


def test_the_operator_confirms_the_heavy_models_result_by_a_credential() -> None:
    review = review_verdict(bytes(32), counted_nonces()).review_verdict

    assert review.verdict == quality_pb2.VERDICT_NONCONFORMING
    assert re.fullmatch(r"cred-[0-9a-f]{16}", review.operator)


def test_a_document_that_is_not_there_is_an_os_error_with_its_name() -> None:
    with pytest.raises(FileNotFoundError, match=r"nix\.toml"):
        load_document("nix", counted_nonces())
