"""What a figure was measured on: machine, versions, load, and the disk's own speed."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

_PROBES = 200
_PROBE_SIZE = 4_096


def machine() -> dict[str, object]:
    """Return processor, cores and system."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform()}


def versions() -> dict[str, str]:
    """Return what was running."""
    names = ("lotmark", "grpcio", "protobuf", "pynacl", "blake3", "numpy", "pysyncobj", "rocksdict")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def load() -> float:
    """Return the load of the last minute, in running processes."""
    return round(os.getloadavg()[0], 2)


def fdatasync_p99_ms(folder: Path) -> float:
    """Return how long the disk takes to make 4 KiB durable, 99th percentile."""
    path = folder / "fdatasync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        taken = []
        for _ in range(_PROBES):
            os.write(descriptor, bytes(_PROBE_SIZE))
            start = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - start) * 1_000)
    finally:
        os.close(descriptor)
        path.unlink()
    return round(percentile(taken, 99), 3)


def percentile(values: list[float], per_cent: int) -> float:
    """Return a percentile of at least one value."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * per_cent // 100)]


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children, in 10**6 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    own = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return round(own + sum(rss_mb(child) for child in _children(pid)), 1)


def processor_ns(pid: int) -> int:
    """Return the processor time that a process and its children have used, in steps of 10 ms."""
    # What follows the name, which is in parentheses and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return own + sum(processor_ns(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    # Of each thread: a child belongs to the thread that started it.
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for each in lists for child in each.split()]
