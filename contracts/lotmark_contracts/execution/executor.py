"""Executes one rule for one event: on, when, once, read, let, skip, refuse, then."""

from typing import Any

from lotmark_contracts.execution.failures import ExecutionCode, RuleFailed
from lotmark_contracts.execution.inputs import (
    Circumstances,
    Event,
    party_records,
    provenance_records,
)
from lotmark_contracts.execution.postings import (
    ReadState,
    account_name,
    new_balances,
)
from lotmark_contracts.execution.receipt import (
    BECAUSE_SIZE_MAX,
    Failure,
    IssuedWorkOrder,
    Outcome,
    Posting,
    RaisedAlert,
    Reason,
    RuleReceipt,
    Status,
)
from lotmark_contracts.execution.state_keys import once_key, state_key
from lotmark_contracts.package import rule_costs
from lotmark_contracts.package.package import Package
from lotmark_contracts.package.rule import (
    Alert,
    Effect,
    Keep,
    Pay,
    Placed,
    Rule,
    Slot,
    Step,
    TableStep,
    WorkOrder,
)
from lotmark_contracts.package.value_check import ValueRefused
from lotmark_contracts.wcel.currencies import EXPONENTS
from lotmark_contracts.wcel.errors import ExpressionFailed
from lotmark_contracts.wcel.frame import Frame
from lotmark_contracts.wcel.values import TooLarge, Value, measured

KEY_LENGTH_MAX = 256  # of a kept value, and of a once-key


def execute_rule(
    package: Package, rule: Rule, event: Event, circumstances: Circumstances, read: ReadState
) -> Outcome | None:
    """Return what a rule makes of an event of its type.

    Args:
        package: The package that the rule is of.
        rule: The rule.
        event: What has happened.
        circumstances: Of the block that the event stands in.
        read: Returns what is kept under a key; it must not be changed meanwhile.

    Returns:
        The receipt and what has to be written with it, or None where the rule has nothing to say:
        `when` does not hold, or `skip` does.
    """
    return _Execution(package, rule, event, circumstances, read).outcome()


