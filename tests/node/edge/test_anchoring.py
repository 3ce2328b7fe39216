"""Which rule decides: the first that fits; and what may follow a version that is on record."""

import json

import pytest

from lotmark_node.edge.anchoring import (
    check_succession,
    decide_observation,
    decide_record,
    policy_document,
    policy_id,
)
from lotmark_node.edge.errors import PolicyRefused
from lotmark_node.edge.site_settings import Anchor, Policy, PolicyRule, When


def policy(*rules: tuple[str, When, Anchor]) -> Policy:
    return Policy(
        name="line-3",
        version=4,
        rules=tuple(
            PolicyRule(signals=signals, when=when, anchor=anchor) for signals, when, anchor in rules
        ),
    )


POLICY = policy(
    ("W07/current", When.OUTSIDE, Anchor.FULL),
    ("W0*/force", When.ALWAYS, Anchor.WINDOW),
    ("W07/result", When.NONCONFORMING, Anchor.FULL),
    ("*", When.OUTSIDE, Anchor.DIGEST),
)


@pytest.mark.parametrize(
    ("signal", "is_outside", "rule", "anchor"),
    [
        ("W07/current", True, 1, Anchor.FULL),
        ("W07/current", False, 0, Anchor.LOCAL),
        ("W07/force", True, 2, Anchor.WINDOW),
        ("W08/force", False, 2, Anchor.WINDOW),
        ("W07/result", False, 0, Anchor.LOCAL),  # a verdict is a record's
        ("W9/force", True, 4, Anchor.WINDOW),  # a digest is a record's, too
        ("W07/current2", True, 4, Anchor.WINDOW),
        ("xW07/current", True, 4, Anchor.WINDOW),
    ],
)
def test_the_first_rule_that_fits_an_observation_decides(
    signal: str, is_outside: bool, rule: int, anchor: Anchor
) -> None:
    decision = decide_observation(POLICY, signal, is_outside=is_outside)

    assert (decision.rule, decision.anchor) == (rule, anchor)


@pytest.mark.parametrize(
    ("signal", "is_conforming", "rule", "anchor"),
    [
        ("W07/result", False, 3, Anchor.DIGEST),
        ("W07/result", True, 0, Anchor.LOCAL),
        ("W07/result", None, 0, Anchor.LOCAL),
        ("W07/force", None, 2, Anchor.DIGEST),
        ("W07/current", False, 0, Anchor.LOCAL),  # a record has no limits to be outside of
    ],
)
def test_the_first_rule_that_fits_a_record_decides(
    signal: str, is_conforming: bool | None, rule: int, anchor: Anchor
) -> None:
    decision = decide_record(POLICY, signal, is_conforming=is_conforming)

    assert (decision.rule, decision.anchor) == (rule, anchor)


@pytest.mark.parametrize(
    ("pattern", "signal", "fits"),
    [
        ("*", "W07/a", True),
        ("W07/*", "W07/a/b", True),
        ("*/a*c", "W07/abc", True),
        ("W07/[a]", "W07/a", False),  # nothing but the star means more than itself
        ("W07/?", "W07/a", False),
        ("w07/a", "W07/a", False),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_does(
    pattern: str, signal: str, fits: bool
) -> None:
    decision = decide_observation(
        policy((pattern, When.ALWAYS, Anchor.FULL)), signal, is_outside=False
    )

    assert (decision.rule == 1) is fits


def test_the_document_says_all_that_decides() -> None:
    document = json.loads(policy_document(POLICY))

    assert document["policy"] == "line-3"
    assert document["version"] == 4
    assert document["rules"][1] == {
        "signals": "W0*/force",
        "when": "always",
        "anchor": "window",
        "window_s": 60,
        "window_count": 1_000,
    }


def test_rules_that_fit_into_no_event_are_refused_with_a_remedy() -> None:
    many = policy(*[(f"W07/{'x' * 100}{at}", When.ALWAYS, Anchor.FULL) for at in range(64)])

    with pytest.raises(PolicyRefused, match=r"bytes on record; at most 8192 fit: let one pattern"):
        policy_document(many)


def test_a_version_that_is_on_record_may_go_on_as_it_is() -> None:
    check_succession(POLICY, b"rules", {4: b"rules", 3: b"others"})


def test_the_name_of_a_policy_in_events_has_its_version() -> None:
    assert policy_id(POLICY) == "line-3/4"
