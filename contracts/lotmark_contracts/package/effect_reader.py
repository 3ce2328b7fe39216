"""Reads and compiles what a rule does."""

from collections.abc import Collection, Mapping

from lotmark_contracts.package import rule_costs
from lotmark_contracts.package.expressions import compile_node
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.load_work import TYPE_NODE, LoadWork
from lotmark_contracts.package.manifest import AccountRight, Manifest
from lotmark_contracts.package.rule import (
    Account,
    Action,
    Alert,
    AlertLevel,
    Effect,
    Keep,
    Loop,
    Pay,
    Placed,
    StartTimer,
    StopTimer,
    WorkOrder,
)
from lotmark_contracts.package.value_check import value_check
from lotmark_contracts.suggestion import suggest
from lotmark_contracts.wcel.compiler import Program
from lotmark_contracts.wcel.scope import Scope
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    ListType,
    RecordType,
    StringType,
    Type,
    nodes_of,
    string_type,
)
from lotmark_contracts.wcel.types import described as described_type
from lotmark_contracts.wcel.values import VALUE_NODES_MAX, size_max

MEMO_LENGTH_MAX = 512
NOTICE_LENGTH_MAX = 1_024
ASSIGNEE_LENGTH_MAX = 128
_ACTIONS = ("pay", "set", "alert", "work_order", "timer", "cancel")
_TEXT = string_type(0)


def reference(node: Node, families: Collection[str], what: str) -> tuple[str, Node]:
    """Return the family and the expression of a reference: {"escrow": "event.claim"}.

    Raises:
        PackageRefused: It is none, or its family is not declared.
    """
    members = node.members(1)
    if len(members) != 1:
        raise node.refused(f'expected one family of {what}, as in {{"claims": "event.id"}}')
    ((family, key),) = members.items()
    if family not in families:
        raise node.refused(
            f"{family[:40]!r} is not declared under {what!r} in manifest.json"
            f"{suggest(family, families)}"
        )
    return family, key


