"""The rules' code computes with integers alone, and in no order that Python draws."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lotmark_contracts

ROOT = Path(lotmark_contracts.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
# What depends on the process, the machine or the moment.
FORBIDDEN = {"float", "hash", "open", "input", "eval", "exec", "compile", "__import__", "complex"}


def offences(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"line {node.lineno}: the number {node.value}"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"line {node.lineno}: a division that gives a float"
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id in FORBIDDEN:
            yield f"line {called.lineno}: {called.id}()"
        if isinstance(node, ast.For | ast.comprehension) and isinstance(
            node.iter, ast.Set | ast.SetComp
        ):
            yield "a loop over a set"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_has_no_float_and_asks_nothing_of_the_process(path: Path) -> None:
    assert list(offences(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "source", ["a = 1.5", "a = b / c", "a /= 2", "float(a)", "hash(a)", "[x for x in {1, 2}]"]
)
def test_an_offence_would_be_seen(source: str) -> None:
    assert len(list(offences(ast.parse(source)))) == 1
