"""Executes a whole block in memory, in the order in which a ledger does."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from lotmark_contracts.execution.block_execution import BLOCK_GAS_MAX, RulesOfBlock
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RuleReceipt
from lotmark_contracts.execution.rule_book import RuleBook

TIMERS_MAX: Final = 64  # that fire in a block


class ExecutedBlock(NamedTuple):
    """What became of a block."""

    receipts: list[RuleReceipt]  # in order
    gas: int  # that was used


def execute_block(
    book: RuleBook, circumstances: Circumstances, state: MemoryState, events: Sequence[Event]
) -> ExecutedBlock:
    """Fire what is due, ask the guards of each event, then execute what they have not refused."""
    block = RulesOfBlock(book, circumstances, state)
    receipts: list[RuleReceipt] = []
    for fired in range(TIMERS_MAX):
        timer = state.next_due(circumstances.now_ms)
        if timer is None or (fired and not block.has_gas_for(timer.package, timer.name)):
            break
        state.take_timer(timer)
        receipts.extend(block.fire(timer))
    accepted: list[Event] = []
    for event in events:
        refusals = block.judge(event)
        receipts.extend(refusals)
        if not refusals:
            accepted.append(event)
    for event in accepted:
        receipts.extend(block.execute(event))
    return ExecutedBlock(receipts, BLOCK_GAS_MAX - block.gas_left)
