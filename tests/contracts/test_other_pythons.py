"""Other Pythons come to the same receipts and state: the rules need nothing but the language."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts import mixed_events
from tests.npm_packages import node_with_packages

ROOT = Path(__file__).parents[2]
PYODIDE = Path(__file__).parent / "pyodide"
SEED, COUNT = 20_251_223, 3_000
TIMEOUT_S = 120
OTHERS = [f"python3.{minor}" for minor in range(11, 17) if minor != sys.version_info.minor]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own arguments
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'contracts'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def digest() -> str:
    return mixed_events.run(SEED, COUNT)[1]


@pytest.mark.parametrize("name", OTHERS)
def test_another_version_of_python_comes_to_the_same_digest(name: str, digest: str) -> None:
    python = shutil.which(name)
    # A name on the PATH may be a shim that leads nowhere.
    if python is None or run([python, "--version"], ROOT).returncode != 0:
        pytest.skip(f"there is no {name} here")

    done = run([python, "-B", "-m", "tests.contracts.mixed_events", str(SEED), str(COUNT)], ROOT)

    assert done.stdout.strip() == digest, done.stderr


def test_python_compiled_to_webassembly_comes_to_the_same_digest(digest: str) -> None:
    node = node_with_packages(PYODIDE)

    done = run([node, "mixed_events.mjs", str(ROOT), str(SEED), str(COUNT)], PYODIDE)

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["platform"] == "emscripten"
    assert answer["digest"] == digest
