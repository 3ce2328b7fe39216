"""The inspection policy: what it says, what it refuses, and how its modes follow each other."""

import json
import tomllib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis.strategies import just, lists, one_of, sampled_from

from lotmark_inference.errors import PolicyRefused
from lotmark_inference.policy import (
    LATCH_OVER,
    Doubt,
    Judges,
    Latch,
    Mode,
    PolicyState,
    Switch,
    Trigger,
    Triggered,
    UnitJudged,
    read_policy,
)
from tests.inference.weld_policy import WELD_POLICY, changed, weld_policy

CAUSE = bytes(range(32))


def modes_after(
    state: PolicyState, happenings: Sequence[Triggered | UnitJudged]
) -> tuple[PolicyState, list[Mode], list[Switch]]:
    modes, switches = [], []
    for happening in happenings:
        state, switch = state.after(happening)
        modes.append(state.mode)
        switches += [switch] if switch else []
    return state, modes, switches


def test_toml_and_json_of_one_policy_have_one_digest() -> None:
    from_toml = weld_policy()
    from_json = read_policy(
        json.dumps(tomllib.loads(WELD_POLICY), indent=3).encode(), source="weld.json"
    )

    assert from_toml.digest == from_json.digest
    assert from_toml.full_name == "weld/12"
    assert from_toml.judges[Mode.REINFORCED] is Judges.HEAVY
    assert from_toml.review >= {Doubt.DISAGREEMENT}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('REINFORCED = "heavy"', 'REINFORCED = "heaviest"', "none of light, heavy, both"),
        ('REINFORCED = "heavy"', "", "policy.judges lacks REINFORCED"),
        ("version = 12", "version = 0", "version 0 is not 1 to"),
        ("version = 12", "version = 1.5", "decimal string"),
        ('name = "weld"', 'name = "a weld"', "not an identifier"),
        ('name = "weld"', 'name = "weld"\nmood = "good"', "unknown member 'mood'"),
        ('on = "tool_change"', 'on = "shift_start"', "stands twice"),
        ('on = "tool_change"', 'on = "full_moon"', "'full_moon' is none of started"),
        ('mode = "REINFORCED"', 'mode = "NORMAL"', "leads to NORMAL"),
        ("units = 5", "units = 0", "units 0 is not 1 to"),
        ("grey_zone = 1_500", "grey_zone = 10_001", "grey_zone 10001 is not 0 to 10000"),
        ('escalate = ["defect"', 'escalate = ["disagreement"', "it may have defect, grey_zone"),
        ("by = -2_500", "by = 2_500 }, { at = 8_000, by = 0", "must be monotone"),
        ("at = 7_000", "at = 1_300", "must ascend"),
        ('input = "vibration_rms_z_milli"', 'input = "takt_ms"', "two of one input"),
        ('input = "takt_ms"', 'input = "threshold"', "input threshold is what results state"),
        ('input = "takt_ms"', 'input = "threshold_shift"', "input threshold_shift is what results"),
        ("low = 2_000", "low = 9_000", "must ascend within 1 to 10000"),
    ],
)
def test_a_policy_that_says_something_else_is_refused_by_name(
    old: str, new: str, said: str
) -> None:
    with pytest.raises(PolicyRefused, match=r"^weld\.toml: ") as refused:
        weld_policy(changed(old, new))

    assert said in str(refused.value)


def test_what_is_no_document_is_refused() -> None:
    for raw in (b"", b"\xff", b"{}", b"[" * 10_000, b'name = "weld"\n' * 2):
        with pytest.raises(PolicyRefused):
            read_policy(raw, source="odd.toml")


def test_the_first_switch_says_that_the_policy_came_into_use() -> None:
    state, switch = PolicyState.begun(weld_policy())

    assert (state.mode, switch.from_mode, switch.reason) == (Mode.NORMAL, None, "started")

    careful = changed('on = "shift_start"', 'on = "started"')
    state, switch = PolicyState.begun(weld_policy(careful))

    assert (state.mode, switch.from_mode) == (Mode.FIRST_ARTICLE, None)
    assert switch.latch_units == 3


def test_a_tool_change_holds_for_its_units_and_ends_by_itself() -> None:
    state, _ = PolicyState.begun(weld_policy())

    state, modes, switches = modes_after(
        state, [Triggered(Trigger.TOOL_CHANGE, CAUSE), *[UnitJudged()] * 6]
    )

    assert modes == [Mode.FIRST_ARTICLE] * 5 + [Mode.NORMAL] * 2
    assert [(each.to_mode, each.reason, each.latch_units) for each in switches] == [
        (Mode.FIRST_ARTICLE, "tool_change", 5),
        (Mode.NORMAL, LATCH_OVER, 0),
    ]
    assert switches[0].cause_id == CAUSE


def test_a_lesser_trigger_does_not_shorten_what_holds() -> None:
    state, _ = PolicyState.begun(weld_policy())

    state, _, switches = modes_after(
        state, [Triggered(Trigger.TOOL_CHANGE), Triggered(Trigger.SHIFT_START)]
    )

    assert len(switches) == 1
    assert state.first_article == Latch(units_left=5, trigger=Trigger.TOOL_CHANGE, cause_id=b"")


def test_a_first_article_waits_until_the_stricter_mode_is_over_and_keeps_its_reason() -> None:
    state, _ = PolicyState.begun(weld_policy())

    _, modes, switches = modes_after(
        state,
        [
            Triggered(Trigger.NONCONFORMING),
            Triggered(Trigger.TOOL_CHANGE, CAUSE),
            *[UnitJudged()] * 7,
        ],
    )

    assert modes == [Mode.REINFORCED] * 3 + [Mode.FIRST_ARTICLE] * 5 + [Mode.NORMAL]
    assert [each.reason for each in switches] == ["nonconforming", "tool_change", LATCH_OVER]
    assert switches[1].cause_id == CAUSE


HAPPENINGS = lists(one_of(just(UnitJudged()), sampled_from([Triggered(t) for t in Trigger])))


@given(happenings=HAPPENINGS)
def test_each_change_of_mode_is_a_switch_and_nothing_else_is(
    happenings: list[Triggered | UnitJudged],
) -> None:
    state, first = PolicyState.begun(weld_policy())
    before, mode = state.mode, first.to_mode
    for happening in happenings:
        state, switch = state.after(happening)
        assert (switch is not None) == (state.mode is not before)
        if switch is not None:
            assert switch.from_mode is mode
            mode = switch.to_mode
        before = state.mode

    assert mode is state.mode


@given(happenings=HAPPENINGS)
def test_units_alone_always_lead_back_to_normal(happenings: list[Triggered | UnitJudged]) -> None:
    state, _ = PolicyState.begun(weld_policy())

    state, modes, _ = modes_after(state, [*happenings, *[UnitJudged()] * 7])

    assert modes[-1] is Mode.NORMAL
    assert state == PolicyState(policy=state.policy)
