"""Executes the rules of a block, event by event, and writes what they do into the state."""

from collections.abc import Sequence
from typing import Final

from lotmark_contracts.execution.contract_state import ContractState
from lotmark_contracts.execution.executor import execute_rule
from lotmark_contracts.execution.failures import ExecutionCode
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.occasion import Block, Occasion
from lotmark_contracts.execution.receipt import Failure, Outcome, RuleReceipt, Status
from lotmark_contracts.execution.rule_book import Listener, RuleBook
from lotmark_contracts.execution.timers import DueTimer, SetTimer

BLOCK_GAS_MAX: Final = 10_000_000


class RulesOfBlock:
    """What rules make of the events of one block, in the order in which they are handed over."""

    def __init__(
        self,
        book: RuleBook,
        circumstances: Circumstances,
        state: ContractState,
        gas_max: int = BLOCK_GAS_MAX,
    ) -> None:
        self._book = book
        self._block = Block(circumstances)
        self._state = state
        self.gas_left = gas_max

    def judge(self, event: Event) -> Sequence[RuleReceipt]:
        """Ask the guards, before the event's outcome is fixed.

        Returns:
            The receipts of those that refuse it or fail; empty: nothing speaks against the event.
        """
        listeners = self._book.listeners(event.type)
        if listeners is None or not listeners.guards:
            return ()
        occasion = Occasion(event, self._block)
        outcomes = [self._outcome(guard, occasion) for guard in listeners.guards]
        return [outcome.receipt for outcome in outcomes if outcome.receipt is not None]

    def execute(self, event: Event) -> Sequence[RuleReceipt]:
        """Execute the rules that listen to an event, by package, version and rule.

        A rule sees what the rules before it have written; what rules do is no event to others.
        """
        listeners = self._book.listeners(event.type)
        if listeners is None:
            return ()
        return self._execute(listeners.effect_rules, event)

    def fire(self, timer: DueTimer) -> Sequence[RuleReceipt]:
        """Execute the rules of a timer's package that listen to it."""
        return self._execute(self._book.timer_listeners(timer.package, timer.name), timer.event())

    def has_gas_for(self, package: str, timer: str) -> bool:
        """Return whether all rules that listen to a timer can be executed; else it has to wait."""
        listeners = self._book.timer_listeners(package, timer)
        return sum(each.rule.worst_gas for each in listeners) <= self.gas_left

    def charge(self, gas: int) -> None:
        """Take gas for what executing a rule costs beside it, as far as there is any left."""
        self.gas_left = max(0, self.gas_left - gas)

    def _execute(self, listeners: Sequence[Listener], event: Event) -> list[RuleReceipt]:
        occasion = Occasion(event, self._block)
        receipts: list[RuleReceipt] = []
        # Of superseded versions, which failed before they knew whether the claim is theirs: it is
        # told where a newer version finds that it is, and otherwise of no concern.
        unknown: dict[tuple[str, str, int], RuleReceipt] = {}
        for listener in listeners:
            outcome = self._outcome(listener, occasion)
            receipt = outcome.receipt
            if outcome.owner:
                place = listener.active.package.name, listener.rule.name, outcome.owner
                receipt = unknown.pop(place, None)
            elif receipt is not None and _is_of_no_known_claim(listener, receipt):
                unknown[receipt.package, receipt.rule, receipt.version] = receipt
                continue
            if receipt is not None:
                receipts.append(receipt)
                if receipt.status is Status.DONE:
                    self._write(receipt, outcome, event)
        return receipts

    def _write(self, receipt: RuleReceipt, outcome: Outcome, event: Event) -> None:
        self._state.write(outcome.writes)
        for timer in receipt.timers:
            if isinstance(timer, SetTimer):
                self._state.set_timer(
                    receipt.package, timer, author=event.author, event_id=event.id
                )
            else:
                self._state.cancel_timer(receipt.package, timer)

    def _outcome(self, listener: Listener, occasion: Occasion) -> Outcome:
        rule = listener.rule
        if rule.worst_gas > self.gas_left:
            package = listener.active.package
            receipt = RuleReceipt(
                package=package.name,
                version=package.manifest.version,
                package_hash=package.hash,
                rule=rule.name,
                event_id=occasion.event.id,
                status=Status.FAILED,
                gas=0,
                failure=Failure(ExecutionCode.BLOCK_GAS, "on", 0),
            )
            return Outcome(receipt, 0)
        outcome = execute_rule(listener, occasion, self._state.read)
        self.gas_left -= outcome.gas
        return outcome


def _is_of_no_known_claim(listener: Listener, receipt: RuleReceipt) -> bool:
    return (
        listener.is_superseded
        and listener.is_told_by_newest
        and receipt.status is Status.FAILED
        and not receipt.claim
    )
