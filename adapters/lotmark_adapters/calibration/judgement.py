"""Whether a calibration certificate held at a time, and why.

Asked in this order, the first that is not so decides:

1. UNTRUSTED: its signature covers it, and leads to a root that the site trusts.
2. REVOKED: the site's own list does not name it.
3. MISSING: it is for the device in question.
4. REVOKED: no X.509 certificate on the way to the root had been revoked by then.
5. EXPIRED: it had begun and not ended.

It begins with the day on which the calibration ended, or when it was signed if that is later. It
ends after the day by which it says to calibrate again, or so many days after its calibration as
the site allows, whichever comes first; with neither it has no end, which the sentence says.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from cryptography import x509

from lotmark.v1 import quality_pb2
from lotmark_adapters.calibration.certificate import CalibrationCertificate, certificate_of
from lotmark_adapters.calibration.days import DAY_MS, day_start_ms, moment_text
from lotmark_adapters.calibration.laboratories import WITHDRAWN, TrustedLaboratories
from lotmark_adapters.calibration.signature import SignedDocument, verify_signature
from lotmark_adapters.calibration.signer_chain import (
    Revocation,
    chain_to_root,
    first_revocation,
    newest_lists,
    organisation,
)
from lotmark_adapters.errors import CertificateRefused

_SHOWN_MAX = 5  # identifications that a sentence repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationJudgement:
    """What is to be said of a certificate at a time, and of which other times the same."""

    state: quality_pb2.CalibrationState.ValueType
    sentence: str  # why, and what to do
    valid_from_ms: int | None = None  # None: the certificate is not to be believed
    valid_until_ms: int | None = None  # None: no end is known
    same_from_ms: int | None = None  # the same is said of all times from here; None: the first
    same_until_ms: int | None = None  # to before here; None: the last

    def is_said_of(self, time_ms: int) -> bool:
        """Return whether another time gets the same judgement."""
        return (self.same_from_ms is None or self.same_from_ms <= time_ms) and (
            self.same_until_ms is None or time_ms < self.same_until_ms
        )


def judge(
    certificate: CalibrationCertificate,
    *,
    at_ms: int,
    trusted: TrustedLaboratories,
    equipment_ids: Collection[str],
    valid_days: int | None = None,
) -> CalibrationJudgement:
    """Return whether a certificate held at a time. Takes some milliseconds.

    Args:
        certificate: As `read_certificate` returned it.
        at_ms: The time, such as that of a measurement.
        trusted: Whose signatures count, and what was revoked.
        equipment_ids: Numbers of the device, of which the certificate must name one.
        valid_days: After how many days the site has its gauges calibrated again; None: as the
            certificate says.
    """
    try:
        signed = verify_signature(certificate.document)
        if certificate_of(signed.content, certificate.document) != certificate:
            raise CertificateRefused("what was signed is not what the certificate was read as")
        signing_ms = _signing_ms(signed, certificate)
        chain = chain_to_root(signed, signing_ms, trusted)
    except CertificateRefused as error:
        return CalibrationJudgement(
            state=quality_pb2.CALIBRATION_STATE_UNTRUSTED, sentence=str(error)
        )
    timeless = _timeless(certificate, trusted, equipment_ids)
    if timeless is not None:
        return timeless
    crls = (*trusted.crls, *signed.crls)
    validity = _validity(certificate, signing_ms, valid_days)
    judgement = _at(at_ms, validity, first_revocation(chain, crls))
    if judgement.state != quality_pb2.CALIBRATION_STATE_VALID:
        return judgement
    return replace(
        judgement,
        sentence=f"{judgement.sentence}; signed by {organisation(signed.signer)};"
        f" {_revocation_words(chain, crls)}",
    )


@dataclass(frozen=True, slots=True)
class _Validity:
    from_ms: int
    until_ms: int | None
    reason: str  # of its end


def _signing_ms(signed: SignedDocument, certificate: CalibrationCertificate) -> int:
    """Return when it was signed, as the signer says, or else the end of the document's own day."""
    if signed.signed_ms is not None:
        return signed.signed_ms
    return day_start_ms(certificate.issued or certificate.performed_until) + DAY_MS - 1


