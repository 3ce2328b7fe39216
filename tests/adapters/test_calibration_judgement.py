"""Whether a certificate held: by its signer, its device, its days, and what was revoked."""

import dataclasses
import hashlib
import random
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lotmark.event_rules import BODY_RULES
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.calibration import (
    CalibrationJudgement,
    TrustedLaboratories,
    calibration_event_body,
    certificate_file,
    judge,
    read_certificate,
)
from lotmark_adapters.calibration.certificate import NUMBER_SIZE_MAX, certificate_number
from lotmark_adapters.calibration.event_body import NO_END_MS
from lotmark_adapters.errors import CertificateRefused
from tests.adapters.calibration_documents import (
    PERSON,
    SERIAL,
    SIGNED,
    Laboratory,
    a_document,
    a_laboratory,
    a_party,
    at,
    signed,
)

State = quality_pb2.CalibrationState
SEED = 20260114


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return a_laboratory(tmp_path / "labs")


def judged(
    laboratory: Laboratory,
    raw: bytes,
    day: str = "2026-06-01",
    *,
    equipment_ids: Collection[str] = (SERIAL,),
    valid_days: int | None = None,
) -> CalibrationJudgement:
    judgement = judge(
        read_certificate(raw),
        at_ms=at(day),
        trusted=TrustedLaboratories.read(laboratory.folder),
        equipment_ids=equipment_ids,
        valid_days=valid_days,
    )
    assert PERSON not in judgement.sentence
    assert judgement.is_said_of(at(day))
    return judgement


def test_a_certificate_is_read_without_its_persons() -> None:
    certificate = read_certificate(a_document())

    assert certificate.number == "DCC-2026-17"
    assert certificate.schema_version == "3.3.0"
    assert (certificate.laboratory, certificate.laboratory_code) == ("Lab One", "D-K-00001")
    assert certificate.items[0].manufacturer == "Gauge Works"
    assert certificate.identifications == {SERIAL, "INV-9"}
    assert str(certificate.performed_from) == "2026-01-11"
    assert str(certificate.performed_until) == "2026-01-12"
    assert str(certificate.next_calibration) == "2027-01-12"
    assert certificate.conformity == "pass"
    assert PERSON not in repr(certificate)


@pytest.mark.parametrize("version", ["2.3.0", "4.0.0", "3.3", "", "3.3.0 or so"])
def test_an_unknown_schema_version_is_named_and_refused(version: str) -> None:
    with pytest.raises(CertificateRefused, match=rf"version '{version}' is not known here"):
        read_certificate(a_document(version=version))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"DCC-2026-17", b"", "no dcc:uniqueIdentifier"),
        (b"<dcc:content>Lab One</dcc:content>", b"", "no dcc:contact/dcc:name/dcc:content"),
        (b"2026-01-11", b"11 January", "'11 January' is no day such as 2026-01-12"),
        (b"2026-01-11", b"2026-02-30", "'2026-02-30' is no day"),
        (b"2026-01-11", b"20260111", "'20260111' is no day"),
        (b"endPerformanceDate", b"endDate", "no dcc:endPerformanceDate"),
        (b"G-7", b"G" * 513, "model has 513 characters; 512 are read"),
        (b"dcc:coreData", b"dcc:core", "0 of dcc:administrativeData/dcc:coreData"),
    ],
)
def test_a_missing_or_unfit_field_is_refused_by_name(old: bytes, new: bytes, sentence: str) -> None:
    with pytest.raises(CertificateRefused, match=sentence):
        read_certificate(a_document().replace(old, new))


@pytest.mark.parametrize(
    "stated", ["PTB - 11129 18", "Prüfschein/7", "x" * 65, "校准 2026", "a" * 60 + " b"]
)
def test_a_number_that_is_no_identifier_gets_one_of_its_own(stated: str) -> None:
    number = certificate_number(stated)

    assert len(number) <= NUMBER_SIZE_MAX
    assert number == certificate_number(stated)
    assert number != certificate_number(stated + " ")
    assert number.endswith(hashlib.sha256(stated.encode()).hexdigest()[:16])


