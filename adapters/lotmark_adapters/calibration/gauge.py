"""The calibration of one gauge, for a process that asks with every measurement."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from lotmark.v1 import quality_pb2
from lotmark_adapters.calibration.certificate import CalibrationCertificate, read_certificate
from lotmark_adapters.calibration.document import DOCUMENT_SIZE_MAX
from lotmark_adapters.calibration.judgement import CalibrationJudgement, judge
from lotmark_adapters.calibration.laboratories import TrustedLaboratories
from lotmark_adapters.errors import CertificateRefused

LOOK_INTERVAL_MS = 1_000  # so late a changed file is seen

logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]  # inode, size and time of a file


class GaugeCalibration:
    """Holds the newest certificate of a gauge, and judges it again only where it must.

    Most questions cost a comparison. Verifying costs some milliseconds: at the first question,
    when the certificate's file or the folder of laboratories changes, and where a validity ends.
    """

    def __init__(
        self,
        path: Path,
        trusted: TrustedLaboratories,
        *,
        equipment_ids: Collection[str],
        valid_days: int | None,
        read_ms: Callable[[], int],
    ) -> None:
        """Watch the certificate of a gauge.

        Args:
            path: The certificate's file; it need not be there yet.
            trusted: Who may sign.
            equipment_ids: Numbers of the gauge, of which the certificate must name one.
            valid_days: After how many days the site has it calibrated again; None: as the
                certificate says.
            read_ms: The clock, for how often files are looked at.
        """
        self._path = path
        self._trusted = trusted
        self._equipment_ids = frozenset(equipment_ids)
        self._valid_days = valid_days
        self._read_ms = read_ms
        self._looked_ms: int | None = None
        self._stamp: _Stamp | None = None
        self._certificate: CalibrationCertificate | None = None
        self._unread = self._missing()  # what is said while there is no certificate
        self._judgement: CalibrationJudgement | None = None

    @property
    def certificate(self) -> CalibrationCertificate | None:
        """The certificate as last read: another record after its file was replaced."""
        self._look()
        return self._certificate

    def state_at(self, time_ms: int) -> tuple[str, quality_pb2.CalibrationState.ValueType]:
        """Return the certificate's number, "" if none is known, and whether it held at a time."""
        judgement = self.judgement_at(time_ms)
        if self._certificate is None or judgement.state == quality_pb2.CALIBRATION_STATE_MISSING:
            return "", judgement.state
        return self._certificate.number, judgement.state

    def judgement_at(self, time_ms: int) -> CalibrationJudgement:
        """Return whether the certificate held at a time, and why."""
        self._look()
        if self._certificate is None:
            return self._unread
        if self._judgement is None or not self._judgement.is_said_of(time_ms):
            self._judgement = judge(
                self._certificate,
                at_ms=time_ms,
                trusted=self._trusted,
                equipment_ids=self._equipment_ids,
                valid_days=self._valid_days,
            )
            logger.info(
                "judged a calibration certificate",
                extra={
                    "certificate": self._certificate.number,
                    "sentence": self._judgement.sentence,
                },
            )
        return self._judgement

    def _look(self) -> None:
        """Read what has changed, at most once in an interval."""
        now_ms = self._read_ms()
        if self._looked_ms is not None and 0 <= now_ms - self._looked_ms < LOOK_INTERVAL_MS:
            return
        self._looked_ms = now_ms
        trusted = self._trusted.reread()
        if trusted is not self._trusted:
            self._trusted, self._judgement = trusted, None
        stamp = _stamp_of(self._path)
        if stamp != self._stamp:
            self._read(stamp)

    def _read(self, stamp: _Stamp | None) -> None:
        self._stamp, self._certificate, self._judgement = stamp, None, None
        self._unread = self._missing()
        if stamp is None:
            return
        try:
            with self._path.open("rb") as file:
                self._certificate = read_certificate(file.read(DOCUMENT_SIZE_MAX + 1))
        except OSError as error:
            self._unread = self._refused(error.strerror or "cannot be read")
        except CertificateRefused as error:
            self._unread = self._refused(str(error))

    def _refused(self, reason: str) -> CalibrationJudgement:
        logger.warning(
            "calibration certificate refused", extra={"path": str(self._path), "reason": reason}
        )
        return CalibrationJudgement(
            state=quality_pb2.CALIBRATION_STATE_UNTRUSTED, sentence=f"{self._path}: {reason}"
        )

    def _missing(self) -> CalibrationJudgement:
        return CalibrationJudgement(
            state=quality_pb2.CALIBRATION_STATE_MISSING,
            sentence=f"{self._path} is not there; put the gauge's calibration certificate there",
        )


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
