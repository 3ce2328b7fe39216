"""The engine put together: recovery, then admission, order, apply loop and checkpoints."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lotmark import genesis as protocol_genesis
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import Genesis
from lotmark.key_grant import NODE_PURPOSES
from lotmark.outcome import Outcome
from lotmark.state_rows import key_row
from lotmark.tlog_policy import Policy, parse_policy
from lotmark_consensus.ordering import Leadership, Ordering
from lotmark_consensus.raft.ordering import RaftOrdering
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_consensus.single import SingleNodeOrdering
from lotmark_node.engine.admission import Admission
from lotmark_node.engine.applying import ApplyLoop
from lotmark_node.engine.block_cutter import BlockCutter
from lotmark_node.engine.catch_up import CatchUp
from lotmark_node.engine.checkpoints import (
    CheckpointNetwork,
    CheckpointSigner,
    SignedCheckpoint,
)
from lotmark_node.engine.errors import EngineError, PeerUnreachable, Regression
from lotmark_node.engine.evidence_folder import EvidenceFolder
from lotmark_node.engine.fitness import Fitness
from lotmark_node.engine.forwarding import Forwarding
from lotmark_node.engine.gathering import CheckpointPeer
from lotmark_node.engine.governance_proofs import GovernanceProofs
from lotmark_node.engine.index_rebuild import check_indexed
from lotmark_node.engine.item_epochs import ItemEpochs
from lotmark_node.engine.item_proofs import ItemProofMaker
from lotmark_node.engine.leadership import LeadershipDuties
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.log_tree import LogTree, StoredLogTree
from lotmark_node.engine.membership import Membership
from lotmark_node.engine.peers import Peers
from lotmark_node.engine.proposal_search import ProposalSearch
from lotmark_node.engine.reads import Reads
from lotmark_node.engine.receipts import ReceiptMaker
from lotmark_node.engine.signature_worker import SignatureWorker
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.engine.store import LedgerStore, OrderPlace
from lotmark_node.engine.stored_block import PlacedBatch
from lotmark_node.engine.traffic import Traffic
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.ledger_state import LedgerState, load_state, read_policy
from lotmark_node.state_machine.transition import BlockEffects

logger = logging.getLogger(__name__)

FREE_SIZE_MIN = 256 << 20  # below this the disk counts as full, so that the store can still write
FITNESS_CHECK_S = 1.0
PENDING_WAIT_MAX_S = 5.0  # that a stop gives admitted batches to be applied


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """The keys of a voter."""

    proposal: PrivateKey
    log: PrivateKey
    cosign: PrivateKey
    admit: PrivateKey


# From this node's log, the policy in force and the members' CAs to those who are asked to cosign.
MakeCosigners = Callable[[LogTree, Policy, Mapping[str, str]], Sequence[CheckpointPeer]]


class LedgerEngine:
    """One node's ledger. Made and stopped on the event loop's thread."""

    def __init__(
        self,
        folder: Path,
        genesis: Genesis,
        *,
        party: str,
        node: str,
        keys: NodeKeys,
        now_ms: Callable[[], int],
        peers: Peers | None = None,
        cosigners: MakeCosigners | None = None,
        free_size_min: int = FREE_SIZE_MIN,
        certificate_not_after_ms: Callable[[], int] | None = None,
    ) -> None:
        """Open the folder and bring the ledger to where the order stands.

        Args:
            folder: Of this node's data.
            genesis: The founding document.
            party: Whose node it is.
            node: Its name.
            keys: Its keys.
            now_ms: The clock, Unix time in ms.
            peers: The other voters; None where the genesis names one voter.
            cosigners: Returns whom to ask for cosignatures; None: nobody.
            free_size_min: With less room on the disk, nothing is taken.
            certificate_not_after_ms: Returns when this node's TLS certificate ends; None: never.

        Raises:
            EngineError, ConsensusError: The folder is in use, foreign, damaged, or behind what
                this node has signed.
        """
        assert (len(genesis.voters) > 1) == (peers is not None), "peers are for several voters"
        chain_id = protocol_genesis.chain_id(genesis.to_json())
        self.genesis, self.chain_id = genesis, chain_id
        self.name = f"{party}/{node}"
        self.folder = folder
        self._peers = peers
        self._cosigners = cosigners
        self.now_ms = now_ms
        self._stopped = False
        self.clock, self.traffic = StageClock(), Traffic()
        self.failure: BaseException | None = None
        self.on_closed: Callable[[Outcome | None], None] = _ignore
        self._fitness_timer: asyncio.TimerHandle | None = None
        self.failed = asyncio.Event()  # set once nothing more is taken until a restart
        self._loop = asyncio.get_running_loop()
        self._advanced = asyncio.Event()
        self.ordering: Ordering
        self._fitness = Fitness(
            folder,
            free_size_min=free_size_min,
            now_ms=now_ms,
            certificate_not_after_ms=certificate_not_after_ms,
            leading_term=self._leading_term,
            hand_over=lambda: self.ordering.transfer_leadership(),
            on_closed=self._close_or_open,
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.genesis_block = make_genesis_block(genesis, chain_id)
        with ExitStack() as undo:
            # The order's folder first: its error names the process that holds it.
            order = self._open_order()
            undo.callback(order.close if isinstance(order, RocksLogStore) else order.stop)
            self.store = LedgerStore(folder / "ledger", chain_id)
            undo.callback(self.store.close)
            self._items = ItemEpochs(self.store.items, on_failure=self._fail, clock=self.clock)
            undo.callback(self._items.stop)
            self.state, place = self._load()
            if isinstance(order, RocksLogStore):
                self.ordering = self._join_voters(order, place, now_ms)
                undo.callback(self.ordering.stop)
            else:
                self.ordering = order
            self._build(party, node, keys, now_ms, place)
            undo.pop_all()

    def _open_order(self) -> SingleNodeOrdering | RocksLogStore:
        """Open the order of a network of one, or this voter's log of an order of several."""
        folder = self.folder / "journal"
        if self._peers is None:
            return SingleNodeOrdering(folder, self.chain_id)
        return RocksLogStore(folder, self.chain_id)

    def _load(self) -> tuple[LedgerState, OrderPlace]:
        loaded = self.store.load_position()
        if loaded is None:
            self.store.found(self.genesis_block)
            loaded = self.store.load_position()
            assert loaded is not None, "height 0 was just written"
        position, place = loaded
        check_indexed(self.store, position.height)
        chain = protocol_genesis.chain_of(self.genesis, self.chain_id)
        state = load_state(self.store, position, chain=chain, items=self._items)
        return state, place

    def _join_voters(
        self, log: RocksLogStore, place: OrderPlace, now_ms: Callable[[], int]
    ) -> Ordering:
        assert self._peers is not None, "a log of an order of several voters"
        return RaftOrdering(
            log,
            self.chain_id,
            name=self.name,
            voters=frozenset(f"{voter.party}/{voter.node}" for voter in self.genesis.voters),
            wire=self._peers.wire,
            applied_index=place.index,
            applied_term=place.term,
            leapt=place.leapt,
            now_ms=now_ms,
        )

    def _build(
        self,
        party: str,
        node: str,
        keys: NodeKeys,
        now_ms: Callable[[], int],
        place: OrderPlace,
    ) -> None:
        genesis, chain_id, folder = self.genesis, self.chain_id, self.folder
        self._applying = ApplyLoop(
            self.state,
            self.store,
            place=place,
            find_made=lambda raw: self._cutter.find_made(raw),
            on_applied=self._applied,
            on_passed=self._passed,
            on_invalid=self._invalid,
            on_synced=self.ordering.prune,
            on_failure=self._fail,
            clock=self.clock,
        )
        self._cutter = BlockCutter(
            self.state,
            self.ordering,
            keys.proposal,
            now_ms=now_ms,
            on_failure=self._fail,
            on_storage_full=self._storage_full,
            clock=self.clock,
        )
        self._items.start()
        self._recover(place)
        self._evidence = EvidenceFolder(folder)
        self.reader = LogReader(self.store, self.genesis_block)
        self.membership = Membership(self.store, lambda: self.state.height)
        self.governance = GovernanceProofs(self.store, self.reader, chain_id)
        self.receipts = ReceiptMaker(self.store, self.reader, self.governance)
        self.item_proofs = ItemProofMaker(self.store, self.reader, self.governance)
        policy = parse_policy(read_policy(self.store))
        self.checkpoints = CheckpointSigner(
            origin=protocol_genesis.origin(genesis, chain_id),
            cosigner=protocol_genesis.cosigner_name(genesis, party, node),
            log_key=keys.log,
            cosign_key=keys.cosign,
            policy=policy,
            maximum=SignedMaximum(folder / "signed-maximum"),
            now_ms=now_ms,
            on_failure=self._fail,
            network=self._checkpoint_network(policy),
        )
        self.signatures = SignatureWorker(keys.admit)
        self._build_network(now_ms)

    def _checkpoint_network(self, policy: Policy) -> CheckpointNetwork | None:
        if self._cosigners is None:
            return None
        tree = StoredLogTree(self.store)
        return CheckpointNetwork(
            chain_id=self.chain_id,
            folder=self.folder,
            tree=tree,
            peers=self._cosigners(tree, policy, self.membership.ca_certificates()),
            evidence=self._evidence,
            on_dispute=self._disputed,
        )

    def _build_network(self, now_ms: Callable[[], int]) -> None:
        """Put together what talks to clients and to the other voters."""
        self._forwarding = Forwarding(
            cut=self._cutter.push,
            peers=self._peers,
            dropped=lambda batch: self.admission.dropped(batch),
        )
        self.admission = Admission(
            self.state,
            self.reader,
            node=self.name,
            push=self._forwarding.push,
            now_ms=now_ms,
            checkpoint=lambda: self.checkpoints.newest,
            on_closed=lambda outcome: self.on_closed(outcome),
            traffic=self.traffic,
        )
        self.leadership = LeadershipDuties(
            self._applying,
            self._cutter,
            self._forwarding,
            self.checkpoints,
            on_orphaned=self._fitness.set_orphaned,
        )
        self.reads = Reads(
            size=lambda: self.state.size,
            ordered_index=lambda: self.applied_index,
            next_advance=lambda: self._advanced,
            read_index=self.read_index,
        )
        self._catch_up: CatchUp | None = None
        self._search: ProposalSearch | None = None
        if self._peers is not None:
            self._search = self._proposal_search(self._peers)
            self._catch_up = CatchUp(
                self._peers,
                self._applying,
                height=lambda: self.state.height,
                installed=lambda place: self.ordering.installed(place.index, place.term),
            )

    def _proposal_search(self, peers: Peers) -> ProposalSearch:
        return ProposalSearch(
            peers,
            self.store,
            self._evidence,
            self.genesis,
            name=self.name,
            ordered_index=lambda: self.applied_index,
            height=lambda: self.state.height,
            shared_height=self._shared_height,
            on_conflict=self.checkpoints.fail,  # which stops all else too
        )

    def _shared_height(self) -> int:
        final = self.checkpoints.newest_final
        return final.head.height if final else 0

    def check_keys(self, keys: NodeKeys) -> None:
        """Check that the ledger, as far as it is here, gives this node its keys.

        One that is revoked or has expired counts nowhere, but the node answers queries.

        Raises:
            EngineError: It gives one to nobody, or to somebody or something else.
        """
        for purpose in NODE_PURPOSES:
            key: PrivateKey = getattr(keys, purpose.name.lower())
            row = key_row(self.store, key.public)
            named = None if row is None else (f"{row.party}/{row.holder}", row.purpose)
            if named != (self.name, purpose):
                raise EngineError(
                    f"{purpose.name.lower()} key {key.public.hex()} is not registered for"
                    f" {self.name} in the {self.state.height} blocks of this ledger; name the right"
                    " key file, or start under the old key until the registration's block is here"
                )

    def _recover(self, place: OrderPlace) -> None:
        """Apply what the order has committed beyond what the store holds.

        An order of several voters finds out itself what is committed, and hands it out later.
        """
        status = self.ordering.status()
        if status.last_index < place.index and not place.leapt:
            raise Regression(
                f"{self.folder}: the ledger has applied block {place.index} of the order, but"
                f" the journal ends at {status.last_index}; restore the newest journal folder"
            )
        if self._peers is not None:
            return
        for ordered in self.ordering.committed(place.index + 1):
            self._applying.recover(ordered)
        if (recovered := self._applying.place.index - place.index) > 0:
            logger.info("recovered", extra={"blocks": recovered})

    def start(self) -> None:
        """Take batches from now on."""
        self.checkpoints.start(self.state.bases[-1])
        self.ordering.on_failure(self._fail)
        self._applying.start()
        self._cutter.start()
        self.ordering.on_committed(self._applying.push)
        self.ordering.on_pointer(self._pointed)
        self.ordering.on_role(self._role_changed)
        self._check_fitness()

    async def stop(self) -> None:
        """Refuse new batches, finish what was admitted, and write everything out; once."""
        if self._stopped:
            return
        self._stopped = True
        self.admission.closed = Outcome.STOPPING
        if self._fitness_timer is not None:
            self._fitness_timer.cancel()
        if self._catch_up is not None:
            await self._catch_up.stop()
        if self._search is not None:
            await self._search.stop()
        await self._settle()
        self.leadership.stop()
        await self._loop.run_in_executor(None, self._stop_threads)

    async def _settle(self) -> None:
        """Wait a bounded time until what was admitted here is applied here."""
        try:
            async with asyncio.timeout(PENDING_WAIT_MAX_S):
                while self._forwarding.pending_count and not self.failed.is_set():
                    await self._advanced.wait()
        except TimeoutError:
            waiting = self._forwarding.pending_count
            logger.warning("stopped with batches that no leader took", extra={"batches": waiting})

    def _stop_threads(self) -> None:
        self._cutter.stop()
        self.ordering.stop()
        self._applying.stop()
        self._items.stop()
        self.checkpoints.stop()
        self.signatures.stop()
        self.store.close()
        writes = self.ordering.status().durable_writes
        logger.info(
            "ledger stopped",
            extra={
                "height": self.state.height,
                "size": self.state.size,
                "stage_ns": self.clock.used_ns,
                "processor_ns": time.process_time_ns(),
                "fsyncs": sum(writes.counts) if writes else 0,
            },
        )

    # Called on the order's and the apply loop's threads

    def _role_changed(self, leadership: Leadership) -> None:
        self._loop.call_soon_threadsafe(self.leadership.changed, leadership)

    def _pointed(self, peer: str, index: int, term: int) -> None:
        assert self._catch_up is not None, "only peers point"
        self._loop.call_soon_threadsafe(self._catch_up.begin, peer, OrderPlace(index, term))

    def _applied(self, effects: BlockEffects) -> None:
        """After each block."""
        self._cutter.applied(effects.block.proposal)
        if effects.policy_changed:
            policy = parse_policy(read_policy(self.store))
            self.checkpoints.follow_policy(self.state.size, policy)
        self.checkpoints.advance(self.state.bases[-1])
        self._loop.call_soon_threadsafe(self._tell, effects)

    def _passed(self) -> None:
        """After each entry of the order, with a block or without."""
        self._loop.call_soon_threadsafe(self._tell_passed)

    def _invalid(self) -> None:
        """After each block that broke a rule here; the others may hold another ledger."""
        self._search_proposals(self.state.height + 1)

    def _disputed(self, size: int) -> None:
        """On any thread: somebody has signed another tree of this size."""
        self._search_proposals(self.store.height_of(size - 1))

    def _search_proposals(self, height: int) -> None:
        if self._search is not None:
            self._loop.call_soon_threadsafe(self._search.begin, height)

    def _storage_full(self, full: bool) -> None:
        """On the cutter's thread: the order has no room for a block, or has it again."""
        self._loop.call_soon_threadsafe(self._fitness.set_journal_full, full)

    def _fail(self, error: BaseException) -> None:
        """Nothing more is taken; what is there can still be read. A restart recovers."""
        if self.failure is None:
            self.failure = error
            logger.error("the ledger stopped taking events", exc_info=error)
        self._cutter.give_up()
        self._loop.call_soon_threadsafe(self._close_admission)

    # On the event loop

    def _tell(self, effects: BlockEffects) -> None:
        results = effects.results
        height, time_ms, index = results.close.height, results.close.time_ms, results.first_index
        placed = []
        for batch, result in zip(effects.block.batches, results.batches, strict=True):
            placed.append(PlacedBatch(batch, index, height, time_ms, result))
            self._forwarding.applied(batch.batch_id)
            index += result.entry_count
        with self.clock.stage("acknowledge"):
            self.traffic.applied(placed)
            self.admission.applied(placed)
        if effects.members_changed:
            self.membership.refresh()

    def _tell_passed(self) -> None:
        self.leadership.passed()
        self._advanced.set()
        self._advanced = asyncio.Event()

    @property
    def next_advance(self) -> asyncio.Event:
        """The event that is set once the ledger has moved on."""
        return self._advanced

    async def read_index(self) -> int:
        """Return an index of the order that covers all that was acknowledged before this call.

        Raises:
            PeerUnreachable: There is no leader, or it does not answer.
            ConsensusError: Leadership was lost meanwhile.
        """
        now = self.leadership.now
        if self.leadership.leads:
            return await asyncio.wrap_future(self.ordering.read_index())
        if now is None or now.leader is None or self._peers is None:
            raise PeerUnreachable("no leader is known; ask again, or ask for a local answer")
        return await self._peers.read_index(now.leader)

    def _close_admission(self) -> None:
        self.admission.closed = Outcome.STOPPING
        self.failed.set()
        self._advanced.set()
        if self._peers is not None:
            # A voter that applies nothing must not lead; the others go on without it.
            self._loop.run_in_executor(None, self.ordering.stop)

    def _close_or_open(self, closed: Outcome | None) -> None:
        """Take no events while anything stands against it; a node that stops takes none again."""
        if self.admission.closed != Outcome.STOPPING:
            self.admission.closed = closed

    def _leading_term(self) -> int | None:
        """Return the term in which another voter could lead in place of this one."""
        now = self.leadership.now
        return now.term if self._peers is not None and now is not None and now.leads else None

    def _check_fitness(self) -> None:
        self._fitness.look()
        if isinstance(self.ordering, RaftOrdering):
            self.ordering.set_signed_size(self.checkpoints.signed_size)  # shown when peers connect
        self._fitness_timer = self._loop.call_later(FITNESS_CHECK_S, self._check_fitness)

    @property
    def waiting_count(self) -> int:
        """How many batches were admitted here and are not applied yet."""
        return self._forwarding.pending_count

    @property
    def applied_index(self) -> int:
        """How far of the order the ledger is."""
        return self._applying.place.index

    def checkpoint(self, *, final: bool = False) -> SignedCheckpoint:
        """Return the newest checkpoint, or the newest final one where there is any.

        Raises:
            EngineError: There is none, or checkpoints have stopped.
        """
        checkpoints = self.checkpoints
        found = checkpoints.newest
        if found is None or checkpoints.failure:
            raise EngineError(f"no checkpoint is signed: {checkpoints.failure or 'ask again'}")
        return (checkpoints.newest_final or found) if final else found


def _ignore(_outcome: Outcome | None) -> None:
    """Nobody is told yet."""