class EffectReader:
    """Reads one effect, and counts what it costs and makes at most."""

    def __init__(
        self, node: Node, place: str, manifest: Manifest, scope: Scope, work: LoadWork
    ) -> None:
        self._work = work
        self._node = node
        self._place = place
        self._manifest = manifest
        self._scope = scope
        self.programs: list[Program] = []
        self.worst_gas = 0
        self.count_max = 1

    def effect(self) -> Effect:
        """Return the effect."""
        members = self._node.members()
        actions = [name for name in _ACTIONS if name in members]
        if len(actions) != 1:
            raise self._node.refused(f"expected one of {', '.join(_ACTIONS)}")
        loop = self._loop(members["for"]) if "for" in members else None
        before_items = self.worst_gas
        condition = self._compile(members["if"], "if", BOOL) if "if" in members else None
        action = self._action(actions[0])
        if loop is not None:
            each = self.worst_gas - before_items + rule_costs.ITEM
            self.worst_gas = before_items + self.count_max * each
        return Effect(loop, condition, action)

    def _action(self, name: str) -> Action:
        match name:
            case "pay":
                return self._pay()
            case "set":
                return self._keep()
            case "alert":
                return self._alert()
            case "work_order":
                return self._work_order()
            case "timer":
                return self._start_timer()
            case _:
                return self._stop_timer()

    def _loop(self, node: Node) -> Loop:
        fields = node.fields(("each", "in"), ("at",))
        items = self._compile(fields["in"], "for")
        given = items.program.type
        if not isinstance(given, ListType):
            raise fields["in"].refused(f"expected a list instead of {described_type(given)}")
        self.count_max = given.count_max
        item_slot = self._define(fields["each"], given.item)
        index_slot = self._define(fields["at"], INT) if "at" in fields else None
        return Loop(item_slot, index_slot, items)

    def _define(self, node: Node, type_: Type) -> int:
        name = node.name()
        if name in self._scope.variables:
            raise node.refused(f"the name {name!r} is taken")
        self._scope = self._scope.with_variable(name, type_)
        return self._scope.variables[name].slot

    def _compile(self, node: Node, part: str, wanted: Type | None = None) -> Placed:
        program = compile_node(node, self._scope, self._work, wanted)
        self.programs.append(program)
        self.worst_gas += program.worst_gas
        return Placed(f"{self._place}.{part}", program)

    def _text(self, node: Node, part: str, length_max: int) -> Placed:
        """Compile a text that a rule receipt keeps, whose length is therefore bounded."""
        placed = self._compile(node, part, _TEXT)
        given = placed.program.type
        if isinstance(given, StringType) and given.length_max > length_max:
            raise node.refused(
                f"this text may have {given.length_max:,} characters, and {length_max:,} are"
                " allowed; give its parts smaller bounds: string(40)"
            )
        return placed

    def _pay(self) -> Pay:
        fields = self._node.fields(("pay", "currency", "from", "to"), ("memo", "if", "for"))
        self.worst_gas += rule_costs.PAY
        debit = self._account(fields["from"], AccountRight.DEBIT, "from")
        credit = self._account(fields["to"], AccountRight.CREDIT, "to")
        return Pay(
            self._compile(fields["pay"], "pay", INT),
            self._compile(fields["currency"], "currency", _TEXT),
            debit,
            credit,
            self._text(fields["memo"], "memo", MEMO_LENGTH_MAX) if "memo" in fields else None,
        )

    def _account(self, node: Node, right: AccountRight, part: str) -> Account:
        family, name = reference(node, self._manifest.accounts, "accounts")
        rights = self._manifest.accounts[family]
        if right not in rights:
            raise node.refused(f"manifest.json does not let the package {right} {family!r}")
        return Account(family, self._compile(name, part, _TEXT), AccountRight.PARTY in rights)

    def _keep(self) -> Keep:
        fields = self._node.fields(("set", "value"), ("if", "for"))
        family, key_node = reference(fields["set"], self._manifest.state, "state")
        key = self._compile(key_node, "set", _TEXT)
        wanted = self._manifest.state[family].type
        self._work.spend(TYPE_NODE * nodes_of(wanted), fields["set"])
        value: Placed | dict[str, Placed]
        if isinstance(fields["value"].content, str):
            value = self._compile(fields["value"], "value", wanted)
        else:
            value = self._record(fields["value"], wanted)
        self.worst_gas += rule_costs.KEEP + min(VALUE_NODES_MAX, size_max(wanted))
        return Keep(family, key, value, value_check(wanted))

    def _record(self, node: Node, wanted: Type, part: str = "value") -> dict[str, Placed]:
        if not isinstance(wanted, RecordType):
            raise node.refused(f"expected an expression for {described_type(wanted)}")
        required = [name for name, each in wanted.fields if not each.is_optional]
        optional = [name for name, each in wanted.fields if each.is_optional]
        given = node.fields(required, optional)
        return {
            name: self._compile(given[name], f"{part}.{name}", each.type)
            for name, each in wanted.fields
            if name in given
        }

    def _alert(self) -> Alert:
        fields = self._node.fields(("alert", "level"), ("if", "for"))
        self.worst_gas += rule_costs.NOTICE
        level = fields["level"].text()
        if level not in tuple(AlertLevel):
            raise fields["level"].refused(f"expected one of {', '.join(AlertLevel)}")
        return Alert(self._text(fields["alert"], "alert", NOTICE_LENGTH_MAX), AlertLevel(level))

    def _work_order(self) -> WorkOrder:
        fields = self._node.fields(("work_order", "assign"), ("if", "for"))
        self.worst_gas += rule_costs.NOTICE
        return WorkOrder(
            self._text(fields["work_order"], "work_order", NOTICE_LENGTH_MAX),
            self._text(fields["assign"], "assign", ASSIGNEE_LENGTH_MAX),
        )

    def _start_timer(self) -> StartTimer:
        fields = self._node.fields(("timer", "key", "at"), ("with", "if", "for"))
        name, wanted = self._timer(fields["timer"])
        self._work.spend(TYPE_NODE * nodes_of(wanted), fields["timer"])
        if "with" not in fields and not all(each.is_optional for _, each in wanted.fields):
            raise self._node.refused("the field 'with' is missing")
        key = self._compile(fields["key"], "key", _TEXT)
        due = self._compile(fields["at"], "at", INT)
        told = self._record(fields["with"], wanted, "with") if "with" in fields else {}
        self.worst_gas += rule_costs.KEEP + min(VALUE_NODES_MAX, size_max(wanted))
        return StartTimer(name, key, due, told, value_check(wanted))

    def _stop_timer(self) -> StopTimer:
        fields = self._node.fields(("cancel", "key"), ("if", "for"))
        name, _ = self._timer(fields["cancel"])
        self.worst_gas += rule_costs.KEEP
        return StopTimer(name, self._compile(fields["key"], "key", _TEXT))

    def _timer(self, node: Node) -> tuple[str, RecordType]:
        timers: Mapping[str, RecordType] = self._manifest.timers
        name = node.text()
        if name not in timers:
            raise node.refused(
                f"{name[:40]!r} is not declared under 'timers' in manifest.json"
                f"{suggest(name, timers)}"
            )
        return name, timers[name]
