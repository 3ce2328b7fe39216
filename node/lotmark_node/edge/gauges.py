"""The gauges of a site's sources: whether their calibration held, and what goes on record of it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from lotmark.client.new_event import item, new_event
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.calibration import (
    CalibrationCertificate,
    GaugeCalibration,
    TrustedLaboratories,
    calibration_event_body,
    certificate_file,
)
from lotmark_adapters.errors import CertificateRefused
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.site_events import ID_SIZE_MAX, PATH_SIZE_MAX, identifier_of
from lotmark_node.edge.site_settings import SiteSettings, SourceSettings

LOOK_S = 10.0  # in which it is seen that a certificate was replaced

logger = logging.getLogger(__name__)


class Gauges:
    """What the pipeline asks with each measurement; for the one thread that it asks on."""

    def __init__(self, settings: SiteSettings, now_us: Callable[[], int]) -> None:
        """Read whom the site trusts; certificates are read when they are asked for.

        Raises:
            CertificateRefused: The folder of trusted laboratories cannot be read.
        """
        self._gauges = site_gauges(settings, now_us)

    def state_at(
        self, source: str, made_us: int
    ) -> tuple[str, quality_pb2.CalibrationState.ValueType]:
        """Return number and state of the certificate of a source's gauge; "", 0: it has none."""
        gauge = self._gauges.get(source)
        if gauge is None:
            return "", quality_pb2.CALIBRATION_STATE_UNSPECIFIED
        return gauge.state_at(made_us // 1_000)


def site_gauges(settings: SiteSettings, now_us: Callable[[], int]) -> dict[str, GaugeCalibration]:
    """Return the gauges of those sources that have one, by source.

    Raises:
        CertificateRefused: The folder of trusted laboratories cannot be read.
    """
    if settings.trusted_lab_certificates is None:
        return {}
    trusted = TrustedLaboratories.read(settings.trusted_lab_certificates)
    return {
        source.name: GaugeCalibration(
            source.calibration,
            trusted,
            equipment_ids=source.gauge_ids,
            valid_days=source.calibration_valid_days,
            read_ms=lambda: now_us() // 1_000,
        )
        for source in settings.sources
        if source.calibration is not None
    }


class CertificateRecorder:
    """Puts each certificate on record that comes into use: when a site begins, and when replaced.

    It reads the files by itself, since gauges are for one thread.
    """

    def __init__(
        self, settings: SiteSettings, pipeline: SitePipeline, now_us: Callable[[], int]
    ) -> None:
        """As `Gauges`.

        Raises:
            CertificateRefused: The folder of trusted laboratories cannot be read.
        """
        self._settings = settings
        self._pipeline = pipeline
        self._now_us = now_us
        self._gauges = site_gauges(settings, now_us)
        self._recorded: dict[str, bytes] = {}  # the certificate's file, by source
        self._told: dict[str, str] = {}  # why a source's is not on record, as last logged

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while self._gauges:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Put on record what has come into use since the last time.

        What cannot be, for whatever reason, is tried again the next time: whom the site trusts may
        change while the certificate does not.
        """
        for source in self._settings.sources:
            if source.name not in self._gauges:
                continue
            try:
                await self._look_at(source)
            except CertificateRefused as error:
                if self._is_news(source, str(error)):
                    logger.warning(
                        "calibration certificate does not go on record",
                        extra={"source": source.name, "reason": str(error)},
                    )
            except Exception as error:  # in this program; the other certificates are looked at
                if self._is_news(source, repr(error)):
                    logger.exception(
                        "calibration certificate was not looked at", extra={"source": source.name}
                    )
            else:
                self._told.pop(source.name, None)

    async def _look_at(self, source: SourceSettings) -> None:
        certificate, event = await asyncio.to_thread(self._new_event, source)
        if event:
            await self._pipeline.put([event])
            self._recorded[source.name] = certificate

    def _is_news(self, source: SourceSettings, reason: str) -> bool:
        is_news = self._told.get(source.name) != reason
        self._told[source.name] = reason
        return is_news

    def _new_event(self, source: SourceSettings) -> tuple[bytes, bytes]:
        """Return a source's certificate and its event; b"", b"": none is to go on record.

        Raises:
            CertificateRefused: It is not to be believed at present.
        """
        gauge = self._gauges[source.name]
        certificate = gauge.certificate
        if certificate is None or certificate.document == self._recorded.get(source.name):
            return b"", b""
        now_us = self._now_us()
        body = calibration_event_body(
            certificate, certificate.document, gauge.judgement_at(now_us // 1_000)
        )
        return certificate.document, self._event(source, certificate, body, now_us)

    def _event(
        self,
        source: SourceSettings,
        certificate: CalibrationCertificate,
        body: quality_pb2.Calibration,
        now_us: int,
    ) -> bytes:
        assert source.calibration is not None
        items = [item(identifier_of(source.gauge_ids[0], PATH_SIZE_MAX))]
        if source.equipment:
            items.append(item(source.equipment, role=event_pb2.ITEM_ROLE_USED))
        return new_event(
            body,
            device=identifier_of(f"{self._settings.site}/{source.name}", ID_SIZE_MAX),
            capture=event_pb2.CAPTURE_MODE_MANUAL,  # somebody has put the file there
            time=datetime.fromtimestamp(now_us / 1e6, UTC),
            uncertainty_us=0,
            items=items,
            files=[
                certificate_file(
                    certificate.document, identifier_of(source.calibration.name, PATH_SIZE_MAX)
                )
            ],
        )
