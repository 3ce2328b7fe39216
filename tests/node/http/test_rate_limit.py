"""Token buckets, on a clock that stands still until it is moved."""

from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.http.rate_limit import BUCKETS_MAX, BURST_S, TokenBuckets


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(
    per_minute=st.integers(1, 6_000),
    waits_s=st.lists(st.floats(0, 30), min_size=1, max_size=200),
)
def test_no_more_is_let_through_than_burst_and_rate_allow(
    per_minute: int, waits_s: list[float]
) -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)
    through = 0
    for wait_s in waits_s:
        clock.now_s += wait_s
        through += buckets.take("erp", per_minute) == 0.0

    burst = max(1.0, per_minute / 60 * BURST_S)
    assert through <= burst + clock.now_s * per_minute / 60 + 1e-6


@given(per_minute=st.integers(1, 60_000))
def test_whoever_waits_as_long_as_told_is_let_through(per_minute: int) -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)
    while not (wait_s := buckets.take("erp", per_minute)):
        pass
    clock.now_s += wait_s + 1e-6

    assert buckets.take("erp", per_minute) == 0.0


def test_one_name_does_not_use_up_another_s() -> None:
    buckets = TokenBuckets(Clock())
    while not buckets.take("erp", 60):
        pass

    assert buckets.take("board", 60) == 0.0


def test_the_table_of_buckets_has_a_bound() -> None:
    buckets = TokenBuckets(Clock())
    assert buckets.take("first", 1) == 0.0
    assert buckets.take("first", 1) > 0
    for number in range(BUCKETS_MAX):
        buckets.take(f"k{number}", 1)

    assert buckets.take("first", 1) == 0.0  # forgotten, and so full again
