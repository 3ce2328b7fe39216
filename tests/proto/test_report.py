"""Reports: which fields they need, what their digest is of, and what is refused in them."""

import hashlib
import json
import random
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.canonical_json import dump
from lotmark.errors import MalformedError, ProtocolError
from lotmark.event import check_event
from lotmark.event_rules import REPORT_FIELDS_MAX
from lotmark.report import (
    FileState,
    Report,
    compare_with_seal,
    make_report,
    read_report,
    seal_event,
    sealed_place,
)
from lotmark.report_checks import TEXT_SIZE_MAX
from lotmark.report_fields import FIELDS, LASTING, ReportIncompleteError, missing_fields
from lotmark.report_template import lasting_fields, report_template
from lotmark.v1 import event_pb2, quality_pb2
from tests.proto.sound_reports import (
    CALIBRATION_REPORT,
    ITEM,
    TEST,
    TEST_REPORT,
    as_json,
    as_toml,
    report_with,
    report_without,
)

NONCE = bytes(range(16))
NOW_MS = 1_766_481_247_312


def read(raw: bytes, folder: Path | None = None) -> Report:
    return read_report(raw, name="report.toml", folder=folder, nonce=lambda: NONCE)


def sealed(report: Report) -> event_pb2.Event:
    return seal_event(report, device="lims", time_ms=NOW_MS, uncertainty_us=2_000, nonce=NONCE)


def refusal(fields: Mapping[str, Any], folder: Path | None = None) -> str:
    with pytest.raises(MalformedError) as caught:
        make_report(fields, name="report.toml", folder=folder, nonce=lambda: NONCE)
    return str(caught.value)


def missing(fields: Mapping[str, Any]) -> list[str]:
    with pytest.raises(ReportIncompleteError) as caught:
        make_report(fields, name="report.toml", folder=None, nonce=lambda: NONCE)
    return [each.field.name for each in caught.value.missing]


# What is sealed


def test_the_digest_is_sha_256_of_the_fields_as_canonical_json() -> None:
    assert read(as_json(TEST_REPORT)).digest == hashlib.sha256(dump(dict(TEST_REPORT))).digest()


@given(st.randoms(use_true_random=False))
def test_the_digest_is_the_same_in_any_order_language_and_spacing(shuffle: random.Random) -> None:
    names = list(TEST_REPORT)
    shuffle.shuffle(names)
    shuffled = {name: TEST_REPORT[name] for name in names}

    digest = read(as_json(TEST_REPORT)).digest
    assert read(json.dumps(shuffled, indent=shuffle.randint(0, 4)).encode()).digest == digest
    assert read(as_toml(shuffled)).digest == digest


@given(st.sampled_from(sorted(set(TEST_REPORT) - {"results"})))
def test_another_value_in_any_field_gives_another_digest(name: str) -> None:
    other = {
        "kind": "calibration", "verdict": "NONCONFORMING", "date_of_issue": "2025-12-24",
        "date_of_receipt": "2025-12-24", "date_of_performance": "2025-12-24",
    }.get(name, "other")  # fmt: skip
    fields = {**CALIBRATION_REPORT, **TEST_REPORT, name: other}

    assert read(as_json(fields)).digest != read(as_json(TEST_REPORT)).digest


def test_a_seal_says_in_clear_which_item_and_test_and_names_the_fields() -> None:
    event = sealed(read(as_json(TEST_REPORT)))

    assert event.report_seal == quality_pb2.ReportSeal(
        report="4711",
        laboratory="LAB-17025",
        test=TEST,
        report_digest=hashlib.sha256(dump(dict(TEST_REPORT))).digest(),
        fields=sorted(TEST_REPORT),
        verdict=quality_pb2.VERDICT_CONFORMING,
    )
    assert [(item.id, item.role) for item in event.items] == [(ITEM, event_pb2.ITEM_ROLE_SUBJECT)]
    place = sealed_place(event)
    assert place is not None
    assert (place.laboratory, place.item, place.test) == ("LAB-17025", ITEM, TEST)
    assert check_event(event.SerializeToString(deterministic=True)).body_name == "report_seal"


