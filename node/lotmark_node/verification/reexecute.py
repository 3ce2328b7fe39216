"""Executes the blocks of a snapshot again and compares what comes of them, byte for byte."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import BinaryIO

from lotmark.block import Block, parse_block
from lotmark.block_results import BlockResults, parse_results
from lotmark.entry import parse_close, parse_leaf_data, parse_rule_receipt
from lotmark.errors import ProofError
from lotmark.genesis import Genesis
from lotmark.outcome import Outcome
from lotmark.snapshot_reader import SnapshotBlock, SnapshotReader
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.log_walk import first_difference
from lotmark.verify.operator_register import OperatorRegister
from lotmark.verify.report import Fault, FaultFound, blaming
from lotmark.verify.structure import follow_governance
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.item_epochs import RootsAsStated
from lotmark_node.state_machine.ledger_state import LedgerState, LogPosition, load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.transition import apply_block
from lotmark_node.verification.state_file import (
    check_governed_rows,
    check_operator_rows,
    check_package_rows,
    load_rows,
)


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """One block after it was executed, with what its results are by our own reckoning."""

    height: int
    block: Block
    prepared: list[PreparedBatch]
    results: BlockResults
    size: int  # of the tree after it
    root: bytes


class Replay:
    """A ledger that is executed again."""

    def __init__(
        self, state: LedgerState, rows: StateInMemory, *, stated: RootsAsStated | None = None
    ) -> None:
        """Go on from a state whose reader is `rows`.

        Args:
            state: The state.
            rows: Its rows.
            stated: Where roots of epochs are taken on the file's word; None: they are computed.
        """
        self.state = state
        self._rows = rows
        self._stated = stated

    def take(self, record: SnapshotBlock) -> ExecutedBlock:
        """Execute the next block and compare what comes of it with what the file says.

        Raises:
            FaultFound: The block is not valid, or something else comes of it.
        """
        height = self.state.height + 1
        with blaming("block", height=height):
            block = parse_block(record.block)
            prepared = [PreparedBatch(batch) for batch in block.batches]
            if self._stated is not None:
                self._stated.stated = parse_results(record.results).close.item_root
            effects = apply_block(self.state, block, prepared)
        if effects.results.encode() != record.results:
            with blaming("results", height=height):
                found = parse_results(record.results)
            raise FaultFound(_result_difference(found, effects.results))
        self._rows.write(effects.changes)
        effects.commit()
        head = self.state.bases[-1]
        return ExecutedBlock(height, block, prepared, effects.results, head.size, head.root)


def _result_difference(found: BlockResults, expected: BlockResults) -> Fault:
    """Return the first thing in which recorded results differ from what execution gives."""
    height, index = expected.close.height, expected.first_index
    for ours, theirs in zip(found.batches, expected.batches, strict=False):
        if ours.outcome != theirs.outcome:
            return _outcome_fault("batch", ours.outcome, theirs.outcome, height, index)
        events = zip(ours.event_outcomes, theirs.event_outcomes, strict=False)
        for at, (recorded, executed) in enumerate(events, index + 1):
            if recorded != executed:
                return _outcome_fault("event", recorded, executed, height, at)
        if ours.evidence != theirs.evidence:
            text = "the evidence of a reused number is not what execution gives"
            return Fault("evidence", text, height, index + 1)
        index += theirs.entry_count
    receipts = zip_longest(found.receipts, expected.receipts)
    for at, (recorded_receipt, executed_receipt) in enumerate(receipts, index):
        if recorded_receipt != executed_receipt:
            return _receipt_fault(recorded_receipt, executed_receipt, height, at)
    index += len(expected.receipts)
    if found.close != expected.close:
        name, recorded_text, executed_text = first_difference(found.close, expected.close)
        text = f"{name} {recorded_text} is recorded, execution gives {executed_text}"
        rule = _CLOSE_RULES.get(name, "close")
        return Fault(rule, text, height, index)
    return Fault("results", "they are of other batches than the block's", height)


def _receipt_fault(
    recorded: bytes | None, executed: bytes | None, height: int, index: int
) -> Fault:
    if executed is None:
        text = "a rule receipt is recorded where no rule has anything to say"
    else:
        receipt = json.loads(parse_rule_receipt(executed).document)
        text = (
            f"rule {receipt['rule']} of {receipt['package']} version {receipt['version']} is"
            f" {receipt['status']} for event {receipt['event']} by execution, and the rule receipt"
            " on record is not that"
        )
    if recorded is None:
        text = f"a rule receipt is missing: {text}"
    return Fault("rule receipt", text, height, index)


def _outcome_fault(what: str, recorded: int, executed: int, height: int, index: int) -> Fault:
    names = [
        Outcome(code).name if code in _OUTCOME_CODES else str(code) for code in (recorded, executed)
    ]
    text = f"{what} outcome {names[0]} is recorded, execution gives {names[1]}"
    return Fault("outcome", text, height, index)


_OUTCOME_CODES = frozenset(Outcome)
# Fields of a close that nothing but execution can judge.
_CLOSE_RULES = {"state_digest": "state digest", "item_root": "item root"}


def begin_replay(reader: SnapshotReader, genesis: Genesis, chain_id: bytes) -> Replay:
    """Return the ledger before the first block of a snapshot.

    Raises:
        FaultFound: What the file holds of it does not hold together.
        UndecidedError: The file is cut off.
    """
    keys = KeyRegister(genesis, chain_id)
    operators = OperatorRegister(keys)
    follow_governance(reader, keys, operators)
    stated = None
    with blaming("state", height=reader.manifest.first_height - 1):
        if reader.manifest.is_full:
            rows, position = _founded(reader, genesis, chain_id)
        else:
            rows, position = _loaded(reader)
            stated = RootsAsStated()
            check_governed_rows(rows, keys)
            check_operator_rows(rows, operators)
            check_package_rows(rows)
        state = load_state(rows, position, chain=keys.chain, items=stated)
    return Replay(state, rows, stated=stated)


def _founded(
    reader: SnapshotReader, genesis: Genesis, chain_id: bytes
) -> tuple[StateInMemory, LogPosition]:
    """Return the state and place of height 0, made from the genesis."""
    made = make_genesis_block(genesis, chain_id)
    if reader.start.close_leaf != made.leaves[1]:
        raise ProofError("the close of height 0 is not what follows from the genesis")
    rows = StateInMemory()
    rows.write(made.changes.changed())
    return rows, made.position


def _loaded(reader: SnapshotReader) -> tuple[StateInMemory, LogPosition]:
    """Return the state and place before a range, as the file has them."""
    start = reader.start
    close = parse_close(parse_leaf_data(start.close_leaf)[1])
    rows, lanes = load_rows(reader.state_rows(), close.state_digest)
    return rows, LogPosition(
        height=close.height,
        time_ms=close.time_ms,
        close_index=start.frontier.size - 1,
        lanes=lanes.tobytes(),
        frontier=start.frontier.copy(),
    )


def reexecute(
    source: BinaryIO, *, genesis: Genesis, chain_id: bytes, size: int, root: bytes
) -> Iterator[ExecutedBlock]:
    """Execute a snapshot whose structure is sound, block by block.

    Args:
        source: The file, at its beginning.
        genesis: Of the pinned chain.
        chain_id: The pinned chain id.
        size: Of the tree whose root has been verified.
        root: That root.

    Yields:
        Each block once it was executed.

    Raises:
        FaultFound: Execution gives something else than the file says.
        UndecidedError: The file is cut off.
    """
    with blaming("file"):
        reader = SnapshotReader(source)
        replay = begin_replay(reader, genesis, chain_id)
        for record in reader.blocks():
            yield replay.take(record)
    state = replay.state
    if (state.size, state.frontier.root()) != (size, root):
        raise FaultFound(
            Fault("tree", "the file's entries are not those whose root was verified before")
        )
