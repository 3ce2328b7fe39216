"""Values that rules read: one encoding each, and a place in every refusal."""

from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.errors import MalformedError
from lotmark.rule_value import (
    DEPTH_MAX,
    NAME_SIZE_MAX,
    TEXT_SIZE_MAX,
    VALUES_MAX,
    RuleValue,
    check_record,
    encode_value,
    parse_value,
    record_of,
    value_of,
    values_of,
)
from lotmark.text import check_text
from lotmark.v1 import contracts_pb2
from tests.proto.damaged_bytes import damaged_or_arbitrary


def is_text(value: str) -> bool:
    try:
        check_text(value, what="it", size_max=NAME_SIZE_MAX)
    except MalformedError:
        return False
    return True


TEXTS = st.text(max_size=8).filter(is_text)
NAMES = TEXTS.filter(bool)
PLAIN: st.SearchStrategy[RuleValue] = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.booleans(), TEXTS
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=5)


def typed(value: RuleValue) -> object:
    """Return a value in which 1 and True, which Python takes for equal, differ."""
    match value:
        case list():
            return [typed(each) for each in value]
        case dict():
            return {name: typed(each) for name, each in value.items()}
        case _:
            return type(value), value


def text_value(text: str) -> contracts_pb2.Value:
    return contracts_pb2.Value(text=text)


def record(*fields: tuple[str, contracts_pb2.Value]) -> contracts_pb2.ValueRecord:
    return contracts_pb2.ValueRecord(
        fields=[contracts_pb2.NamedValue(name=name, value=value) for name, value in fields]
    )


def refusal(checked: contracts_pb2.ValueRecord) -> str:
    with pytest.raises(MalformedError) as caught:
        check_record(checked, what="fields")
    return str(caught.value)


@given(values=RECORDS)
def test_a_record_gives_back_its_values_and_keeps_the_rules(values: dict[str, RuleValue]) -> None:
    made = record_of(values)

    check_record(made, what="fields")
    assert typed(values_of(made)) == typed(values)
    assert list(values_of(made)) == sorted(values, key=str.encode)


@given(value=VALUES)
def test_a_value_in_a_row_gives_back_itself(value: RuleValue) -> None:
    assert typed(parse_value(encode_value(value))) == typed(value)


@given(values=RECORDS, data=st.data())
def test_the_order_in_which_names_are_given_changes_no_byte(
    values: dict[str, RuleValue], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(values.items()))))

    assert encode_value(shuffled) == encode_value(values)


def test_what_is_empty_or_zero_is_there_all_the_same() -> None:
    values: dict[str, RuleValue] = {"a": 0, "b": False, "c": "", "d": [], "e": {}}

    assert typed(values_of(record_of(values))) == typed(values)
    assert len({encode_value(each) for each in values.values()}) == len(values)