def test_an_event_that_is_no_seal_is_of_no_place() -> None:
    assert sealed_place(event_pb2.Event()) is None


def test_every_field_that_a_report_may_have_fits_into_its_seal() -> None:
    assert len(FIELDS) <= REPORT_FIELDS_MAX


# Which fields a report needs


def test_all_that_is_missing_is_named_in_one_message_with_what_it_is_for() -> None:
    fields = report_without("customer_address", "date_of_receipt", "authoriser")

    assert refusal(fields) == (
        "report.toml: 3 fields are missing of what ISO/IEC 17025 7.8 and the seal ask for:"
        " customer_address (7.8.2.1 e): how the customer is reached;"
        ' date_of_receipt (7.8.2.1 h): when it came, or "not applicable";'
        " authoriser (7.8.2.1 o): who releases it, by credential id"
    )


@pytest.mark.parametrize("name", sorted(TEST_REPORT))
def test_no_field_of_the_sound_report_can_be_left_out_unseen(name: str) -> None:
    if name == "statement_of_conformity":
        assert missing(report_without(name)) == [name]  # since the verdict says conforming
    elif name in ("decision_rule", "measurement_uncertainty"):
        assert "needed since conformity is stated" in refusal(report_without(name))
    else:
        assert missing(report_without(name)) == [name]


def test_an_empty_report_is_told_every_field_that_any_report_needs() -> None:
    always = set(TEST_REPORT) - {
        "statement_of_conformity", "decision_rule", "measurement_uncertainty"
    }  # fmt: skip
    assert set(missing({})) == always


def test_a_calibration_needs_uncertainty_conditions_and_traceability() -> None:
    assert read(as_json(CALIBRATION_REPORT)).fields == CALIBRATION_REPORT
    needed = ("calibration_conditions", "measurement_uncertainty", "metrological_traceability")
    for name in needed:
        rest = {key: value for key, value in CALIBRATION_REPORT.items() if key != name}
        assert missing(rest) == [name]


def test_a_report_without_a_verdict_on_requirements_needs_no_statement_of_conformity() -> None:
    fields = report_without("statement_of_conformity", "decision_rule", "measurement_uncertainty")

    assert not missing_fields({**fields, "verdict": "UNDETERMINED"})


@pytest.mark.parametrize(
    ("given_name", "needed_name", "value"),
    [
        ("amends", "amendment_reason", "4710"),
        ("amendment_reason", "amends", "a digit was wrong"),
        ("results_before_adjustment", "results_after_adjustment", TEST_REPORT["results"]),
        ("results_after_adjustment", "results_before_adjustment", TEST_REPORT["results"]),
    ],
)
def test_what_belongs_together_is_asked_for_together(
    given_name: str, needed_name: str, value: object
) -> None:
    assert missing(report_with(**{given_name: value})) == [needed_name]


