"""One welder for all tests that need no other: to start its server takes two seconds."""

from collections.abc import Iterator

import pytest

from tests.adapters.opcua.watching import Machine


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("welder"))
    yield machine
    machine.close()
