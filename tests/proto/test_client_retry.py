"""Which cure each refusal has, and how long a sender waits between its tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.client.retry import CURES, WAIT_MAX_S, WAIT_MIN_S, Backoff, Cure, cure_of
from lotmark.outcome import CONSUMES_NUMBER_FROM, Outcome


def test_every_outcome_of_a_batch_has_a_cure_and_no_event_has_one() -> None:
    of_batches = [each for each in Outcome if 0 < each < 100 or each >= 200]

    assert list(CURES) == of_batches


@pytest.mark.parametrize("outcome", CURES, ids=lambda outcome: outcome.name)
def test_a_batch_whose_number_is_used_up_is_never_sent_again_as_it_is(outcome: Outcome) -> None:
    if outcome >= CONSUMES_NUMBER_FROM and outcome < 100:
        assert cure_of(outcome, number_used=True) in {
            Cure.SIGN_AGAIN, Cure.NEW_LANE, Cure.SET_ASIDE,
        }  # fmt: skip
    assert cure_of(outcome, number_used=False) is not Cure.SIGN_AGAIN


def test_only_what_can_never_be_accepted_is_set_aside() -> None:
    aside = {outcome for outcome, cure in CURES.items() if cure is Cure.SET_ASIDE}

    assert aside == {
        Outcome.SCHEMA_UNKNOWN, Outcome.COUNT_MISMATCH, Outcome.ROOT_MISMATCH, Outcome.TIME_ABSURD,
    }  # fmt: skip


def test_waits_double_up_to_their_bound_and_begin_again_after_a_success() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    waits = [backoff.next_s() for _ in range(12)]

    assert waits == [min(WAIT_MAX_S, WAIT_MIN_S * 2**count) for count in range(12)]
    assert waits[-1] == WAIT_MAX_S
    backoff.reset()
    assert backoff.next_s() == WAIT_MIN_S


@given(chance=st.floats(0, 1), failure_count=st.integers(0, 3_000))
def test_a_wait_is_between_half_of_its_bound_and_its_bound_however_long_the_outage(
    chance: float, failure_count: int
) -> None:
    backoff = Backoff(chance=lambda: chance)
    waits = [backoff.next_s() for _ in range(failure_count + 1)]

    assert WAIT_MIN_S / 2 <= waits[-1] <= WAIT_MAX_S
    if failure_count > 10:
        assert waits[-1] >= WAIT_MAX_S / 2
