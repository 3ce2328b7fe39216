"""Values as text: exactly what was told, within the bounds of a decimal, or not at all."""

import math
import re
import struct
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum

import pytest
from asyncua import ua
from hypothesis import example, given
from hypothesis import strategies as st

from lotmark.text import check_decimal
from lotmark_adapters.observation import Quality
from lotmark_adapters.opcua.observed import observed
from lotmark_adapters.opcua.plain_values import (
    FRACTION_DIGITS_MAX,
    ROUNDED,
    WHOLE_DIGITS_MAX,
    Unkept,
    plain_text,
)

Kind = ua.VariantType


class State(IntEnum):
    WELDING = 3


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(8.100000381469727)
@example(-0.0)
@example(16777216.0)
def test_a_float_is_the_shortest_decimal_that_gives_the_same_32_bits(value: float) -> None:
    if abs(value) >= 10**WHOLE_DIGITS_MAX:
        with pytest.raises(Unkept, match="digits before the point"):
            plain_text(value, Kind.Float)
        return
    text, done = plain_text(value, Kind.Float)
    check_decimal(text, what="value")
    if not done:
        assert struct.pack("<f", float(text)) == struct.pack("<f", value + 0.0)
    else:
        assert done == ROUNDED
        assert abs(Decimal(text) - Decimal(value)) <= Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
    assert len(re.sub("[-.]", "", text).strip("0")) <= 9


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.1 + 0.2)
@example(1e17)
@example(5e-324)
def test_a_double_comes_back_from_its_text_unless_it_is_finer_than_a_decimal(
    value: float,
) -> None:
    if abs(value) >= 10**WHOLE_DIGITS_MAX:
        with pytest.raises(Unkept, match="digits before the point"):
            plain_text(value, Kind.Double)
        return
    text, done = plain_text(value, Kind.Double)
    check_decimal(text, what="value")
    if done:
        assert done == ROUNDED
        assert abs(Decimal(text) - Decimal(repr(value))) * 2 <= Decimal("1e-12")
    else:
        assert float(text) == value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, Kind.Boolean, "true"),
        (0, Kind.Int32, "0"),
        (-(10**18) + 1, Kind.Int64, "-999999999999999999"),
        (State.WELDING, Kind.Int32, "3"),
        (8.0, Kind.Double, "8"),
        (-0.0, Kind.Double, "0"),
        (1e-7, Kind.Double, "0.0000001"),
        ("Öl 7", Kind.String, "Öl 7"),
        (ua.LocalizedText("on", "en"), Kind.LocalizedText, "on"),
        (
            datetime(2026, 1, 12, 8, 0, 0, 250, tzinfo=UTC),
            Kind.DateTime,
            "2026-01-12T08:00:00.000250Z",
        ),
        ([8.1, math.nan], Kind.Float, '["8.1","NaN"]'),
        ([[1, 2**53], [3, 4]], Kind.UInt64, '[[1,"9007199254740992"],[3,4]]'),
        (b"\x00\xff", Kind.ByteString, "00ff"),
        (ua.NodeId.from_string("ns=2;s=W07"), Kind.NodeId, "ns=2;s=W07"),
        (
            ua.Range(Low=0.5, High=9.0),
            Kind.ExtensionObject,
            '{"High":"9","Low":"0.5"}',
        ),
    ],
)
def test_each_type_has_its_text(value: object, kind: Kind, text: str) -> None:
    assert plain_text(value, kind) == (text, "")


@pytest.mark.parametrize(
    ("value", "kind", "why"),
    [
        (math.nan, Kind.Double, "NaN"),
        (math.inf, Kind.Float, "Infinity"),
        (-math.inf, Kind.Double, "-Infinity"),
        (10**18, Kind.Int64, "19 digits before the point, of 18"),
        (1e18, Kind.Double, "19 digits before the point, of 18"),
        ("x" * 1025, Kind.String, "text has over 1024 bytes in UTF-8; shorten it"),
        ("a\0", Kind.String, "text has the control character U+0000"),
        (["x" * 20] * 50, Kind.String, "1151 bytes as JSON, of 1024"),
    ],
)
def test_what_cannot_be_kept_is_bad_and_says_why(value: object, kind: Kind, why: str) -> None:
    told = ua.DataValue(ua.Variant(value, kind))

    observation, _ = observed("ns=2;s=W07", 1, told, 5)

    assert (observation.value, observation.quality) == (None, Quality.BAD)
    assert observation.status.startswith(why)


def test_a_value_without_times_has_the_time_of_its_capture() -> None:
    long_ago = ua.DateTime(1601, 1, 1, tzinfo=UTC)

    observation, code = observed("n", 7, ua.DataValue(SourceTimestamp=long_ago), 1_700_000)

    assert (observation.made_us, observation.captured_us) == (1_700_000, 1_700_000)
    assert (observation.value, observation.sequence, code) == (None, 7, 0)
