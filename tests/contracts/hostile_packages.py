"""Packages of the largest size that are allowed, made to be slow to load: each in another way.

Run as a program, it prints how long each takes.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.package import SIZE_MAX, load_package
from tests.contracts.packages import Files, template_files

Json = dict[str, Any]


def package(manifest: Json, rules: Json, tables: Json | None = None) -> Files:
    """Return the files of a package, as short as they can be written."""
    base = json.loads(template_files()["manifest.json"])
    base.update({"rules": sorted(rules)[:64], **manifest})
    files = {"manifest.json": dense(base)}
    files |= {f"rules/{name}.json": dense(rule) for name, rule in rules.items()}
    return files | {f"tables/{name}.json": dense(table) for name, table in (tables or {}).items()}


def dense(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def rule(**stages: Any) -> Json:
    return {
        "title": "t",
        "on": "e",
        "once": "'1'",
        "then": [{"alert": "'x'", "level": "info"}],
        **stages,
    }


def rules_of(steps: list[Any], a_rule: int) -> Json:
    """Return rules that have these steps, so many each."""
    count = (len(steps) + a_rule - 1) // a_rule
    return {
        f"r{number}": rule(let=steps[number * a_rule : (number + 1) * a_rule])
        for number in range(count)
    }


def wide_type(fields: int) -> Json:
    return {f"f{number}": "int" for number in range(fields)}


def nested_types(name: str, levels: int, width: int) -> Json:
    """Return record types, each of which has some of the one before."""
    types: Json = {f"{name}0": {"a": "int"}}
    for level in range(1, levels):
        types[f"{name}{level}"] = {f"f{at}": f"{name}{level - 1}" for at in range(width)}
    return types


# --- tables


def _table(columns: list[Json], rows: list[Any]) -> Json:
    outputs = [{"name": "o", "type": "int"}]
    return {
        "title": "t",
        "inputs": columns,
        "outputs": outputs,
        "hit": "first",
        "rows": rows,
        "else": [0],
    }


def _tables(make: Callable[[int], Json]) -> Files:
    tables, size = {}, 2_000
    for number in range(32):
        made = make(number)
        size += len(dense(made))
        if size > SIZE_MAX:
            break
        tables[f"t{number}"] = made
    return package({"events": {"e": {"a": "int"}}}, {"r": rule()}, tables)


def tables_of_overlaps() -> Files:
    def make(number: int) -> Json:
        columns = [{"name": f"c{at}", "type": "int", "range": "0..9"} for at in range(12)]
        chance = random.Random(number)  # noqa: S311 - a seed makes it the same each time
        rows = [
            [*(chance.choice(["-", "-", "-", f"!= {chance.randrange(10)}"]) for _ in columns), 1]
            for _ in range(256)
        ]
        return _table(columns, rows)

    return _tables(make)


def tables_of_holes() -> Files:
    """Each row takes a corner out of what is left, and leaves as many boxes as are allowed."""

    def make(number: int) -> Json:
        columns = [{"name": f"c{at}", "type": "int", "range": "0..999"} for at in range(12)]
        chance = random.Random(number)  # noqa: S311 - a seed makes it the same each time
        rows = [
            [
                *(
                    f"{at * 3}" if index in chance.sample(range(12), 8) else "-"
                    for index in range(12)
                ),
                1,
            ]
            for at in range(256)
        ]
        return _table(columns, rows)

    return _tables(make)


def tables_of_points() -> Files:
    def make(_number: int) -> Json:
        columns = [{"name": f"c{at}", "type": "int"} for at in range(12)]
        rows = [[*([at] * 12), 1] for at in range(256)]
        return _table(columns, rows)

    return _tables(make)


def tables_of_many_boxes() -> Files:
    """As many boxes are left as may be, for as many rows as may be, in as many tables."""

    def make(_number: int) -> Json:
        columns = [{"name": f"c{at}", "type": "int"} for at in range(12)]
        rows = [[*([at] * 12), 1] for at in range(160)]
        return _table(columns, rows)

    return _tables(make)


def tables_of_late_differences() -> Files:
    """Boxes differ in the last columns only, so that comparing goes through all of them."""

    def make(_number: int) -> Json:
        columns = [{"name": f"c{at}", "type": "int"} for at in range(12)]
        rows = [[*(["-"] * 8), *([at] * 4), 1] for at in range(256)]
        return _table(columns, rows)

    return _tables(make)


def tables_of_lists() -> Files:
    def make(number: int) -> Json:
        chance = random.Random(number)  # noqa: S311 - a seed makes it the same each time
        columns = [{"name": f"c{at}", "type": "int"} for at in range(12)]
        listed = [
            "in " + ",".join(str(chance.randrange(10**6)) for _ in range(64)) for _ in range(9)
        ]
        rows = [[*(chance.choice(listed) for _ in range(12)), 1] for _ in range(30)]
        return _table(columns, rows)

    return _tables(make)


# --- expressions


def steps_of(expression: Callable[[int], str], events: Json, **manifest: Any) -> Files:
    steps, size = [], 6_000
    for number in range(100_000):
        step = {f"s{number % 64}": expression(number)}
        size += len(dense(step)) + 2 + (130 if number % 64 == 0 else 0)
        if size > SIZE_MAX:
            break
        steps.append(step)
    return package({"events": {"e": events}, **manifest}, rules_of(steps, 64))


def sums() -> Files:
    return steps_of(
        lambda _: _tree("1", "+", 2_000),
        {"a": "int"},
    )


def _tree(leaf: str, operator: str, nodes: int) -> str:
    """Return a flat list of sums, so that depth is no bound."""
    a_sum = operator.join([leaf] * 20)
    count = nodes // 42
    return "[" + ",".join([a_sum] * count) + "].size()"


def lists_of_numbers() -> Files:
    return steps_of(lambda _: "[" + ",".join(["1"] * 1_990) + "].size()", {"a": "int"})


def deep_comparisons() -> Files:
    types = {**nested_types("x", 5, 3), **nested_types("y", 5, 3)}
    return steps_of(
        lambda _: "[" + ",".join(["event.a==event.b"] * 380) + "].size()",
        {"a": "x3", "b": "y3"},
        types=types,
    )


def short_comparisons() -> Files:
    types = {**nested_types("x", 5, 3), **nested_types("y", 5, 3)}
    return steps_of(lambda _: "event.a==event.b", {"a": "x3", "b": "y3"}, types=types)


def deep_joins() -> Files:
    types = {**nested_types("x", 5, 3), **nested_types("y", 5, 3)}
    return steps_of(
        lambda _: "[" + ",".join(["event.a", "event.b"] * 300) + "].size()",
        {"a": "x3", "b": "y3"},
        types=types,
    )


def wide_selects() -> Files:
    return steps_of(lambda _: "[" + ",".join(["event.f63"] * 660) + "].size()", wide_type(64))


def wide_optional_selects() -> Files:
    events = {f"f{number}?": "bool" for number in range(64)}
    return steps_of(
        lambda _: "[" + ",".join(["||".join(["event.f63"] * 30)] * 20) + "].size()", events
    )


def nested_logic() -> Files:
    def expression(_number: int) -> str:
        text = "event.a==1"
        for _ in range(26):
            text = f"({text}||event.a/1==1)"
        return "[" + ",".join([text] * 9) + "].size()"

    return steps_of(expression, {"a": "int"})


def nested_macros() -> Files:
    def expression(_number: int) -> str:
        text = "1"
        for at in range(14):
            text = f"[1].map(v{at},{text})"
        return "[" + ",".join([f"size({text})" for _ in range(30)]) + "].size()"

    return steps_of(expression, {"a": "int"})


def sets_of_large_values() -> Files:
    types = {**nested_types("x", 5, 3)}
    effects = [{"set": {"s": "'k'"}, "value": "event.a"} for _ in range(64)]
    rules: Json = {}
    size = 4_000
    for number in range(250):
        made = rule(then=effects)
        size += len(dense(made))
        if size > SIZE_MAX:
            break
        rules[f"r{number}"] = made
    default: Any = {"a": 1}
    for _ in range(4):
        default = dict.fromkeys(["f0", "f1", "f2"], default)
    return package(
        {
            "events": {"e": {"a": "x4"}},
            "types": types,
            "state": {"s": {"type": "x4", "default": default}},
            "limits": {},
        },
        rules,
    )


def many_rules_of_large_events() -> Files:
    types = {**nested_types("x", 5, 3)}
    rules = {f"r{number}": rule() for number in range(250)}
    return package({"events": {"e": {"a": "x4"}}, "types": types}, rules)


def many_misspelt_names() -> Files:
    names = [f"{'abcdefghij' * 3}{number:05}" for number in range(64)]
    events = dict.fromkeys(names, "int")
    rules = {
        f"r{number}": rule(when=f"event.{'abcdefghij' * 3}x{number} > 0") for number in range(250)
    }
    return package({"events": {"e": events}}, rules)


# --- JSON


def brackets() -> Files:
    files = package({"events": {"e": {"a": "int"}}}, {"r": rule()})
    return {**files, "tests/t.json": b"", "rules/x.json": b"[" + b"[]," * 80_000 + b"[]]"}


def escapes() -> Files:
    text = "\\u0041" * 40_000
    files = package({"events": {"e": {"a": "int"}}}, {"r": rule()})
    return {**files, "rules/x.json": f'{{"title":"{text}"}}'.encode()}


def keys() -> Files:
    members = ",".join(f'"k{number}":1' for number in range(20_000))
    files = package({"events": {"e": {"a": "int"}}}, {"r": rule()})
    return {**files, "rules/x.json": f"{{{members}}}".encode()}


MAKERS = [
    tables_of_overlaps,
    tables_of_holes,
    tables_of_points,
    tables_of_many_boxes,
    tables_of_late_differences,
    tables_of_lists,
    sums,
    lists_of_numbers,
    deep_comparisons,
    short_comparisons,
    deep_joins,
    wide_selects,
    wide_optional_selects,
    nested_logic,
    nested_macros,
    sets_of_large_values,
    many_rules_of_large_events,
    many_misspelt_names,
    brackets,
    escapes,
    keys,
]


def main() -> None:
    for make in MAKERS:
        files = make()
        size = sum(map(len, files.values()))
        start_s = time.process_time()
        try:
            load_package(files)
            said = "loaded"
        except PackageRefused as refused:
            said = str(refused.problems[-1])[:90]
        took_s = time.process_time() - start_s
        sys.stdout.write(f"{make.__name__:28} {size:8} bytes {took_s:7.3f} s  {said}\n")


if __name__ == "__main__":
    main()
