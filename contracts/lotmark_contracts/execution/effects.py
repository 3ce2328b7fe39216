"""Gathers what a rule does; nothing of it happens unless all of it comes out well."""

from collections.abc import Callable

from lotmark_contracts.execution.evaluation import Evaluation
from lotmark_contracts.execution.failures import ExecutionCode, RuleFailed
from lotmark_contracts.execution.postings import account_name
from lotmark_contracts.execution.receipt import IssuedWorkOrder, Posting, RaisedAlert
from lotmark_contracts.execution.timers import CancelTimer, SetTimer
from lotmark_contracts.package import rule_costs
from lotmark_contracts.package.rule import (
    Account,
    Alert,
    Effect,
    Keep,
    Pay,
    Placed,
    Slot,
    StartTimer,
    StopTimer,
    WorkOrder,
)
from lotmark_contracts.package.value_check import Check, ValueRefused
from lotmark_contracts.wcel.currencies import EXPONENTS
from lotmark_contracts.wcel.values import TooLarge, Value, measured


class Effects:
    """The effects of one execution."""

    __slots__ = (
        "_evaluation", "_frame", "_is_bound", "_run", "kept", "notices", "postings", "timers",
    )  # fmt: skip

    def __init__(self, evaluation: Evaluation, is_bound: Callable[[str], bool]) -> None:
        """Begin with nothing.

        Args:
            evaluation: Of the rule.
            is_bound: Returns whether there is a party of a name that is bound by the package.
        """
        self._evaluation = evaluation
        self._run = evaluation.run
        self._frame = evaluation.frame
        self._is_bound = is_bound
        self.postings: list[Posting] = []
        self.kept: dict[tuple[str, str], Value] = {}  # by family and key
        self.notices: list[RaisedAlert | IssuedWorkOrder] = []
        self.timers: list[SetTimer | CancelTimer] = []

    def gather(self, effect: Effect) -> None:
        """Add an effect, for each item of its list if it has one.

        Raises:
            RuleFailed: It cannot be.
            ExpressionFailed: One of its expressions has no value, or the gas has run out.
        """
        if effect.loop is None:
            self._gather_once(effect)
            return
        loop, frame = effect.loop, self._frame
        items = self._run(loop.items)
        frame.charge(rule_costs.ITEM * len(items), 0)
        for index, item in enumerate(items):
            frame.slots[loop.item_slot] = item
            if loop.index_slot is not None:
                frame.slots[loop.index_slot] = index
            self._gather_once(effect)

    def _gather_once(self, effect: Effect) -> None:
        if effect.condition is not None and not self._run(effect.condition):
            return
        match effect.action:
            case Pay() as pay:
                self._pay(pay)
            case Keep() as keep:
                self._keep(keep)
            case Alert() as alert:
                self._alert(alert)
            case WorkOrder() as order:
                self._order(order)
            case StartTimer() as timer:
                self._start(timer)
            case StopTimer() as timer:
                self._stop(timer)

    def _pay(self, pay: Pay) -> None:
        minor = self._run(pay.amount)
        self._frame.charge(rule_costs.PAY, 0)
        if minor == 0:
            return
        if minor < 0:
            raise RuleFailed(ExecutionCode.NEGATIVE_AMOUNT)
        currency = self._run(pay.currency)
        if currency not in EXPONENTS:
            raise RuleFailed(ExecutionCode.UNKNOWN_CURRENCY)
        debit, credit = self._account(pay.debit), self._account(pay.credit)
        memo = "" if pay.memo is None else self._run(pay.memo)
        self.postings.append(Posting(debit, credit, minor, currency, memo))

    def _account(self, account: Account) -> str:
        name = self._run(account.name)
        full_name = account_name(account.family, name)
        if account.is_of_party and not self._is_bound(name):
            raise RuleFailed(ExecutionCode.NOT_BOUND)
        return full_name

    def _keep(self, keep: Keep) -> None:
        key = self._evaluation.key(keep.key)
        value: Value
        if isinstance(keep.value, Placed):
            value = self._run(keep.value)
        else:
            value = {name: self._run(each) for name, each in keep.value.items()}
        self._charge_kept(value, keep.check, keep.key.place)
        self.kept[keep.family, key] = value

    def _alert(self, alert: Alert) -> None:
        text = self._run(alert.text)
        self._frame.charge(rule_costs.NOTICE, 0)
        self.notices.append(RaisedAlert(alert.level, text))

    def _order(self, order: WorkOrder) -> None:
        text, assignee = self._run(order.text), self._run(order.assignee)
        self._frame.charge(rule_costs.NOTICE, 0)
        self.notices.append(IssuedWorkOrder(text, assignee))

    def _start(self, timer: StartTimer) -> None:
        key, due_ms = self._evaluation.key(timer.key), self._run(timer.at)
        fields: dict[str, Value] = {name: self._run(each) for name, each in timer.fields.items()}
        self._charge_kept(fields, timer.check, timer.key.place)
        # Not before now: nobody puts his timers before those that others have been waiting for.
        due_ms = max(due_ms, self._frame.slots[Slot.NOW] + 1)
        self.timers.append(SetTimer(name=timer.name, key=key, due_ms=due_ms, fields=fields))

    def _stop(self, timer: StopTimer) -> None:
        key = self._evaluation.key(timer.key)
        self._frame.charge(rule_costs.KEEP, 0)
        self.timers.append(CancelTimer(timer.name, key))

    def _charge_kept(self, value: Value, check: Check, place: str) -> None:
        self._evaluation.place = place
        try:
            # Its size comes first: what a value shares, the check would visit each time, unpaid.
            size = measured(value)
            check(value)
        except (ValueRefused, TooLarge):
            raise RuleFailed(ExecutionCode.TOO_LONG) from None
        self._frame.charge(rule_costs.KEEP + size, 0)
