"""Expressions and types that stand in a package's files: a mistake is shown at its place there."""

from collections.abc import Mapping

from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.load_work import LoadWork
from lotmark_contracts.wcel.checker import NODE_WORK
from lotmark_contracts.wcel.compiler import Program, compile_expression
from lotmark_contracts.wcel.errors import ExpressionRefused
from lotmark_contracts.wcel.parser import RESERVED
from lotmark_contracts.wcel.scope import Scope
from lotmark_contracts.wcel.type_text import read_type
from lotmark_contracts.wcel.types import (
    Field,
    RecordType,
    Type,
    is_too_large,
    nodes_of,
    record_type,
)

FIELDS_MAX = 64


def compile_node(node: Node, scope: Scope, work: LoadWork, wanted: Type | None = None) -> Program:
    """Compile the expression that a text of a file is.

    Raises:
        PackageRefused: It is none, at its place in the file.
    """
    if isinstance(node.content, int):
        raise node.refused(f'an expression stands in quotes: "{str(node.content).lower()}"')
    work.spend(1, node)
    try:
        program = compile_expression(node.text(), scope, wanted)
    except ExpressionRefused as error:
        work.spend(NODE_WORK * len(node.text()), node)  # as if every character were a node
        raise node.refused(error.reason, at=error.offset) from error
    work.spend(program.check_work + (0 if wanted is None else nodes_of(wanted)), node)
    return program


def type_of_node(node: Node, named: Mapping[str, Type]) -> Type:
    """Return the type that a text of a file names."""
    try:
        return read_type(node.text(), named)
    except ExpressionRefused as error:
        raise node.refused(error.reason, at=error.offset) from error


def record_of_node(node: Node, named: Mapping[str, Type]) -> RecordType:
    """Return the record type that an object of a file describes; `name?` may be absent."""
    fields: dict[str, Field] = {}
    for key, type_node in node.members(FIELDS_MAX).items():
        name = key.removesuffix("?")
        if not name.isascii() or not name.isidentifier() or name in fields:
            raise type_node.refused(f"{key[:40]!r} cannot name a field")
        if name in RESERVED:
            raise type_node.refused(f"{name!r} is a reserved word of the language")
        fields[name] = Field(type_of_node(type_node, named), is_optional=key.endswith("?"))
    found = record_type(fields)
    if is_too_large(found):
        raise node.refused("the record is nested too deep or has too many fields")
    return found
