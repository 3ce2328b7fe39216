"""Which parts of the guard are on: all of them, but in the tests that show what each is for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Protections:
    """Each switches one part of the guard off, to prove that its absence is noticed."""

    ack_term: bool = True  # acknowledgements of another term count for nothing
    vote_set: bool = True  # voters are counted, not votes
    member_check: bool = True  # answers of those who are no voters count for nothing
    normalise: bool = True  # appends reach the core trimmed: it cuts at a conflict only
    pointer_clamp: bool = True  # a pointer commits nothing that was not compared
    wait_for_disk: bool = True  # nothing leaves or counts before this disk has it
    stickiness: bool = True  # no vote against a leader that is alive
    prevote: bool = True  # no new term before a quorum would vote for it
    term_notice: bool = True  # who speaks in an old term is told of the new one
    time_rule: bool = True  # blocks too far ahead of the clock are not taken
    regression: bool = True  # a peer that shows less than it showed is not heard