def test_a_trusted_certificate_is_valid_in_its_time(laboratory: Laboratory) -> None:
    judgement = judged(laboratory, laboratory.signed(a_document()))

    assert judgement.state == State.CALIBRATION_STATE_VALID
    assert judgement.sentence == (
        "valid from 2026-01-14 10:00 UTC until 2027-01-13 00:00 UTC (it says to calibrate again by"
        " 2027-01-12); signed by Lab One; no revocation list of 2 of its 2 issuers is at hand"
    )


@pytest.mark.parametrize(
    ("day", "sentence"),
    [
        ("2026-01-13", "begins 2026-01-14 10:00 UTC, when it was performed and signed"),
        ("2027-01-13", "ended 2027-01-13 00:00 UTC (it says to calibrate again by 2027-01-12)"),
    ],
)
def test_before_it_begins_and_after_its_end_it_is_expired(
    laboratory: Laboratory, day: str, sentence: str
) -> None:
    judgement = judged(laboratory, laboratory.signed(a_document()), day)

    assert judgement.state == State.CALIBRATION_STATE_EXPIRED
    assert judgement.sentence.startswith(sentence)


def test_the_sites_days_end_it_earlier_but_not_later(laboratory: Laboratory) -> None:
    raw = laboratory.signed(a_document())

    shorter = judged(laboratory, raw, valid_days=30)
    assert shorter.state == State.CALIBRATION_STATE_EXPIRED
    assert "ended 2026-02-11 00:00 UTC (the site allows 30 days after 2026-01-12)" in (
        shorter.sentence
    )
    longer = judged(laboratory, raw, valid_days=3_650)
    assert longer.valid_until_ms == judged(laboratory, raw).valid_until_ms


def test_without_a_stated_end_it_does_not_end_and_says_so(laboratory: Laboratory) -> None:
    judgement = judged(laboratory, laboratory.signed(a_document(again=None)), "2126-01-01")

    assert judgement.state == State.CALIBRATION_STATE_VALID
    assert "(no end: neither it nor the site states one)" in judgement.sentence


def test_a_certificate_of_another_device_is_none_of_this(laboratory: Laboratory) -> None:
    judgement = judged(laboratory, laboratory.signed(a_document()), equipment_ids=["SN-1"])

    assert judgement.state == State.CALIBRATION_STATE_MISSING
    assert judgement.sentence.startswith(
        "certificate DCC-2026-17 is for INV-9, SN-4711 and not for SN-1; load that of this device"
    )


def test_a_record_that_was_changed_after_reading_is_untrusted(laboratory: Laboratory) -> None:
    certificate = read_certificate(laboratory.signed(a_document()))
    judgement = judge(
        dataclasses.replace(certificate, next_calibration=None),
        at_ms=at("2026-06-01"),
        trusted=TrustedLaboratories.read(laboratory.folder),
        equipment_ids=[SERIAL],
    )

    assert judgement.state == State.CALIBRATION_STATE_UNTRUSTED
    assert judgement.sentence == "what was signed is not what the certificate was read as"


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
def test_no_damage_to_a_file_makes_it_valid_with_other_words(laboratory: Laboratory) -> None:
    raw = laboratory.signed(a_document())
    sound = dataclasses.replace(read_certificate(raw), document=b"")
    chance = random.Random(SEED)  # noqa: S311  # damage, no secret
    judged_count = 0
    for _ in range(2_000):
        damaged = bytearray(raw)
        start = chance.randrange(len(raw))
        damaged[start : start + chance.choice((0, 1, 1, 1, 9))] = chance.choice(
            (b"", b"7", b"a", b" ", chance.randbytes(1))
        )
        try:
            certificate = read_certificate(bytes(damaged))
        except CertificateRefused:
            continue
        judged_count += 1
        state = judged(laboratory, bytes(damaged)).state
        assert state == State.CALIBRATION_STATE_UNTRUSTED or (
            # Spaces between attributes, comments and the like are not signed, nor read.
            state == State.CALIBRATION_STATE_VALID
            and dataclasses.replace(certificate, document=b"") == sound
        ), bytes(damaged)
    assert judged_count > 500, f"seed {SEED}"


def in_2025(month: int) -> datetime:
    return datetime(2025, month, 1, tzinfo=UTC)


