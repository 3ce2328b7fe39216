"""The manifest: what a package is called, reads, keeps, and may move."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from lotmark_contracts.package.expressions import record_of_node, type_of_node
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.value_check import ValueRefused, value_check
from lotmark_contracts.wcel.parser import RESERVED
from lotmark_contracts.wcel.type_text import STRING_MAX
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    Field,
    RecordType,
    Type,
    record_type,
    string_type,
)
from lotmark_contracts.wcel.values import VALUE_NODES_MAX, TooLarge, Value, measured

FORMAT = "lotmark-package/1"
LANGUAGE = "wcel/1"
GAS_MAX = 20_000  # of a rule, in its worst case
EFFECTS_MAX = 64  # of a rule, in its worst case
VERSION_MAX = 1_000_000
NAMED_MAX = 64  # types, events, params, state families, account families, rules


class AccountRight(StrEnum):
    """What a package may do with the accounts of a family."""

    DEBIT = "debit"
    CREDIT = "credit"
    PREFUNDED = "prefunded"  # a duty: no account of the family ever falls below zero
    PARTY = "party"  # a duty: each is named as a party is, and moves only if that is bound


class Approval(StrEnum):
    """Who has to approve the version that comes after one."""

    ALL = "all"
    MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class StateFamily:
    """Values that a package keeps, each under a key."""

    type: Type
    default: Value  # what is read where nothing has been kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a package declares."""

    name: str
    version: int
    title: str
    events: Mapping[str, RecordType]  # by the event's type
    timers: Mapping[str, RecordType]  # by the timer's name
    evidence: tuple[str, ...]  # event types about items that the ledger keeps for `provenance`
    approval: Approval
    params: Mapping[str, Value]
    param_types: RecordType
    state: Mapping[str, StateFamily]
    accounts: Mapping[str, frozenset[AccountRight]]
    gas_max: int
    effects_max: int
    rules: tuple[Node, ...]  # their names, in the order in which they are executed


def read_manifest(node: Node) -> Manifest:
    """Return what a manifest declares.

    Raises:
        PackageRefused: It is malformed, or of another format or language.
    """
    fields = node.fields(
        ("format", "language", "name", "version", "title", "events", "rules"),
        ("types", "timers", "evidence", "approval", "params", "state", "accounts", "limits"),
    )
    for name, known in (("format", FORMAT), ("language", LANGUAGE)):
        if fields[name].text() != known:
            raise fields[name].refused(f"expected {known!r}")
    types = _types(fields.get("types"))
    params = _params(fields.get("params"))
    gas_max, effects_max = _limits(fields.get("limits"))
    return Manifest(
        name=_package_name(fields["name"]),
        version=fields["version"].integer(1, VERSION_MAX),
        title=fields["title"].text(200),
        events={
            name: record_of_node(each, types)
            for name, each in fields["events"].named("an event", NAMED_MAX).items()
        },
        timers=_timers(fields.get("timers"), types, fields["events"].members()),
        evidence=_evidence(fields.get("evidence")),
        approval=_approval(fields.get("approval")),
        params=params,
        param_types=record_type({name: Field(_param_type(each)) for name, each in params.items()}),
        state=_state(fields.get("state"), types),
        accounts=_accounts(fields.get("accounts")),
        gas_max=gas_max,
        effects_max=effects_max,
        rules=fields["rules"].items(NAMED_MAX, count_min=1),
    )


def _package_name(node: Node) -> str:
    text = node.text(40)
    if not text.replace("-", "a").isalnum() or not text.isascii() or text != text.lower():
        raise node.refused(f"{text!r} is no package's name: 1 to 40 of a-z, 0-9 and -")
    return text


def _types(node: Node | None) -> Mapping[str, Type]:
    """Return the record types; one may name those that stand before it, so none holds itself."""
    types: dict[str, Type] = {}
    for name, each in () if node is None else node.named("a type", NAMED_MAX).items():
        if name in ("int", "bool", "string", "list", "map") or name in RESERVED:
            raise each.refused(f"{name!r} is a type of the language")
        types[name] = record_of_node(each, types)
    return types


def _timers(
    node: Node | None, types: Mapping[str, Type], events: Collection[str]
) -> Mapping[str, RecordType]:
    timers: dict[str, RecordType] = {}
    for name, each in () if node is None else node.named("a timer", NAMED_MAX).items():
        if name in events:
            raise each.refused(f"{name!r} is an event: a timer needs a name of its own")
        timers[name] = record_of_node(each, types)
    return timers


def _evidence(node: Node | None) -> tuple[str, ...]:
    """Return event types; whether there are such is for who executes packages to say."""
    names: list[str] = []
    for each in () if node is None else node.items(NAMED_MAX):
        name = each.name()
        if name in names:
            raise each.refused(f"{name!r} is listed twice")
        names.append(name)
    return tuple(names)


def _approval(node: Node | None) -> Approval:
    if node is None:
        return Approval.ALL
    if node.text() not in tuple(Approval):
        raise node.refused(f"expected one of {', '.join(Approval)}")
    return Approval(node.text())


def _params(node: Node | None) -> Mapping[str, Value]:
    params: dict[str, Value] = {}
    for name, each in () if node is None else node.named("a parameter", NAMED_MAX).items():
        if not isinstance(each.content, int | str | bool):
            raise each.refused("a parameter is a number, a text, true or false")
        if isinstance(each.content, str) and len(each.content) > STRING_MAX:
            raise each.refused(f"a text has at most {STRING_MAX:,} characters")
        params[name] = each.content
    return params


def _param_type(value: Value) -> Type:
    if isinstance(value, bool):
        return BOOL
    return string_type(len(value)) if isinstance(value, str) else INT


def _limits(node: Node | None) -> tuple[int, int]:
    fields = {} if node is None else node.fields((), ("gas", "effects"))
    return (
        fields["gas"].integer(1, GAS_MAX) if "gas" in fields else GAS_MAX,
        fields["effects"].integer(1, EFFECTS_MAX) if "effects" in fields else EFFECTS_MAX,
    )


def _state(node: Node | None, types: Mapping[str, Type]) -> Mapping[str, StateFamily]:
    families: dict[str, StateFamily] = {}
    for name, each in () if node is None else node.named("state", NAMED_MAX).items():
        fields = each.fields(("type", "default"))
        type_ = type_of_node(fields["type"], types)
        default = cast("Value", fields["default"].plain())
        try:
            value_check(type_)(default)
        except ValueRefused as error:
            raise fields["default"].refused(f"default{error.path}: {error.reason}") from error
        try:
            measured(default)
        except TooLarge as error:
            raise fields["default"].refused(
                f"larger than what can be kept: {VALUE_NODES_MAX:,} nodes,"
                " 16 characters counting as one more"
            ) from error
        families[name] = StateFamily(type_, default)
    return families


def _accounts(node: Node | None) -> Mapping[str, frozenset[AccountRight]]:
    families: dict[str, frozenset[AccountRight]] = {}
    for name, each in () if node is None else node.named("accounts", NAMED_MAX).items():
        rights: set[AccountRight] = set()
        for right in each.items(len(AccountRight), count_min=1):
            if right.text() not in tuple(AccountRight):
                known = ", ".join(AccountRight)
                raise right.refused(f"unknown right {right.text()[:40]!r}; there is {known}")
            rights.add(AccountRight(right.text()))
        families[name] = frozenset(rights)
    return families
