"""A node's data folder with a long history, made without the node but by the node's own ways.

Batches are signed by their authors' keys and prepared as admission prepares them; blocks are signed
by the node, made durable by its order and applied by its apply loop. What is left out is only what
needs callers: TLS, answers, checkpoints. The node starts on the folder as after any other stop.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from lotmark import genesis as protocol_genesis
from lotmark.batch import sign_batch
from lotmark.block import BLOCK_EVENTS_MAX, Proposal, batches_root, encode_block, sign_block
from lotmark.client.settings import read_client_settings
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import Parameters
from lotmark.key_file import read_key_file
from lotmark_consensus.single import SingleNodeOrdering
from lotmark_node.bench.line_history import SIGNERS, SignedLater
from lotmark_node.bench.running import WIDE
from lotmark_node.compose import read_consortium, read_node_keys
from lotmark_node.consortium.plan import make_plan
from lotmark_node.engine.applying import ApplyLoop, MadeBlock
from lotmark_node.engine.block_cutter import BATCHES_SIZE_MAX
from lotmark_node.engine.item_epochs import ItemEpochs
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import LedgerStore
from lotmark_node.node_settings import read_node_settings
from lotmark_node.state_machine.batch_rules import lane_row
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.ledger_state import load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.tables import LaneRow, LogHead
from lotmark_node.trial.network import TrialNetwork, free_address

BATCH_EVENTS = 128
BATCH_AGE_MAX_MS = 3_600_000  # of the line's time, after which a batch is sent that is not full
NODE = "OEM-A/n1"

_TERM = 1


def found_history(folder: Path, *, parameters: Parameters = WIDE) -> None:
    """Found the line's consortium in a folder that is new or empty: one node, every key."""
    plan = make_plan("stator-line", [], [f"{NODE}@{free_address()}"], SIGNERS)
    TrialNetwork(folder, plan, parameters=parameters)


def node_settings_file(folder: Path) -> Path:
    """Return the settings of the node whose history is in the folder."""
    return folder / NODE.replace("/", "/nodes/") / "node.toml"


def client_settings_file(folder: Path, name: str) -> Path:
    """Return the settings of one of the line's systems, "<party>/<holder>"."""
    return folder / name.replace("/", "/clients/") / "client.toml"


@dataclass(slots=True)
class _Author:
    """A system that signs batches, all in one lane."""

    party: str
    key: PrivateKey
    lane: LaneRow  # where it stands on the ledger
    sequence: int = 0
    waiting: list[SignedLater] = field(default_factory=list)

    def sign(self, chain_id: bytes) -> PreparedBatch | None:
        """Sign what waits and forget it; None: the ledger has it already."""
        self.sequence += 1
        waiting, self.waiting = self.waiting, []
        if self.sequence <= self.lane.sequence:
            return None
        batch = sign_batch(
            self.key,
            [each.event for each in waiting],
            chain_id=chain_id,
            party=self.party,
            lane=0,
            sequence=self.sequence,
            previous=self.lane.batch_id,
            created_at_ms=waiting[-1].at_ms,
        )
        self.lane = LaneRow(sequence=self.sequence, batch_id=batch.batch_id)
        return PreparedBatch(batch)


def _ready(history: Iterable[SignedLater], authors: Mapping[str, _Author]) -> Iterator[_Author]:
    """Yield an author whenever what waits at it makes a batch."""
    for told in history:
        author = authors[told.signer]
        author.waiting.append(told)
        if len(author.waiting) == BATCH_EVENTS:
            yield author
            for slow in authors.values():
                if slow.waiting and slow.waiting[0].at_ms < told.at_ms - BATCH_AGE_MAX_MS:
                    yield slow
    yield from (author for author in authors.values() if author.waiting)