def untrusted_chains() -> list[tuple[str, Any]]:
    """Return makers of a signer and those between, by what is wrong with them."""

    def stranger(_root: Any) -> Any:
        return [a_party("Stranger", is_authority=True).issue("Lab One")]

    def selfmade(_root: Any) -> Any:
        return [a_party("Lab One")]

    def ended(root: Any) -> Any:
        return [root.issue("Lab One", until=in_2025(6))]

    def not_begun(root: Any) -> Any:
        return [root.issue("Lab One", since=datetime(2026, 2, 1, tzinfo=UTC))]

    def between_ended(root: Any) -> Any:
        between = root.issue("Sub", is_authority=True, until=in_2025(6))
        return [between.issue("Lab One"), between]

    def by_no_authority(root: Any) -> Any:
        between = root.issue("Lab Two")
        return [between.issue("Lab One"), between]

    def too_long(root: Any) -> Any:
        first = root.issue("Sub", is_authority=True, path_length=0)
        second = first.issue("Sub of Sub", is_authority=True)
        return [second.issue("Lab One"), second, first]

    def authority_signs(root: Any) -> Any:
        return [root.issue("Sub", is_authority=True)]

    def not_for_signing(root: Any) -> Any:
        return [root.issue("Lab One", signs=False)]

    def same_name_other_key(root: Any) -> Any:
        twin = a_party("Root Authority", is_authority=True)
        return [twin.issue("Lab One"), twin]

    makers = (
        stranger, selfmade, ended, not_begun, between_ended, by_no_authority, too_long,
        authority_signs, not_for_signing, same_name_other_key,
    )  # fmt: skip
    return [(make.__name__, make) for make in makers]


@pytest.mark.parametrize(("name", "make"), untrusted_chains())
def test_a_signer_without_a_sound_chain_to_a_root_is_untrusted(
    laboratory: Laboratory, name: str, make: Any
) -> None:
    signer, *between = make(laboratory.root)

    judgement = judged(laboratory, signed(a_document(), signer, *between))
    assert judgement.state == State.CALIBRATION_STATE_UNTRUSTED
    assert judgement.valid_from_ms is None
    assert judgement.sentence.startswith("no valid chain leads from who signed, "), name


def test_a_chain_may_have_ended_since_the_signing(laboratory: Laboratory) -> None:
    signer = laboratory.root.issue("Lab One", until=datetime(2026, 2, 1, tzinfo=UTC))

    judgement = judged(laboratory, signed(a_document(), signer))
    assert judgement.state == State.CALIBRATION_STATE_VALID


def test_without_a_signing_time_the_documents_own_day_counts(laboratory: Laboratory) -> None:
    sound = judged(laboratory, laboratory.signed(a_document(), signed_at=None))
    too_old = laboratory.signed(a_document(performed="2024-12-30"), signed_at=None)

    assert sound.state == State.CALIBRATION_STATE_VALID
    assert judged(laboratory, too_old).state == State.CALIBRATION_STATE_UNTRUSTED


def test_a_self_signed_signer_can_be_trusted_by_itself(tmp_path: Path) -> None:
    laboratory = a_laboratory(tmp_path / "labs")
    alone = a_party("Lab Alone")
    (laboratory.folder / "alone.crt").write_bytes(alone.pem)

    judgement = judged(laboratory, signed(a_document(), alone))
    assert judgement.state == State.CALIBRATION_STATE_VALID
    assert "its signer is trusted by itself" in judgement.sentence


def test_a_link_in_the_folder_completes_a_chain_but_is_not_trusted(laboratory: Laboratory) -> None:
    raw = signed(a_document(), laboratory.signer)
    assert judged(laboratory, raw).state == State.CALIBRATION_STATE_UNTRUSTED
    (laboratory.folder / "sub.pem").write_bytes(laboratory.authority.pem)
    assert judged(laboratory, raw).state == State.CALIBRATION_STATE_VALID

    other = a_party("Other Root", is_authority=True)
    (laboratory.folder / "root.pem").write_bytes(other.pem)
    assert judged(laboratory, raw).state == State.CALIBRATION_STATE_UNTRUSTED


