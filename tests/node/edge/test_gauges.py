"""Gauges of a site: certificates in use go on record, and measurements say whether they held."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.calibration import gauge
from lotmark_adapters.errors import CertificateRefused
from lotmark_node.edge.gauges import CertificateRecorder, Gauges
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.site_settings import SiteSettings
from tests.adapters.calibration_documents import (
    SERIAL,
    Laboratory,
    a_document,
    a_laboratory,
    a_party,
    at,
)
from tests.node.edge.trial_site import (
    WELDER,
    Clock,
    Kept,
    Killed,
    no_calibration,
    observed,
    report,
    site_settings,
)

JUNE_US = at("2026-06-01") * 1_000


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return a_laboratory(tmp_path / "labs")


def _settings(folder: Path, laboratory: Laboratory) -> SiteSettings:
    settings = site_settings(folder / "data")
    (source,) = settings.sources
    return replace(
        settings,
        trusted_lab_certificates=laboratory.folder,
        sources=(replace(source, calibration=folder / "dcc.xml", gauge_ids=(SERIAL,)),),
    )


def test_a_certificate_goes_on_record_once_when_it_comes_into_use_and_when_it_is_replaced(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    settings, outbox, clock = _settings(tmp_path, laboratory), Kept(), Clock()
    clock.now_us = JUNE_US
    file = tmp_path / "dcc.xml"

    async def scenario() -> None:
        pipeline = await SitePipeline.open(
            settings,
            outbox=outbox,
            calibration=Gauges(settings, clock).state_at,
            now_us=clock,
        )
        recorder = CertificateRecorder(settings, pipeline, clock)
        await recorder.look()
        assert outbox.events("calibration") == []  # there is none yet
        for number in ("DCC-1", "DCC-2"):
            file.write_bytes(laboratory.signed(a_document(number=number)))
            clock.now_us += gauge.LOOK_INTERVAL_MS * 1_000
            await recorder.look()
            await recorder.look()
        seen = observed(1, "ns=2;s=Current", "9.1", made_us=clock.now_us)
        await pipeline.take("W07", report([seen]))
        await pipeline.close()

    asyncio.run(scenario())

    events = outbox.events("calibration")
    assert [each.calibration.certificate for each in events] == ["DCC-1", "DCC-2"]
    for event in events:
        assert [(each.id, each.role) for each in event.items] == [
            (SERIAL, event_pb2.ITEM_ROLE_SUBJECT),
            (WELDER, event_pb2.ITEM_ROLE_USED),
        ]
        assert event.files[0].sha256 == event.calibration.certificate_digest
        assert event.files[0].name == "dcc.xml"
    (measured,) = outbox.events("measurement")
    assert measured.measurement.certificate == "DCC-2"
    assert measured.measurement.calibration == quality_pb2.CALIBRATION_STATE_VALID


def test_a_certificate_that_is_not_to_be_believed_makes_no_event_and_flags_measurements(
    laboratory: Laboratory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, outbox, clock = _settings(tmp_path, laboratory), Kept(), Clock()
    clock.now_us = JUNE_US
    (tmp_path / "dcc.xml").write_bytes(a_document())  # nobody has signed it

    async def scenario() -> None:
        pipeline = await SitePipeline.open(
            settings,
            outbox=outbox,
            calibration=Gauges(settings, clock).state_at,
            now_us=clock,
        )
        await CertificateRecorder(settings, pipeline, clock).look()
        seen = observed(1, "ns=2;s=Current", "9.1", made_us=clock.now_us)
        await pipeline.take("W07", report([seen]))
        await pipeline.close()

    asyncio.run(scenario())

    assert outbox.events("calibration") == []
    assert "calibration certificate does not go on record" in caplog.text
    (measured,) = outbox.events("measurement")
    assert measured.measurement.calibration == quality_pb2.CALIBRATION_STATE_UNTRUSTED


def test_a_certificate_goes_on_record_once_its_laboratory_is_trusted(
    laboratory: Laboratory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, outbox, clock = _settings(tmp_path, laboratory), Kept(), Clock()
    clock.now_us = JUNE_US
    (laboratory.folder / "root.pem").unlink()
    (laboratory.folder / "other.pem").write_bytes(a_party("Other", is_authority=True).pem)
    (tmp_path / "dcc.xml").write_bytes(laboratory.signed(a_document()))

    async def scenario() -> None:
        pipeline = await SitePipeline.open(
            settings, outbox=outbox, calibration=no_calibration, now_us=clock
        )
        recorder = CertificateRecorder(settings, pipeline, clock)
        for _ in range(3):
            await recorder.look()
        assert outbox.events("calibration") == []
        (laboratory.folder / "root.pem").write_bytes(laboratory.root.pem)
        for _ in range(3):
            clock.now_us += gauge.LOOK_INTERVAL_MS * 1_000
            await recorder.look()
        await pipeline.close()

    asyncio.run(scenario())

    assert len(outbox.events("calibration")) == 1
    assert caplog.messages.count("calibration certificate does not go on record") == 1


def test_a_certificate_that_could_not_be_put_on_record_is_put_there_the_next_time(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    settings, outbox, clock = _settings(tmp_path, laboratory), Kept(), Clock()
    clock.now_us = JUNE_US
    (tmp_path / "dcc.xml").write_bytes(laboratory.signed(a_document()))

    async def scenario() -> None:
        pipeline = await SitePipeline.open(
            settings, outbox=outbox, calibration=no_calibration, now_us=clock
        )
        recorder = CertificateRecorder(settings, pipeline, clock)
        outbox.fuse.left = 0
        with pytest.raises(Killed):
            await recorder.look()
        outbox.fuse.left = None
        await recorder.look()
        await pipeline.close()

    asyncio.run(scenario())

    assert len({each.calibration.certificate for each in outbox.events("calibration")}) == 1


def test_an_error_with_one_sources_certificate_leaves_the_others_and_is_told_once(
    laboratory: Laboratory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, outbox, clock = _settings(tmp_path, laboratory), Kept(), Clock()
    clock.now_us = JUNE_US
    (source,) = settings.sources
    other = replace(source, name="W08", calibration=tmp_path / "other.xml")
    settings = replace(settings, sources=(source, other))
    (tmp_path / "other.xml").write_bytes(laboratory.signed(a_document(number="DCC-2")))
    # No file can have such a name: as a defect in this program would, it raises.
    broken = replace(source, calibration=Path("\0"))

    async def scenario() -> None:
        pipeline = await SitePipeline.open(
            settings, outbox=outbox, calibration=no_calibration, now_us=clock
        )
        broken_settings = replace(settings, sources=(broken, other))
        recorder = CertificateRecorder(broken_settings, pipeline, clock)
        for _ in range(3):
            await recorder.look()
        await pipeline.close()

    asyncio.run(scenario())

    (event,) = outbox.events("calibration")
    assert event.calibration.certificate == "DCC-2"
    assert caplog.messages.count("calibration certificate was not looked at") == 1


def test_a_source_without_a_gauge_states_nothing(tmp_path: Path) -> None:
    gauges = Gauges(site_settings(tmp_path), Clock())

    assert gauges.state_at("W07", JUNE_US) == ("", quality_pb2.CALIBRATION_STATE_UNSPECIFIED)


def test_a_folder_of_laboratories_that_cannot_be_read_is_refused(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    settings = replace(
        _settings(tmp_path, laboratory), trusted_lab_certificates=tmp_path / "nowhere"
    )

    with pytest.raises(CertificateRefused, match="nowhere"):
        Gauges(settings, Clock())