class HistoryLedger:
    """The ledger of a founded folder, opened to be written to and read by one thread.

    Attributes:
        store: Its store.
        reader: Its log.
        clock: Processor time by stage.
    """

    def __init__(self, folder: Path, *, store: type[LedgerStore] = LedgerStore) -> None:
        """Open it where it was left; a new one is begun.

        Args:
            folder: As founded.
            store: What keeps the ledger.

        Raises:
            ProtocolError, EngineError, ConsensusError, OSError: It cannot be opened.
        """
        settings = read_node_settings(node_settings_file(folder))
        genesis, _ = read_consortium(settings)
        self.folder = folder
        self.chain_id = protocol_genesis.chain_id(genesis.to_json())
        self._key = read_node_keys(settings, genesis).proposal
        self._made: MadeBlock | None = None
        self.clock = StageClock()
        genesis_block = make_genesis_block(genesis, self.chain_id)
        with ExitStack() as undo:
            self._order = SingleNodeOrdering(settings.data / "journal", self.chain_id)
            undo.callback(self._order.stop)
            self.store = store(settings.data / "ledger", self.chain_id)
            undo.callback(self.store.close)
            if self.store.load_position() is None:
                self.store.found(genesis_block)
            loaded = self.store.load_position()
            assert loaded is not None, "height 0 is written"
            position, place = loaded
            chain = protocol_genesis.chain_of(genesis, self.chain_id)
            items = ItemEpochs(self.store.items, on_failure=_ignore, clock=self.clock)
            undo.callback(items.stop)
            self.state = load_state(self.store, position, chain=chain, items=items)
            items.start()
            if not self.state.height:
                _remember_signed(self.state.bases[-1], settings.data)
            self._applying = ApplyLoop(
                self.state,
                self.store,
                place=place,
                find_made=lambda _raw: self._made,
                on_applied=_ignore,
                on_passed=_ignore,
                on_invalid=_ignore,
                on_synced=self._order.prune,
                on_failure=_ignore,
                clock=self.clock,
            )
            for ordered in self._order.committed(place.index + 1):
                self._applying.recover(ordered)
            self._undo = undo.pop_all()
        self.reader = LogReader(self.store, genesis_block)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def append(self, history: Iterable[SignedLater], *, is_new: bool = False) -> Iterator[int]:
        """Append a history; what of it is on the ledger already is made again and passed over.

        Args:
            history: From its beginning.
            is_new: Nothing of it is on the ledger, although its authors may have begun.

        Yields:
            After each block, how many events more are done.
        """
        authors = {name: self._author(name, is_new=is_new) for name in SIGNERS}
        block: list[PreparedBatch] = []
        passed = events = size = 0
        for author in _ready(history, authors):
            count = len(author.waiting)
            prepared = author.sign(self.chain_id)
            if prepared is None:
                passed += count
                continue
            batch_size = len(prepared.batch.raw)
            if events + count > BLOCK_EVENTS_MAX or size + batch_size > BATCHES_SIZE_MAX:
                self._apply(block)
                yield passed + events
                block, passed, events, size = [], 0, 0, 0
            block.append(prepared)
            events, size = events + count, size + batch_size
        if block:
            self._apply(block)
        yield passed + events

    def _author(self, name: str, *, is_new: bool) -> _Author:
        settings = read_client_settings(client_settings_file(self.folder, name))
        key = read_key_file(settings.batch_key)
        lane = lane_row(self.store, key.public, 0)
        return _Author(settings.party, key, lane, lane.sequence if is_new else 0)

    def _apply(self, prepared: Sequence[PreparedBatch]) -> None:
        """Sign a block of batches, as a node does that leads alone, and apply it."""
        state = self.state
        batches, base = [each.batch for each in prepared], state.bases[-1]
        time_ms = max(state.time_ms, time.time_ns() // 1_000_000)
        proposal = Proposal(
            chain_id=self.chain_id,
            key=self._key.public,
            term=_TERM,
            counter=state.counter + 1 if state.term == _TERM else 1,
            time_ms=time_ms,
            base_size=base.size,
            base_root=base.root,
            batches_root=batches_root(batches),
        )
        block = sign_block(self._key, proposal, batches)
        self._made = MadeBlock(encode_block(block), block, prepared)
        ordering = self._order.propose(self._made.raw, time_ms=time_ms, term=_TERM)
        self._applying.recover(ordering.result())
        self._made = None


def _remember_signed(head: LogHead, data: Path) -> None:
    """Leave the file that a node makes at its first start; without it, none starts later."""
    maximum = SignedMaximum(data / "signed-maximum")
    maximum.raise_to(head.size, head.root)
    maximum.close()


def _ignore(*_: object) -> None:
    """Nobody waits to be told."""
