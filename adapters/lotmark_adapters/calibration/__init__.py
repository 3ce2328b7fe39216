"""Digital calibration certificates (DCC): read, judged, and as events of the ledger.

Nothing goes out: no accreditation is looked up, no revocation asked for. What a site trusts stands
in one folder of its own.
"""

from lotmark_adapters.calibration.certificate import (
    CalibratedItem,
    CalibrationCertificate,
    read_certificate,
)
from lotmark_adapters.calibration.event_body import calibration_event_body, certificate_file
from lotmark_adapters.calibration.gauge import GaugeCalibration
from lotmark_adapters.calibration.judgement import CalibrationJudgement, judge
from lotmark_adapters.calibration.laboratories import TrustedLaboratories

__all__ = [
    "CalibratedItem",
    "CalibrationCertificate",
    "CalibrationJudgement",
    "GaugeCalibration",
    "TrustedLaboratories",
    "calibration_event_body",
    "certificate_file",
    "judge",
    "read_certificate",
]
