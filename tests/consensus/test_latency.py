"""Latencies fall into the right bucket."""

from lotmark_consensus.latency import BOUNDS_S, Latency


def test_each_bound_is_within_its_own_bucket_and_what_is_longer_in_the_next() -> None:
    latency = Latency()
    for bound_s in BOUNDS_S:
        latency.add(bound_s)
    assert latency.read().counts == (*[1] * len(BOUNDS_S), 0)

    for bound_s in BOUNDS_S:
        latency.add(bound_s * 1.001)

    counts = latency.read()
    assert counts.counts == (1, *[2] * (len(BOUNDS_S) - 1), 1)
    assert abs(counts.total_s - 2.001 * sum(BOUNDS_S)) < 1e-9


def test_what_was_read_does_not_change() -> None:
    latency = Latency()
    before = latency.read()
    latency.add(0.1)

    assert sum(before.counts) == 0