@pytest.mark.parametrize("who", ["signer", "authority"])
def test_from_a_revocation_on_it_is_revoked_and_not_before(
    laboratory: Laboratory, who: str
) -> None:
    party, issuer = {
        "signer": (laboratory.signer, laboratory.authority),
        "authority": (laboratory.authority, laboratory.root),
    }[who]
    since = datetime(2026, 5, 1, tzinfo=UTC)
    (laboratory.folder / "list.crl").write_bytes(issuer.crl(party.certificate, since=since))
    raw = laboratory.signed(a_document())

    assert judged(laboratory, raw, "2026-04-30").state == State.CALIBRATION_STATE_VALID
    revoked = judged(laboratory, raw, "2026-05-01")
    assert revoked.state == State.CALIBRATION_STATE_REVOKED
    assert "is revoked since 2026-05-01 00:00 UTC; have the laboratory sign again" in (
        revoked.sentence
    )


def test_a_revocation_list_counts_only_from_the_issuer(laboratory: Laboratory) -> None:
    forger = a_party("Sub Authority", is_authority=True)
    (laboratory.folder / "list.crl").write_bytes(forger.crl(laboratory.signer.certificate))

    judgement = judged(laboratory, laboratory.signed(a_document()))
    assert judgement.state == State.CALIBRATION_STATE_VALID
    assert "no revocation list of 2 of its 2 issuers is at hand" in judgement.sentence


def test_lists_of_all_issuers_are_told_with_their_age(laboratory: Laboratory) -> None:
    for name, issuer in (("a", laboratory.authority), ("b", laboratory.root)):
        (laboratory.folder / f"{name}.crl").write_bytes(issuer.crl(since=in_2025(7)))

    judgement = judged(laboratory, laboratory.signed(a_document()))
    assert judgement.sentence.endswith("not revoked by lists of 2025-07-01 or later")


def test_a_withdrawn_certificate_is_revoked_at_all_times(laboratory: Laboratory) -> None:
    (laboratory.folder / "withdrawn.txt").write_text("# told by the laboratory\n\n DCC-2026-17 \n")

    judgement = judged(laboratory, laboratory.signed(a_document()))
    assert judgement.state == State.CALIBRATION_STATE_REVOKED
    assert "is withdrawn by" in judgement.sentence


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.pem", b"nothing", "holds no X.509 certificate in PEM or DER"),
        (
            "a.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "holds no X.509",
        ),
        ("a.crl", b"nothing", "holds no revocation list in PEM or DER"),
        ("withdrawn.txt", b"\xff", "is no text in UTF-8"),
        ("root.pem.bak", b"", r"is none of \*.pem, \*.crt, \*.cer, \*.crl and withdrawn.txt"),
        ("a.crl", bytes(8_388_609), "has over 8,388,608 bytes"),
    ],
)
def test_a_folder_with_an_unreadable_file_is_refused_by_its_name(
    laboratory: Laboratory, name: str, content: bytes, sentence: str
) -> None:
    (laboratory.folder / name).write_bytes(content)

    with pytest.raises(CertificateRefused, match=f"{name}.*{sentence}"):
        TrustedLaboratories.read(laboratory.folder)


def test_a_folder_that_trusts_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateRefused, match="no self-signed certificate"):
        TrustedLaboratories.read(tmp_path)
    with pytest.raises(CertificateRefused, match="name the folder of trusted laboratories"):
        TrustedLaboratories.read(tmp_path / "absent")


@pytest.mark.parametrize(
    ("conformity", "verdict"),
    [
        ("pass", quality_pb2.VERDICT_CONFORMING),
        ("fail", quality_pb2.VERDICT_NONCONFORMING),
        ("conditionalPass", quality_pb2.VERDICT_UNDETERMINED),
        (None, quality_pb2.VERDICT_UNDETERMINED),
    ],
)
def test_the_event_says_what_the_certificate_states(
    laboratory: Laboratory, conformity: str | None, verdict: int
) -> None:
    raw = laboratory.signed(a_document(conformity=conformity))
    judgement = judged(laboratory, raw)

    body = calibration_event_body(read_certificate(raw), raw, judgement)
    assert (body.as_found, body.as_left) == (quality_pb2.VERDICT_UNDETERMINED, verdict)
    assert body.certificate_digest == hashlib.sha256(raw).digest()
    assert (body.valid_from_ms, body.valid_until_ms) == (
        judgement.valid_from_ms, judgement.valid_until_ms,
    )  # fmt: skip
    for field, rule in BODY_RULES["calibration"]:
        assert rule.passes(getattr(body, field)), field
    assert certificate_file(raw, "w07.xml") == event_pb2.FileDigest(
        sha256=hashlib.sha256(raw).digest(),
        size=len(raw),
        media_type="application/xml",
        name="w07.xml",
    )


