"""The conformance corpus: what wcel/1 answers, and what it costs, is frozen."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lotmark_contracts.wcel.compiler import compile_expression
from lotmark_contracts.wcel.errors import ExpressionFailed, ExpressionRefused
from lotmark_contracts.wcel.frame import Frame
from lotmark_contracts.wcel.scope import Scope
from lotmark_contracts.wcel.type_text import read_type
from lotmark_contracts.wcel.types import Field, Type, record_type
from tests.contracts import cel_oracle

FOLDER = Path(__file__).parent / "corpus"
GAS = 20_000
CASES_COUNT = 527
# SHA-256 over the files, in the order of their names. The corpus may grow beside these files; a
# change of what stands in them is another language.
DIGEST = "67c956e898035d6074f164fcb4304058780de446d5937651a5328bc59c1af69e"
_OURS = (
    "abs addMonths apportion ascending bps clamp convert days hours longestRun max min mulDiv"
    " mulDivHalfUp sum"
)
FUNCTIONS_OF_OURS = _OURS.split()


def read_corpus() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield each case with its name and the file that it is from."""
    for path in sorted(FOLDER.glob("*.json")):
        file = json.loads(path.read_text(encoding="utf-8"))
        for number, case in enumerate(file["cases"], 1):
            yield f"{path.stem}-{number}", file, case


def scope_of_file(file: dict[str, Any]) -> Scope:
    fields = {
        name.removesuffix("?"): Field(read_type(text, {}), is_optional=name.endswith("?"))
        for name, text in file["evidence"].items()
    }
    named: dict[str, Type] = {"evidence": record_type(fields)}
    scope = Scope()
    for name, text in file["types"].items():
        scope = scope.with_variable(name, read_type(text, named))
    return scope


def answer(file: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """Return a case as it would be written now."""
    told: dict[str, Any] = {
        name: case[name] for name in ("expression", "input", "gas_limit") if name in case
    }
    try:
        program = compile_expression(case["expression"], scope_of_file(file))
    except ExpressionRefused as refusal:
        return {**told, "refusal": {"code": str(refusal.code), "at": refusal.offset}}
    limit = case.get("gas_limit", GAS)
    frame = Frame(program.slot_count, limit)
    values = {**file["input"], **case.get("input", {})}
    frame.slots[: len(values)] = [values[name] for name in file["types"]]
    try:
        told["value"] = program.run(frame)
    except ExpressionFailed as failure:
        told["failure"] = {"code": str(failure.code), "at": failure.offset}
    return {**told, "gas": limit - frame.gas_left, "worst": program.worst_gas}


CORPUS = list(read_corpus())
NAMES = [name for name, _, _ in CORPUS]


@pytest.mark.parametrize(("file", "case"), [each[1:] for each in CORPUS], ids=NAMES)
def test_a_case_has_the_value_failure_or_refusal_and_the_gas_that_are_frozen(
    file: dict[str, Any], case: dict[str, Any]
) -> None:
    got = answer(file, case)

    assert got == case
    assert cel_oracle.same(got.get("value"), case.get("value"))


def test_the_corpus_itself_is_frozen() -> None:
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.json")):
        digest.update(path.read_bytes())

    assert len(CORPUS) == CASES_COUNT
    assert digest.hexdigest() == DIGEST


def test_cel_gives_the_frozen_values_where_it_has_the_functions() -> None:
    pytest.importorskip("cel_expr_python", reason="no wheel for this platform")
    compared = 0
    for name, file, case in CORPUS:
        is_ours = any(f"{each}(" in case["expression"] for each in FUNCTIONS_OF_OURS)
        failed_by_limit = case.get("failure", {}).get("code") in ("gas", "too_long")
        if "refusal" in case or is_ours or failed_by_limit:
            continue
        theirs = cel_oracle.their_answer(
            case["expression"], {**file["input"], **case.get("input", {})}
        )
        expected = case.get("value", cel_oracle.NO_VALUE)

        assert cel_oracle.same(theirs, expected), f"{name}: {case['expression']} is {theirs}"
        compared += 1

    assert compared > 300
