"""Reads and compiles a rule."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lotmark_contracts.package import rule_costs
from lotmark_contracts.package.builtin_types import (
    ENVELOPE_NAMES,
    NAME_LENGTH_MAX,
    PARTIES,
    PROVENANCE,
)
from lotmark_contracts.package.effect_reader import EffectReader, reference
from lotmark_contracts.package.expressions import compile_node
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.load_work import TYPE_NODE, LoadWork
from lotmark_contracts.package.manifest import EFFECTS_MAX, Manifest
from lotmark_contracts.package.projection import projection
from lotmark_contracts.package.rule import (
    Effect,
    Placed,
    Read,
    Refusal,
    Rule,
    Slot,
    Step,
    TableStep,
)
from lotmark_contracts.package.table import Table
from lotmark_contracts.package.value_check import Check, field_checks, value_check
from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.compiler import Program
from lotmark_contracts.wcel.parser import RESERVED
from lotmark_contracts.wcel.scope import Scope
from lotmark_contracts.wcel.syntax import Has, Name, Select, walk
from lotmark_contracts.wcel.types import BOOL, INT, RecordType, Type, string_type
from lotmark_contracts.wcel.values import size_max

STEPS_MAX = 64
READS_MAX = 32
REFUSALS_MAX = 32
REASON_LENGTH_MAX = 40
_GAS_SHOWN_MAX = 1_000_000_000
_TEXT = string_type(0)
_EFFECT_RULE_FIELDS = (
    ("title", "on", "once", "then"),
    ("when", "claim", "read", "let", "skip", "refuse"),
)
_GUARD_FIELDS = (("title", "on", "guard", "refuse"), ("when", "read", "let"))
_REASON = re.compile("[A-Z][A-Z0-9_]*")


def read_rule(
    name: str, node: Node, manifest: Manifest, tables: Mapping[str, Table], work: LoadWork
) -> Rule:
    """Return a rule, compiled.

    Raises:
        PackageRefused: It is malformed, names what is not declared, or costs too much.
    """
    return _RuleReader(manifest, tables, node, work).rule(name)


@dataclass(slots=True)
class _Cost:
    """A part of a rule's worst case, and where it stands."""

    gas: int
    node: Node


