"""The shapes of metrics, as prometheus-client wants them, from what our counts look like."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from lotmark_consensus.latency import BOUNDS_S, LatencyCounts

PREFIX = "lotmark_"


def gauge(name: str, text: str, value: float) -> Metric:
    """Return a value that goes up and down."""
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return one such value for each of a label's values."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for shown, value in sorted(values.items()):
        family.add_metric([shown], value)
    return family


def counter(name: str, text: str, value: float) -> Metric:
    """Return what only grows while the process lives; `_total` is added to its name."""
    return CounterMetricFamily(PREFIX + name, text, value=value)


def counters(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    """Return one such count for each combination of labels."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for shown, value in sorted(values):
        family.add_metric(shown, value)
    return family


def histogram(name: str, text: str, latency: LatencyCounts) -> Metric:
    """Return how often something took how long."""
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound_s, count in zip((*BOUNDS_S, None), latency.counts, strict=True):
        so_far += count
        buckets.append(("+Inf" if bound_s is None else str(bound_s), float(so_far)))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=latency.total_s)
