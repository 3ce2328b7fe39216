"""The shared examples of certificates, judged as their file names say.

All are good-practice drafts: a calibration of 1957 that says to calibrate again by 1959, signed in
2022 and 2023 under a test authority. So none is valid at any time. One whose signature is good
and whose signer was not revoked gets as far as EXPIRED, which is asked last.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from lxml import etree

from lotmark.v1 import quality_pb2
from lotmark_adapters.calibration import (
    CalibrationJudgement,
    TrustedLaboratories,
    judge,
    read_certificate,
)
from lotmark_adapters.calibration.days import ms_of_datetime
from lotmark_adapters.calibration.signature import verify_signature
from lotmark_adapters.calibration.signer_chain import chain_to_root, organisation
from lotmark_adapters.errors import CertificateRefused
from tests.shared_vectors import require_shared

EXAMPLES = "data/dcc/data/dcc"
TRUSTED = "data/dcc/data/trusted_certs"
JUDGED_MS = ms_of_datetime(datetime(2023, 7, 1, tzinfo=UTC))  # signed all, the test CA not ended
ENDED = "ended 1959-10-23 00:00 UTC (it says to calibrate again by 1959-10-22)"
UNSIGNED = "the certificate carries no signature"
ALTERED = "the signature does not fit the document (InvalidDigest)"

State = quality_pb2.CalibrationState

# What is said of each file, and how the sentence begins.
JUDGEMENTS = {
    "dcc_gp_humidity_v1.0.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
    "dcc_gp_temperatur_resistance_v12.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
    "dcc_gp_temperature_extensive_v12.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
    "dcc_gp_temperature_simplified_v12.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
    "dcc_gp_temperature_typical_adjustment_v12.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
    "dcc_gp_temperature_typical_v12.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
    "dcc_gp_temperature_typical_v12_signed.xml": (State.CALIBRATION_STATE_EXPIRED, ENDED),
    "dcc_gp_temperature_typical_v12_signed_manipulated.xml": (
        State.CALIBRATION_STATE_UNTRUSTED, ALTERED,
    ),
    "dcc_gp_temperature_typical_v12_v3.2.0_signed.xml": (State.CALIBRATION_STATE_EXPIRED, ENDED),
    "dcc_gp_temperature_typical_v12_v3.2.0_signed_lt.xml": (State.CALIBRATION_STATE_EXPIRED, ENDED),
    "dcc_gp_temperature_typical_v12_v3.2.0_signed_lt_revoked.xml": (
        State.CALIBRATION_STATE_REVOKED,
        "the X.509 certificate of Calibration B GmbH, on the way from the signature to a trusted"
        " root, is revoked since 2023-06-15 10:58 UTC",
    ),
    "dcc_gp_temperature_typical_v12_v3.2.0_signed_manipulated.xml": (
        State.CALIBRATION_STATE_UNTRUSTED, ALTERED,
    ),
    "dcc_ngp_temperature_typical_v12_refType2ID.xml": (
        State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED,
    ),
    # Laid out anew after it was signed, under an authority that nobody here trusts, by a transform
    # that is not verified here.
    "signed_siliziumkugel.xml": (
        State.CALIBRATION_STATE_UNTRUSTED,
        "the signature covers the document by http://www.w3.org/2002/06/xmldsig-filter2",
    ),
    "siliziumkugel_2_4_0.xml": (State.CALIBRATION_STATE_UNTRUSTED, UNSIGNED),
}  # fmt: skip
SIGNED = [
    "dcc_gp_temperature_typical_v12_signed.xml",
    "dcc_gp_temperature_typical_v12_v3.2.0_signed.xml",
    "dcc_gp_temperature_typical_v12_v3.2.0_signed_lt.xml",
    "dcc_gp_temperature_typical_v12_v3.2.0_signed_lt_revoked.xml",
]
PERSONS = ".//{*}respPerson//{*}name/{*}content"


def trusted(folder: Path, *names: str) -> TrustedLaboratories:
    """Return trust in some of the test authority's certificates."""
    for name in names:
        content = (require_shared(TRUSTED) / name).read_bytes()
        (folder / name).write_bytes(content)
    return TrustedLaboratories.read(folder)


