"""The transition: one block makes the next state. Every node runs this on the same order.

Nothing is changed until `BlockEffects.commit`: a caller first writes the effects to its store.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lotmark import ed25519
from lotmark.batch import Batch
from lotmark.block import BASES_MAX, Block, Proposal, batches_root
from lotmark.block_results import BatchResult, BlockResults, leaf_hashes
from lotmark.entry import BlockClose, equivocation_payload
from lotmark.errors import ProtocolError, SignatureError
from lotmark.event import CheckedEvent, EventRefused
from lotmark.governance_rules import end_block, put_policy
from lotmark.item_epochs import (
    ZERO_HASH,
    EndedEpoch,
    EpochRule,
    RunningEpoch,
    begin_epochs,
    rule_in_force,
)
from lotmark.key_grant import KeyPurpose
from lotmark.key_rules import Place
from lotmark.merkle import Frontier
from lotmark.outcome import CONSUMES_NUMBER_FROM, Outcome
from lotmark.state_rows import key_row
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.batch_rules import (
    Quotas,
    judge_content,
    judge_place,
    judge_signer,
    judge_usage,
    lane_row,
    signer_row,
)
from lotmark_node.state_machine.block_rules import BlockRules
from lotmark_node.state_machine.duplicate_window import (
    RecentBlock,
    find_recent_header,
    recent_key,
)
from lotmark_node.state_machine.event_effects import GOVERNING_TYPES, apply_event
from lotmark_node.state_machine.item_chain import ITEM_EPOCH_KEY, ItemChanges, Touches
from lotmark_node.state_machine.item_evidence import put_evidence
from lotmark_node.state_machine.ledger_state import (
    HEAD_KEY,
    LedgerState,
    read_policy_digest,
    read_quotas,
)
from lotmark_node.state_machine.package_effects import decide
from lotmark_node.state_machine.packages_in_force import load_packages
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.rule_rows import next_due_ms
from lotmark_node.state_machine.state import RowChange, StateChanges
from lotmark_node.state_machine.tables import (
    Counters,
    KeyRow,
    LaneRow,
    LogHead,
    RecentBatch,
    Table,
    Usage,
    encode_heads,
    lane_key,
    parse_counters,
    parse_usage,
    row_key,
)

MINUTE_MS = 60_000


class BlockInvalid(ProtocolError):
    """A block breaks a rule of proposals; a ledger stops before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEffects:
    """All that a block does, ready to be written."""

    state: LedgerState
    block: Block
    prepared: Sequence[PreparedBatch]  # its batches
    results: BlockResults
    leaf_hashes: Sequence[bytes]
    changes: Sequence[RowChange]
    recent: RecentBlock
    leaving: Sequence[int]
    lanes: lthash.Lanes
    frontier: Frontier
    governing: Sequence[int]  # entries that change who may do what
    quotas: Quotas  # in force from the next block on
    items: ItemChanges
    epoch: RunningEpoch | None  # of the item chain, from the next block on
    epoch_rule: EpochRule | None  # likewise
    packages_changed: bool
    timers_changed: bool
    members_changed: bool  # a party has come or gone, or has other roots
    policy_changed: bool

    def commit(self) -> None:
        """Move the state on; its reader must show the changes already."""
        state, close = self.state, self.results.close
        state.window.advance(self.recent, self.leaving)
        state.policy_digest, state.quotas = close.policy_digest, self.quotas
        state.lanes, state.frontier = self.lanes, self.frontier
        state.height, state.time_ms = close.height, close.time_ms
        state.close_index = self.results.close_index
        state.term, state.counter = self.block.proposal.term, self.block.proposal.counter
        head = LogHead(close.height, self.frontier.size, self.frontier.root())
        state.bases = [*state.bases, head][-BASES_MAX:]
        state.items.rule, state.items.running = self.epoch_rule, self.epoch
        state.items.store.advance(self.items)
        if self.packages_changed:
            known = {each.package.hash: each.package for each in state.packages.versions}
            state.packages = load_packages(state.reader, known)
        if self.timers_changed:
            state.next_due_ms = next_due_ms(state.reader)


