"""A real engine in a folder, on the event loop of one test, with a clock that the test sets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lotmark.admission import AdmissionAnswer
from lotmark.batch import Batch
from lotmark.genesis import Genesis
from lotmark.key_grant import KeyPurpose
from lotmark.outcome import Outcome
from lotmark_node.engine.admission import Submission
from lotmark_node.engine.ledger_engine import LedgerEngine, NodeKeys
from lotmark_node.engine.stored_block import PlacedBatch
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from tests.node.ledger_in_memory import LedgerInMemory, consortium
from tests.proto.sample_genesis import CREATED_MS, private_key

DEADLINE_S = 20.0
NODE = "OEM-A/n1"
GENESIS = consortium(voters=(NODE,), witnesses=())


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_ms = CREATED_MS + 1_000

    def __call__(self) -> int:
        return self.now_ms


class Submitted:
    """A batch on its way: what its sender is told, when it is."""

    def __init__(self) -> None:
        self.answers: list[AdmissionAnswer] = []
        self.details: list[str] = []
        self.placed: list[PlacedBatch] = []
        self._changed = asyncio.Event()

    def answer(self, answer: AdmissionAnswer, detail: str) -> None:
        self.answers.append(answer)
        self.details.append(detail)
        self._changed.set()

    def acknowledge(self, placed: PlacedBatch) -> None:
        self.placed.append(placed)
        self._changed.set()

    @property
    def reason(self) -> Outcome | None:
        """The reason of the one admission answer; None: not answered yet."""
        assert len(self.answers) <= 1, "a batch is answered once"
        return Outcome(self.answers[0].reason) if self.answers else None

    async def answered(self) -> Outcome:
        """Wait for the admission answer and return its reason."""
        await self._until(lambda: bool(self.answers))
        assert self.reason is not None
        return self.reason

    async def acknowledged(self) -> PlacedBatch:
        """Wait for the acknowledgement."""
        await self._until(lambda: bool(self.placed))
        return self.placed[0]

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def node_keys(node: str = NODE, **other: str) -> NodeKeys:
    """Return a node's keys; `other` names labels of keys it has instead."""

    def key(purpose: KeyPurpose) -> str:
        return other.get(purpose.name.lower(), f"{node} {purpose.name}")

    return NodeKeys(
        proposal=private_key(key(KeyPurpose.PROPOSAL)),
        log=private_key(key(KeyPurpose.LOG)),
        cosign=private_key(key(KeyPurpose.COSIGN)),
        admit=private_key(key(KeyPurpose.ADMIT)),
    )


def open_engine(
    folder: Path,
    *,
    genesis: Genesis = GENESIS,
    clock: Callable[[], int] | None = None,
    keys: NodeKeys | None = None,
    free_size_min: int = 0,
) -> LedgerEngine:
    """Open an engine that is not started."""
    return LedgerEngine(
        folder,
        genesis,
        party="OEM-A",
        node="n1",
        keys=keys or node_keys(),
        now_ms=clock or Clock(),
        free_size_min=free_size_min,
    )


@asynccontextmanager
async def running_engine(
    folder: Path,
    *,
    genesis: Genesis = GENESIS,
    clock: Callable[[], int] | None = None,
    keys: NodeKeys | None = None,
    free_size_min: int = 0,
) -> AsyncIterator[LedgerEngine]:
    """Run an engine, and stop it at the end."""
    engine = open_engine(
        folder, genesis=genesis, clock=clock, keys=keys, free_size_min=free_size_min
    )
    engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def submit(engine: LedgerEngine, batch: Batch) -> Submitted:
    """Submit a batch as a stream does."""
    submitted = Submitted()
    parsed = engine.admission.parse(batch.raw, submitted.answer)
    if parsed is not None:
        holds = PreparedBatch(parsed).signature_holds
        engine.admission.submit(Submission(parsed, holds, submitted.answer, submitted.acknowledge))
    return submitted


async def put(engine: LedgerEngine, *batches: Batch) -> list[PlacedBatch]:
    """Submit batches and wait until all of them are on the log."""
    submitted = [submit(engine, batch) for batch in batches]
    for each in submitted:
        assert await each.answered() == Outcome.ACCEPTED, each.details
    return [await each.acknowledged() for each in submitted]


def told(placed: PlacedBatch) -> tuple[object, ...]:
    """Return what an acknowledgement says of a batch."""
    result = placed.result
    return (
        placed.index,
        placed.height,
        placed.time_ms,
        int(result.outcome),
        [int(outcome) for outcome in result.event_outcomes],
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait, with a deadline, for what another thread brings about."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.002)


def run(test: Awaitable[None]) -> None:
    """Run a test's coroutine on an event loop of its own."""

    async def within() -> None:
        async with asyncio.timeout(3 * DEADLINE_S):
            await test

    asyncio.run(within())


def author() -> LedgerInMemory:
    """Return a ledger in memory whose `batch` signs for the engine's chain."""
    return LedgerInMemory(GENESIS)


def replayed(engine: LedgerEngine, *, genesis: Genesis = GENESIS) -> LedgerInMemory:
    """Return the ledger in memory that the engine's blocks make."""
    ledger = LedgerInMemory(genesis)
    for height in range(1, engine.state.height + 1):
        ledger.apply(engine.store.block(height))
    return ledger


def check_equals_replay(engine: LedgerEngine, *, genesis: Genesis = GENESIS) -> LedgerInMemory:
    """Check that all the engine has is what its blocks make in memory, and return that ledger."""
    ledger = replayed(engine, genesis=genesis)
    state = engine.state
    assert (state.height, state.size, state.time_ms) == (
        ledger.height,
        ledger.size,
        ledger.state.time_ms,
    )
    assert state.frontier.root() == engine.store.tree.root(ledger.size) == ledger.root()
    assert state.lanes.tobytes() == ledger.state.lanes.tobytes()
    assert dict(engine.store.rows(b"")) == dict(ledger.rows.rows(b""))
    results = [engine.store.raw_results(height) for height in range(1, state.height + 1)]
    assert results == [made for _, made in ledger.blocks]
    leaf_data = [entry.leaf_data for entry in engine.reader.entries(0, state.size)]
    assert leaf_data == ledger.leaf_data
    return ledger


def files_of(folder: Path) -> Sequence[str]:
    """Return the names of everything in a folder, for messages."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
