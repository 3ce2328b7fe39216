"""One founded consortium for all tests here: its keys and certificates take a while to make."""

import pytest

from tests.node.rpc.served_ledger import FoundedConsortium


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> FoundedConsortium:
    return FoundedConsortium(tmp_path_factory.mktemp("consortium") / "work")
