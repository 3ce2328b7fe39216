"""What a check of `lotmark doctor` finds, and how loudly it is told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lotmark_node.monitoring.lifetimes import NOTICE_DAYS, URGENT_DAYS, WARNING_DAYS


class Health(StrEnum):
    """What a check found."""

    GOOD = "good"
    NOTICE = "notice"  # nothing to do yet
    WARNING = "warning"  # something to do soon
    BAD = "bad"  # the node cannot work like this
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    health: Health
    text: str


def lasting(check: str, what: str, end: datetime, now: datetime, remedy: str) -> Finding:
    """Say until when something is valid, louder the less time is left."""
    left = end - now
    if left < timedelta():
        return Finding(check, Health.BAD, f"{what}, ended on {end:%Y-%m-%d}: {remedy}")
    if left > timedelta(days=NOTICE_DAYS):
        return Finding(check, Health.GOOD, f"{what}, valid until {end:%Y-%m-%d}")
    health = Health.NOTICE if left > timedelta(days=WARNING_DAYS) else Health.WARNING
    when = " now" if left <= timedelta(days=URGENT_DAYS) else ""
    return Finding(
        check, health, f"{what}, ends in {left.days} days ({end:%Y-%m-%d}): {remedy}{when}"
    )
