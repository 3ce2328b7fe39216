"""Every import root holds one package and nothing else that Python could import."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "node": "lotmark_node",
    "consensus": "lotmark_consensus",
    "adapters": "lotmark_adapters",
    "contracts": "lotmark_contracts",
    "inference": "lotmark_inference",
    "proto": "lotmark",
}


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_import_root_holds_one_package(folder: str, package: str) -> None:
    importable = {
        path.name
        for path in (ROOT / folder).iterdir()
        if path.suffix == ".py" or (path.is_dir() and not path.name.startswith((".", "_")))
    }

    assert importable == {package}