def check_proposal(state: LedgerState, block: Block) -> None:
    """Check what a leader signed about its block.

    Raises:
        BlockInvalid: A rule of docs/protocol.md, section 4, is broken.
    """
    proposal = block.proposal
    height = state.height + 1
    if proposal.chain_id != state.chain_id:
        raise BlockInvalid(f"block {height} is of chain {proposal.chain_id.hex()}")
    row = key_row(state.reader, proposal.key)
    if row is None or row.purpose != KeyPurpose.PROPOSAL:
        raise BlockInvalid(f"key {proposal.key.hex()} of block {height} may not propose")
    validity = row.judge(height=height, time_ms=proposal.time_ms)
    if validity:
        raise BlockInvalid(f"key {proposal.key.hex()} of block {height}: {validity.name}")
    try:
        ed25519.verify(proposal.key, proposal.signed_message(), block.signature)
    except SignatureError as error:
        raise BlockInvalid(f"the proposal signature of block {height} does not hold") from error
    _check_proposal_place(state, proposal)
    if proposal.batches_root != batches_root(block.batches):
        raise BlockInvalid(f"block {height} carries other batches than its proposal binds")


def _check_proposal_place(state: LedgerState, proposal: Proposal) -> None:
    height = state.height + 1
    if proposal.time_ms < state.time_ms:
        raise BlockInvalid(
            f"block {height} is of {proposal.time_ms} ms, before block {state.height} of"
            f" {state.time_ms} ms"
        )
    expected = state.counter + 1 if proposal.term == state.term else 1
    if proposal.term < state.term or proposal.counter != expected:
        raise BlockInvalid(
            f"block {height} has term {proposal.term} and counter {proposal.counter}"
            f" after term {state.term} and counter {state.counter}"
        )
    if not any(
        base.size == proposal.base_size and base.root == proposal.base_root for base in state.bases
    ):
        raise BlockInvalid(
            f"block {height} stands on size {proposal.base_size} with a root that is none of the"
            f" newest {BASES_MAX} heads"
        )


def apply_block(
    state: LedgerState, block: Block, prepared: Sequence[PreparedBatch]
) -> BlockEffects:
    """Return what `block` does to `state`; `prepared` are its batches.

    Raises:
        BlockInvalid: A rule of proposals is broken; nothing follows from the block.
    """
    check_proposal(state, block)
    making = _BlockInTheMaking(state, block.proposal.time_ms)
    making.begin()
    batch_results = [making.add_batch(each) for each in prepared]
    making.finish(block.proposal)
    making.end_epoch()
    changed = making.changes.changed()
    lanes = lthash.updated(state.lanes, changed)
    close = making.close(block.proposal, lthash.digest(lanes))
    results = BlockResults(state.size, batch_results, close, making.rules.receipts)
    hashes = leaf_hashes(block.batches, results)
    frontier = state.frontier.copy()
    frontier.extend(hashes)
    return BlockEffects(
        state=state,
        block=block,
        prepared=prepared,
        results=results,
        leaf_hashes=hashes,
        changes=changed,
        recent=making.recent,
        leaving=making.leaving,
        lanes=lanes,
        frontier=frontier,
        governing=making.governing,
        quotas=read_quotas(making.changes) if making.decided else state.quotas,
        items=making.item_changes(hashes),
        epoch=making.epoch,
        epoch_rule=making.epoch_rule,
        packages_changed=making.changes.wrote(Table.PACKAGE)
        or making.changes.wrote(Table.PACKAGE_VERSION),
        timers_changed=making.changes.wrote(Table.TIMER),
        members_changed=making.changes.wrote(Table.PARTY),
        policy_changed=close.policy_digest != state.policy_digest,
    )


