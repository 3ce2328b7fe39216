"""What a site puts on record of what it takes: the policy decides, by its first rule that fits."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from lotmark import canonical_json
from lotmark.event_rules import POLICY_DOCUMENT_SIZE_MAX
from lotmark_node.edge.errors import PolicyRefused
from lotmark_node.edge.site_settings import Anchor, Policy, PolicyRule, When

DOCUMENT_FORMAT = "lotmark-anchoring/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to an observation or a record, and why."""

    rule: int  # its number in the policy, from 1; 0: none fitted
    anchor: Anchor
    window_s: int
    window_count: int


def decide_observation(policy: Policy, signal: str, *, is_outside: bool) -> Decision:
    """Return what happens to an observation.

    A digest is a record's; an observation under such a rule goes on record with its window, whose
    event bears the digest of its file.

    Args:
        policy: Decides.
        signal: SOURCE/SIGNAL.
        is_outside: It is beyond the signal's limits, or not good.
    """
    decision = _decide(
        policy,
        signal,
        lambda when: when is When.ALWAYS or (when is When.OUTSIDE and is_outside),
    )
    return _with_anchor(decision, {Anchor.DIGEST: Anchor.WINDOW})


def decide_record(policy: Policy, signal: str, *, is_conforming: bool | None) -> Decision:
    """Return what happens to a record: its digest goes on record, or nothing does.

    Args:
        policy: Decides.
        signal: SOURCE/SIGNAL.
        is_conforming: The verdict that it states; None: none.
    """
    decision = _decide(
        policy,
        signal,
        lambda when: when is When.ALWAYS or (when is When.NONCONFORMING and is_conforming is False),
    )
    return _with_anchor(decision, {Anchor.FULL: Anchor.DIGEST, Anchor.WINDOW: Anchor.DIGEST})


def _decide(policy: Policy, signal: str, fits: Callable[[When], bool]) -> Decision:
    for number, rule in enumerate(policy.rules, start=1):
        if fits(rule.when) and _signals(rule.signals).fullmatch(signal):
            return _decision(number, rule)
    return _decision(0, _NO_RULE)


_NO_RULE = PolicyRule(signals="*", when=When.ALWAYS, anchor=Anchor.LOCAL)


@lru_cache(maxsize=1_024)
def _signals(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def _decision(number: int, rule: PolicyRule) -> Decision:
    return Decision(
        rule=number,
        anchor=rule.anchor,
        window_s=rule.window_s,
        window_count=rule.window_count,
    )


def _with_anchor(decision: Decision, instead: dict[Anchor, Anchor]) -> Decision:
    return Decision(
        rule=decision.rule,
        anchor=instead.get(decision.anchor, decision.anchor),
        window_s=decision.window_s,
        window_count=decision.window_count,
    )


def policy_id(policy: Policy) -> str:
    """Return how a policy is named in events and files: name/version."""
    return f"{policy.name}/{policy.version}"


def policy_document(policy: Policy) -> bytes:
    """Return a policy's rules as they go on record.

    Raises:
        PolicyRefused: They are too long for an event.
    """
    document = canonical_json.dump(
        {
            "format": DOCUMENT_FORMAT,
            "policy": policy.name,
            "version": policy.version,
            "rules": [
                {
                    "signals": rule.signals,
                    "when": rule.when.value,
                    "anchor": rule.anchor.value,
                    "window_s": rule.window_s,
                    "window_count": rule.window_count,
                }
                for rule in policy.rules
            ],
        }
    )
    if len(document) > POLICY_DOCUMENT_SIZE_MAX:
        raise PolicyRefused(
            f"the rules of policy {policy_id(policy)} have {len(document)} bytes on record; at most"
            f" {POLICY_DOCUMENT_SIZE_MAX} fit: let one pattern stand for several signals"
        )
    return document


def check_succession(policy: Policy, document: bytes, known: dict[int, bytes]) -> None:
    """Check that a policy may follow the versions of its name that are on record.

    Args:
        policy: As the settings have it.
        document: Its document.
        known: The documents of that name by version.

    Raises:
        PolicyRefused: The version is on record with other rules, or a later one is.
    """
    newest = max(known, default=0)
    remedy = f"give it version {newest + 1} in the section policy of the site's settings"
    if known.get(policy.version, document) != document:
        raise PolicyRefused(f"policy {policy_id(policy)} is on record with other rules; {remedy}")
    if policy.version < newest:
        raise PolicyRefused(
            f"policy {policy_id(policy)} is older than version {newest}, which is on record;"
            f" {remedy}"
        )