def judged(name: str, laboratories: TrustedLaboratories) -> CalibrationJudgement:
    certificate = read_certificate((require_shared(EXAMPLES) / name).read_bytes())
    return judge(
        certificate,
        at_ms=JUDGED_MS,
        trusted=laboratories,
        equipment_ids=certificate.identifications,
    )


def test_every_shared_example_is_tried() -> None:
    names = {path.name for path in require_shared(EXAMPLES).iterdir()}

    assert names == {*JUDGEMENTS, "examples_siliziumkugel___.xml.p7m"}


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_an_example_is_judged_as_its_name_says(name: str, tmp_path: Path) -> None:
    judgement = judged(name, trusted(tmp_path, "root.crt", "sub.crt"))

    state, sentence = JUDGEMENTS[name]
    assert judgement.state == state
    assert judgement.sentence.startswith(sentence)


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_no_persons_name_leaves_an_example(name: str, tmp_path: Path) -> None:
    raw = (require_shared(EXAMPLES) / name).read_bytes()
    said = repr(read_certificate(raw)) + repr(judged(name, trusted(tmp_path, "root.crt")))

    persons = [each.text for each in etree.fromstring(raw).iterfind(PERSONS)]
    assert len(persons) > 1
    assert not [person for person in persons if str(person) in said]
    assert "Kalibrierfirma GmbH" in said or "Physikalisch-Technische Bundesanstalt" in said


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_example_leads_to_the_test_root_at_its_signing(name: str, tmp_path: Path) -> None:
    signed = verify_signature((require_shared(EXAMPLES) / name).read_bytes())
    laboratories = trusted(tmp_path, "root.crt", "sub.crt")
    assert signed.signed_ms is not None

    chain = chain_to_root(signed, signed.signed_ms, laboratories)
    assert [organisation(each) for each in chain[1:]] == ["Calibration Community"] * 2
    assert chain[-1] == laboratories.roots[0]


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_example_does_not_after_its_signers_certificate_has_ended(
    name: str, tmp_path: Path
) -> None:
    signed = verify_signature((require_shared(EXAMPLES) / name).read_bytes())
    late_ms = ms_of_datetime(datetime(2024, 12, 3, tzinfo=UTC))

    with pytest.raises(CertificateRefused, match=r"valid 2021-12-02 to 2024-12-02"):
        chain_to_root(signed, late_ms, trusted(tmp_path, "root.crt", "sub.crt"))


def test_long_term_examples_bring_the_link_that_others_lack(tmp_path: Path) -> None:
    laboratories = trusted(tmp_path, "root.crt")

    states = [judged(name, laboratories).state for name in SIGNED]
    assert states == [
        State.CALIBRATION_STATE_UNTRUSTED,
        State.CALIBRATION_STATE_UNTRUSTED,
        State.CALIBRATION_STATE_EXPIRED,
        State.CALIBRATION_STATE_REVOKED,
    ]


def test_the_revoked_example_is_so_by_the_list_that_it_brings() -> None:
    raw = (require_shared(EXAMPLES) / SIGNED[-1]).read_bytes()
    signed = verify_signature(raw)

    serial = signed.signer.serial_number
    listing = [crl for crl in signed.crls if crl.get_revoked_certificate_by_serial_number(serial)]
    assert len(listing) == 1
    assert listing[0].issuer == signed.signer.issuer


def test_a_signer_in_the_folder_is_not_trusted_without_its_root(tmp_path: Path) -> None:
    with pytest.raises(CertificateRefused, match="no self-signed certificate"):
        trusted(tmp_path, "signer.crt", "sub.crt")


def test_the_signers_certificate_is_the_one_that_comes_with_the_examples() -> None:
    signer = x509.load_pem_x509_certificate((require_shared(TRUSTED) / "signer.crt").read_bytes())

    found = [verify_signature((require_shared(EXAMPLES) / name).read_bytes()) for name in SIGNED]
    assert [each.signer == signer for each in found] == [True, True, True, False]


def test_the_cms_example_is_refused_with_the_remedy() -> None:
    raw = (require_shared(EXAMPLES) / "examples_siliziumkugel___.xml.p7m").read_bytes()

    with pytest.raises(CertificateRefused, match=r"\(\.p7m\), which is not verified here; ask"):
        read_certificate(raw)
