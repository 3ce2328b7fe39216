"""A submitting process killed at any moment, and its node with it: no event is lost or doubled."""

import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.client import Client, ClientSettings, LedgerSession, read_client_settings
from lotmark.entry import EntryKind
from lotmark.outcome import Outcome
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import NodeProcess, node_process

KILLS = int(os.environ.get("LOTMARK_KILLS", "6"))
FLUSH_S = 60.0
FIRST_NUMBERS = itertools.count(1_000_000, 1_000_000)

# Submits groups of the given size for ever, prints the number of each event whose submit returned,
# and kills itself a while after the client was opened: in the middle of anything.
SUBMITTER = """
import os, signal, sys, threading
from pathlib import Path
from lotmark.client import Client
from tests.node.ledger_in_memory import measurement
settings, first, group_size, life_s = sys.argv[1:]
events = {}
client = Client.open(Path(settings))
threading.Timer(float(life_s), os.kill, (os.getpid(), signal.SIGKILL)).start()
for at in range(int(first), sys.maxsize, int(group_size)):
    numbers = range(at, at + int(group_size))
    client.submit_all([measurement(number) for number in numbers])
    os.write(1, f"{numbers.start} {numbers.stop}\\n".encode())
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("kill") / "consortium"
    with node_process(folder, parties=["OEM-A:oem"], clients=["OEM-A/erp"]) as running:
        yield running


def settings_file(node: NodeProcess, folder: Path) -> Path:
    """Return the settings of a client with an outbox of its own."""
    own = node.client("OEM-A", "erp")
    path = own.with_name(f"{folder.name}.toml")
    path.write_text(f'{own.read_text()}\noutbox = "{folder}/outbox.db"\n')
    return path


def submit_until_killed(path: Path, *, group_size: int, life_s: float) -> list[bytes]:
    """Return the events whose submit returned before the process killed itself."""
    first = next(FIRST_NUMBERS)
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", SUBMITTER, str(path), str(first), str(group_size), str(life_s)],
        capture_output=True,
        text=True,
        timeout=FLUSH_S,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    ranges = [map(int, line.split()) for line in done.stdout.splitlines(keepends=True)]
    return [measurement(number) for each in ranges for number in range(*each)]


def check_once(settings: ClientSettings, returned: list[bytes]) -> None:
    """Every event whose submit returned is on the ledger, and no event is there twice."""
    with Client(settings) as client:
        assert client.flush(FLUSH_S) == 0, client.trouble
        assert client.refused() == []
    with LedgerSession(settings) as session:
        entries = [entry for entry in session.entries() if entry.head.kind is EntryKind.EVENT]
        assert {entry.head.outcome for entry in entries} == {Outcome.ACCEPTED}
        assert not [
            each
            for each in session.entries(all_kinds=True)
            if each.head.kind is EntryKind.EQUIVOCATION
        ]
    counts = Counter(entry.event for entry in entries)
    assert max(counts.values()) == 1
    assert not set(returned) - set(counts), "events whose submit had returned"


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_client_that_is_killed_at_any_moment_loses_and_doubles_no_event(
    node: NodeProcess, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  # the seed is the test's name
    path = settings_file(node, tmp_path)
    returned: list[bytes] = []
    for _ in range(3):
        group_size = chance.choice([1, 1, 7, 300, 1_000])
        returned += submit_until_killed(
            path, group_size=group_size, life_s=chance.uniform(0.02, 0.4)
        )

    assert returned
    check_once(read_client_settings(path), returned)


def test_a_node_that_is_killed_with_its_client_or_without_it_costs_no_event(
    tmp_path: Path,
) -> None:
    with node_process(
        tmp_path / "consortium", parties=["OEM-A:oem"], clients=["OEM-A/erp"]
    ) as node:
        settings = replace(
            read_client_settings(settings_file(node, tmp_path)),
            outbox_file=tmp_path / "outbox.db",
        )
        returned = submit_until_killed(settings_file(node, tmp_path), group_size=40, life_s=0.3)
        node.kill()
        with Client(settings) as client:  # while no node is there
            events = [measurement(number) for number in range(500)]
            returned += events
            client.submit_all(events)
            assert client.close(timeout_s=0.0) >= 500
        node.start()
        path = settings_file(node, tmp_path)
        with Client(read_client_settings(path)) as client:
            events = [measurement(number) for number in range(500, 3_000)]
            returned += events
            deliveries = client.submit_all(events)
            deliveries[600].result(FLUSH_S)
            node.kill()  # with answers on their way
            until_trouble(client)
        node.start()
        check_once(read_client_settings(settings_file(node, tmp_path)), returned)


def until_trouble(client: Client) -> None:
    end_s = time.monotonic() + FLUSH_S
    while not client.trouble:
        assert time.monotonic() < end_s, "it never noticed"
        time.sleep(0.02)  # another thread's state, which nothing announces
    client.close(timeout_s=0.0)
