"""The tables of docs/protocol.md that follow from the code: outcomes, and the fields of events."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from lotmark import event, event_rules, rule_value
from lotmark.event_rules import ANYTHING, BODY_RULES, Rule
from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS
from lotmark.outcome import MEANINGS, Outcome
from lotmark.text import IDENTIFIER_CHARACTER
from lotmark.v1 import contracts_pb2, event_pb2, governance_pb2, operators_pb2, quality_pb2

_TYPE_NAMES = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SINT64: "sint64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}
_FIXED_RULES = {
    event_rules.DECIMAL: "decimal",
    event_rules.OPTIONAL_DECIMAL: "decimal or empty",
    event_rules.DIGEST: "32 bytes",
    event_rules.OPTIONAL_DIGEST: "0 or 32 bytes",
    event_rules.PARTY: "party",
    event_rules._FIELDS_OF_RULES: "values, below",
    event_rules._SESSION_ID: f"{event_rules.SESSION_ID_SIZE} bytes",
    event_rules._OPTIONAL_SESSION_ID: f"0 or {event_rules.SESSION_ID_SIZE} bytes",
}
_OCTETS = re.compile(rb"\(\?s\)\.\{(\d+),(\d+)\}")
_SIZES = re.compile(r"(.*)\{(\d+),(\d+)\}")
_TIMES = range(TIME_MIN_MS, TIME_MAX_MS)
_EXACT_MAX = 2**53 - 1  # what a double holds exactly
_IN_SECTION_2 = "section 2"

Row = tuple[str, ...]


def outcome_table() -> list[str]:
    """Return the table of all outcomes."""
    rows = [(str(int(code)), code.name, MEANINGS[code].text) for code in Outcome]
    return _table(("code", "name", "meaning"), rows)


def enum_table() -> list[str]:
    """Return the table of the enumerations in events."""
    enums: tuple[EnumDescriptor, ...] = (
        event_pb2.CaptureMode.DESCRIPTOR,
        event_pb2.ItemRole.DESCRIPTOR,
        quality_pb2.Verdict.DESCRIPTOR,
        quality_pb2.RelationAction.DESCRIPTOR,
        quality_pb2.CalibrationState.DESCRIPTOR,
        quality_pb2.SessionState.DESCRIPTOR,
        quality_pb2.AuditFinding.DESCRIPTOR,
        governance_pb2.KeyPurpose.DESCRIPTOR,
        governance_pb2.PartyRole.DESCRIPTOR,
        governance_pb2.ApprovalRule.DESCRIPTOR,
        operators_pb2.OperatorMeaning.DESCRIPTOR,
    )
    return _table(("enumeration", "values"), [(each.name, _values(each)) for each in enums])


def _values(enum: EnumDescriptor) -> str:
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
    return ", ".join(
        f"{value.number} {value.name.removeprefix(prefix).lower().replace('_', ' ')}"
        for value in enum.values
        if value.number
    )


def message_table() -> list[str]:
    """Return the table of what every event has, and of the messages inside events."""
    rules = {
        event_pb2.Event.DESCRIPTOR: {
            "nonce": f"{event.NONCE_SIZE} bytes",
            "device": describe(event_rules.DEVICE),
            "time": "start ≤ end, both in 2000 to 2099, else 105",
            "capture_mode": "1 to 3",
            "items": f"at most {event.ITEMS_MAX}; no (id, role) twice",
            "files": f"at most {event.FILES_MAX}",
            "audience": f"at most {event.AUDIENCE_MAX}; each a party; ascending, no repeats",
        },
        event_pb2.TimeInterval.DESCRIPTOR: dict.fromkeys(
            ("start_ms", "end_ms", "uncertainty_us"), "any"
        ),
        event_pb2.ItemReference.DESCRIPTOR: {
            "id": describe(event_rules.ITEM_ID),
            "role": "1 to 6",
            "quantity": "may be absent",
        },
        event_pb2.Quantity.DESCRIPTOR: {
            "value": describe(event_rules.DECIMAL),
            "unit": describe(event_rules.UNIT),
        },
        event_pb2.FileDigest.DESCRIPTOR: {
            "sha256": describe(event_rules.DIGEST),
            "size": "any",
            "salt": "0 or 16 to 32 bytes",
            "media_type": describe(event._MEDIA_TYPE),
            "name": describe(event._FILE_NAME),
        },
        quality_pb2.Attribute.DESCRIPTOR: _member_texts(_closure(event_rules._ATTRIBUTES)["rule"]),
        quality_pb2.Money.DESCRIPTOR: _member_texts(event_rules._MONEY),
        quality_pb2.SourcePosition.DESCRIPTOR: _member_texts(event_rules._SOURCE_POSITION),
        governance_pb2.KeyGrant.DESCRIPTOR: dict.fromkeys(
            governance_pb2.KeyGrant.DESCRIPTOR.fields_by_name, _IN_SECTION_2
        ),
        governance_pb2.KeySignature.DESCRIPTOR: dict.fromkeys(
            governance_pb2.KeySignature.DESCRIPTOR.fields_by_name, _IN_SECTION_2
        ),
        **{
            each: dict.fromkeys(each.fields_by_name, _IN_SECTION_2)
            for each in (
                governance_pb2.Proposal.DESCRIPTOR,
                governance_pb2.PartyAddition.DESCRIPTOR,
                governance_pb2.PartyRemoval.DESCRIPTOR,
                governance_pb2.CosignerRemoval.DESCRIPTOR,
                governance_pb2.RuleChange.DESCRIPTOR,
                governance_pb2.QuotaChange.DESCRIPTOR,
            )
        },
        operators_pb2.OperatorGrant.DESCRIPTOR: dict.fromkeys(
            operators_pb2.OperatorGrant.DESCRIPTOR.fields_by_name, _IN_SECTION_2
        ),
        operators_pb2.WebauthnAssertion.DESCRIPTOR: _member_texts(event_rules._ASSERTION),
        **{
            each: dict.fromkeys(each.fields_by_name, _IN_SECTION_2)
            for each in (
                contracts_pb2.PackageChange.DESCRIPTOR,
                contracts_pb2.PackageActivation.DESCRIPTOR,
                contracts_pb2.PackageName.DESCRIPTOR,
            )
        },
        contracts_pb2.Value.DESCRIPTOR: {
            "integer": "any",
            "truth": "any",
            "text": f"text, up to {rule_value.TEXT_SIZE_MAX:,} bytes",
            "list": "any",
            "record": "any",
        },
        contracts_pb2.ValueList.DESCRIPTOR: {"values": "values, below"},
        contracts_pb2.ValueRecord.DESCRIPTOR: {"fields": "names ascending, no repeats"},
        contracts_pb2.NamedValue.DESCRIPTOR: {
            "name": f"text, 1 to {rule_value.NAME_SIZE_MAX:,} bytes",
            "value": "must be present",
        },
    }
    rows: list[Row] = []
    for descriptor, texts in rules.items():
        rows += _field_rows(f"**{descriptor.name}**", descriptor, texts)
    return _table(("message", "no.", "field", "type", "rule"), rows)


def body_table() -> list[str]:
    """Return the table of all event bodies, in the order of their types."""
    rows: list[Row] = []
    for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields:
        descriptor = field.message_type
        assert descriptor is not None, "a body is a message"
        texts = {
            name: _body_rule(descriptor.fields_by_name[name], rule)
            for name, rule in BODY_RULES[field.name]
        }
        assert list(texts) == [each.name for each in descriptor.fields], "judged in this order"
        rows += _field_rows(f"**{field.number} {field.name}**", descriptor, texts)
    return _table(("type and body", "no.", "field", "type", "rule"), rows)


def _body_rule(field: FieldDescriptor, rule: Rule) -> str:
    judged_elsewhere = field.message_type is not None or field.type == FieldDescriptor.TYPE_BYTES
    if rule is ANYTHING and judged_elsewhere:
        return _IN_SECTION_2
    may_be_absent = field.has_presence and field.message_type is None
    return describe(rule) + (", or absent" if may_be_absent else "")


def _field_rows(name: str, descriptor: Descriptor, texts: Mapping[str, str]) -> Iterable[Row]:
    """Return one row for each field that is no body; `name` stands in the first one."""
    fields = [
        field
        for field in descriptor.fields
        if field.containing_oneof is None or field.containing_oneof.name != "body"
    ]
    assert {field.name for field in fields} == texts.keys(), f"{descriptor.name}: all its fields"
    for field in fields:
        yield name, str(field.number), field.name, _type_name(field), texts[field.name]
        name = ""


def _type_name(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    shown = named.name if named else _TYPE_NAMES[field.type]
    return f"repeated {shown}" if field.is_repeated else shown


def describe(rule: Rule) -> str:
    """Return a rule in words.

    The words come from what the rule tests (its pattern, its range, the rules it is made of), so
    that they cannot say anything else.
    """
    if rule is ANYTHING:
        return "any"
    if rule in _FIXED_RULES:
        return _FIXED_RULES[rule]
    match getattr(rule.passes, "__self__", None):
        case range() as allowed:
            return _describe_range(allowed)
        case re.Pattern() as pattern:
            if isinstance(pattern.pattern, bytes):
                return _describe_octets(pattern.pattern)
            return _describe_pattern(str(pattern.pattern))
    if rule is event_rules._EPCIS_DOCUMENT:
        return f"at most {event_rules.EPCIS_DOCUMENT_SIZE_MAX:,} bytes"
    inner = _closure(rule)
    if "count_max" in inner:
        each = inner["rule"]
        own_row = "" if "rules" in _closure(each) else f", each: {describe(each)}"
        return f"at most {inner['count_max']}{own_row}"
    assert "rules" in inner, f"a rule of unknown kind: {rule}"
    return "must be present"  # since its own fields may not be empty


def _describe_range(allowed: range) -> str:
    if allowed == _TIMES:
        return "a time in 2000 to 2099"
    last = "2^53 - 1" if allowed[-1] == _EXACT_MAX else f"{allowed[-1]:,}"
    return f"{allowed[0]} to {last}"


def _describe_pattern(pattern: str) -> str:
    sizes = _SIZES.fullmatch(pattern)
    if sizes is None:
        return f"`{pattern}`"
    characters, size_min, size_max = sizes[1], int(sizes[2]), int(sizes[3])
    if characters == "[ -~]":  # the quick test of a text
        return f"text, up to {size_max:,} bytes"
    if characters != IDENTIFIER_CHARACTER:
        return f"`{pattern}`"
    return f"identifier up to {size_max}" + ("" if size_min else ", or empty")


def _describe_octets(pattern: bytes) -> str:
    sizes = _OCTETS.fullmatch(pattern)
    assert sizes is not None, f"a pattern of unknown kind: {pattern!r}"
    return f"{int(sizes[1]):,} to {int(sizes[2]):,} bytes"


def _closure(rule: Rule) -> Mapping[str, Any]:
    """Return what a rule was made from."""
    return inspect.getclosurevars(rule.explain).nonlocals


def _member_texts(rule: Rule) -> dict[str, str]:
    """Return the rules of a message's fields in words."""
    return {name: describe(member) for name, member in _closure(rule)["rules"].items()}


def _table(head: Row, rows: Sequence[Row]) -> list[str]:
    return [_line(head), "|" + "---|" * len(head), *map(_line, rows)]


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"
