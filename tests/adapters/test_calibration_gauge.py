"""A gauge's calibration: asked with every measurement, read again only when a file changes."""

from pathlib import Path

import pytest

from lotmark.v1 import quality_pb2
from lotmark_adapters.calibration import GaugeCalibration, TrustedLaboratories, gauge
from lotmark_adapters.calibration.gauge import LOOK_INTERVAL_MS
from tests.adapters.calibration_documents import (
    SERIAL,
    Laboratory,
    a_document,
    a_laboratory,
    at,
)

State = quality_pb2.CalibrationState
JUNE = at("2026-06-01")


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_ms = JUNE

    def read_ms(self) -> int:
        return self.now_ms

    def pass_interval(self) -> None:
        self.now_ms += LOOK_INTERVAL_MS


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return a_laboratory(tmp_path / "labs")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(laboratory: Laboratory, clock: Clock, tmp_path: Path) -> GaugeCalibration:
    """Return the calibration of a gauge whose certificate is not there yet."""
    return GaugeCalibration(
        tmp_path / "gauge.xml",
        TrustedLaboratories.read(laboratory.folder),
        equipment_ids=[SERIAL],
        valid_days=None,
        read_ms=clock.read_ms,
    )


def put(path: Path, content: bytes) -> None:
    """Replace a file at once, as an operator should."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)


def test_a_gauge_without_a_file_has_no_certificate(watched: GaugeCalibration) -> None:
    assert watched.state_at(JUNE) == ("", State.CALIBRATION_STATE_MISSING)
    assert "gauge.xml is not there; put the gauge's" in watched.judgement_at(JUNE).sentence


def test_a_file_is_taken_up_replaced_and_missed_within_an_interval(
    watched: GaugeCalibration, laboratory: Laboratory, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "gauge.xml"
    assert watched.certificate is None

    put(path, laboratory.signed(a_document()))
    assert watched.state_at(JUNE) == ("", State.CALIBRATION_STATE_MISSING)
    clock.pass_interval()
    assert watched.state_at(JUNE) == ("DCC-2026-17", State.CALIBRATION_STATE_VALID)
    first = watched.certificate

    put(path, laboratory.signed(a_document(number="DCC-2026-18")))
    clock.pass_interval()
    assert watched.state_at(JUNE) == ("DCC-2026-18", State.CALIBRATION_STATE_VALID)
    assert watched.certificate is not first

    path.unlink()
    clock.pass_interval()
    assert watched.state_at(JUNE) == ("", State.CALIBRATION_STATE_MISSING)


def test_each_measurement_gets_the_state_of_its_own_time(
    watched: GaugeCalibration, laboratory: Laboratory, tmp_path: Path
) -> None:
    put(tmp_path / "gauge.xml", laboratory.signed(a_document()))

    states = [
        watched.state_at(at(day))[1]
        for day in ("2026-06-01", "2026-01-13", "2027-01-12", "2027-01-13", "2026-06-01")
    ]
    assert states == [
        State.CALIBRATION_STATE_VALID,
        State.CALIBRATION_STATE_EXPIRED,
        State.CALIBRATION_STATE_VALID,
        State.CALIBRATION_STATE_EXPIRED,
        State.CALIBRATION_STATE_VALID,
    ]


@pytest.mark.parametrize("time_ms", [-(10**18), -1, 0, 10**18])
def test_a_machines_clock_may_tell_any_time(
    watched: GaugeCalibration, laboratory: Laboratory, tmp_path: Path, time_ms: int
) -> None:
    put(tmp_path / "gauge.xml", laboratory.signed(a_document()))

    assert watched.state_at(time_ms)[1] == State.CALIBRATION_STATE_EXPIRED


@pytest.mark.parametrize("content", [b"", b"nothing", a_document()])
def test_an_unreadable_or_unsigned_file_is_untrusted(
    watched: GaugeCalibration, tmp_path: Path, content: bytes
) -> None:
    put(tmp_path / "gauge.xml", content)

    number, state = watched.state_at(JUNE)
    assert state == State.CALIBRATION_STATE_UNTRUSTED
    assert number == ("DCC-2026-17" if content == a_document() else "")


def test_a_certificate_of_another_gauge_is_not_named(
    watched: GaugeCalibration, laboratory: Laboratory, tmp_path: Path
) -> None:
    put(tmp_path / "gauge.xml", laboratory.signed(a_document(serial="SN-1")))

    assert watched.state_at(JUNE) == ("", State.CALIBRATION_STATE_MISSING)


def test_a_new_revocation_list_counts_within_an_interval(
    watched: GaugeCalibration, laboratory: Laboratory, clock: Clock, tmp_path: Path
) -> None:
    put(tmp_path / "gauge.xml", laboratory.signed(a_document()))
    assert watched.state_at(JUNE)[1] == State.CALIBRATION_STATE_VALID

    put(laboratory.folder / "sub.crl", laboratory.authority.crl(laboratory.signer.certificate))
    clock.pass_interval()
    assert watched.state_at(JUNE)[1] == State.CALIBRATION_STATE_REVOKED


def test_a_folder_that_breaks_stays_as_it_was(
    watched: GaugeCalibration, laboratory: Laboratory, clock: Clock, tmp_path: Path
) -> None:
    put(tmp_path / "gauge.xml", laboratory.signed(a_document()))
    assert watched.state_at(JUNE)[1] == State.CALIBRATION_STATE_VALID

    put(laboratory.folder / "root.pem", b"half a fi")
    clock.pass_interval()
    assert watched.state_at(JUNE)[1] == State.CALIBRATION_STATE_VALID


def test_it_is_judged_once_where_nothing_changes(
    watched: GaugeCalibration,
    laboratory: Laboratory,
    clock: Clock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger=gauge.__name__)
    put(tmp_path / "gauge.xml", laboratory.signed(a_document()))

    for second in range(2_000):
        clock.now_ms += 1
        watched.state_at(JUNE + second * 1_000)
    assert [record.message for record in caplog.records] == ["judged a calibration certificate"]
