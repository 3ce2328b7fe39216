"""What `lotmark doctor --site` looks at: whether a site could run as its settings say."""

import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from lotmark.client.clock import kernel_clock
from lotmark.v1 import quality_pb2
from lotmark_adapters.errors import AdapterError, CertificateRefused
from lotmark_inference.errors import InferenceError
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_registry import model_to_run
from lotmark_inference.policy import read_policy
from lotmark_node.edge.anchoring import decide_observation
from lotmark_node.edge.errors import EdgeError
from lotmark_node.edge.gauges import site_gauges
from lotmark_node.edge.licence_file import LicenceFile
from lotmark_node.edge.memory_file import FILE
from lotmark_node.edge.site_certificates import site_certificates, trusted_files
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import Anchor, SiteSettings, SourceSettings
from lotmark_node.edge.sources import check_source, opcua_source
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.findings import Finding, Health, lasting
from lotmark_node.machine_checks import check_disk, check_metrics, clock_finding
from lotmark_node.peer_certificates import check_holder

CONNECT_S = 3.0
CALLS_MAX = 16  # at once
LICENCE_AGE_S = 86_400  # beyond which a station's last licence is worth a word
FREE_PERMILLE_LOW = 50  # of a disk

_DEFAULT_PORTS = {"opc.tcp": 4840, "http": 80, "https": 443}
_GAUGE_HEALTH = {
    quality_pb2.CALIBRATION_STATE_VALID: Health.GOOD,
    quality_pb2.CALIBRATION_STATE_EXPIRED: Health.WARNING,
}


def check_site(settings: SiteSettings, *, now_ms: int) -> Iterator[Finding]:
    """Check all that a site needs, from its client to its disk; it may run meanwhile.

    Args:
        settings: The site's.
        now_ms: Unix time.
    """
    yield check_holder(settings.client, now_ms=now_ms)
    yield from _check_sources(settings)
    yield from _check_certificates(settings, now_ms)
    yield from _check_gauges(settings, now_ms)
    yield from _check_policy(settings)
    for station in settings.stations:
        yield _check_station(settings, station, now_ms)
    yield from _check_store(settings)
    yield clock_finding(kernel_clock())
    yield from check_disk(settings.data)
    if settings.metrics_listen is not None:
        yield check_metrics(settings.metrics_listen)


def _check_sources(settings: SiteSettings) -> Iterator[Finding]:
    with ThreadPoolExecutor(CALLS_MAX) as pool:
        for source, reached in zip(
            settings.sources, pool.map(_reach, settings.sources), strict=True
        ):
            try:
                check_source(source, folder=settings.folder, is_insecure=True)
            except AdapterError as error:
                yield Finding("source", Health.BAD, str(error))
                continue
            yield reached
            if source.protocol == "opcua":
                yield _check_trust(source, settings.folder)


def _reach(source: SourceSettings) -> Finding:
    """Connect to a source and hang up; who is there is not asked."""
    parts = urlsplit(source.address)
    place = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
    try:
        socket.create_connection(place, CONNECT_S).close()
    except TimeoutError:
        reason = f"no answer within {CONNECT_S:g} s"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return Finding("source", Health.GOOD, f"{source.name} takes calls at {source.address}")
    return Finding(
        "source",
        Health.WARNING,
        f"{source.name} at {source.address}: {reason}; is the machine on? Else let this site"
        " through its firewall, or correct the address",
    )


def _check_trust(source: SourceSettings, folder: Path) -> Finding:
    opcua = opcua_source(source, folder=folder, is_insecure=True)
    if opcua.is_insecure:
        return Finding(
            "trust",
            Health.WARNING,
            f"{source.name} is insecure: neither encrypted nor known; for development alone",
        )
    count = len(trusted_files(opcua.trusted))
    if not count:
        return Finding(
            "trust",
            Health.BAD,
            f"{source.name}: {opcua.trusted} holds no certificate, so no server is trusted:"
            f" lotmark edge trust {source.address} --trusted {opcua.trusted}",
        )
    return Finding("trust", Health.GOOD, f"{source.name} trusts {count} in {opcua.trusted}")


