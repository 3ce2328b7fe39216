"""Packages: loaded from bytes, refused with file, line, column and remedy, named by their hash."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.package import FILES_MAX, TABLES_MAX, load_package
from tests.contracts.packages import Files, changed, replaced, template_files

TEMPLATE_HASH = "4ff86d20e15a1e9dde4b6077ddc63d393dce4ef936845d58ceb91235e78015c6"
MANIFEST, RULE, TABLE = "manifest.json", "rules/credit.json", "tables/share.json"


def refusal(files: Files) -> PackageRefused:
    with pytest.raises(PackageRefused) as caught:
        load_package(files)
    return caught.value


def test_a_packages_hash_is_that_of_its_files() -> None:
    """Golden: the hash is what parties approve, so how it is made may not drift."""
    assert load_package(template_files()).hash.hex() == TEMPLATE_HASH


def test_tests_are_no_part_of_the_hash_and_everything_else_is() -> None:
    files = template_files()
    before = load_package(files).hash

    without_tests = {path: data for path, data in files.items() if "tests/" not in path}
    assert load_package(without_tests).hash == before
    for path in (MANIFEST, RULE, TABLE):
        assert load_package({**files, path: files[path] + b" "}).hash != before


def test_the_order_in_which_files_are_handed_over_does_not_matter() -> None:
    files = template_files()

    assert load_package(dict(reversed(files.items()))).hash == load_package(files).hash


def test_a_mistake_in_an_expression_is_shown_in_the_file_that_it_stands_in() -> None:
    files = replaced(template_files(), RULE, "event.pieces * event", "event.pices * event")

    (problem,) = refusal(files).problems

    assert problem.place == "rules/credit.json:8:21"
    assert problem.reason == "no field 'pices'; did you mean 'pieces'?"
    line, caret = problem.caret.splitlines()
    assert line[caret.index("^") :].startswith("pices * event")


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        (MANIFEST, '"title"', '"titel"', "unknown field 'titel'; did you mean 'title'?"),
        (MANIFEST, "lotmark-package/1", "lotmark-package/2", "expected 'lotmark-package/1'"),
        (MANIFEST, "wcel/1", "wcel/2", "expected 'wcel/1'"),
        (MANIFEST, '"version": 1', '"version": 0', "from 1 to"),
        (MANIFEST, '"version": 1', '"version": 1.5', "no whole number"),
        (MANIFEST, '"new-package"', '"New Package"', "no package's name"),
        (MANIFEST, '"pieces": "int"', '"pieces": "itn"', "did you mean 'int'?"),
        (MANIFEST, '"string(40)"', '"string(40000)"', "1 to 4,096"),
        (MANIFEST, '"string(40)"', '"list(string(4), 9999)"', "1 to 1,024"),
        (MANIFEST, '"pieces": "int"', '"pie ces": "int"', "cannot name a field"),
        (MANIFEST, '"pieces": "int"', '"for": "int"', "reserved word"),
        (MANIFEST, '"pieces": "int"', '"cause?": "int"', "cannot name a field"),
        (MANIFEST, '"default": 0', '"default": "0"', "expected a whole number"),
        (MANIFEST, '["debit"]', '["debbit"]', "unknown right 'debbit'"),
        (MANIFEST, '"budget": 100000', '"budget": [1]', "a number, a text, true or false"),
        (MANIFEST, '["credit"]\n', '["credits"]\n', "did you mean 'credit'?"),
        (MANIFEST, '["credit"]\n', '["credit", "credit"]\n', "named twice"),
        (RULE, '"on": "scrap_reported"', '"on": "scrap_report"', "did you mean 'scrap_reported'?"),
        (RULE, '"table": "share"', '"table": "shares"', "did you mean 'share'?"),
        (RULE, '"with": {"cause"', '"with": {"case"', "unknown field 'case'"),
        (RULE, "params.budget", "params.budgt", "did you mean 'budget'?"),
        (RULE, '{"credited": "event.supplier"}', '{"credit": "event.supplier"}', "not declared"),
        (RULE, '"from": {"supplier"', '"from": {"suplier"', "did you mean 'supplier'?"),
        (RULE, '"from": {"supplier"', '"from": {"oem"', "does not let the package debit 'oem'"),
        (RULE, "'scrap report '", "event.supplier" + " + event.supplier" * 8, "512 are allowed"),
        (RULE, '"level": "warning"', '"level": "loud"', "info, warning, critical"),
        (RULE, '"pay": "credit"', '"pay": "\'1\'"', "shall be int, and is string"),
        (RULE, '"when": "event.pieces > 0"', '"when": "event.pieces"', "shall be bool"),
        (RULE, '"reason": "NEGATIVE"', '"reason": "too little"', "a word of A-Z"),
        (RULE, '"reason": "NEGATIVE"', '"reason": "_4"', "begins with a letter"),
        (RULE, "params.currency", "EUR", "a text stands in quotes: 'EUR'"),
        (RULE, '"pay": "credit"', '"pay": 100', 'an expression stands in quotes: "100"'),
        (RULE, '"event.pieces > 0"', "true", 'an expression stands in quotes: "true"'),
        (RULE, "event.pieces > 0", "now > 0 and height > 0", "did you mean '&&'?"),
        (RULE, "event.pieces > 0", "(now > 0 or height > 0)", "did you mean '||'?"),
        (RULE, "'scrap report '", "'scrap\treport '", "or has a line break or control character"),
        (RULE, '{"cost":', '{"event":', "the name 'event' is taken"),
        (RULE, '{"cost":', '{"for":', "the name 'for' is taken"),
        (RULE, '{"cost":', '{"Cost":', "cannot name a step"),
        (RULE, '"currency": "params', '"curency": "params', "unknown field 'curency'"),
        (RULE, '"alert": ', '"alarm": ', "expected one of pay, set, alert, work_order"),
        (RULE, '"value": "credited + credit"', '"value": "\'x\'"', "shall be int"),
        (MANIFEST, '"title": "Scrap', '"title": 7, "x": "Scrap', "unknown field 'x'"),
        (MANIFEST, '["credit"]\n', '"credit"\n', "expected a list instead of a text"),
        (MANIFEST, '["credit"]\n', "[]\n", "expected 1 to 64 items"),
        (MANIFEST, '["credit"]\n', "[7]\n", "expected a text instead of a number"),
        (MANIFEST, '"version": 1', '"version": true', "a whole number instead of true or false"),
        (MANIFEST, '"scrap_reported"', '"Scrap Reported"', "cannot name an event"),
        (MANIFEST, '"params"', '"types": {"int": {"a": "int"}}, "params"', "type of the language"),
        (MANIFEST, '{"type": "int", "default": 0}', '{"type": "int"}', "'default' is missing"),
        (MANIFEST, '{"type": "int", "default": 0}', "[]", "an object instead of a list"),
        (
            RULE,
            '"read": {"credited": {"credited": "event.supplier"}}',
            '"read": {"c": {}}',
            "one family",
        ),
        (RULE, '"title": "The', '"title": "", "x": "The', "unknown field 'x'"),
        (RULE, '{"credited": "event.supplier"}, "value"', '{}, "value"', "one family"),
        (RULE, '"value": "credited + credit"', '"value": {"a": "1"}', "an expression for int"),
        (
            RULE,
            '"currency": "params',
            '"for": {"each": "x", "in": "1"}, "currency": "params',
            "a list",
        ),
        (
            RULE,
            '"currency": "params',
            '"for": {"each": "due", "in": "[1]"}, "currency": "params',
            "taken",
        ),
        (RULE, '{"cost": "event', '{"one": "1", "cost": "event', "a step has one name"),
        (TABLE, '"type": "int"}]', '"type": "float"}]', "int, string or bool"),
        (TABLE, '"outputs": [', '"outputs": [{"name": "share_bp", "type": "int"}, ', "one name"),
        (TABLE, '"range": "1..100000"', '"range": "1-100000"', "is written as '1..10'"),
        (TABLE, '"range": "1..100000"', '"range": "9..1"', "is empty"),
        (TABLE, '"handling"]', '"burr"]', "listed twice"),
        (TABLE, '"else": [0]', '"else": [0, 1]', "expected 1 cells instead of 2"),
        (TABLE, "[0]", '["' + "x" * 300 + '"]', "share_bp is int"),
        (TABLE, '"first"', '"any"', "expected 'first'"),
        (TABLE, '"else": [0]', '"esle": [0]', "did you mean 'else'?"),
    ],
)
def test_a_mistake_is_refused_with_its_place_and_remedy(
    path: str, old: str, new: str, words: str
) -> None:
    problems = refusal(replaced(template_files(), path, old, new)).problems

    assert [problem.path for problem in problems] == [path]
    assert words in problems[0].reason
    assert problems[0].position is not None
    assert "^" in problems[0].caret


def test_every_file_with_a_mistake_is_told() -> None:
    files = template_files()
    files["rules/other.json"] = files[RULE].replace(b"event.pieces *", b"event.pices *")
    files[RULE] = files[RULE].replace(b"event.pieces *", b"event.pces *")
    files = changed(files, MANIFEST, lambda manifest: manifest["rules"].append("other"))

    assert [problem.path for problem in refusal(files).problems] == [RULE, "rules/other.json"]


def test_rules_and_the_manifest_name_each_other() -> None:
    files = template_files()

    unnamed = {**files, "rules/other.json": files[RULE]}
    assert "does not name this rule" in str(refusal(unnamed))
    del files[RULE]
    assert "there is no rules/credit.json" in str(refusal(files))


@pytest.mark.parametrize(
    "path", ["README.md", "rules/a.txt", "rules/../a.json", "/rules/a.json", "rules/A.json", "é"]
)
def test_a_file_that_has_no_place_in_a_package_is_refused(path: str) -> None:
    assert "a package has manifest.json" in str(refusal({**template_files(), path: b"{}"}))


def test_a_package_without_manifest_or_with_too_much_is_refused() -> None:
    assert "missing" in str(refusal({}))
    many = {f"tests/t{number}.json": b"{}" for number in range(FILES_MAX)}
    assert "at most" in str(refusal({**template_files(), **many}))
    assert "at most" in str(refusal({**template_files(), "tests/t.json": b" " * 1_048_576}))


def _long_lists(manifest: Any) -> None:
    manifest["events"]["scrap_reported"]["causes"] = "list(string(4096), 1024)"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("event.causes.all(a, event.causes.all(b, a != b)) ? 1 : 0", "this part alone may cost"),
        ("event.causes.map(a, event.causes.map(b, event.causes)).size()", "may cost"),
        ("event.causes == event.causes ? 1 : 0", "may cost"),
        (
            "event.causes.all(a, " * 20 + "true" + ")" * 20 + " ? 1 : 0",
            "more than 1,000,000,000 gas",
        ),
        ("[" * 3_000, "nested deeper"),
        ("event.pieces" + " + 1" * 2_000, "40 levels"),
        ("1.5", "whole numbers"),
    ],
)
def test_a_hostile_expression_is_refused_fast_and_with_its_place(
    expression: str, words: str
) -> None:
    def hostile(rule: Any) -> None:
        rule["let"][0] = {"cost": expression}

    files = changed(changed(template_files(), MANIFEST, _long_lists), RULE, hostile)
    start_s = time.perf_counter()

    problem = refusal(files).problems[0]

    assert time.perf_counter() - start_s < 2.0  # some ms, and a busy machine
    assert words in problem.reason
    assert problem.position is not None


def _rows(table: Any) -> None:
    table["rows"] = [["burr", number, 1] for number in range(1, 1_000)]


def _deep_type(manifest: Any) -> None:
    manifest["types"] = {"t0": {"a": "int", "b": "int"}}
    for number in range(1, 12):
        manifest["types"][f"t{number}"] = {"a": f"t{number - 1}", "b": f"t{number - 1}"}


def _many_effects(rule: Any) -> None:
    rule["then"] = rule["then"] * 30


def _loop(rule: Any) -> None:
    rule["then"][1]["for"] = {"each": "x", "in": "event.causes"}


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (TABLE, _rows, "1 to 256 items"),
        (MANIFEST, _deep_type, "nested too deep or has too many fields"),
        (RULE, _many_effects, "1 to 64 items"),
    ],
)
def test_a_package_that_is_too_large_is_refused(
    path: str, change: Callable[[Any], None], words: str
) -> None:
    assert words in str(refusal(changed(template_files(), path, change)))


def test_effects_for_each_item_of_a_list_are_counted_by_the_lists_bound() -> None:
    def ten(manifest: Any) -> None:
        manifest["events"]["scrap_reported"]["causes"] = "list(string(4), 62)"

    def eleven(manifest: Any) -> None:
        manifest["events"]["scrap_reported"]["causes"] = "list(string(4), 63)"

    looping = changed(template_files(), RULE, _loop)
    load_package(changed(looping, MANIFEST, ten))
    assert "up to 65 effects" in str(refusal(changed(looping, MANIFEST, eleven)))


def test_a_package_may_lower_its_own_limits() -> None:
    files = changed(template_files(), MANIFEST, lambda m: m.update(limits={"gas": 50}))

    assert "50 are allowed" in str(refusal(files))
    higher = changed(template_files(), MANIFEST, lambda m: m.update(limits={"gas": 20_001}))
    assert "from 1 to 20,000" in str(refusal(higher))


def test_more_tables_than_can_be_analysed_in_time_are_refused() -> None:
    files = template_files()
    many = {f"tables/t{number}.json": files[TABLE] for number in range(TABLES_MAX)}

    assert f"more than {TABLES_MAX} tables" in str(refusal({**files, **many}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"params": {"currency": "EUR", "budget": "x" * 4_097}}, "at most 4,096 characters"),
        (
            {"state": {"credited": {"type": "list(list(int), 64)", "default": [[0] * 64] * 31}}},
            "larger than what can be kept: 2,000 nodes",
        ),
    ],
)
def test_a_value_that_no_bound_of_a_type_allows_is_refused(
    change: dict[str, Any], words: str
) -> None:
    assert words in str(refusal(changed(template_files(), MANIFEST, lambda m: m.update(change))))


def test_a_records_own_type_cannot_be_named_inside_it() -> None:
    def recursive(manifest: Any) -> None:
        manifest["types"] = {"node": {"next": "node"}}

    assert "unknown type 'node'" in str(refusal(changed(template_files(), MANIFEST, recursive)))


def test_the_same_bytes_are_refused_with_the_same_words() -> None:
    files = replaced(template_files(), RULE, "event.pieces * event", "event.pices * event")

    assert refusal(files).problems == refusal(dict(reversed(files.items()))).problems
