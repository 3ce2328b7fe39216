"""A voter that was away for long fetches the blocks that the order no longer holds."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lotmark_node.engine import catch_up
from lotmark_node.engine.applying import ApplyLoop
from lotmark_node.engine.catch_up import CatchUp
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import OrderPlace
from tests.node.engine.checkpoint_network import FOUR, OEM, TIER2, ledger
from tests.node.engine.others_ledgers import LedgersOfOthers, blocks_of
from tests.node.engine.running_engine import run, until
from tests.node.engine.stored_ledger import StoredLedger

HEIGHT = 3  # of the voter that was away
FORK = 5  # the height after which branches differ
OWN, OTHER = ledger(FOUR), ledger(FOUR, "b", FORK)


class Away:
    """A voter's ledger behind the others', and what came of its transfers."""

    def __init__(self, folder: Path, others: LedgersOfOthers) -> None:
        self.stored = StoredLedger(folder / "ledger", OWN)
        self.stored.grow(HEIGHT)
        self.others = others
        self.installed: list[OrderPlace] = []
        self.invalid_count = 0
        self.failures: list[BaseException] = []
        self.applying = ApplyLoop(
            self.stored.state,
            self.stored.store,
            place=OrderPlace(HEIGHT, 1),
            find_made=lambda raw: None,
            on_applied=lambda effects: None,
            on_passed=lambda: None,
            on_invalid=self._invalid,
            on_synced=lambda index: None,
            on_failure=self.failures.append,
            clock=StageClock(),
        )
        self.catch_up = CatchUp(
            others,
            self.applying,
            height=lambda: self.height,
            installed=self.installed.append,
        )

    def _invalid(self) -> None:
        self.invalid_count += 1

    @property
    def height(self) -> int:
        return self.stored.state.height

    def follow(self, place: OrderPlace, *leaders: str, until_so: Callable[[], bool]) -> None:
        """Let leaders point at a place, once each, and wait until something has come about."""

        async def within() -> None:
            for leader in leaders:
                self.catch_up.begin(leader, place)
                await asyncio.sleep(0)  # it is asked
            await until(until_so)
            await self.catch_up.stop()
            await asyncio.get_running_loop().run_in_executor(None, self.applying.stop)

        run(within())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "AGAIN_MIN_S", 0.01)


@contextmanager
def away(folder: Path, others: LedgersOfOthers) -> Iterator[Away]:
    made = Away(folder, others)
    made.applying.start()
    try:
        yield made
    finally:
        made.applying.stop()
        made.stored.close()
    assert made.failures == []


@pytest.mark.parametrize(
    ("index", "height"), [(9, 9), (11, 9), (6, 6)], ids=["all", "no block last", "a part"]
)
def test_a_voter_takes_the_blocks_up_to_where_the_leader_points_and_stands_there(
    tmp_path: Path, index: int, height: int
) -> None:
    others = LedgersOfOthers({OEM: blocks_of(OWN, 9)})
    place = OrderPlace(index, 1)
    with away(tmp_path, others) as voter:
        voter.follow(place, OEM, until_so=lambda: bool(voter.installed))

        assert (voter.height, voter.applying.place) == (height, place)
        assert voter.stored.store.tree.root(voter.stored.state.size) == OWN.root(OWN.sizes[height])
        assert (voter.installed, others.asked) == ([place], [(OEM, HEIGHT + 1)])
        loaded = voter.stored.store.load_position()
        assert loaded is not None
        assert loaded[1] == OrderPlace(index, 1, leapt=True)


def test_a_block_that_breaks_a_rule_ends_the_transfer_where_it_stands(tmp_path: Path) -> None:
    false = [*blocks_of(OWN, FORK + 1), *blocks_of(OTHER, 9)[FORK + 1 :]]
    with away(tmp_path, LedgersOfOthers({OEM: false})) as voter:
        voter.follow(OrderPlace(9, 1), OEM, until_so=lambda: voter.invalid_count > 0)

        assert (voter.height, voter.applying.place.index) == (FORK + 1, FORK + 1)
        assert voter.installed == []


def test_a_peer_that_leaves_a_height_out_is_not_followed_further(tmp_path: Path) -> None:
    gappy = [block for block in blocks_of(OWN, 9) if block[0] != FORK]
    others = LedgersOfOthers({OEM: gappy})
    with away(tmp_path, others) as voter:
        voter.follow(OrderPlace(9, 1), OEM, until_so=lambda: len(others.asked) > 1)

        assert voter.height == FORK - 1
        assert voter.installed == []


def test_a_peer_that_falls_silent_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "SILENT_MAX_S", 0.05)
    others = LedgersOfOthers({OEM: blocks_of(OWN, FORK), TIER2: blocks_of(OWN, 9)})
    others.silent.add(OEM)
    place = OrderPlace(9, 1)
    with away(tmp_path, others) as voter:
        voter.follow(place, OEM, TIER2, until_so=lambda: bool(voter.installed))

        assert [peer for peer, _ in others.asked] == [OEM, TIER2]
        assert voter.height == 9


def test_a_transfer_that_broke_off_is_taken_up_again_though_the_leader_points_once(
    tmp_path: Path,
) -> None:
    others = LedgersOfOthers({})

    def installed() -> bool:
        if len(others.asked) >= 2:
            others.given[OEM] = blocks_of(OWN, 9)
        return bool(voter.installed)

    with away(tmp_path, others) as voter:
        voter.follow(OrderPlace(9, 1), OEM, until_so=installed)

        assert voter.height == 9
        assert len(others.asked) > 2


def test_a_place_that_the_order_has_brought_meanwhile_is_fetched_from_nobody(
    tmp_path: Path,
) -> None:
    others = LedgersOfOthers({})
    with away(tmp_path, others) as voter:

        def given_up() -> bool:
            voter.applying.place = OrderPlace(9, 1)  # by the entries of another leader
            return voter.catch_up._task is not None and voter.catch_up._task.done()

        voter.follow(OrderPlace(9, 1), OEM, until_so=given_up)

        assert len(others.asked) <= 1
        assert voter.installed == []


def test_a_voter_that_ends_within_a_transfer_knows_that_its_journal_is_behind(
    tmp_path: Path,
) -> None:
    others = LedgersOfOthers({OEM: blocks_of(OWN, FORK)})
    others.silent.add(OEM)
    with away(tmp_path, others) as voter:
        voter.follow(OrderPlace(9, 1), OEM, until_so=lambda: voter.height == FORK)

        loaded = voter.stored.store.load_position()
        assert loaded is not None
        assert loaded[1] == OrderPlace(FORK, 1, leapt=True), "or its log would look like a copy"
        assert voter.installed == []


def test_a_transfer_that_broke_off_behind_its_last_block_is_told_to_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "SILENT_MAX_S", 0.05)
    others = LedgersOfOthers({OEM: blocks_of(OWN, FORK)})
    others.silent.add(OEM)
    place = OrderPlace(FORK, 1)

    def installed() -> bool:
        if len(others.asked) > 1:
            others.silent.clear()
        return bool(voter.installed)

    with away(tmp_path, others) as voter:
        voter.follow(place, OEM, until_so=installed)

        assert (voter.height, voter.installed) == (FORK, [place])
