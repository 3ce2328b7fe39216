"""Which part a source worked on at a time, and how features are named after its values."""

from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.edge.site_settings import SignalSettings, SourceSettings, SubjectSettings
from lotmark_node.edge.source_context import (
    LATE_MAX_US,
    VALUES_MAX,
    SourceContext,
    context_signals,
)

CURRENT = SignalSettings(name="current", address="c", feature="weld_{weld}.{side}")
SETTINGS = SourceSettings(
    name="W07",
    protocol="opcua",
    address="",
    signals=(CURRENT, SignalSettings(name="weld", address="w")),
    subject=SubjectSettings(signal="serial", prefix="urn:x:"),
)


def test_context_is_what_subjects_and_features_refer_to() -> None:
    assert context_signals(SETTINGS) == {"weld", "side", "serial"}


def test_what_is_not_known_is_a_question_mark_and_no_subject() -> None:
    context = SourceContext(SETTINGS)
    context.learn("weld", 5, "137")

    assert context.feature_at(CURRENT, 5) == "weld_137.?"
    assert context.feature_at(CURRENT, 4) == "weld_?.?"
    assert context.subject_at(5) == ""


def test_a_value_that_went_bad_is_known_no_more() -> None:
    context = SourceContext(SETTINGS)
    context.learn("serial", 1, "A")
    context.learn("serial", 2, None)

    assert context.subject_at(1) == "urn:x:A"
    assert context.subject_at(2) == ""


def test_a_signal_without_a_feature_is_called_by_its_name() -> None:
    assert SourceContext(SETTINGS).feature_at(SignalSettings(name="x", address=""), 1) == "x"


def test_a_value_that_makes_no_item_id_makes_no_subject() -> None:
    context = SourceContext(SETTINGS)
    context.learn("serial", 1, "A" * 200)

    assert context.subject_at(1) == ""


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.text("ABC", min_size=1)),
        max_size=VALUES_MAX,
        unique_by=lambda each: each[0],
    )
)
def test_the_newest_value_that_was_made_at_or_before_a_time_counts_in_whatever_order_they_came(
    values: list[tuple[int, str]],
) -> None:
    context = SourceContext(SETTINGS)
    for made_us, value in values:
        context.learn("serial", made_us, value)
    for at in range(41):
        before = [each for each in values if each[0] <= at]
        expected = "urn:x:" + max(before)[1] if before else ""
        assert context.subject_at(at) == expected
    again = SourceContext(SETTINGS, context.values())
    assert [again.subject_at(at) for at in range(41)] == [
        context.subject_at(at) for at in range(41)
    ]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.text("ABC", min_size=1)), max_size=VALUES_MAX),
    st.integers(0, 40),
)
def test_values_that_nobody_can_find_any_more_are_forgotten_and_no_others(
    values: list[tuple[int, str]], now: int
) -> None:
    context, all_of_them = SourceContext(SETTINGS), SourceContext(SETTINGS)
    for made_us, value in values:
        context.learn("serial", LATE_MAX_US + made_us, value)
        all_of_them.learn("serial", LATE_MAX_US + made_us, value)
    context.forget_before(2 * LATE_MAX_US + now)

    for at in range(LATE_MAX_US + now, LATE_MAX_US + 41):
        assert context.subject_at(at) == all_of_them.subject_at(at)
    kept = [made_us for _, made_us, _ in context.values()]
    assert sum(made_us <= LATE_MAX_US + now for made_us in kept) <= 1


def test_values_of_one_time_are_remembered_once() -> None:
    context = SourceContext(SETTINGS)
    context.learn("serial", 5, "A")
    context.learn("serial", 5, "B")

    assert context.values() == [("serial", 5, "B")]


def test_only_so_many_values_are_remembered() -> None:
    context = SourceContext(SETTINGS)
    for made_us in range(VALUES_MAX + 10):
        context.learn("serial", made_us, str(made_us))

    assert len(context.values()) == VALUES_MAX
    assert context.subject_at(5) == ""
