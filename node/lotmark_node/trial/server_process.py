"""A node or witness as a process of its own, from its start to whatever end it finds."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lotmark_node.node_settings import ENVIRONMENT_PREFIX

READY_MAX_S = 60.0
STOP_MAX_S = 60.0


class ServerFailed(Exception):
    """A process did not start or end as it should."""


class ServerProcess:
    """One process of ours that prints a line of JSON when it takes calls.

    Attributes:
        name: Whose process it is, for messages.
        log: What it writes to its standard error, from all its starts.
        ready: What its line said.
        startup_s: How long it took to say it.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.ready: Mapping[str, object] = {}
        self.startup_s = 0.0
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self._started_s = 0.0

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it; `wait_ready` waits until it takes calls."""
        assert not self.runs, f"{self.name} runs already"
        self._started_s = time.perf_counter()
        with self.log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *self._arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # The settings file alone shall tell what it does.
                env={k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)},
            )

    def wait_ready(self) -> None:
        """Return once it takes calls.

        Raises:
            ServerFailed: It does not, in time.
        """
        assert self._process is not None, "launch it first"
        stdout = self._process.stdout
        assert stdout is not None, "it was asked for"
        readable, _, _ = select.select([stdout], [], [], READY_MAX_S)
        line = stdout.readline() if readable else ""
        if not line:
            self.kill()
            said = self.log.read_text(errors="replace").splitlines() or ["it says nothing"]
            raise ServerFailed(f"{self.name} did not start: {said[-1]}")
        self.startup_s = time.perf_counter() - self._started_s
        self.ready = json.loads(line)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def stop(self) -> int | None:
        """End it as an operator does; return its exit status, None where it did not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._process.returncode

    def logged(self, event: str) -> dict[str, object] | None:
        """Return the newest record of an event in its log, None where there is none."""
        for line in reversed(self.log.read_text(errors="replace").splitlines()):
            if line.startswith("{"):
                record: dict[str, object] = json.loads(line)
                if record.get("event") == event:
                    return record
        return None