def test_a_certificate_without_an_end_has_the_last_time_of_all_on_record(
    laboratory: Laboratory,
) -> None:
    raw = laboratory.signed(a_document(again=None, number="Schein 17"))

    body = calibration_event_body(read_certificate(raw), raw, judged(laboratory, raw))
    assert body.valid_until_ms == NO_END_MS
    for field, rule in BODY_RULES["calibration"]:
        assert rule.passes(getattr(body, field)), field


@pytest.mark.parametrize("what", ["unsigned", "of another device", "revoked"])
def test_what_is_not_to_be_believed_is_no_calibration_on_record(
    laboratory: Laboratory, what: str
) -> None:
    raw = a_document()
    if what != "unsigned":
        raw = laboratory.signed(a_document(serial=SERIAL if what == "revoked" else "SN-1"))
    crl = laboratory.authority.crl(laboratory.signer.certificate)
    (laboratory.folder / "sub.crl").write_bytes(crl)

    with pytest.raises(CertificateRefused, match="DCC-2026-17"):
        calibration_event_body(read_certificate(raw), raw, judged(laboratory, raw))


def test_an_end_before_the_beginning_is_not_put_on_record(laboratory: Laboratory) -> None:
    raw = laboratory.signed(a_document(again="2026-01-01"))

    with pytest.raises(CertificateRefused, match="ends before it was performed and signed"):
        calibration_event_body(read_certificate(raw), raw, judged(laboratory, raw))


def test_an_end_beyond_what_can_be_written_is_the_last_time_on_record(
    laboratory: Laboratory,
) -> None:
    raw = laboratory.signed(a_document(again="2150-01-01"))

    body = calibration_event_body(read_certificate(raw), raw, judged(laboratory, raw))
    assert body.valid_until_ms == NO_END_MS
    for field, rule in BODY_RULES["calibration"]:
        assert rule.passes(getattr(body, field)), field


def test_a_beginning_before_what_can_be_written_is_refused_by_its_day(tmp_path: Path) -> None:
    root = a_party("Old Authority", is_authority=True, since=datetime(1990, 1, 1, tzinfo=UTC))
    (tmp_path / "root.pem").write_bytes(root.pem)
    signer = root.issue("Lab One", since=datetime(1990, 1, 1, tzinfo=UTC))
    laboratory = Laboratory(root, root, signer, tmp_path)
    raw = signed(a_document(performed="1999-06-01"), signer, signed_at=None)

    with pytest.raises(CertificateRefused, match="begins 1999-06-01 23:59 UTC; on record it can"):
        calibration_event_body(read_certificate(raw), raw, judged(laboratory, raw))


DAYS = ("0001-01-01", "1899-12-31", "1949-12-31", "1969-12-31", "1999-12-31", "2100-01-01",
        "2262-04-12", "9999-12-31")  # fmt: skip


@pytest.mark.parametrize("again", ["0001-01-01", None, "9999-12-31"])
@pytest.mark.parametrize("performed", DAYS)
@pytest.mark.parametrize(
    "signed_at", [None, "0001-01-01T00:00:00Z", SIGNED, "9999-12-31T23:59:59Z"]
)
def test_no_day_however_far_off_makes_anything_but_an_event_or_a_refusal(
    laboratory: Laboratory, performed: str, again: str | None, signed_at: str | None
) -> None:
    document = a_document(performed=performed, again=again)
    raw = laboratory.signed(document, signed_at=signed_at)
    certificate = read_certificate(raw)
    judgement = judged(laboratory, raw, valid_days=3_650_000)

    with suppress(CertificateRefused):
        body = calibration_event_body(certificate, raw, judgement)
        for field, rule in BODY_RULES["calibration"]:
            assert rule.passes(getattr(body, field)), field
