"""What a story may expect.

expect leader b | expect no leader       who leads in the highest term; that nobody leads
expect follower b                        b runs, and does not lead
expect committed x1 x2 on all|b c        the ledgers of all that run, or of these, have it
expect x1 nowhere                        no ledger has it
expect same ledgers                      of all voters that run
expect acknowledged x1                   its proposer was told that it stands
expect told x1 NotLeader|OutcomeUnknown  its proposer was told that
expect no election                       nobody has begun to lead since `mark`
expect term +1                           the highest term rose by so much since `mark`
expect voters a b d                      as the leader sees it
expect change NAME                       what became of the last `add` or `remove`
expect refused b by a                    a did not admit b; `expect nobody refused`
expect state transfer                    somebody fetched blocks elsewhere; or `no ...`
"""

import re
from collections.abc import Callable

from lotmark_consensus.errors import ConsensusError
from lotmark_consensus.ordering import Ordered
from tests.simulation.stage import Stage
from tests.simulation.trace import PARTY
from tests.simulation.voter import Voter


class ExpectationFailed(Exception):
    """It is otherwise."""


class Expectations:
    """Compares a stage with what a story says of it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._elections_count = 0
        self._highest_term = 0
        self._change: Ordered | ConsensusError | None = None
        self._table: list[tuple[str, Callable[..., None]]] = [
            (r"leader ([a-z])", self._leader),
            (r"no leader", self._no_leader),
            (r"follower ([a-z])", self._follower),
            (r"committed (.+) on (.+)", self._committed),
            (r"(\w+) nowhere", self._nowhere),
            (r"same ledgers", self._same_ledgers),
            (r"acknowledged (\w+)", self._acknowledged),
            (r"told (\w+) (\w+)", self._told),
            (r"no election", self._no_election),
            (r"term \+(\d+)", self._term),
            (r"voters ([a-z ]+)", self._voters),
            (r"change (\w+)", self._changed_to),
            (r"refused ([a-z]) by ([a-z])", self._refused),
            (r"nobody refused", self._nobody_refused),
            (r"(no )?state transfer", self._state_transfer),
        ]

    def mark(self) -> None:
        """Remember how often somebody was elected, and the highest term."""
        self._elections_count = self._elections()
        self._highest_term = self._term_now()

    def changed(self, outcome: Ordered | ConsensusError) -> None:
        """Remember what became of a change of the voters."""
        self._change = outcome

    def check(self, text: str) -> None:
        """Raise `ExpectationFailed` unless it is so."""
        for pattern, expectation in self._table:
            match = re.fullmatch(pattern, text)
            if match is not None:
                expectation(*match.groups())
                return
        raise ExpectationFailed("nobody knows how to check this")

    def _leader(self, name: str) -> None:
        leader = self._stage.leader()
        _expect(leader is self._stage.voter(name), f"the leader is {_name(leader)}")

    def _no_leader(self) -> None:
        leader = self._stage.leader()
        _expect(leader is None, f"{_name(leader)} leads")

    def _follower(self, name: str) -> None:
        voter = self._stage.voter(name)
        _expect(voter.status is not None and not voter.leads, f"{name} leads, or does not run")

    def _committed(self, blocks: str, names: str) -> None:
        voters = (
            self._stage.running()
            if names == "all"
            else [self._stage.voter(name) for name in names.split()]
        )
        for voter in voters:
            kept = _blocks(voter)
            missing = [block for block in blocks.split() if block not in kept]
            _expect(not missing, f"{_name(voter)} lacks {missing}, it has {kept}")

    def _nowhere(self, block: str) -> None:
        holders = [_name(v) for v in self._stage.network.voters.values() if block in _blocks(v)]
        _expect(not holders, f"{holders} have it")

    def _same_ledgers(self) -> None:
        running = [v for v in self._stage.running() if v.name in self._members()]
        heights = {_name(voter): voter.ledger.index for voter in running}
        _expect(len(set(heights.values())) == 1, f"they end at {heights}")

    def _acknowledged(self, block: str) -> None:
        outcome = self._stage.outcomes.get(block)
        _expect(isinstance(outcome, Ordered), f"its proposer was told {outcome!r}")

    def _told(self, block: str, error: str) -> None:
        outcome = self._stage.outcomes.get(block)
        _expect(type(outcome).__name__ == error, f"its proposer was told {outcome!r}")

    def _no_election(self) -> None:
        count = self._elections() - self._elections_count
        _expect(count == 0, f"{count} since the mark: {self._stage.network.watch.leaders}")

    def _term(self, difference: str) -> None:
        rise = self._term_now() - self._highest_term
        _expect(rise == int(difference), f"it rose by {rise}, to {self._term_now()}")

    def _voters(self, names: str) -> None:
        members = sorted(name[len(PARTY) :] for name in self._members())
        _expect(members == sorted(names.split()), f"they are {members}")

    def _changed_to(self, outcome: str) -> None:
        _expect(type(self._change).__name__ == outcome, f"it is {self._change!r}")

    def _refused(self, peer: str, name: str) -> None:
        refused = self._stage.network.refused
        _expect((PARTY + name, PARTY + peer) in refused, f"refused were {sorted(refused)}")

    def _nobody_refused(self) -> None:
        refused = self._stage.network.refused
        _expect(not refused, f"refused were {sorted(refused)}")

    def _state_transfer(self, no: str | None) -> None:
        count = self._stage.network.watch.counts["state transfers"]
        _expect(bool(count) != bool(no), f"there were {count}")

    def _elections(self) -> int:
        return self._stage.network.watch.counts["elections"]

    def _term_now(self) -> int:
        return max((v.status.term for v in self._stage.running() if v.status), default=0)

    def _members(self) -> frozenset[str]:
        leader = self._stage.leader()
        if leader is None or leader.status is None:
            raise ExpectationFailed("nobody leads")
        return leader.status.voters


def _expect(so: bool, otherwise: str) -> None:
    if not so:
        raise ExpectationFailed(otherwise)


def _name(voter: Voter | None) -> str:
    return "nobody" if voter is None else voter.name[len(PARTY) :]


def _blocks(voter: Voter) -> list[str]:
    return [ordered.block.decode() for ordered in voter.ledger.blocks if ordered.block]
