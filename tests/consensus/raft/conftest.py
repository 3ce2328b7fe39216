"""Three voters in one process, over each kind of wire."""

from collections.abc import Iterator

import pytest

from lotmark_consensus.raft.timing import RaftTiming
from tests.consensus.raft.voter_cluster import (
    GrpcLinks,
    Links,
    MemoryLinks,
    VoterCluster,
)


@pytest.fixture(params=[MemoryLinks, GrpcLinks])
def links(request: pytest.FixtureRequest) -> Links:
    made: Links = request.param()
    return made


@pytest.fixture
def cluster(links: Links) -> Iterator[VoterCluster]:
    """Voters over each kind of wire."""
    made = VoterCluster(links)
    yield made
    made.close()


@pytest.fixture
def in_memory() -> Iterator[VoterCluster]:
    made = VoterCluster(MemoryLinks())
    yield made
    made.close()


@pytest.fixture
def patient() -> Iterator[VoterCluster]:
    """Voters that wait for each other as long as in production."""
    made = VoterCluster(MemoryLinks(), timing=RaftTiming())
    yield made
    made.close()
