"""`lotmark witness` as a program: started, killed, started again, and without its memory."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lotmark import genesis as protocol_genesis
from lotmark.certificates import tls_name
from lotmark.cosignature import verify_cosignature
from lotmark.genesis import Genesis
from lotmark.key_file import read_key_file
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    VerifierKey,
    format_vkey,
    parse_vkey,
    verifier_key,
)
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan
from lotmark_node.witness.client import WitnessClient
from lotmark_node.witness.errors import WitnessRefused, WitnessUnavailable
from tests.node.running_node import PROGRAM, lotmark
from tests.node.witness.growing_log import FORKED, LOG, ORIGIN, WITNESS_NAME, GrowingLog

READY_S = 30
STOP_S = 20


@dataclass(slots=True)
class RunningWitness:
    """A witness in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    vkey: VerifierKey
    chain_id: str | None

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


@contextmanager
def running(settings: Path) -> Iterator[RunningWitness]:
    with subprocess.Popen(  # noqa: S603  # our own program
        [*PROGRAM, "witness", "run", str(settings), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "LOTMARK_TRACEBACK": ""},
    ) as process:
        assert process.stdout is not None
        overdue = threading.Timer(READY_S, process.kill)  # ends the wait for the line
        overdue.start()
        line = process.stdout.readline()
        overdue.cancel()
        try:
            assert line, f"no ready line, exit {process.wait(STOP_S)}"
            ready = json.loads(line)
            assert ready["ready"]
            yield RunningWitness(
                process, ready["url"], parse_vkey(ready["vkey"]), ready["chain_id"]
            )
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A new witness of a foreign log: its settings file."""
    settings = tmp_path / "witness.toml"
    settings.write_text(
        'listen = "127.0.0.1:0"\ndata = "data"\ncosign_key = "keys/cosign.key"\n'
        f'name = "{WITNESS_NAME}"\n[[log]]\norigin = "{ORIGIN}"\n'
        f'vkeys = ["{format_vkey(LOG.vkeys[0])}"]\n'
    )
    done = lotmark("witness", "new", str(settings))
    key = read_key_file(tmp_path / "keys/cosign.key").public
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{format_vkey(verifier_key(WITNESS_NAME, COSIGNATURE_ED25519, key))}\n"
    return settings


def client_of(witness: RunningWitness) -> WitnessClient:
    return WitnessClient(witness.url, [witness.vkey])


def test_a_witness_of_a_foreign_log_cosigns_until_it_is_told_to_stop(foreign: Path) -> None:
    with running(foreign) as witness, closing(client_of(witness)) as client:
        before_s = time.time_ns() // 1_000_000_000
        (signature,) = client.submit(LOG.note(8), LOG.path)
        time_s = verify_cosignature(LOG.note(8).text, signature, witness.vkey)

        assert (witness.chain_id, before_s <= time_s <= before_s + READY_S) == (None, True)
        assert witness.end(signal.SIGTERM) == 0
        with pytest.raises(WitnessUnavailable):
            client.submit(LOG.note(9), LOG.path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_answered_is_remembered_whatever_ends_the_process(
    foreign: Path, number: signal.Signals
) -> None:
    with running(foreign) as witness, closing(client_of(witness)) as client:
        for size in (5, 8, 13):
            client.submit(LOG.note(size), LOG.path)
        witness.end(number)

    asked: list[tuple[int, int]] = []

    def prove(first_size: int, second_size: int) -> list[bytes]:
        asked.append((first_size, second_size))
        return LOG.path(first_size, second_size)

    with running(foreign) as witness, closing(client_of(witness)) as client:
        with pytest.raises(WitnessRefused, match="422"):
            client.submit(FORKED.note(13), FORKED.path)
        client.submit(LOG.note(64), prove)
    assert asked == [(13, 64)]


def test_a_witness_that_lost_its_memory_starts_no_more(foreign: Path) -> None:
    with running(foreign) as witness, closing(client_of(witness)) as client:
        client.submit(LOG.note(8), LOG.path)
    shutil.rmtree(foreign.parent / "data")
    started = lotmark("witness", "run", str(foreign))
    made_anew = lotmark("witness", "new", str(foreign))

    assert (started.returncode, made_anew.returncode) == (2, 2)
    assert "starts only with the memory that was made with its key" in started.stderr
    assert "may have cosigned: its memory is not made anew" in made_anew.stderr
    assert started.stdout == made_anew.stdout == ""


def test_two_processes_cannot_run_on_one_memory(foreign: Path) -> None:
    with running(foreign):
        second = lotmark("witness", "run", str(foreign))

    assert second.returncode == 2
    assert "in use by another witness" in second.stderr


@dataclass(frozen=True, slots=True)
class Consortium:
    """A founded consortium whose laboratory only witnesses."""

    settings: Path
    genesis: Genesis
    chain_id: bytes
    log: GrowingLog


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    folder = tmp_path / "consortium"
    plan = make_plan("stator-line", [], [], [], ["LAB-17025/w1@127.0.0.1:7404"])
    founded = found_consortium(folder, plan, now_ms=time.time_ns() // 1_000_000)
    settings = folder / "LAB-17025/witnesses/w1/witness.toml"
    settings.write_text(settings.read_text().replace("127.0.0.1:7404", "127.0.0.1:0"))
    log_key = read_key_file(folder / "OEM-A/nodes/n1/keys/log.key")
    origin = protocol_genesis.origin(founded.genesis, founded.chain_id)
    return Consortium(
        settings,
        founded.genesis,
        founded.chain_id,
        GrowingLog(origin, keys=[log_key]),
    )


def test_a_laboratory_witnesses_its_consortium_over_tls(consortium: Consortium) -> None:
    laboratory = consortium.genesis.party("LAB-17025")
    assert laboratory is not None
    with running(consortium.settings) as witness:
        assert witness.url.startswith("https://127.0.0.1:")
        assert witness.chain_id == consortium.chain_id.hex()
        client = WitnessClient(
            witness.url,
            [witness.vkey],
            ca_pem=laboratory.ca_pem,
            server_name=tls_name("LAB-17025", "w1", consortium.chain_id),
        )
        with closing(client):
            client.submit(consortium.log.note(8), consortium.log.path)
            note = consortium.log.note(13)
            (signature,) = client.submit(note, consortium.log.path)

    policy = protocol_genesis.policy_text(consortium.genesis, consortium.chain_id).decode()
    assert f"witness LAB-17025/w1 {format_vkey(witness.vkey)}\n" in policy
    verify_cosignature(note.text, signature, witness.vkey)


def test_a_key_that_the_genesis_gives_to_somebody_else_does_not_cosign(
    consortium: Consortium,
) -> None:
    other = consortium.settings.parents[3] / "OEM-A/nodes/n1/keys/cosign.key"
    shutil.copy(other, consortium.settings.parent / "keys/cosign.key")

    done = lotmark("witness", "run", str(consortium.settings))

    assert done.returncode == 2
    assert "another key, or none, for cosign" in done.stderr


def test_a_consortiums_witness_gets_no_second_key(consortium: Consortium) -> None:
    done = lotmark("witness", "new", str(consortium.settings))

    assert done.returncode == 2
    assert "`lotmark init` has made its key and memory" in done.stderr


def test_a_tls_key_of_another_certificate_is_refused(consortium: Consortium) -> None:
    other = consortium.settings.parents[3] / "OEM-A/nodes/n1/tls/key.pem"
    shutil.copy(other, consortium.settings.parent / "tls/key.pem")

    done = lotmark("witness", "run", str(consortium.settings))

    assert done.returncode == 2
    assert "are no certificate and its unencrypted key" in done.stderr
