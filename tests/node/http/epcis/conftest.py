"""One node for all tests of the EPCIS interface that leave it as it is."""

from collections.abc import Iterator

import pytest

from tests.node.http.epcis.epcis_endpoint import EpcisEndpoint
from tests.node.http.http_node import http_node


@pytest.fixture(scope="package")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EpcisEndpoint]:
    with http_node(tmp_path_factory.mktemp("epcis") / "consortium") as node:
        yield EpcisEndpoint(node)