class _RuleReader:
    def __init__(
        self, manifest: Manifest, tables: Mapping[str, Table], node: Node, work: LoadWork
    ) -> None:
        self._work = work
        self._manifest = manifest
        self._tables = tables
        self._node = node
        self._is_guard = "guard" in node.members()
        self._fields = node.fields(*(_GUARD_FIELDS if self._is_guard else _EFFECT_RULE_FIELDS))
        self._scope = Scope()
        self._costs: list[_Cost] = []
        self._programs: list[Program] = []

    def rule(self, name: str) -> Rule:
        """Read the stages in the order in which they are executed."""
        event = self._event_record()
        self._work.spend(TYPE_NODE * event.nodes, self._fields["on"])
        for variable, type_ in (
            ("event", event),
            ("author", string_type(NAME_LENGTH_MAX)),
            ("now", INT),
            ("height", INT),
            ("params", self._manifest.param_types),
            ("provenance", PROVENANCE),
            ("parties", PARTIES),
        ):
            self._scope = self._scope.with_variable(variable, type_)
        assert self._scope.variables["parties"].slot == Slot.PARTIES
        when = self._optional("when", BOOL)
        claim = self._optional("claim", _TEXT)
        if claim is not None:
            self._costs.append(_Cost(rule_costs.READ, self._fields["claim"]))
        early = [each.program for each in (when, claim) if each is not None]
        once = self._optional("once", _TEXT)
        reads = self._reads()
        steps = self._steps()
        skip = self._optional("skip", BOOL)
        refusals = self._refusals()
        effects = self._effects()
        worst_gas = self._checked_cost()
        slots = [self._scope.slot_count, *(each.slot_count for each in self._programs)]
        return Rule(
            name=name,
            title=self._fields["title"].text(200),
            event_type=self._fields["on"].text(),
            is_on_timer=self._fields["on"].text() in self._manifest.timers,
            is_guard=self._is_guard,
            early_checks=_early_checks(event, when),
            event_check=value_check(event),
            event_projection=projection(event),
            envelope_names=tuple(name for name in ENVELOPE_NAMES if event.get(name) is not None),
            when=when,
            claim=claim,
            claim_text=self._fields["claim"].text() if claim is not None else "",
            once=once,
            reads=reads,
            steps=steps,
            skip=skip,
            refusals=refusals,
            effects=effects,
            slot_count=max(slots),
            worst_gas=worst_gas,
            names=frozenset().union(*(each.names for each in self._programs)),
            early_names=frozenset().union(*(each.names for each in early)),
        )

    def _event_record(self) -> RecordType:
        if self._is_guard and self._fields["guard"].content is not True:
            raise self._fields["guard"].refused("a guard is true, and other rules leave it out")
        node = self._fields["on"]
        name, events, timers = node.text(), self._manifest.events, self._manifest.timers
        if name in timers and self._is_guard:
            raise node.refused(f"{name!r} is a timer; a guard is asked about events")
        known = {**events, **timers}
        if name not in known:
            raise node.refused(f"event {name[:40]!r} is not declared{suggest(name, known)}")
        return known[name]

    def _compile(self, node: Node, place: str, wanted: Type | None = None) -> Placed:
        program = compile_node(node, self._scope, self._work, wanted)
        self._programs.append(program)
        self._costs.append(_Cost(program.worst_gas, node))
        return Placed(place, program)

    def _optional(self, field: str, wanted: Type) -> Placed | None:
        node = self._fields.get(field)
        return None if node is None else self._compile(node, field, wanted)

    def _reads(self) -> tuple[Read, ...]:
        node = self._fields.get("read")
        reads = []
        for name, each in () if node is None else node.named("a value", READS_MAX).items():
            family, key_node = reference(each, self._manifest.state, "state")
            key = self._compile(key_node, f"read.{name}", _TEXT)
            self._costs.append(_Cost(rule_costs.READ, each))
            declared = self._manifest.state[family]
            slot = self._define(name, each, declared.type)
            type_ = declared.type
            reads.append(
                Read(
                    slot,
                    name,
                    family,
                    key,
                    declared.default,
                    projection(type_),
                    value_check(type_),
                    size_max(type_),
                )
            )
        return tuple(reads)

    def _steps(self) -> tuple[Step | TableStep, ...]:
        node = self._fields.get("let")
        steps: list[Step | TableStep] = []
        for each in () if node is None else node.items(STEPS_MAX):
            members = each.named("a step", STEPS_MAX)
            if len(members) != 1:
                raise each.refused('a step has one name, as in {"cost": "material + labour"}')
            ((name, value),) = members.items()
            if isinstance(value.content, str):
                computed = self._compile(value, f"let.{name}")
                slot = self._define(name, value, computed.program.type)
                steps.append(Step(slot, name, computed))
            else:
                steps.append(self._table_step(name, value))
        return tuple(steps)

    def _table_step(self, name: str, node: Node) -> TableStep:
        fields = node.fields(("table", "with"))
        table_name = fields["table"].text()
        table = self._tables.get(table_name)
        if table is None:
            hint = suggest(table_name, self._tables)
            raise fields["table"].refused(f"there is no tables/{table_name[:40]}.json{hint}")
        given = fields["with"].fields([column.name for column in table.columns])
        inputs = tuple(
            self._compile(given[each.name], f"let.{name}.{each.name}", each.type)
            for each in table.columns
        )
        self._costs.append(_Cost(table.gas, node))
        return TableStep(self._define(name, node, table.output_type), name, table, inputs)

    def _refusals(self) -> tuple[Refusal, ...]:
        node = self._fields.get("refuse")
        refusals = []
        least = 1 if self._is_guard else 0
        nodes = () if node is None else node.items(REFUSALS_MAX, count_min=least)
        for number, each in enumerate(nodes, 1):
            fields = each.fields(("if", "reason"))
            reason = fields["reason"].text(REASON_LENGTH_MAX)
            if not _REASON.fullmatch(reason):
                raise fields["reason"].refused(
                    "a reason is a word of A-Z, 0-9 and _, and begins with a letter"
                )
            refusals.append(Refusal(self._compile(fields["if"], f"refuse[{number}]", BOOL), reason))
        return tuple(refusals)

    def _effects(self) -> tuple[Effect, ...]:
        node = self._fields.get("then")
        effects: list[Effect] = []
        if node is None:
            return ()
        count_max = 0
        for number, each in enumerate(node.items(EFFECTS_MAX, count_min=1), 1):
            reader = EffectReader(each, f"then[{number}]", self._manifest, self._scope, self._work)
            effects.append(reader.effect())
            self._programs.extend(reader.programs)
            self._costs.append(_Cost(reader.worst_gas, each))
            count_max += reader.count_max
        if count_max > self._manifest.effects_max:
            raise node.refused(
                f"up to {count_max} effects, and {self._manifest.effects_max} are allowed;"
                " give the lists of events a smaller bound: list(evidence, 20)"
            )
        return tuple(effects)

    def _define(self, name: str, node: Node, type_: Type) -> int:
        if name in self._scope.variables or name in RESERVED:
            raise node.refused(f"the name {name!r} is taken")
        self._scope = self._scope.with_variable(name, type_)
        return self._scope.variables[name].slot

    def _checked_cost(self) -> int:
        total = sum(cost.gas for cost in self._costs)
        if total > self._manifest.gas_max:
            worst = max(self._costs, key=lambda cost: cost.gas)
            raise worst.node.refused(
                f"the rule may cost {_shown(total)} gas and {self._manifest.gas_max:,} are allowed;"
                f" this part alone may cost {_shown(worst.gas)}: simplify it, or give its lists and"
                " texts smaller bounds, as in list(reading, 20)"
            )
        return total


def _shown(gas: int) -> str:
    """Return a cost; that of macros in macros has a hundred digits."""
    return f"{gas:,}" if gas <= _GAS_SHOWN_MAX else f"more than {_GAS_SHOWN_MAX:,}"


def _early_checks(event: RecordType, when: Placed | None) -> Mapping[str, tuple[Check, bool]]:
    """Return the checks of the event's fields that `when` names: it is asked before the others.

    Most events are of no concern to a rule, and a look at one field tells.
    """
    if when is None:
        return {}
    checks = field_checks(event)
    nodes = [node for node, _ in walk(when.program.root)]
    selected = {
        node.operand: node.field
        for node in nodes
        if isinstance(node, Select | Has) and isinstance(node.operand, Name)
    }
    named: set[str] = set()
    for node in nodes:
        if isinstance(node, Name) and node.name == "event":
            if node not in selected:
                return checks
            named.add(selected[node])
    return {name: check for name, check in checks.items() if name in named}
