"""How tests run: properties without deadline, each failure replayable; two files at a time.

Networks of real processes run one after the other, begun first, while all else runs beside them:
both halves take about as long, and no network waits for the processor of another one.
"""

import pytest
from hypothesis import settings

settings.register_profile("lotmark", deadline=None, print_blob=True)
settings.load_profile("lotmark")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests one worker runs in their order: those of a file, and all networks."""
    group = "networks" if _is_network(item) else item.nodeid.partition("::")[0]
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the networks."""
    items.sort(key=lambda item: not _is_network(item))


def _is_network(item: pytest.Item) -> bool:
    return item.nodeid.startswith("tests/network/")