class _Execution:
    __slots__ = (
        "_because", "_circumstances", "_event", "_frame", "_gas_max", "_kept", "_notices",
        "_package", "_place", "_postings", "_read", "_rule",
    )  # fmt: skip

    def __init__(
        self,
        package: Package,
        rule: Rule,
        event: Event,
        circumstances: Circumstances,
        read: ReadState,
    ) -> None:
        self._package = package
        self._rule = rule
        self._event = event
        self._circumstances = circumstances
        self._read = read
        self._gas_max = package.manifest.gas_max
        self._frame = Frame(rule.slot_count, self._gas_max)
        self._place = "event"
        self._because: list[Reason] = []
        self._postings: list[Posting] = []
        self._kept: dict[tuple[str, str], Value] = {}
        self._notices: list[RaisedAlert | IssuedWorkOrder] = []

    def outcome(self) -> Outcome | None:
        """Execute the rule; what goes wrong with it is a receipt, and nothing is written."""
        try:
            return self._outcome()
        except ExpressionFailed as error:
            return self._failed(error.code, self._place, error.offset)
        except RuleFailed as error:
            return self._failed(error.code, self._place, 0)
        except ValueRefused as error:
            return self._failed(ExecutionCode.INPUT, "event" + error.path, 0)

    def _outcome(self) -> Outcome | None:
        rule = self._rule
        self._frame.slots[Slot.EVENT] = self._event.fields
        self._fill_slots()
        if rule.when is not None:
            self._check_early()
            if not self._run(rule.when):
                return None
        rule.event_check(self._event.fields)
        key = once_key(self._package.name, rule.name, self._key(rule.once))
        first = self._read(key)
        if first is not None:
            assert isinstance(first, str), "only event ids are kept under once-keys"
            return Outcome(self._receipt(Status.DUPLICATE, first=first), {})
        self._read_state()
        for step in rule.steps:
            self._take(step)
        if rule.skip is not None and self._run(rule.skip):
            return None
        for refusal in rule.refusals:
            if self._run(refusal.condition):
                return Outcome(self._receipt(Status.REFUSED, reason=refusal.reason), {})
        for effect in rule.effects:
            self._do(effect)
        return self._done(key)

    def _fill_slots(self) -> None:
        slots, names = self._frame.slots, self._rule.names
        slots[Slot.AUTHOR] = self._event.author
        slots[Slot.NOW] = self._circumstances.now_ms
        slots[Slot.HEIGHT] = self._circumstances.height
        slots[Slot.PARAMS] = self._package.manifest.params
        if "provenance" in names:
            slots[Slot.PROVENANCE] = provenance_records(self._event.provenance)
        if "parties" in names:
            slots[Slot.PARTIES] = party_records(self._circumstances.parties)

    def _check_early(self) -> None:
        fields = self._event.fields
        for name, (check, is_optional) in self._rule.early_checks.items():
            try:
                if name in fields:
                    check(fields[name])
                elif not is_optional:
                    raise ValueRefused("is missing")
            except ValueRefused as error:
                raise error.inside(f".{name}") from None

    def _run(self, placed: Placed) -> Any:
        self._place = placed.place
        return placed.program.run(self._frame)

    def _key(self, placed: Placed) -> str:
        key: str = self._run(placed)
        if not 1 <= len(key) <= KEY_LENGTH_MAX:
            raise RuleFailed(ExecutionCode.BAD_NAME)
        return key

    def _read_state(self) -> None:
        for each in self._rule.reads:
            key = self._key(each.key)
            self._frame.charge(rule_costs.READ, 0)
            kept = self._read(state_key(self._package.name, each.family, key))
            self._frame.slots[each.slot] = each.default if kept is None else kept

    def _take(self, step: Step | TableStep) -> None:
        if isinstance(step, Step):
            value = self._run(step.expression)
            self._because.append(Reason(step.name, _told(value)))
            self._frame.slots[step.slot] = value
            return
        inputs = [self._run(each) for each in step.inputs]
        self._place = f"let.{step.name}"
        self._frame.charge(step.table.gas, 0)
        row, output = step.table.decide(inputs)
        if output is None:
            raise RuleFailed(ExecutionCode.NO_ROW)
        self._because.append(Reason(step.name, output, step.table.name, row))
        self._frame.slots[step.slot] = output

    def _do(self, effect: Effect) -> None:
        if effect.loop is None:
            self._do_once(effect)
            return
        loop, slots = effect.loop, self._frame.slots
        items = self._run(loop.items)
        self._frame.charge(rule_costs.ITEM * len(items), 0)
        for index, item in enumerate(items):
            slots[loop.item_slot] = item
            if loop.index_slot is not None:
                slots[loop.index_slot] = index
            self._do_once(effect)

    def _do_once(self, effect: Effect) -> None:
        if effect.condition is not None and not self._run(effect.condition):
            return
        match effect.action:
            case Pay() as pay:
                self._pay(pay)
            case Keep() as keep:
                self._keep(keep)
            case Alert() as alert:
                text = self._run(alert.text)
                self._frame.charge(rule_costs.NOTICE, 0)
                self._notices.append(RaisedAlert(alert.level, text))
            case WorkOrder() as order:
                text, assignee = self._run(order.text), self._run(order.assignee)
                self._frame.charge(rule_costs.NOTICE, 0)
                self._notices.append(IssuedWorkOrder(text, assignee))

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
        debit = account_name(pay.debit_family, self._run(pay.debit_name))
        credit = account_name(pay.credit_family, self._run(pay.credit_name))
        memo = "" if pay.memo is None else self._run(pay.memo)
        self._postings.append(Posting(debit, credit, minor, currency, memo))

    def _keep(self, keep: Keep) -> None:
        key = self._key(keep.key)
        value: Value
        if isinstance(keep.value, Placed):
            value = self._run(keep.value)
        else:
            value = {name: self._run(placed) for name, placed in keep.value.items()}
        self._place = keep.key.place
        try:
            # Its size comes first: what a value shares, the check would visit each time, unpaid.
            size = measured(value)
            keep.check(value)
        except (ValueRefused, TooLarge):
            raise RuleFailed(ExecutionCode.TOO_LONG) from None
        self._frame.charge(rule_costs.KEEP + size, 0)
        self._kept[keep.family, key] = value

    def _done(self, once: str) -> Outcome:
        self._place = "then"
        name = self._package.name
        writes = new_balances(self._package.manifest, self._postings, self._read)
        for (family, key), value in self._kept.items():
            writes[state_key(name, family, key)] = value
        writes[once] = self._event.id
        return Outcome(self._receipt(Status.DONE), writes)

    def _failed(self, code: str, at: str, offset: int) -> Outcome:
        failure = Failure(str(code), at, offset)
        return Outcome(self._receipt(Status.FAILED, failure=failure), {})

    def _receipt(
        self,
        status: Status,
        *,
        reason: str = "",
        first: str = "",
        failure: Failure | None = None,
    ) -> RuleReceipt:
        is_done = status is Status.DONE  # else nothing of what was prepared happens
        kept = tuple((*place, value) for place, value in self._kept.items())
        return RuleReceipt(
            package=self._package.name,
            version=self._package.manifest.version,
            package_hash=self._package.hash,
            rule=self._rule.name,
            event_id=self._event.id,
            status=status,
            gas=self._gas_max - max(self._frame.gas_left, 0),
            because=tuple(self._because),
            postings=tuple(self._postings) if is_done else (),
            kept=kept if is_done else (),
            notices=tuple(self._notices) if is_done else (),
            reason=reason,
            first=first,
            failure=failure,
        )


def _told(value: Value) -> Value | None:
    """Return a step's value for a receipt, or None where it is too large for one."""
    if isinstance(value, int):
        return value
    try:
        measured(value, BECAUSE_SIZE_MAX)
    except TooLarge:
        return None
    return value
