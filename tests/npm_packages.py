"""Node.js with the npm packages of a folder: installed there, or the test is skipped with why."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

NODE_VERSION_MIN = (20, 19)
INSTALL_TIMEOUT_S = 60
NPM_INSTALL = [
    *["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"],
    *["--prefer-offline", "--fetch-retries=0", "--fetch-timeout=20000"],
]
# What npm says where nobody answers; anything else that fails is ours to mend.
UNREACHABLE = ["EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH"]
UNREACHABLE += ["ENOTCACHED", "ENOTFOUND", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT"]


def run(
    command: list[str], *, folder: Path, timeout_s: float, shared: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder and return what it did."""
    environment = os.environ if shared is None else {**os.environ, "LOTMARK_SHARED": str(shared)}
    return subprocess.run(  # noqa: S603 - the arguments are the tests' own
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def node_with_packages(folder: Path) -> str:
    """Return the Node.js that finds the packages which the folder's package.json names."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not on the PATH")
    version = run([node, "--version"], folder=folder, timeout_s=INSTALL_TIMEOUT_S).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < NODE_VERSION_MIN:
        pytest.skip(f"node is {version}; {NODE_VERSION_MIN} is needed")
    if _is_installed(folder):
        return node
    try:
        npm = run(NPM_INSTALL, folder=folder, timeout_s=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm got no packages within {INSTALL_TIMEOUT_S} s")
    if any(code in npm.stderr for code in UNREACHABLE):
        pytest.skip("the npm registry cannot be reached, and the packages are not installed")
    assert npm.returncode == 0, npm.stderr
    return node


def _is_installed(folder: Path) -> bool:
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        package = folder / "node_modules" / name / "package.json"
        if not package.exists() or json.loads(package.read_text())["version"] != version:
            return False
    return True