class _BlockInTheMaking:
    """One block's changes while its batches are taken in, in order."""

    def __init__(self, state: LedgerState, time_ms: int) -> None:
        self._state = state
        self._height = state.height + 1
        self._time_ms = time_ms
        self._place = Place(chain=state.chain, height=self._height, time_ms=time_ms)
        self._index = state.size
        self._event_ids: set[bytes] = set()
        self._batches: dict[tuple[bytes, int, int], bytes] = {}
        self._counters: dict[str, Counters] = {}
        self._usages: dict[str, Usage] = {}
        self._counts = [0, 0, 0, 0, 0]  # batches, refused, events, refused, equivocations
        self.changes = StateChanges(state.reader)
        self.governing: list[int] = []
        self.decided = False  # a proposal
        self.recent = RecentBlock(self._height)
        self.leaving: list[int] = []
        in_force = state.packages.rules_at(self._height)
        self._evidence_types = in_force.evidence_types
        self.rules = BlockRules(in_force, self.changes, self._place)
        self._touches = Touches()
        self._ended: EndedEpoch | None = None
        self.epoch, self.epoch_rule = state.items.running, state.items.rule

    def begin(self) -> None:
        """Fire the timers that are due."""
        state = self._state
        self.rules.fire_timers(state.reader, state.next_due_ms, self._bill_rows)

    def add_batch(self, prepared: PreparedBatch) -> BatchResult:
        """Take in one batch and return what became of it."""
        batch = prepared.batch
        created_before = self.changes.created_count
        checks_before = self.changes.signature_checks
        row = signer_row(self.changes, batch.header)
        outcome, evidence = self._judge(prepared, row)
        event_outcomes: list[int] = []
        if not outcome:
            assert row is not None, "an accepted batch has a signer"
            event_outcomes = self._add_events(prepared, row)
        result = BatchResult(outcome, event_outcomes, evidence)
        self._count(result)
        consumes = not outcome or outcome >= CONSUMES_NUMBER_FROM
        if consumes:
            self._move_lane(batch)
        if consumes or evidence:
            created_count = self.changes.created_count - created_before
            signature_count = 1 + self.changes.signature_checks - checks_before
            self._bill(batch, result, created_count, signature_count)
        self._index += result.entry_count
        return result

    def _judge(self, prepared: PreparedBatch, row: KeyRow | None) -> tuple[Outcome, bytes]:
        header = prepared.batch.header
        outcome = judge_signer(
            header, self._state.chain_id, row, height=self._height, time_ms=self._time_ms
        )
        if outcome:
            return outcome, b""
        if not prepared.signature_holds:
            return Outcome.SIGNATURE_INVALID, b""
        lane = lane_row(self.changes, header.signer, header.lane)
        outcome = judge_place(header, lane)
        if outcome == Outcome.SEQUENCE_REUSED:
            return self._judge_reused(prepared.batch, lane)
        if outcome:
            return outcome, b""
        outcome = judge_content(prepared, lane)
        if not outcome:
            outcome = judge_usage(
                self._usage(header.party),
                self._state.quotas,
                events=len(prepared.batch.events),
                size=len(prepared.batch.raw),
            )
        return outcome, b""

    def _judge_reused(self, batch: Batch, lane: LaneRow) -> tuple[Outcome, bytes]:
        """Tell a batch that came twice from one that reuses a number, and keep the evidence."""
        header = batch.header
        at = (header.signer, header.lane, header.sequence)
        own = self._batches.get(at)
        on_record = (self._height, own) if own else self._state.window.find_batch(at)
        if on_record is None:
            same = header.sequence == lane.sequence and batch.batch_id == lane.batch_id
            return (Outcome.BATCH_DUPLICATE if same else Outcome.SEQUENCE_REUSED), b""
        height, batch_id = on_record
        if batch_id == batch.batch_id:
            return Outcome.BATCH_DUPLICATE, b""
        first = find_recent_header(self._state.reader, height, batch_id, self.recent)
        assert first is not None, "the window's rows hold the header of every batch in it"
        evidence = equivocation_payload(first.batch_index, first.signed_header, batch.signed_header)
        return Outcome.SEQUENCE_REUSED, evidence

    def _add_events(self, prepared: PreparedBatch, row: KeyRow) -> list[int]:
        window, own, permitted = self._state.window, self._event_ids, row.event_types
        outcomes: list[int] = []
        index = self._index
        for event, event_id in zip(prepared.events, prepared.batch.event_ids, strict=True):
            index += 1
            if isinstance(event, EventRefused):
                outcomes.append(event.outcome)
            elif permitted and event.event_type not in permitted:
                outcomes.append(Outcome.KEY_NOT_PERMITTED)
            elif event_id in own or window.has_event(event_id):
                outcomes.append(Outcome.EVENT_DUPLICATE)
            else:
                outcome = self._add_event(event, index, row.party)
                outcomes.append(outcome)
                if not outcome:
                    own.add(event_id)
                    self.recent.event_ids.append(event_id)
        return outcomes

    def _add_event(self, event: CheckedEvent, index: int, party: str) -> Outcome:
        """Let an event have its effect, unless a rule or what it does itself stands against it."""
        rules, seen = self.rules, None
        if rules.listens(event):
            seen = rules.refuse(event, author=party, index=index, batch_index=self._index)
            if seen is None:
                return Outcome.RULE_REFUSED
        outcome = apply_event(self.changes, event, index, self._place, self._state.packages)
        if outcome:
            return outcome
        if seen is not None:
            rules.wait(seen, self._index, index - self._index - 1)
        if event.event_type in GOVERNING_TYPES:
            self.governing.append(index)
        if event.item_ids:
            if self.epoch is not None:
                self._touches.add(index, event.item_ids)
            if event.event_type in self._evidence_types:
                put_evidence(self.changes, event, party, index, self._time_ms)
        return outcome

    def _move_lane(self, batch: Batch) -> None:
        header = batch.header
        moved = LaneRow(
            sequence=header.sequence,
            batch_id=batch.batch_id,
            batch_index=self._index,
            closed=lane_row(self.changes, header.signer, header.lane).closed,
        )
        self.changes.put(lane_key(header.signer, header.lane), moved.encode())
        self._batches[header.signer, header.lane, header.sequence] = batch.batch_id
        self.recent.add_batch(header, batch.batch_id, RecentBatch(self._index, batch.signed_header))

    def _count(self, result: BatchResult) -> None:
        counts = self._counts
        counts[0] += 1
        counts[1] += bool(result.outcome)
        counts[2] += len(result.event_outcomes)
        counts[3] += sum(1 for outcome in result.event_outcomes if outcome)
        counts[4] += bool(result.evidence)

    def _bill(
        self, batch: Batch, result: BatchResult, created_count: int, signature_count: int
    ) -> None:
        """Bill a party for a batch that its key has signed and that adds to the log."""
        party, size = batch.header.party, len(batch.raw)
        counters = self._counter(party)
        counters.batches += 1
        counters.refused_batches += bool(result.outcome)
        counters.events += len(result.event_outcomes)
        counters.refused_events += sum(1 for outcome in result.event_outcomes if outcome)
        counters.size += size
        usage = self._usage(party)
        usage.signatures += signature_count
        usage.events += len(result.event_outcomes)
        usage.size += size
        usage.state_keys += created_count

    def _counter(self, party: str) -> Counters:
        if party not in self._counters:
            raw = self.changes.get(row_key(Table.COUNTER, party.encode("ascii")))
            self._counters[party] = parse_counters(raw)
        return self._counters[party]

    def _usage(self, party: str) -> Usage:
        if party not in self._usages:
            raw = self.changes.get(row_key(Table.QUOTA, party.encode("ascii")))
            self._usages[party] = parse_usage(raw, self._time_ms // MINUTE_MS)
        return self._usages[party]

    def _bill_rows(self, party: str, created_count: int) -> None:
        """Bill a party for rows that rules have made for its events."""
        self._usage(party).state_keys += created_count

    def finish(self, proposal: Proposal) -> None:
        """Write what is written once a block."""
        changes = self.changes
        self.rules.execute(self._bill_rows)
        self.rules.put_claim_receipts(self._index, self._bill_rows)
        decide(changes, self._place, self._state.packages)
        self.decided = end_block(changes, self._place)
        if self.decided:
            self.governing.append(self._close_index)
        if changes.wrote(Table.NODE_KEY):
            put_policy(changes, self._place)
        for party, counters in self._counters.items():
            changes.put(row_key(Table.COUNTER, party.encode("ascii")), counters.encode())
        for party, usage in self._usages.items():
            changes.put(row_key(Table.QUOTA, party.encode("ascii")), usage.encode())
        if self.recent.weight:
            changes.put(*self.recent.row())
        self.leaving = self._state.window.leaving(self.recent)
        for height in self.leaving:
            changes.delete(recent_key(height))
        heads = self._state.bases[-BASES_MAX:]
        changes.put(HEAD_KEY, encode_heads(heads, proposal.term, proposal.counter))

    @property
    def _close_index(self) -> int:
        """The entry index of the close, once all rules are executed."""
        return self._index + len(self.rules.receipts)

    def end_epoch(self) -> None:
        """Move the epoch of the item chain on, or begin with the first after this block."""
        size = self._close_index + 1
        if self.epoch is None:
            if self.decided:
                self.epoch_rule = rule_in_force(self.changes)
            if self.epoch_rule is None:
                return
            self.epoch = begin_epochs(size=size, time_ms=self._time_ms)
        else:
            assert self.epoch_rule is not None, "an epoch runs by a rule"
            self.epoch = running = self.epoch.touched(self._touches.count)
            if running.ends(self.epoch_rule, size=size, time_ms=self._time_ms):
                before = running.number - 1
                root = self._state.items.store.root(before) if before else ZERO_HASH
                self._ended = running.ended(size)
                self.epoch = running.next(size=size, time_ms=self._time_ms, root=root)
        self.changes.put(ITEM_EPOCH_KEY, self.epoch.encode())

    def item_changes(self, leaf_hashes: Sequence[bytes]) -> ItemChanges:
        """Return what the block's events do to their items' records."""
        touches = self._touches
        before = self._state.items.store.records(touches.items()) if touches.count else {}
        moved = touches.moved(before, leaf_hashes, self._state.size)
        return ItemChanges(self._height, moved, self._ended)

    def _policy_digest(self) -> bytes:
        """Return the digest of the policy in force after the block."""
        if self.changes.wrote(Table.POLICY):
            return read_policy_digest(self.changes)
        return self._state.policy_digest

    def close(self, proposal: Proposal, state_digest: bytes) -> BlockClose:
        """Return the close of the block."""
        state = self._state
        batches, refused_batches, events, refused_events, equivocations = self._counts
        return BlockClose(
            height=self._height,
            time_ms=self._time_ms,
            previous_close_index=state.close_index,
            previous_size=state.size,
            previous_root=state.frontier.root(),
            proposal_digest=proposal.digest(),
            state_digest=state_digest,
            item_epoch=self.epoch.named if self.epoch else 0,
            item_root=self.epoch.root if self.epoch else ZERO_HASH,
            policy_digest=self._policy_digest(),
            batch_count=batches,
            refused_batch_count=refused_batches,
            event_count=events,
            refused_event_count=refused_events,
            receipt_count=len(self.rules.receipts),
            equivocation_count=equivocations,
        )