def _check_certificates(settings: SiteSettings, now_ms: int) -> Iterator[Finding]:
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    for each in site_certificates(settings):
        if each.name == "client":
            continue  # told with the client
        source, _, whose = each.name.partition(" ")
        remedy = (
            "remove it and start the site, which makes another; the server has to trust that"
            if whose == "own"
            else "the server needs a new one: then lotmark edge trust"
        )
        yield lasting("certificate", f"{source}: {each.file}", each.end, now, remedy)


def _check_gauges(settings: SiteSettings, now_ms: int) -> Iterator[Finding]:
    try:
        gauges = site_gauges(settings, lambda: time.time_ns() // 1_000)
    except CertificateRefused as error:
        yield Finding("calibration", Health.BAD, str(error))
        return
    for source, gauge in gauges.items():
        judged = gauge.judgement_at(now_ms)
        health = _GAUGE_HEALTH.get(judged.state, Health.BAD)
        yield Finding("calibration", health, f"{source}: {judged.sentence}")


def _check_policy(settings: SiteSettings) -> Iterator[Finding]:
    """Name the signals of which nothing goes on record, whatever they tell."""
    policy = settings.policy
    silent = [
        path
        for source in settings.sources
        for path in (f"{source.name}/{signal.name}" for signal in source.signals)
        if all(
            decide_observation(policy, path, is_outside=is_outside).anchor is Anchor.LOCAL
            for is_outside in (False, True)
        )
    ]
    name = f"{policy.name}/{policy.version}"
    if silent:
        shown = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if silent[5:] else "")
        yield Finding(
            "policy", Health.NOTICE, f"{name} keeps these here, and puts none on record: {shown}"
        )
    else:
        yield Finding("policy", Health.GOOD, f"{name} puts something of each signal on record")


def _check_station(settings: SiteSettings, station: StationSettings, now_ms: int) -> Finding:
    """Say whether a station could start now if no node were in reach."""
    name = station.station
    try:
        read_policy(station.policy.read_bytes(), source=str(station.policy))
        licence = LicenceFile(settings.stations_folder, name).last()
        if licence is not None:
            for model in (licence.light, licence.heavy):
                if model is not None:
                    model_to_run(model, ModelFolder(station.registry))
    except (InferenceError, OSError) as error:
        return Finding("station", Health.BAD, f"{name}: {error}")
    if licence is None:
        return Finding(
            "station",
            Health.WARNING,
            f"{name} has no licence yet: its next start needs a node, and a model that is in use"
            f" there: lotmark model promote MODEL --station {name}",
        )
    age_s = licence.age_s(now_ms)
    health = Health.GOOD if age_s < LICENCE_AGE_S else Health.NOTICE
    return Finding("station", health, f"{name} may run by what a node said {age_s:,} s ago")


def _check_store(settings: SiteSettings) -> Iterator[Finding]:
    data = settings.data
    kept_size = 0
    if (data / FILE).exists():
        try:
            memory = SiteMemory.read(data)
        except EdgeError as error:
            yield Finding("memory", Health.BAD, str(error))
            return
        kept_size = memory.evidence_size
        yield Finding(
            "memory",
            Health.GOOD,
            f"{data / FILE}: {memory.event_count} events made, {memory.pending_count()} not handed"
            " on",
        )
        memory.close()
    quota_size = settings.store.quota_mb * 1_000_000
    text = f"{kept_size:,} of {quota_size:,} bytes of raw data"
    if kept_size > quota_size * 9 // 10:
        yield Finding(
            "store", Health.WARNING, f"{text}: raise quota_mb, or lower retention_days, in [store]"
        )
    else:
        yield Finding("store", Health.GOOD, text)
    yield _check_room(data, quota_size - kept_size)


def _check_room(data: Path, to_come_size: int) -> Finding:
    existing = next(folder for folder in (data, *data.absolute().parents) if folder.is_dir())
    disk = shutil.disk_usage(existing)
    text = f"{disk.free:,} bytes free on the disk of {data}"
    if disk.free * 1_000 < disk.total * FREE_PERMILLE_LOW:
        return Finding("space", Health.BAD, f"{text}: make room, or sources will wait")
    if disk.free < to_come_size:
        return Finding(
            "space",
            Health.NOTICE,
            f"{text}, less than quota_mb leaves for raw data: lower it, or use a larger disk",
        )
    return Finding("space", Health.GOOD, text)
