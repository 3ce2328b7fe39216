"""A calibration certificate as an event: what an edge site says when it takes one into use."""

import hashlib

from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.calibration.certificate import CalibrationCertificate
from lotmark_adapters.calibration.days import moment_text
from lotmark_adapters.calibration.judgement import CalibrationJudgement
from lotmark_adapters.errors import CertificateRefused

NO_END_MS = TIME_MAX_MS - 1  # stands for a certificate without an end, or with a later one
MEDIA_TYPE = "application/xml"

_VERDICTS = {"pass": quality_pb2.VERDICT_CONFORMING, "fail": quality_pb2.VERDICT_NONCONFORMING}


def calibration_event_body(
    certificate: CalibrationCertificate, raw: bytes, judgement: CalibrationJudgement
) -> quality_pb2.Calibration:
    """Return the event's body for a certificate that is to be believed.

    The verdict as left is what the certificate states of conformity as a whole; a conditional one
    cannot be told. How the device was found, the format does not say in a way to be relied on.

    Args:
        certificate: The certificate.
        raw: The file that it was read from.
        judgement: What was said of it.

    Raises:
        CertificateRefused: It is untrusted, revoked or for another device, ends before it begins,
            or begins at a time that the ledger cannot write; that is for the site to mend, not for
            the ledger to hold as a calibration.
    """
    begin_ms, end_ms = judgement.valid_from_ms, judgement.valid_until_ms
    if begin_ms is None or judgement.state == quality_pb2.CALIBRATION_STATE_REVOKED:
        raise CertificateRefused(f"certificate {certificate.number}: {judgement.sentence}")
    if end_ms is not None and end_ms <= begin_ms:
        raise CertificateRefused(
            f"certificate {certificate.number} ends before it was performed and signed:"
            f" {judgement.sentence}"
        )
    if not TIME_MIN_MS <= begin_ms < NO_END_MS:
        raise CertificateRefused(
            f"certificate {certificate.number} begins {moment_text(begin_ms)}; on record it can"
            " begin from 2000 to 2099: ask the laboratory for its days and the time of its"
            " signature"
        )
    return quality_pb2.Calibration(
        certificate=certificate.number,
        certificate_digest=hashlib.sha256(raw).digest(),
        valid_from_ms=begin_ms,
        valid_until_ms=NO_END_MS if end_ms is None else min(end_ms, NO_END_MS),
        as_found=quality_pb2.VERDICT_UNDETERMINED,
        as_left=_VERDICTS.get(certificate.conformity, quality_pb2.VERDICT_UNDETERMINED),
    )


def certificate_file(raw: bytes, name: str) -> event_pb2.FileDigest:
    """Return how the event names the certificate's file, which stays at the site."""
    return event_pb2.FileDigest(
        sha256=hashlib.sha256(raw).digest(), size=len(raw), media_type=MEDIA_TYPE, name=name
    )