def test_names_ascend_by_bytes_and_not_as_javascript_sorts_them() -> None:
    names = [each.name for each in record_of({"\U0001f600": 1, "\uffe6": 2, "b": 3, "a": 4}).fields]

    assert names == ["a", "b", "\uffe6", "\U0001f600"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 2**63}, "9223372036854775808 does not fit 64 bits"),
        ({"a": -(2**63) - 1}, "does not fit 64 bits"),
        ({"a": [{"b": 2**63}]}, "does not fit 64 bits"),
        ({"a": 1.5}, "1.5 is no number, text, truth value, list or record"),
        ({"a": None}, "None is no number"),
        ({"a": (1,)}, r"\(1,\) is no number"),
        ({"a": b"x"}, "b'x' is no number"),
    ],
)
def test_what_is_no_value_is_refused(values: dict[str, RuleValue], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        record_of(values)


@pytest.mark.parametrize(
    ("checked", "message"),
    [
        (record(("a", contracts_pb2.Value())), "fields.a has no value"),
        (contracts_pb2.ValueRecord(fields=[contracts_pb2.NamedValue(name="a")]), "fields.a has no"),
        (record(("", text_value(""))), "'' is empty, or does not ascend"),
        (record(("b", text_value("")), ("a", text_value(""))), "'a' is empty, or does not ascend"),
        (record(("a", text_value("")), ("a", text_value(""))), "does not ascend after b'a'"),
        (record(("x" * (NAME_SIZE_MAX + 1), text_value(""))), "fields: a name"),
        (record(("a\x00", text_value(""))), "fields: a name"),
        (record(("e\u0301", text_value(""))), "fields: a name"),
        (record(("a", text_value("\x07"))), "fields.a"),
        (record(("a", text_value("x" * (TEXT_SIZE_MAX + 1)))), "fields.a"),
        (
            record(("a", contracts_pb2.Value(record=record(("b", contracts_pb2.Value()))))),
            "a.b has",
        ),
        (
            record(
                ("a", contracts_pb2.Value(list={"values": [text_value(""), contracts_pb2.Value()]}))  # type: ignore[arg-type]  # the stubs do not know that a dict will do
            ),
            "fields.a[1] has no value",
        ),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_with_the_place(
    checked: contracts_pb2.ValueRecord, message: str
) -> None:
    assert message in refusal(checked)


def nested(depth: int, wrap: Callable[[RuleValue], RuleValue]) -> contracts_pb2.ValueRecord:
    """Return a record of this many levels, itself the first."""
    value: RuleValue = 1
    for _ in range(depth - 1):
        value = wrap(value)
    return record_of({"a": value})


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}])
def test_values_nest_to_their_bound_and_no_deeper(wrap: Callable[[RuleValue], RuleValue]) -> None:
    check_record(nested(DEPTH_MAX, wrap), what="fields")

    assert f"deeper than {DEPTH_MAX} levels" in refusal(nested(DEPTH_MAX + 1, wrap))
    assert f"deeper than {DEPTH_MAX} levels" in refusal(nested(60, wrap))


@pytest.mark.parametrize("empty", [[], {}])
def test_an_empty_list_or_record_is_a_level_too(empty: RuleValue) -> None:
    def wrap(inner: RuleValue) -> RuleValue:
        return empty if inner == 1 else [inner]

    check_record(nested(DEPTH_MAX, wrap), what="fields")
    assert "deeper" in refusal(nested(DEPTH_MAX + 1, wrap))


@pytest.mark.parametrize(
    "values",
    [
        {f"{at:05}": at for at in range(VALUES_MAX)},
        {"a": [0] * (VALUES_MAX - 1)},
        {"a": [[] for _ in range(VALUES_MAX - 1)]},
        {"a": [0] * (VALUES_MAX - 3), "b": {"c": 1}},
    ],
)
def test_values_are_counted_lists_and_records_with_them(values: dict[str, RuleValue]) -> None:
    check_record(record_of(values), what="fields")

    assert "more than 2,000 values; keep them in a file" in refusal(record_of({**values, "z": 1}))


SAMPLE: dict[str, RuleValue] = {
    "cause": "burr",
    "pieces": 7,
    "final": True,
    "part": {"ids": ["a", "b"], "weights": {}},
}


@settings(max_examples=300)
@given(raw=damaged_or_arbitrary(record_of(SAMPLE).SerializeToString(deterministic=True)))
def test_what_keeps_the_rules_has_one_encoding(raw: bytes) -> None:
    """Nothing of a record is read but what it holds; the rest is for the check of events' form."""
    try:
        parsed = contracts_pb2.ValueRecord.FromString(raw)
    except DecodeError:
        return
    parsed.DiscardUnknownFields()
    try:
        check_record(parsed, what="fields")
    except MalformedError:
        return
    canonical = parsed.SerializeToString(deterministic=True)
    assert record_of(values_of(parsed)).SerializeToString(deterministic=True) == canonical


def test_a_value_whose_form_was_checked_is_read_by_its_kind() -> None:
    made = record_of({"a": [1, "b", True, {"c": []}]}).fields[0].value

    assert value_of(made) == [1, "b", True, {"c": []}]
