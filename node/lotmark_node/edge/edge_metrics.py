"""An edge site's metrics, read when somebody asks; labels are sources, reasons and ways."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lotmark_consensus.latency import BOUNDS_S, LatencyCounts
from lotmark_node.edge.edge_site import EdgeSite
from lotmark_node.edge.source_watch import WatchState
from lotmark_node.edge.station_watch import StationState
from lotmark_node.monitoring.families import counters, gauge, gauges, histogram


def edge_registry(
    site: EdgeSite, certificates: Callable[[], Mapping[str, int]]
) -> CollectorRegistry:
    """Return all metrics of a site and of its process.

    Args:
        site: The site.
        certificates: Returns when each of its certificates ends, Unix time in ms.
    """
    registry = CollectorRegistry()
    registry.register(EdgeMetrics(site, certificates))
    ProcessCollector(registry=registry)
    return registry


class EdgeMetrics(Collector):
    """Reads a running site, from any thread."""

    def __init__(self, site: EdgeSite, certificates: Callable[[], Mapping[str, int]]) -> None:
        self._site = site
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        yield gauges("build_info", "Always 1.", "version", {version("lotmark"): 1})
        yield from self._sources()
        if self._site.stations:
            yield from self._stations()
        yield from self._alarms()
        yield from self._keeping()
        now_ms = self._site.now_us() // 1_000
        yield gauges(
            "certificate_expiry_seconds",
            "Until a certificate of this process ends.",
            "certificate",
            {name: (end_ms - now_ms) / 1_000 for name, end_ms in self._certificates().items()},
        )

    def _sources(self) -> Iterator[Metric]:
        watches = {watch.settings.name: watch for watch in self._site.watches}
        yield gauges(
            "edge_source_watched",
            "1 for a source that is watched, also while it does not answer; 0: it was refused.",
            "source",
            {name: watch.state is WatchState.WATCHED for name, watch in watches.items()},
        )
        yield counters(
            "edge_observations",
            "Observations of a source that were kept.",
            ("source",),
            [((name,), watch.observation_count) for name, watch in watches.items()],
        )
        yield counters(
            "edge_records",
            "Records of a source that were kept.",
            ("source",),
            [((name,), watch.record_count) for name, watch in watches.items()],
        )
        yield counters(
            "edge_gaps",
            "Gaps of a source, by reason.",
            ("source", "reason"),
            [
                ((name, reason), count)
                for name, watch in watches.items()
                for reason, count in dict(watch.gap_counts).items()
            ],
        )
        yield counters(
            "edge_missing_observations",
            "Observations in those gaps, as far as they were counted.",
            ("source",),
            [((name,), watch.missing_count) for name, watch in watches.items()],
        )
        now_us = self._site.now_us()
        yield gauges(
            "edge_last_observation_age_seconds",
            "Since the newest observation of a source came; since the start where none has.",
            "source",
            {
                name: (now_us - (watch.last_captured_us or watch.started_us)) / 1e6
                for name, watch in watches.items()
            },
        )
        yield histogram(
            "edge_capture_seconds",
            "From an observation's coming until its report and events are on disk.",
            _together([watch.capture.read() for watch in watches.values()]),
        )

    def _stations(self) -> Iterator[Metric]:
        stations = {each.settings.station: each for each in self._site.stations}
        yield gauges(
            "edge_station_judges",
            "1 for a station that judges; 0: it is being opened, or was refused.",
            "station",
            {name: each.state is StationState.JUDGING for name, each in stations.items()},
        )
        for metric, text, attribute in (
            ("edge_inferences", "Results of a station's models.", "inference_count"),
            (
                "edge_refused_images",
                "Images that could not be judged, or not by every model that was asked.",
                "refused_count",
            ),
            ("edge_part_alarms", "Images of parts that do not conform.", "alarm_count"),
            ("edge_unnamed_images", "Images whose name told no unit.", "unnamed_count"),
        ):
            yield counters(
                metric,
                text,
                ("station",),
                [((name,), getattr(each, attribute)) for name, each in stations.items()],
            )
        for metric, text, attribute in (
            ("edge_unread_images", "Images that lie there and cannot be read.", "unread_count"),
            (
                "edge_unremoved_images",
                "Images that are on record, and lie there still as they cannot be removed.",
                "unremoved_count",
            ),
        ):
            yield gauges(
                metric,
                text,
                "station",
                {name: getattr(each, attribute) for name, each in stations.items()},
            )
        now_ms = self._site.now_us() // 1_000
        yield gauges(
            "edge_licence_age_seconds",
            "Since a node last said what a station may run.",
            "station",
            {
                name: (now_ms - each.licence_ms) / 1_000
                for name, each in stations.items()
                if each.licence_ms is not None
            },
        )
        yield histogram(
            "edge_image_seconds",
            "From taking an image up until it is kept and its events are in the outbox.",
            _together([each.seconds.read() for each in stations.values()]),
        )
        yield histogram(
            "edge_part_alarm_seconds",
            "From taking an image up until its alarm was told.",
            _together([each.alarm_seconds.read() for each in stations.values()]),
        )

    def _alarms(self) -> Iterator[Metric]:
        alarms = self._site.alarms
        yield counters(
            "edge_alarms",
            "Values not known to be within their limits.",
            ("source",),
            [((watch.settings.name,), watch.alarm_count) for watch in self._site.watches],
        )
        yield counters(
            "edge_alarms_untold",
            "Alarms that did not reach the file, or whoever they are posted to.",
            ("way",),
            [(("file",), alarms.unwritten_count), (("post",), alarms.unposted_count)],
        )

    def _keeping(self) -> Iterator[Metric]:
        site, standing = self._site, self._site.standing
        yield gauge("edge_trouble", "1 while sources wait for room.", bool(site.pipeline.trouble))
        yield gauge("edge_open_windows", "Windows that are open.", standing.window_count)
        yield gauge("edge_events", "Events that the site has ever made.", standing.event_count)
        yield gauge(
            "edge_waiting_events",
            "Events that no node has acknowledged yet.",
            site.outbox.waiting_count + standing.pending_count,
        )
        yield counters(
            "edge_refused_events",
            "Events that the ledger refused, by outcome.",
            ("outcome",),
            [((name,), count) for name, count in dict(site.outbox.refused_counts).items()],
        )
        yield gauge("edge_store_bytes", "Raw files that are kept.", standing.evidence_size)
        quota_size = site.settings.store.quota_mb * 1_000_000
        yield gauge("edge_store_quota_bytes", "Most that may be kept.", quota_size)
        disk = shutil.disk_usage(site.settings.data)
        yield gauge("disk_free_bytes", "Room on the disk of the data.", disk.free)
        yield gauge("disk_size_bytes", "Size of the disk of the data.", disk.total)


def _together(all_counts: list[LatencyCounts]) -> LatencyCounts:
    counts = [0] * (len(BOUNDS_S) + 1)
    for each in all_counts:
        counts = [one + other for one, other in zip(counts, each.counts, strict=True)]
    return LatencyCounts(counts, sum(each.total_s for each in all_counts))
