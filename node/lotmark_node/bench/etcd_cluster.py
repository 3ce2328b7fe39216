"""Three etcd members on loopback and puts to their leader, to measure our order beside theirs."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import grpc.aio

from lotmark_node.bench.pumped import Pumped
from lotmark_node.trial.network import free_address

MEMBERS = ("m1", "m2", "m3")
START_MAX_S = 30.0
POLL_S = 0.1
_QUOTA_SIZE = 6 << 30  # of a member's data; by default it takes nothing more at 2 GiB
_PUT = "/etcdserverpb.KV/Put"
_MESSAGE_SIZE_MAX = 4 << 20


def missing_programs() -> list[str]:
    """Return which of the programs that are needed are not installed here."""
    return [name for name in ("etcd", "etcdctl") if shutil.which(name) is None]


def etcd_version() -> str:
    """Return the version of etcd that is installed here."""
    said = subprocess.run(  # noqa: S603 - the program whose version is asked
        [_program("etcd"), "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.splitlines()[0].rpartition(" ")[2]


@contextmanager
def etcd_cluster(folder: Path) -> Iterator[str]:
    """Run a cluster with its data in a new folder, and yield its leader's address for clients.

    Raises:
        TimeoutError: It does not elect a leader in time.
    """
    folder.mkdir()
    peers = {name: f"http://{free_address()}" for name in MEMBERS}
    clients = {name: f"http://{free_address()}" for name in MEMBERS}
    cluster = ",".join(f"{name}={url}" for name, url in peers.items())
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name in MEMBERS:
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(  # noqa: S603 - what is to be measured
                        _command(folder / name, peers[name], clients[name], cluster),
                        stdout=log,
                        stderr=log,
                        env=_environment(),
                    )
                )
        yield _leader(list(clients.values()))
    finally:
        _end(processes)


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, "ask `missing_programs` first"
    return path


def _command(data: Path, peer_url: str, client_url: str, cluster: str) -> list[str]:
    return [
        _program("etcd"),
        *("--name", data.name),
        *("--data-dir", str(data)),
        *("--listen-peer-urls", peer_url),
        *("--initial-advertise-peer-urls", peer_url),
        *("--listen-client-urls", client_url),
        *("--advertise-client-urls", client_url),
        *("--initial-cluster", cluster),
        *("--quota-backend-bytes", str(_QUOTA_SIZE)),
        *("--log-level", "error"),
    ]


def _environment() -> dict[str, str]:
    """Return the environment without what would configure etcd and its client."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ETCD_", "ETCDCTL"))
    } | {"ETCDCTL_API": "3"}


def _leader(urls: list[str]) -> str:
    """Wait until a member leads, and return the address at which it takes calls."""
    end_s = time.monotonic() + START_MAX_S
    command = [
        *(_program("etcdctl"), "endpoint", "status"),
        *("--write-out=json", f"--endpoints={','.join(urls)}"),
    ]
    while time.monotonic() < end_s:
        said = subprocess.run(  # noqa: S603 - its own members are asked
            command, capture_output=True, env=_environment(), timeout=START_MAX_S
        )
        members = json.loads(said.stdout) if said.returncode == 0 else []
        for member in members:
            status = member["Status"]
            if status["leader"] and status["leader"] == status["header"]["member_id"]:
                url: str = member["Endpoint"]
                return url.removeprefix("http://")
        time.sleep(POLL_S)
    raise TimeoutError(
        f"the etcd members at {', '.join(urls)} have no leader after {START_MAX_S} s"
    )


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End members at once: left to themselves they hand over for seconds what nobody wants."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


async def pump_puts(address: str, *, size: int, in_flight: int, seconds: float) -> Pumped:
    """Put values under new keys for so long, a number of puts always on their way."""
    value, numbers = os.urandom(size), count()
    latencies_ms: list[float] = []
    options = [("grpc.max_send_message_length", _MESSAGE_SIZE_MAX)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        await channel.channel_ready()
        put: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_PUT)
        start_s = time.perf_counter()

        async def work() -> None:
            while (sent_s := time.perf_counter()) - start_s < seconds:
                await put(put_request(b"block/%012d" % next(numbers), value))
                latencies_ms.append((time.perf_counter() - sent_s) * 1_000)

        await asyncio.gather(*(work() for _ in range(in_flight)))
        return Pumped(
            count=len(latencies_ms),
            seconds=time.perf_counter() - start_s,
            latencies_ms=latencies_ms,
            in_flight=in_flight,
        )


def put_request(key: bytes, value: bytes) -> bytes:
    """Return an etcdserverpb.PutRequest: field 1 is the key, field 2 the value."""
    return b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
