"""What a sender does about a refused batch, and how long it waits before it tries again."""

import secrets
from collections.abc import Callable
from enum import Enum

from lotmark.outcome import Outcome

WAIT_MIN_S = 0.1
WAIT_MAX_S = 30.0

_chance = secrets.SystemRandom().random


class Cure(Enum):
    """What helps against a refusal of a whole batch."""

    SEND_AGAIN = "later, or to another node"
    SIGN_AGAIN = "under the next number of the lane: this one is used up"
    NEW_LANE = "in another lane"
    MEND = "somebody must act first; the events wait, and are sent again now and then"
    SET_ASIDE = "nothing: the batch can never be accepted, and is kept for people"


CURES: dict[Outcome, Cure] = {
    Outcome.CHAIN_UNKNOWN: Cure.MEND,
    Outcome.KEY_UNKNOWN: Cure.MEND,
    Outcome.KEY_PARTY_MISMATCH: Cure.MEND,
    Outcome.KEY_PURPOSE_WRONG: Cure.MEND,
    Outcome.KEY_NOT_YET_VALID: Cure.MEND,
    Outcome.KEY_EXPIRED: Cure.MEND,
    Outcome.KEY_REVOKED: Cure.MEND,
    Outcome.SIGNATURE_INVALID: Cure.MEND,
    Outcome.LANE_CLOSED: Cure.NEW_LANE,
    Outcome.SEQUENCE_AHEAD: Cure.SEND_AGAIN,
    Outcome.SEQUENCE_REUSED: Cure.NEW_LANE,
    Outcome.BATCH_DUPLICATE: Cure.SEND_AGAIN,  # then the first one's place is told
    Outcome.PREVIOUS_MISMATCH: Cure.NEW_LANE,
    Outcome.SCHEMA_UNKNOWN: Cure.SET_ASIDE,
    Outcome.COUNT_MISMATCH: Cure.SET_ASIDE,
    Outcome.ROOT_MISMATCH: Cure.SET_ASIDE,
    Outcome.TIME_ABSURD: Cure.SET_ASIDE,
    Outcome.QUOTA_EXCEEDED: Cure.SEND_AGAIN,  # on the log it has used its number: SIGN_AGAIN
    Outcome.BATCH_MALFORMED: Cure.MEND,
    Outcome.BATCH_OVERSIZE: Cure.MEND,
    Outcome.MESSAGE_OVERSIZE: Cure.MEND,
    Outcome.WAITING_FOR_PREDECESSOR: Cure.SEND_AGAIN,
    Outcome.STORAGE_FULL: Cure.SEND_AGAIN,
    Outcome.STOPPING: Cure.SEND_AGAIN,
    Outcome.NO_LEADER: Cure.SEND_AGAIN,
}


def cure_of(outcome: Outcome, *, number_used: bool) -> Cure:
    """Return what helps against an outcome of a whole batch.

    Args:
        outcome: Why it was refused.
        number_used: Whether the refusal is on the log and used the batch's number up.
    """
    cure = CURES[outcome]
    if number_used and cure is Cure.SEND_AGAIN and outcome is not Outcome.BATCH_DUPLICATE:
        return Cure.SIGN_AGAIN
    return cure


class Backoff:
    """Waits that double up to a bound, each shortened by chance so that senders do not march."""

    def __init__(self, chance: Callable[[], float] = _chance) -> None:
        """Begin.

        Args:
            chance: Returns 0 to 1.
        """
        self._chance = chance
        self._failure_count = 0

    def next_s(self) -> float:
        """Return how long to wait after one more failure: half of its bound, or up to all of it."""
        # The exponent is bounded, as an outage may last for weeks.
        bound_s = min(WAIT_MAX_S, WAIT_MIN_S * (1 << min(self._failure_count, 16)))
        self._failure_count += 1
        return bound_s * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """Begin again: something succeeded."""
        self._failure_count = 0
