"""Text that no upgrade of Python judges differently."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis.strategies import characters, text

from lotmark.errors import MalformedError
from lotmark.text import check_decimal, check_identifier, check_text
from tests.shared_vectors import ROOT

IS_UNICODE_14 = unicodedata.unidata_version == "14.0.0"


@pytest.mark.skipif(not IS_UNICODE_14, reason="only Python 3.11 has the tables of Unicode 14")
def test_the_shipped_table_is_what_its_generator_prints() -> None:
    printed = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, ROOT / "tools/make_unicode_14_table.py"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout

    assert (ROOT / "proto/lotmark/unicode_14.py").read_text("utf-8") == printed


def is_text(value: str) -> bool:
    try:
        check_text(value, what="note", size_max=1000)
    except MalformedError:
        return False
    return True


@pytest.mark.skipif(not IS_UNICODE_14, reason="only Python 3.11 has the tables of Unicode 14")
def test_exactly_the_characters_of_unicode_14_in_form_c_are_text() -> None:
    refused = {"Cn", "Cs", "Co", "Cc"}
    expected = {
        chr(code_point)
        for code_point in range(0x110000)
        if chr(code_point) in "\n\t"
        or (
            unicodedata.category(chr(code_point)) not in refused
            and unicodedata.is_normalized("NFC", chr(code_point))
        )
    }

    assert {chr(code_point) for code_point in range(0x110000) if is_text(chr(code_point))} == (
        expected
    )


@pytest.mark.parametrize(
    "value",
    ["", "Bohrung Ø 12 µm\n\tok", "öäü", "检验合格", "éa", "👍🏽", "ẍ̣", "한국"],
)
def test_text_of_the_shop_floor_is_accepted(value: str) -> None:
    check_text(unicodedata.normalize("NFC", value), what="note", size_max=100)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\x00", r"U\+0000 at index 1"),
        ("a\rb", r"U\+000D"),
        ("\x7f", r"U\+007F"),
        ("\x85", r"U\+0085"),
        ("\ud800", r"U\+D800"),
        ("\ue000", r"U\+E000"),
        ("\U0010fffd", r"U\+10FFFD"),
        ("\ufffe", r"U\+FFFE"),
        ("\ufdd0", r"U\+FDD0"),
        ("\u0378", r"U\+0378"),  # unassigned in every version so far
        ("\U0001fae8", r"U\+1FAE8"),  # assigned in Unicode 15
        ("e\u0301", "form C"),
        ("\u212b", "form C"),  # the Angstrom sign
        ("a" * 11, "over 10 bytes"),
        ("\u00e9" * 6, "12 bytes"),
    ],
)
def test_what_nodes_could_judge_differently_is_refused(value: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        check_text(value, what="note", size_max=10)


@given(text(characters(exclude_categories=[]), max_size=20))
def test_any_string_is_text_or_malformed(value: str) -> None:
    if is_text(value):
        assert unicodedata.normalize("NFC", value) == value
        assert value.encode().decode() == value


@pytest.mark.parametrize(
    "value", ["a", "LOT-2026/07", "urn:epc:id:sgtin:0614141.112345.400", "a" * 128]
)
def test_identifiers_are_accepted(value: str) -> None:
    check_identifier(value, what="lot")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "not an identifier"),
        ("a b", "not an identifier"),
        ("a\n", "not an identifier"),
        ("lot\u0661", "not an identifier"),  # a digit, but not an ASCII one
        ('"', "not an identifier"),
        ("<a>", "not an identifier"),
        ("a\\b", "not an identifier"),
        ("\ud800", "not an identifier"),
        ("a" * 129, "129 characters"),
    ],
)
def test_other_identifiers_are_refused(value: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=f"lot .*{reason}"):
        check_identifier(value, what="lot")


@given(text(characters(exclude_categories=[]), max_size=5))
def test_every_identifier_is_printable_ascii_without_spaces(value: str) -> None:
    try:
        check_identifier(value, what="lot")
    except MalformedError:
        return
    assert value.isascii()
    assert value.isprintable()
    assert " " not in value


@pytest.mark.parametrize(
    "value", ["0", "-1", "12.050", "0.0", "-0.5", "9" * 18 + "." + "9" * 12, "-0.000000000001"]
)
def test_decimals_are_accepted(value: str) -> None:
    check_decimal(value, what="diameter")


@pytest.mark.parametrize(
    "value",
    [
        *["", "-", "+1", "01", "-01", ".5", "1.", "1e3", "1,5", " 1", "1\n", "1_000", "0x1"],
        *["-0", "-0.0", "-0.000", "NaN", "Infinity", "\u0661", "1" * 19, "0." + "1" * 13],
        "1" * 10_000,
    ],
)
def test_other_decimals_are_refused(value: str) -> None:
    with pytest.raises(MalformedError, match="diameter"):
        check_decimal(value, what="diameter")


@given(text("-.0123456789e", max_size=12))
def test_every_decimal_is_a_number_with_one_sign(value: str) -> None:
    try:
        check_decimal(value, what="diameter")
    except MalformedError:
        return
    assert (float(value) < 0) == value.startswith("-")
