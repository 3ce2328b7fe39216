"""A foreign implementation as the machine: node-opcua, over an encrypted channel."""

import asyncio
import random
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lotmark_adapters.observation import GapReason
from lotmark_adapters.opcua.browsing import browse
from lotmark_adapters.opcua.certificates import write_certificate
from lotmark_adapters.opcua.settings import OpcuaSettings, OpcuaSignal
from tests.adapters.opcua.watching import Kept, refusal, watching
from tests.npm_packages import node_with_packages

FOLDER = Path(__file__).parent / "node_opcua"
PASSWORD = "a password of a trial"  # noqa: S105 - of this test alone
READY_S = 60.0
QUEUE_SIZE = 100  # the least that is asked for
OVERFLOWING = 250  # pieces at once
COUNTER = "ns=1;s=Counter"
CURRENT = "ns=1;s=Current"


class ForeignMachine:
    """The program, which can be killed and started again at its port."""

    def __init__(self, node: str, program: Path, folder: Path) -> None:
        self.port = low_port()
        certificate, key = write_certificate(
            folder / "machine",
            "machine",
            application_uri="urn:foreign:machine",
            hosts=["127.0.0.1"],
            is_server=True,
        )
        self.trusted = folder / "trusted"
        self.trusted.mkdir()
        shutil.copy(certificate, self.trusted)
        pem = certificate.with_suffix(".pem")
        loaded = x509.load_der_x509_certificate(certificate.read_bytes())
        pem.write_bytes(loaded.public_bytes(Encoding.PEM))
        self._command = [node, "machine.mjs", str(self.port), str(pem), str(key)]
        self._command += [str(folder / "pki"), PASSWORD]
        self._program = program

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_S):
            while (line := await self._process.stdout.readline()) != b"ready\n":
                assert line, "the program ended"

    async def make(self, pieces: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{pieces}\n".encode())
        await self._process.stdin.drain()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


def low_port() -> int:
    """Return a free port that no client gets for itself while it tries to connect there."""
    while True:
        port = random.randrange(20_000, 32_768)  # noqa: S311 - any will do
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return Node.js and the folder of the program, its packages beside it."""
    folder = tmp_path_factory.mktemp("node-opcua")
    for file in FOLDER.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    return node_with_packages(folder), folder


@asynccontextmanager
async def running(program: tuple[str, Path], folder: Path) -> AsyncIterator[ForeignMachine]:
    machine = ForeignMachine(*program, folder)
    try:
        await machine.start()
        yield machine
    finally:
        await machine.kill()


def settings_of(machine: ForeignMachine, folder: Path, password: str = PASSWORD) -> OpcuaSettings:
    file = folder / "password"
    file.write_text(password)
    return OpcuaSettings(
        name="foreign",
        address=f"opc.tcp://127.0.0.1:{machine.port}",
        signals=(
            OpcuaSignal(name="piece", node=COUNTER, is_counter=True),
            OpcuaSignal(name="current", node=CURRENT),
        ),
        own=folder / "own",
        application_uri="urn:lotmark:edge:foreign",
        trusted=machine.trusted,
        user="edge",
        password_file=file,
        publishing_ms=50,
        queue_size=QUEUE_SIZE,
        answer_s=3.0,
    )


def test_node_opcua_is_watched_over_an_overflow_and_a_restart(
    program: tuple[str, Path], tmp_path: Path
) -> None:
    async def scenario() -> None:
        kept = Kept()
        async with running(program, tmp_path) as machine:
            wrong = await refusal(settings_of(machine, tmp_path, "another"))
            settings = settings_of(machine, tmp_path)
            found = await browse(settings)
            async with watching(settings, kept) as until:
                await until(lambda: len(kept.observations) == 2)
                await machine.make(10)
                await until(lambda: kept.values(COUNTER)[-1] == "10")
                calm = (kept.values(COUNTER), kept.values(CURRENT), list(kept.reasons))
                await machine.make(OVERFLOWING)
                await until(lambda: kept.values(COUNTER)[-1] == str(10 + OVERFLOWING))
                overflowed = list(kept.gaps)
                await machine.kill()
                await machine.start()
                await machine.make(3)
                await until(lambda: kept.values(COUNTER)[-1] == "3")

        assert wrong.startswith("SourceRefused")
        assert "refuses user 'edge'" in wrong
        assert {each.path for each in found} >= {"Machine/Counter", "Machine/Current"}
        assert calm[0] == [str(number) for number in range(11)]
        assert calm[1][-3:] == ["2", "2.25", "2.5"]
        assert calm[2] == []

        bits = {gap.signal for gap in overflowed if gap.reason is GapReason.OVERFLOW_BIT}
        assert bits == {COUNTER, CURRENT}
        seen = {int(value or "") for value in kept.values(COUNTER)} | {
            number
            for gap in overflowed
            if gap.reason is GapReason.COUNTER_JUMP
            for number in range(gap.first, gap.last + 1)
        }
        assert seen == set(range(11 + OVERFLOWING))
        source_wide = [gap.reason for gap in kept.gaps if not gap.signal]
        assert source_wide == [GapReason.INSTANCE_CHANGED]

    asyncio.run(scenario())