# What a field cannot be


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"customer": "x"}, "report.toml: customer is unknown; allowed here are kind, laboratory"),
        ({"method": 4}, "report.toml: method: 4 is a bare number"),
        ({"method": ["a"]}, "report.toml: method: a list is no string"),
        ({"method": {"a": "b"}}, "report.toml: method: a table is no string"),
        ({"method": None}, "report.toml: method: None is no string"),
        ({"method": "  "}, "report.toml: method: it is empty"),
        ({"method": "a\0b"}, "report.toml: method: the text has the control character U+0000"),
        ({"method": "\x1b[2J"}, "the control character U+001B"),
        ({"method": "x" * (TEXT_SIZE_MAX + 1)}, f"over {TEXT_SIZE_MAX} bytes"),
        ({"method": "e\u0301"}, "is not in Unicode normalisation form C"),
        ({"report_number": "47 11"}, "report_number: the value '47 11' is not an identifier"),
        ({"test": "x" * 65}, "test: the value has 65 characters; at most 64 are allowed"),
        ({"item_identification": "no item"}, "item_identification: the value 'no item' is not an"),
        ({"kind": "audit"}, "kind: 'audit' is none of test, calibration"),
        ({"verdict": "ok"}, "verdict: 'ok' is none of CONFORMING, NONCONFORMING, UNDETERMINED"),
        ({"verdict": ["CONFORMING"]}, "verdict: a list is none of CONFORMING"),
        ({"date_of_issue": "23.12.2025"}, "date_of_issue: '23.12.2025' is no date"),
        ({"date_of_issue": "2025-02-30"}, "date_of_issue: '2025-02-30' is no date"),
        ({"date_of_issue": "not applicable"}, "date_of_issue: 'not applicable' is no date"),
        ({"date_of_receipt": "none"}, 'from the first day to the last, or "not applicable"'),
        ({"date_of_issue": "2025-12-23/2025-12-22"}, "ends before it begins"),
        ({"results": []}, "results: it has 0 results; 1 to 10000 may be"),
        ({"results": "17.241"}, "results: '17.241' is no list"),
        ({"results": [{"value": "1", "unit": "m"}]}, "results[0].characteristic is missing"),
        ({"results": [{"value": 1.5}]}, "results[0].characteristic is missing"),
        (
            {"results": [{"characteristic": "a", "value": 1.5, "unit": "m"}]},
            "results[0].value: 1.5 is a bare number",
        ),
        (
            {"results": [{"characteristic": "a", "value": "1", "unit": "m", "raw_data": "x.csv"}]},
            "results[0].raw_data: 'x.csv' is none of the report's files",
        ),
        ({"files": "report.pdf"}, "files: 'report.pdf' is no list"),
        ({"files": ["report.pdf"]}, "files[0]: 'report.pdf' is no table"),
        ({"files": [{"name": "a.pdf"}]}, "files[0].size is missing"),
        ({"files": [{}] * 17}, "files: it names 17 files; at most 16 fit in a seal"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_is_named_with_the_reason(
    fields: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(report_with(**fields))


def test_a_date_may_be_said_not_to_matter() -> None:
    assert read(as_json(report_with(date_of_receipt="not applicable"))).fields


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff", "neither a JSON object nor TOML"),
        (b'{"kind": "test", "kind": "test"}', "object key 'kind' stands twice"),
        (b'kind = "test"\nkind = "test"', "neither a JSON object nor TOML"),
        (b'{"method": "\\ud800"}', "has a lone surrogate"),
        (b'date_of_issue = 2025-12-23\nkind = "test"', "date_of_issue: 2025-12-23 is a bare time"),
        (b'"../../x" = "y"', "report.toml: '../../x' is unknown"),
        (b'"\\u0000" = "y"', "report.toml: '\\x00' is unknown"),
        (b"[" + b"a." * 5_000 + b"a]", "is unknown"),
    ],
)
def test_a_document_that_is_no_report_is_refused_with_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=re.escape(reason)):
        read(raw)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_a_document_holds_is_refused_by_an_error_of_ours(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(FIELDS)), _JSON)
def test_whatever_a_field_holds_it_is_sealed_or_refused_by_an_error_of_ours(
    name: str, value: object
) -> None:
    try:
        report = make_report(
            report_with(**{name: value}), name="report.toml", folder=None, nonce=lambda: NONCE
        )
        event = sealed(report)
    except ProtocolError as error:
        said = str(error)
    else:
        said = event.report_seal.report_digest.hex()
        assert report.digest.hex() == said
    assert said.isprintable()


# Files


def with_file(folder: Path, content: bytes = b"%PDF", **more: object) -> dict[str, Any]:
    (folder / "report.pdf").write_bytes(content)
    return report_with(files=[{"path": "report.pdf", "media_type": "application/pdf", **more}])


def test_a_file_beside_the_report_is_sealed_by_digest_and_size(tmp_path: Path) -> None:
    (file,) = read(as_json(with_file(tmp_path)), tmp_path).files

    assert (file.sha256, file.size) == (hashlib.sha256(b"%PDF").digest(), 4)
    assert (file.name, file.media_type, file.salt) == ("report.pdf", "application/pdf", b"")


def test_a_salted_file_is_sealed_by_the_digest_of_salt_and_content(tmp_path: Path) -> None:
    (file,) = read(as_json(with_file(tmp_path, salted=True)), tmp_path).files

    assert file.salt == NONCE
    assert file.sha256 == hashlib.sha256(NONCE + b"%PDF").digest()


