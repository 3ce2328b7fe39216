"""Refusals are logged, but not so many that they fill a disk."""

import logging

import pytest

from lotmark_node.engine.refusal_log import LINES_PER_MINUTE_MAX, TEXT_SIZE_MAX, RefusalLog


def test_a_minute_has_so_many_lines_and_the_next_tells_what_was_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = 100.0
    refusals = RefusalLog(logging.getLogger("refusals"), "call refused", lambda: now_s)
    for number in range(LINES_PER_MINUTE_MAX + 7):
        refusals.add(text=f"number {number}")
    assert len(caplog.records) == LINES_PER_MINUTE_MAX

    now_s = 159.9
    refusals.add(text="still within the minute")
    assert len(caplog.records) == LINES_PER_MINUTE_MAX
    now_s = 160.0
    refusals.add(text="the next one")
    refusals.add(text="and one more")

    first, second = caplog.records[LINES_PER_MINUTE_MAX:]
    assert (vars(first)["text"], vars(first)["left_out_before"]) == ("the next one", 8)
    assert "left_out_before" not in vars(second)


def test_a_long_text_of_a_caller_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog(logging.getLogger("refusals"), "call refused").add(text="x" * 10_000)

    assert len(vars(caplog.records[0])["text"]) == TEXT_SIZE_MAX
