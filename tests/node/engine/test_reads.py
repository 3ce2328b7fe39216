"""How fresh an answer is: what a wish says, and how long it is waited for."""

import asyncio
from collections.abc import Awaitable

import pytest

from lotmark.errors import MalformedError
from lotmark_consensus.errors import NotLeader
from lotmark_node.engine import reads as reads_module
from lotmark_node.engine.errors import PeerUnreachable, StaleRead
from lotmark_node.engine.reads import Consistency, Reads, ReadWish, parse_read_wish
from tests.node.engine.running_engine import run

LINEARIZABLE = ReadWish(Consistency.LINEARIZABLE)


class Ledger:
    """A ledger that a test moves on, and a leader that answers what the test gives.

    Attributes:
        indexes: What the leader answers to one question after the other; the last one stays.
    """

    def __init__(self, *indexes: int | Exception) -> None:
        self.size = self.index = 0
        self.indexes = list(indexes)
        self.asked_count = 0
        self._advanced = asyncio.Event()
        self.reads = Reads(
            size=lambda: self.size,
            ordered_index=lambda: self.index,
            next_advance=lambda: self._advanced,
            read_index=self._read_index,
        )

    async def _read_index(self) -> int:
        self.asked_count += 1
        answer = self.indexes.pop(0) if len(self.indexes) > 1 else self.indexes[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def move(self, *, size: int, index: int) -> None:
        self.size, self.index = size, index
        self._advanced.set()
        self._advanced = asyncio.Event()


async def settled() -> None:
    """Let every task go on as far as it gets."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads_module, "ASK_AGAIN_S", 0.0)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("local", ReadWish()),
        ("linearizable", LINEARIZABLE),
        ("at-least=0", ReadWish(Consistency.AT_LEAST, 0)),
        ("at-least=41", ReadWish(Consistency.AT_LEAST, 41)),
    ],
)
def test_a_wish_is_what_its_text_says(text: str, wish: ReadWish) -> None:
    assert parse_read_wish(text) == wish


@pytest.mark.parametrize(
    "text",
    ["", "LOCAL", "local=", "linearizable=1", "newest", "at-least", "at-least=", "at-least=-1",
     "at-least=1.0", "at-least=" + "9" * 20, "at-least=\u0663"],
)  # fmt: skip
def test_a_wish_that_nobody_knows_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match="use local, linearizable or at-least=<entry index>"):
        parse_read_wish(text)


def waits_for(wish: ReadWish, before: tuple[int, int], after: tuple[int, int]) -> Awaitable[None]:
    """A read that the leader answers with index 7 waits at (size, index), and no more after it."""

    async def scenario() -> None:
        ledger = Ledger(7)
        ledger.move(size=before[0], index=before[1])
        reading = asyncio.create_task(ledger.reads.reach(wish))
        await settled()
        assert not reading.done()
        ledger.move(size=after[0], index=after[1])
        await reading

    return scenario()


@pytest.mark.parametrize(
    ("wish", "before", "after"),
    [
        (LINEARIZABLE, (100, 6), (100, 7)),
        (ReadWish(Consistency.AT_LEAST, 10), (10, 100), (11, 100)),
    ],
    ids=["linearizable", "at least"],
)
def test_an_answer_waits_until_the_ledger_is_as_fresh_as_wished(
    wish: ReadWish, before: tuple[int, int], after: tuple[int, int]
) -> None:
    run(waits_for(wish, before, after))


def test_a_local_answer_asks_nobody_and_waits_for_nothing() -> None:
    async def scenario() -> None:
        ledger = Ledger(7)
        await ledger.reads.reach(ReadWish())
        assert ledger.asked_count == 0

    run(scenario())


def test_while_nobody_leads_a_leader_is_asked_again() -> None:
    async def scenario() -> None:
        ledger = Ledger(PeerUnreachable("no leader is known"), NotLeader("just replaced"), 7)
        ledger.move(size=1, index=7)
        await ledger.reads.reach(LINEARIZABLE)
        assert ledger.asked_count == 3

    run(scenario())


@pytest.mark.parametrize(
    ("wish", "indexes"),
    [
        (LINEARIZABLE, (PeerUnreachable("no leader is known"),)),
        (LINEARIZABLE, (7,)),
        (ReadWish(Consistency.AT_LEAST, 10), ()),
    ],
    ids=["no leader", "behind the leader", "behind the entry"],
)
def test_what_cannot_be_reached_in_time_is_refused_and_never_answered_stale(
    wish: ReadWish, indexes: tuple[int | Exception, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads_module, "WAIT_MAX_S", 0.02)

    async def scenario() -> None:
        ledger = Ledger(*indexes)
        ledger.move(size=10, index=6)
        with pytest.raises(StaleRead, match=f"no {wish.consistency.value} answer .* 10 entries"):
            await ledger.reads.reach(wish)

    run(scenario())
