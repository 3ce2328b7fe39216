"""Node.js with the npm packages of a folder: installed there, or the test is skipped with why."""

import json
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


def node_with_packages(folder: Path) -> str:
    """Return the Node.js that finds the packages which the folder's package.json names."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not on the PATH")
    version = _run([node, "--version"], folder).stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < NODE_VERSION_MIN:
        pytest.skip(f"node is {version}; {NODE_VERSION_MIN} is needed")
    if _is_installed(folder):
        return node
    try:
        npm = _run(NPM_INSTALL, folder)
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


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own arguments
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
