"""How long voters wait for each other."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftTiming:
    """The waits of one voter; all voters of a network use the same.

    A leader whose process is held up for 300 ms, and a follower that is held up for as long, do
    not cost an election. After a leader's death the others elect within twice `election_max_s`.
    """

    heartbeat_s: float = 0.1
    election_min_s: float = 1.0  # a voter that heard its leader within this helps nobody replace it
    election_max_s: float = 2.0
    leader_fallback_s: float = 2.0  # a leader that hears no quorum for so long stops leading
    abstain_s: float = 60.0  # a leader whose time a majority refused does not campaign for so long
    clock_ahead_max_ms: int = 5000  # a block further ahead of a voter's clock is not taken