def test_a_file_elsewhere_is_sealed_by_the_digest_that_its_owner_names() -> None:
    digest = hashlib.sha256(b"%PDF").hexdigest()
    named = {"sha256": digest, "size": 4, "media_type": "application/pdf", "name": "report.pdf"}

    (file,) = read(as_json(report_with(files=[named]))).files
    assert (file.sha256.hex(), file.size, file.name) == (digest, 4, "report.pdf")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret", "is no path beneath the document's own folder"),
        ("a/../../secret", "is no path beneath the document's own folder"),
        ("/etc/passwd", "is no path beneath the document's own folder"),
        ("a\\b", "is no path beneath the document's own folder"),
        ("a\0b", "is no path beneath the document's own folder"),
        ("", "is no path beneath the document's own folder"),
        ("x" * 5_000, "cannot be read beside the document"),
        ("\x1b[2Jx", "cannot be read beside the document"),
        ("gone.pdf", "cannot be read beside the document: No such file"),
        (".", "cannot be read beside the document"),
    ],
)
def test_a_path_that_leads_elsewhere_or_nowhere_is_refused(
    tmp_path: Path, path: str, reason: str
) -> None:
    fields = report_with(files=[{"path": path, "media_type": "text/csv"}])

    said = refusal(fields, tmp_path)
    assert reason in said
    assert said.isprintable()
    assert len(said) < 300


def test_a_report_that_came_without_a_folder_names_no_paths(tmp_path: Path) -> None:
    assert "write sha256 and size" in refusal(with_file(tmp_path), None)


# Comparing with a seal


def test_the_sealed_report_matches_its_seal_in_either_language(tmp_path: Path) -> None:
    fields = with_file(tmp_path, salted=True)
    event = sealed(read(as_json(fields), tmp_path))

    found = compare_with_seal(as_json(fields), event, name="r", folder=tmp_path)
    assert found.holds
    assert found.files == (("report.pdf", FileState.MATCH),)


@pytest.mark.parametrize(
    ("content", "state", "holds"),
    [(b"%pdf", FileState.MISMATCH, False), (None, FileState.UNAVAILABLE, True)],
)
def test_a_changed_file_is_a_mismatch_and_a_missing_one_is_unavailable(
    tmp_path: Path, content: bytes | None, state: FileState, *, holds: bool
) -> None:
    fields = with_file(tmp_path)
    event = sealed(read(as_json(fields), tmp_path))
    if content is None:
        (tmp_path / "report.pdf").unlink()
    else:
        (tmp_path / "report.pdf").write_bytes(content)

    found = compare_with_seal(as_json(fields), event, name="r", folder=tmp_path)
    assert found.files == (("report.pdf", state),)
    assert found.fields_match
    assert found.holds is holds


def test_a_report_with_another_field_does_not_match() -> None:
    event = sealed(read(as_json(TEST_REPORT)))

    changed = as_json(report_with(method="another"))
    assert not compare_with_seal(changed, event, name="r", folder=Path()).holds
    nested = as_json(report_with(method=1.5))
    assert not compare_with_seal(nested, event, name="r", folder=Path()).fields_match


# The template


def test_a_template_has_what_is_known_and_names_what_is_missing() -> None:
    known = {"laboratory": "LAB-17025", "method": 'by "hand"\nand eye', "test": TEST}
    written = tomllib.loads(report_template(known))

    assert {name: written[name] for name in known} == known
    assert set(missing(written)) == set(missing(known))


def test_a_template_that_is_completed_is_a_report(tmp_path: Path) -> None:
    known = {**with_file(tmp_path), **CALIBRATION_REPORT}
    written = tomllib.loads(report_template({**known, "results": [{}]}))
    completed = {**written, "results": TEST_REPORT["results"]}

    assert completed == known
    assert read(as_json(completed), tmp_path).fields == known


def test_what_lasts_is_taken_over_from_an_earlier_report_and_nothing_else() -> None:
    assert set(lasting_fields({**TEST_REPORT, "unknown": "x"})) == LASTING
