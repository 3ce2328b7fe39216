"""A founded consortium and a real node of it: the program in a process, on a port that is free.

    with node_process(tmp_path) as node:
        done = node.lotmark("log", "head", "--as", str(node.client("T1-STATOR", "line-l3")))

A test that needs a node for all of a module makes a fixture of it, with scope "module" and
`tmp_path_factory`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan

READY_S = 30
STOP_S = 20
COMMAND_S = 60
PROGRAM = (sys.executable, "-m", "lotmark_node.main")


class NodeProcess:
    """A consortium in a folder, and the node of its first party."""

    def __init__(
        self,
        folder: Path,
        *,
        parties: Sequence[str] = (),
        clients: Sequence[str] = (),
        witnesses: Sequence[str] = (),
        node: str = "OEM-A/n1",
    ) -> None:
        """Found the consortium: the four of a stator line, unless parties are named."""
        self.folder = folder
        plan = make_plan("stator-line", parties, [f"{node}@127.0.0.1:0"], clients, witnesses)
        founded = found_consortium(folder, plan, now_ms=time.time_ns() // 1_000_000)
        self.chain_id, self.genesis = founded.chain_id, founded.genesis
        party, name = node.split("/")
        self.settings = folder / party / "nodes" / name / "node.toml"
        self.data = self.settings.parent / "data"
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[str] | None = None
        self.log: list[str] = []  # lines on the standard error so far
        self._log_reader: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Where the node listens, host:port."""
        address: str = self.ready["address"]
        return address

    def client(self, party: str = "T1-STATOR", holder: str = "line-l3") -> Path:
        """Return a client's settings file, which names the node's present address."""
        return self.folder / party / "clients" / holder / "client.toml"

    def start(self, **environment: str) -> None:
        """Start the node and return when it is ready.

        Raises:
            AssertionError: It ended, or was not ready in time; the message has its log.
        """
        assert self.process is None, "the node runs already"
        self.log = []
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            [*PROGRAM, "node", "run", str(self.settings), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        process = self.process
        assert process.stdout is not None
        self._log_reader = threading.Thread(target=self._read_log, args=(process,), daemon=True)
        self._log_reader.start()
        overdue = threading.Timer(READY_S, process.kill)  # ends the wait for the line below
        overdue.start()
        line = process.stdout.readline()
        overdue.cancel()
        if not line:
            code = self._end(signal.SIGKILL)
            raise AssertionError(f"no ready line in {READY_S} s, exit {code}: {self.log}")
        self.ready = json.loads(line)
        for path in self.folder.glob("*/clients/*/client.toml"):
            text = path.read_text()
            path.write_text(
                re.sub(r'node_address = "[^"]*"', f'node_address = "{self.address}"', text)
            )

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.log.append(line)

    def stop(self) -> int:
        """Ask the node to end, as an operator does, and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the node as a power cut would, and return its exit code."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        assert process is not None, "the node does not run"
        assert process.stdout is not None
        assert self._log_reader is not None
        process.send_signal(number)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
            self._log_reader.join(STOP_S)

    def lotmark(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command line, such as ``node.lotmark("log", "head")``, and return what it did."""
        return lotmark(*arguments, **environment)


def lotmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    return subprocess.run(  # noqa: S603  # our own program
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=COMMAND_S,
        check=False,
        env={**os.environ, "LOTMARK_TRACEBACK": "", **environment},
    )


@contextmanager
def node_process(
    folder: Path, *, parties: Sequence[str] = (), clients: Sequence[str] = ()
) -> Iterator[NodeProcess]:
    """Found a consortium, run its node, and stop it at the end."""
    node = NodeProcess(folder, parties=parties, clients=clients)
    node.start()
    try:
        yield node
    finally:
        if node.process is not None:
            node.stop()
