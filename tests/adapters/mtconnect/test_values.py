"""Values of observations: exact decimals, bounded text, and the agent's own word for the rest."""

import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from lotmark.text import check_decimal
from lotmark_adapters.mtconnect.units import ucum
from lotmark_adapters.mtconnect.values import (
    TEXT_SIZE_MAX,
    Value,
    condition_value,
    decimal_value,
    event_value,
    sample_value,
)
from lotmark_adapters.observation import Quality


def element(xml: str) -> etree._Element:
    return etree.fromstring(xml)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("5742.856", "5742.856"), ("-0.50", "-0.50"), ("100", "100"), ("+5", "5"), (".5", "0.5"),
        ("5.", "5"), ("00012.50", "12.50"), ("1E-3", "0.001"), ("12E2", "1200"), ("-0.0", "0"),
        ("0e999999999", "0"), ("1e17", "100000000000000000"),
        ("0.1234567890120000", "0.123456789012"),
    ],
)  # fmt: skip
def test_a_number_is_kept_exactly_as_a_plain_decimal(written: str, kept: str) -> None:
    assert decimal_value(written) == Value(kept)


def test_a_number_with_over_12_places_is_rounded_and_says_what_was_written() -> None:
    assert decimal_value("0.000889000000000184") == Value(
        "0.000889000000", Quality.GOOD, "rounded from 0.000889000000000184"
    )


@pytest.mark.parametrize("written", ["1e18", "1e999999999", "999999999999999999.9999999999999"])
def test_a_number_with_over_18_digits_has_no_value(written: str) -> None:
    assert decimal_value(written) == Value(None, Quality.BAD, f"{written} has over 18 digits")


@pytest.mark.parametrize("written", ["NaN", "INF", "-inf"])
def test_what_is_no_finite_number_has_no_value(written: str) -> None:
    assert decimal_value(written) == Value(None, Quality.BAD, written)


@pytest.mark.parametrize("written", ["abc", "1,5", "0x10", "1_000", "9" * 65, "\uff11\uff12"])
def test_a_sample_that_is_no_number_stays_text_and_says_so(written: str) -> None:
    assert sample_value(element(f"<Load>{written}</Load>")) == Value(
        written, Quality.UNCERTAIN, "no number"
    )


@given(
    digits=st.from_regex(r"[+-]?([0-9]{1,20}(\.[0-9]{0,16})?|\.[0-9]{1,16})([eE][+-]?[0-9]{1,4})?",
                         fullmatch=True)
)  # fmt: skip
def test_each_number_is_the_same_number_or_tells_why_not(digits: str) -> None:
    value = decimal_value(digits)

    if value.value is not None:
        check_decimal(value.value, what="value")
        difference = abs(Decimal(value.value) - Decimal(digits))
        assert difference == 0 or (difference <= Decimal("5e-13") and digits in value.status)
    else:
        assert abs(Decimal(digits)) >= Decimal("999999999999999999.5")


@pytest.mark.parametrize(
    "value",
    [
        sample_value(element("<Load>UNAVAILABLE</Load>")),
        event_value(element("<Program>UNAVAILABLE</Program>")),
        event_value(element("<VariableDataSet>UNAVAILABLE</VariableDataSet>")),
        condition_value(element("<Unavailable type='SYSTEM'/>")),
    ],
)
def test_what_the_agent_does_not_know_has_no_value(value: Value) -> None:
    assert value == Value(None, Quality.BAD, "UNAVAILABLE")


def test_the_text_of_an_event_stays_as_it_is_even_where_it_looks_like_a_number() -> None:
    assert event_value(element("<Program>1E3</Program>")) == Value("1E3")
    assert event_value(element("<Program/>")) == Value("")


def test_a_long_text_is_named_by_its_digest() -> None:
    text = "ö" * (TEXT_SIZE_MAX // 2 + 1)

    value = event_value(element(f"<Message>{text}</Message>"))

    digest = hashlib.sha256(text.encode()).hexdigest()
    assert value == Value(f"sha256:{digest}", Quality.UNCERTAIN, "too long: 1026 bytes")


@pytest.mark.parametrize(
    ("xml", "kept"),
    [
        ("<Normal type='SYSTEM'/>", "Normal"),
        ("<Fault nativeCode='4711' type='SYSTEM'>Coolant low</Fault>", "Fault 4711: Coolant low"),
        ("<Warning nativeCode='8' type='SYSTEM'/>", "Warning 8"),
    ],
)
def test_a_condition_is_its_level_its_code_and_its_message(xml: str, kept: str) -> None:
    assert condition_value(element(xml)) == Value(kept)


def test_sets_tables_and_series_are_canonical_json() -> None:
    table = (
        "<WorkOffsetTable><Entry key='G54'><Cell key='X'>1.5</Cell><Cell key='A'> 2</Cell></Entry>"
        "<Entry key='G53' removed='true'/></WorkOffsetTable>"
    )
    assert event_value(element(table)).value == '{"G53":null,"G54":{"A":"2","X":"1.5"}}'
    data_set = "<VariableDataSet><Entry key='b'>2</Entry><Entry key='a'>x</Entry></VariableDataSet>"
    assert event_value(element(data_set)).value == '{"a":"x","b":"2"}'
    series = (
        "<TemperatureTimeSeries sampleCount='3' sampleRate='100'>1 2.50 3</TemperatureTimeSeries>"
    )
    assert (
        sample_value(element(series)).value
        == '{"count":"3","rate":"100","values":["1","2.50","3"]}'
    )
    assert sample_value(element("<PathPosition>1.5  0 -2</PathPosition>")) == Value("1.5 0 -2")


def test_a_key_that_canonical_json_has_no_order_for_says_so() -> None:
    value = event_value(element("<VariableDataSet><Entry key='ü'>2</Entry></VariableDataSet>"))

    assert (value.value, value.quality) == (None, Quality.BAD)
    assert value.status.startswith("cannot be kept")


def test_units_are_ucum_where_mtconnect_has_them_and_nothing_elsewhere() -> None:
    assert ucum("MILLIMETER/SECOND") == "mm/s"
    assert ucum("DEGREE_3D") == "deg"
    assert ucum("FURLONG") == ""