def _timeless(
    certificate: CalibrationCertificate,
    trusted: TrustedLaboratories,
    equipment_ids: Collection[str],
) -> CalibrationJudgement | None:
    """Return what is to be said of all times alike, None if nothing is."""
    if trusted.withdrawn & {certificate.number, certificate.stated_number}:
        return CalibrationJudgement(
            state=quality_pb2.CALIBRATION_STATE_REVOKED,
            sentence=f"certificate {certificate.number} is withdrawn by"
            f" {trusted.folder / WITHDRAWN}; load the one that took its place",
        )
    if certificate.identifications.isdisjoint(equipment_ids):
        return CalibrationJudgement(
            state=quality_pb2.CALIBRATION_STATE_MISSING,
            sentence=f"certificate {certificate.number} is for"
            f" {_listed(certificate.identifications)} and not for {_listed(equipment_ids)}; load"
            " that of this device, or correct its numbers in the settings",
        )
    return None


def _validity(
    certificate: CalibrationCertificate, signing_ms: int, valid_days: int | None
) -> _Validity:
    performed_ms = day_start_ms(certificate.performed_until)
    ends = []
    if certificate.next_calibration is not None:
        day = certificate.next_calibration
        ends.append((day_start_ms(day) + DAY_MS, f"it says to calibrate again by {day}"))
    if valid_days is not None:
        reason = f"the site allows {valid_days} days after {certificate.performed_until}"
        ends.append((performed_ms + valid_days * DAY_MS, reason))
    until_ms, reason = min(ends, default=(None, "no end: neither it nor the site states one"))
    return _Validity(max(performed_ms, signing_ms), until_ms, reason)


def _at(at_ms: int, validity: _Validity, revocation: Revocation | None) -> CalibrationJudgement:
    revoked_ms = None if revocation is None else revocation.since_ms
    if revocation is not None and at_ms >= revocation.since_ms:
        state = quality_pb2.CALIBRATION_STATE_REVOKED
        sentence = (
            f"the X.509 certificate of {revocation.organisation}, on the way from the signature to"
            f" a trusted root, is revoked since {moment_text(revocation.since_ms)}; have the"
            " laboratory sign again"
        )
    elif validity.until_ms is not None and at_ms >= validity.until_ms:
        state = quality_pb2.CALIBRATION_STATE_EXPIRED
        sentence = (
            f"ended {moment_text(validity.until_ms)} ({validity.reason}); have the device"
            " calibrated and load the new certificate"
        )
    elif at_ms < validity.from_ms:
        state = quality_pb2.CALIBRATION_STATE_EXPIRED
        sentence = (
            f"begins {moment_text(validity.from_ms)}, when it was performed and signed; what was"
            " measured before needs the certificate before"
        )
    else:
        state = quality_pb2.CALIBRATION_STATE_VALID
        sentence = f"valid from {moment_text(validity.from_ms)} " + (
            f"({validity.reason})"
            if validity.until_ms is None
            else f"until {moment_text(validity.until_ms)} ({validity.reason})"
        )
    turns = [turn for turn in (validity.from_ms, validity.until_ms, revoked_ms) if turn is not None]
    return CalibrationJudgement(
        state=state,
        sentence=sentence,
        valid_from_ms=validity.from_ms,
        valid_until_ms=validity.until_ms,
        same_from_ms=max((turn for turn in turns if turn <= at_ms), default=None),
        same_until_ms=min((turn for turn in turns if turn > at_ms), default=None),
    )


def _revocation_words(
    chain: list[x509.Certificate], crls: tuple[x509.CertificateRevocationList, ...]
) -> str:
    """Return how far revocation was looked at: a site without lists should read so."""
    lists = newest_lists(chain, crls)
    if not lists:
        return "its signer is trusted by itself, so no revocation list is asked"
    missing = lists.count(None)
    if missing:
        return f"no revocation list of {missing} of its {len(lists)} issuers is at hand"
    oldest = min(each for each in lists if each is not None)
    return f"not revoked by lists of {oldest:%Y-%m-%d} or later"


def _listed(identifications: Collection[str]) -> str:
    names = sorted(identifications)
    more = "" if len(names) <= _SHOWN_MAX else f" and {len(names) - _SHOWN_MAX} more"
    return (", ".join(names[:_SHOWN_MAX]) or "no named device") + more
