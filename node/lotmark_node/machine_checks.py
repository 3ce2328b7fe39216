"""Checks of the machine that a node runs on: its clock, its disk's speed, libraries and ports."""

import errno
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version

from lotmark.client.clock import UNCERTAINTY_MAX_US, KernelClock, kernel_clock
from lotmark.genesis import Genesis
from lotmark.network_address import split_address
from lotmark_node.bench.machine import fdatasync_p99_ms
from lotmark_node.findings import Finding, Health
from lotmark_node.node_settings import NodeSettings
from lotmark_node.peer_certificates import shown_by

FDATASYNC_P99_SLOW_MS = 50.0  # acknowledgements wait for two of them
FDATASYNC_P99_BAD_MS = 500.0  # an election begins after a second or so
ANSWER_S = 3.0

_PINNED = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)")


def check_machine(settings: NodeSettings, genesis: Genesis) -> Iterator[Finding]:
    """Check what a node needs of its machine; it may run meanwhile."""
    yield clock_finding(kernel_clock())
    yield from check_disk(settings.data)
    yield from _check_versions()
    yield _check_listen(settings, genesis)
    if settings.http is not None:
        yield _check_http(settings.http.address)
    if settings.metrics_listen is not None:
        yield check_metrics(settings.metrics_listen)


def clock_finding(clock: KernelClock | None) -> Finding:
    """Say how good the clock is, by what the kernel was told."""
    if clock is None:
        return Finding("clock sync", Health.UNCHECKED, "the kernel tells nothing of its clock here")
    if not clock.is_synchronised:
        return Finding(
            "clock sync",
            Health.WARNING,
            "nothing keeps this machine's clock: run chrony or another NTP daemon, or the voters"
            " will refuse blocks once it is 5 s off",
        )
    text = f"kept within {clock.error_max_us / 1_000:.1f} ms"
    if clock.error_max_us > UNCERTAINTY_MAX_US:
        return Finding(
            "clock sync", Health.NOTICE, f"{text}: a nearer time server would keep it better"
        )
    return Finding("clock sync", Health.GOOD, text)


def check_disk(data: Path) -> Iterator[Finding]:
    """Time how long a folder's disk takes to make bytes durable."""
    if not data.is_dir():
        return
    try:
        p99_ms = fdatasync_p99_ms(data)
    except OSError as error:
        yield Finding("disk", Health.BAD, f"{data}: {error.strerror}: mend the disk or its rights")
        return
    text = f"makes 4 KiB durable within {p99_ms:.1f} ms, 99 times of 100"
    if p99_ms > FDATASYNC_P99_BAD_MS:
        yield Finding("disk", Health.WARNING, f"{text}: elections will begin; use a local SSD")
    elif p99_ms > FDATASYNC_P99_SLOW_MS:
        yield Finding("disk", Health.NOTICE, f"{text}: events wait so long; a local SSD is faster")
    else:
        yield Finding("disk", Health.GOOD, text)


def _check_versions() -> Iterator[Finding]:
    """Hold the libraries that decide bytes against their pins."""
    found = {}
    for requirement in requires("lotmark") or ():
        if (pinned := _PINNED.match(requirement)) is None:
            continue
        name, wanted = pinned.groups()
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
        if found[name] != wanted:
            yield Finding(
                "versions",
                Health.BAD,
                f"{name} {found[name]} is installed, but bytes depend on {wanted}: pip install"
                f" '{name}=={wanted}'",
            )
    told = ", ".join(f"{name} {own}" for name, own in sorted(found.items()))
    yield Finding(
        "versions",
        Health.GOOD,
        f"lotmark {version('lotmark')}, Python {python_version()}, {told}",
    )


def _check_listen(settings: NodeSettings, genesis: Genesis) -> Finding:
    """Check that the node can take calls: its port is free, or it is there already."""
    free = _can_bind(settings.listen)
    if free is None:
        return Finding("port", Health.GOOD, f"{settings.listen} is free for this node")
    if free.errno != errno.EADDRINUSE:
        return _cannot_listen("port", settings.listen, free, "listen")
    try:
        shown_by(settings, genesis, settings.party, settings.node, settings.listen)
    except (OSError, ValueError):
        return Finding(
            "port",
            Health.BAD,
            f"another process listens at {settings.listen}: stop it, or change listen",
        )
    return Finding("port", Health.GOOD, f"{settings.name} takes calls at {settings.listen}")


def _check_http(address: str) -> Finding:
    free = _can_bind(address)
    if free is None:
        return Finding("http port", Health.GOOD, f"{address} is free for the HTTP endpoint")
    if free.errno != errno.EADDRINUSE:
        return _cannot_listen("http port", address, free, "http_listen")
    text = f"something listens at {address}: this node, if it runs; else change http_listen"
    return Finding("http port", Health.UNCHECKED, text)


def check_metrics(address: str) -> Finding:
    """Check that a process can answer whoever watches it: its port is free, or it is there."""
    free = _can_bind(address)
    if free is None:
        return Finding("metrics", Health.GOOD, f"{address} is free for monitoring")
    if free.errno != errno.EADDRINUSE:
        return _cannot_listen("metrics", address, free, "metrics_listen")
    try:
        with closing(HTTPConnection(address, timeout=ANSWER_S)) as connection:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            status, reason = answer.status, answer.read(1_000).decode(errors="replace").strip()
    except (OSError, HTTPException):
        status, reason = 0, ""
    if status == 200:
        return Finding("metrics", Health.GOOD, f"answered at {address}: {reason}")
    if status == 503:
        return Finding("metrics", Health.WARNING, f"answered at {address}: {reason}")
    return Finding(
        "metrics",
        Health.BAD,
        f"another process listens at {address}: stop it, or change metrics_listen",
    )


def _can_bind(address: str) -> OSError | None:
    """Return why nobody could begin to listen at an address now; None: somebody could."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error
    return None


def _cannot_listen(check: str, address: str, error: OSError, key: str) -> Finding:
    return Finding(
        check,
        Health.BAD,
        f"{address}: {error.strerror or error}; name an address of this machine in {key}",
    )
