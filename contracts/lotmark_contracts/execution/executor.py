"""Executes one rule for one event: on, when, once, read, let, skip, refuse, then."""

from lotmark_contracts.execution.contract_state import ReadState
from lotmark_contracts.execution.effects import Effects
from lotmark_contracts.execution.evaluation import Evaluation
from lotmark_contracts.execution.failures import ExecutionCode, RuleFailed
from lotmark_contracts.execution.inputs import Evidence
from lotmark_contracts.execution.occasion import Occasion
from lotmark_contracts.execution.postings import new_balances
from lotmark_contracts.execution.receipt import (
    BECAUSE_SIZE_MAX,
    NOTHING_WRITTEN,
    Failure,
    KeptRead,
    Outcome,
    Reason,
    RuleReceipt,
    Status,
)
from lotmark_contracts.execution.rule_book import Listener
from lotmark_contracts.execution.state_keys import StateKey, claim_key, once_key, value_key
from lotmark_contracts.package import rule_costs
from lotmark_contracts.package.rule import Read, Slot, Step, TableStep
from lotmark_contracts.package.value_check import ValueRefused
from lotmark_contracts.wcel.errors import ExpressionFailed
from lotmark_contracts.wcel.frame import Frame
from lotmark_contracts.wcel.values import TooLarge, Value, measured


def execute_rule(listener: Listener, occasion: Occasion, read: ReadState) -> Outcome:
    """Return what a rule makes of an event of its type.

    Args:
        listener: The rule, and the package that it is of.
        occasion: What has happened.
        read: Returns what is kept under a key; it must not be changed meanwhile.

    Returns:
        The receipt and what has to be written with it; no receipt where the rule has nothing to
        say: `when` does not hold, `skip` does, the claim is another version's, or a guard has
        nothing against the event.
    """
    return _Execution(listener, occasion, read).outcome()


class _Execution(Evaluation):
    __slots__ = (
        "_because", "_claim", "_evidence", "_fields", "_listener", "_occasion",
        "_package", "_read", "_reads", "_rule",
    )  # fmt: skip

    def __init__(self, listener: Listener, occasion: Occasion, read: ReadState) -> None:
        self._listener = listener
        self._package = listener.active.package
        self._rule = rule = listener.rule
        self.frame = Frame(rule.slot_count, self._package.manifest.gas_max)
        self.place = "event"  # as `Evaluation` does, without the call
        self._occasion = occasion
        self._read = read
        self._fields = occasion.event.fields
        if rule.envelope_names and occasion.event.envelope:
            envelope = occasion.event.envelope
            self._fields = self._fields | {name: envelope[name] for name in rule.envelope_names}
        if occasion.event.is_native or listener.is_superseded:
            self._fields = rule.event_projection(self._fields)
        self._claim = ""
        self._reads: list[KeptRead] = []
        self._evidence: tuple[Evidence, ...] = ()
        self._because: list[Reason] = []

    def outcome(self) -> Outcome:
        """Execute the rule; what goes wrong with it is a receipt, and nothing is written."""
        try:
            return self._outcome()
        except ExpressionFailed as error:
            return self._failed(error.code, self.place, error.offset)
        except RuleFailed as error:
            return self._failed(error.code, self.place, 0)
        except ValueRefused as error:
            return self._failed(ExecutionCode.INPUT, "event" + error.path, 0)

    def _outcome(self) -> Outcome:
        rule = self._rule
        self._fill_slots()
        if rule.when is not None:
            self._check_early()
            if not self.run(rule.when):
                return self._silence()
        rule.event_check(self._fields)
        opening: StateKey | None = None
        if rule.claim is not None:
            key = claim_key(self._package.name, self.key(rule.claim))
            self.frame.charge(rule_costs.READ, 0)
            version = _version_of(self._read(key))
            owner = self._listener.owner(version)
            if owner != self._package.manifest.version:
                return self._silence(owner)
            self._claim = key.key
            opening = key if version is None else None
        if "provenance" in rule.names:
            self._fill_provenance()
        if rule.once is None:
            return self._guarded()
        once = once_key(self._package.name, rule.name, self.key(rule.once))
        first = self._read(once)
        if first is not None:
            assert isinstance(first, str), "only event ids are kept under once-keys"
            return self._ended(Status.DUPLICATE, first=first)
        self._read_state()
        for step in rule.steps:
            self._take(step)
        if rule.skip is not None and self.run(rule.skip):
            return self._silence()
        if (reason := self._refusal()) is not None:
            return self._ended(Status.REFUSED, reason=reason)
        effects = Effects(self, self._is_bound)
        for effect in rule.effects:
            effects.gather(effect)
        return self._done(effects, once, opening)

    def _guarded(self) -> Outcome:
        self._read_state()
        for step in self._rule.steps:
            self._take(step)
        reason = self._refusal()
        return self._silence() if reason is None else self._ended(Status.REFUSED, reason=reason)

    def _refusal(self) -> str | None:
        for refusal in self._rule.refusals:
            if self.run(refusal.condition):
                return refusal.reason
        return None

    def _fill_slots(self) -> None:
        slots, rule = self.frame.slots, self._rule
        slots[Slot.EVENT] = self._fields
        slots[Slot.AUTHOR] = self._occasion.event.author
        slots[Slot.NOW] = self._occasion.block.circumstances.now_ms
        slots[Slot.HEIGHT] = self._occasion.block.circumstances.height
        slots[Slot.PARAMS] = self._package.manifest.params
        if "provenance" in rule.early_names:
            self._fill_provenance()
        if "parties" in rule.names:
            slots[Slot.PARTIES] = self._occasion.block.parties

    def _fill_provenance(self) -> None:
        self.frame.slots[Slot.PROVENANCE] = self._occasion.provenance
        self._evidence = self._occasion.evidence

    def _check_early(self) -> None:
        fields = self._fields
        for name, (check, is_optional) in self._rule.early_checks.items():
            try:
                if name in fields:
                    check(fields[name])
                elif not is_optional:
                    raise ValueRefused("is missing")
            except ValueRefused as error:
                raise error.inside(f".{name}") from None

    def _read_state(self) -> None:
        for each in self._rule.reads:
            key = self.key(each.key)
            self.frame.charge(rule_costs.READ, 0)
            kept = self._read(value_key(self._package.name, each.family, key))
            value = each.default if kept is None else self._as_declared(each, kept)
            self.frame.slots[each.slot] = value
            self._reads.append(KeptRead(each.name, each.family, key, _told(value, each.size_max)))

    def _as_declared(self, read: Read, kept: Value) -> Value:
        """Return a kept value as this version knows it: a newer one may have kept more."""
        if not self._listener.is_superseded:
            return kept
        value: Value = read.projection(kept)
        try:
            read.check(value)
        except ValueRefused:
            self.place = f"read.{read.name}"
            raise RuleFailed(ExecutionCode.TOO_LONG) from None
        return value

    def _take(self, step: Step | TableStep) -> None:
        if isinstance(step, Step):
            value = self.run(step.expression)
            size_max = step.expression.program.size_max
            self._because.append(Reason(step.name, _told(value, size_max)))
            self.frame.slots[step.slot] = value
            return
        inputs = [self.run(each) for each in step.inputs]
        self.place = f"let.{step.name}"
        self.frame.charge(step.table.gas, 0)
        row, output = step.table.decide(inputs)
        if output is None:
            raise RuleFailed(ExecutionCode.NO_ROW)
        self._because.append(Reason(step.name, output, step.table.name, row))
        self.frame.slots[step.slot] = output

    def _is_bound(self, party: str) -> bool:
        bound = self._listener.active.approved_by
        return party in self._occasion.block.party_ids and (bound is None or party in bound)

    def _done(self, effects: Effects, once: StateKey, opening: StateKey | None) -> Outcome:
        self.place = "then"
        manifest = self._package.manifest
        writes = new_balances(manifest, effects.postings, self._read)
        for (family, key), value in effects.kept.items():
            writes[value_key(manifest.name, family, key)] = value
        event_id = self._occasion.event.id
        writes[once] = event_id
        if opening is not None:
            writes[opening] = {"version": manifest.version, "opened_by": event_id}
        return Outcome(self._receipt(Status.DONE, effects), self._gas, writes)

    @property
    def _gas(self) -> int:
        return self._package.manifest.gas_max - max(self.frame.gas_left, 0)

    def _silence(self, owner: int = 0) -> Outcome:
        return Outcome(None, self._gas, NOTHING_WRITTEN, owner)

    def _ended(
        self,
        status: Status,
        *,
        reason: str = "",
        first: str = "",
        failure: Failure | None = None,
    ) -> Outcome:
        receipt = self._receipt(status, reason=reason, first=first, failure=failure)
        return Outcome(receipt, self._gas)

    def _failed(self, code: str, at: str, offset: int) -> Outcome:
        failure = Failure(str(code), at, offset)
        return self._ended(Status.FAILED, failure=failure)

    def _receipt(
        self,
        status: Status,
        effects: Effects | None = None,  # of what was prepared, nothing happens unless it is done
        *,
        reason: str = "",
        first: str = "",
        failure: Failure | None = None,
    ) -> RuleReceipt:
        return RuleReceipt(
            package=self._package.name,
            version=self._package.manifest.version,
            package_hash=self._package.hash,
            rule=self._rule.name,
            event_id=self._occasion.event.id,
            claim=self._claim,
            status=status,
            gas=self._gas,
            reads=tuple(self._reads),
            evidence=self._evidence,
            because=tuple(self._because),
            postings=tuple(effects.postings) if effects else (),
            kept=tuple((*at, value) for at, value in effects.kept.items()) if effects else (),
            notices=tuple(effects.notices) if effects else (),
            timers=tuple(effects.timers) if effects else (),
            reason=reason,
            first=first,
            failure=failure,
        )


def _version_of(claim: Value | None) -> int | None:
    """Return under which version a claim was opened, or None where it was not."""
    if claim is None:
        return None
    assert isinstance(claim, dict), "a claim is kept as a record"
    version = claim["version"]
    assert isinstance(version, int), "a version is a number"
    return version


def _told(value: Value, size_max: int) -> Value | None:
    """Return a step's value for a receipt, or None where it is too large for one.

    By its type most are never too large, and are not measured.
    """
    if size_max <= BECAUSE_SIZE_MAX:
        return value
    try:
        measured(value, BECAUSE_SIZE_MAX)
    except TooLarge:
        return None
    return value
