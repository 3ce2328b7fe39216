"""Expressions by chance, in what wcel and CEL have in common, and values for their variables."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lotmark_contracts.wcel.scope import Scope
from lotmark_contracts.wcel.types import (
    BOOL,
    INT,
    Field,
    ListType,
    MapType,
    StringType,
    Type,
    record_type,
)
from lotmark_contracts.wcel.values import Value

_Choice = TypeVar("_Choice")

EVIDENCE = record_type(
    {
        "weight": Field(INT),
        "ok": Field(BOOL),
        "role": Field(StringType(40)),
        "note": Field(StringType(40), is_optional=True),
        "marks": Field(ListType(INT, 4)),
    }
)
VARIABLES: dict[str, Type] = {
    "a": INT,
    "b": INT,
    "c": INT,
    "p": BOOL,
    "q": BOOL,
    "s": StringType(40),
    "t": StringType(40),
    "numbers": ListType(INT, 8),
    "words": ListType(StringType(40), 8),
    "evidence": ListType(EVIDENCE, 4),
    "first": EVIDENCE,
    "table": MapType(INT, 4),
    "rows": ListType(ListType(INT, 4), 4),
}
EDGES = (0, 1, 2, 3, 7, -1, -5, 10_000, 2**62, 2**63 - 1, -(2**63))
WORDS = ("", "x", "y", "porosity", "poro", "é", "z\u4e2d", "\U0001f600", "a'b", 'a"b', "a\\b", "k")


def scope_of(variables: dict[str, Type]) -> Scope:
    """Return a scope with these names, their slots in this order."""
    scope = Scope()
    for name, type_ in variables.items():
        scope = scope.with_variable(name, type_)
    return scope


def random_values(chance: random.Random) -> dict[str, Value]:
    """Return a value for each of `VARIABLES`."""
    return {
        "a": chance.randrange(-5, 20),
        "b": chance.choice([*EDGES, chance.randrange(10**6)]),
        "c": chance.randrange(-(10**12), 10**12),
        "p": chance.random() < 0.5,
        "q": chance.random() < 0.5,
        "s": chance.choice(WORDS),
        "t": chance.choice(WORDS),
        "numbers": [chance.randrange(-5, 30) for _ in range(chance.randrange(8))],
        "words": [chance.choice(WORDS) for _ in range(chance.randrange(5))],
        "evidence": [_evidence(chance) for _ in range(chance.randrange(4))],
        "first": _evidence(chance),
        "table": {key: chance.randrange(9) for key in ("k", "x") if chance.random() < 0.7},
        "rows": [
            [chance.randrange(3) for _ in range(chance.randrange(4))]
            for _ in range(chance.randrange(4))
        ],
    }


def _evidence(chance: random.Random) -> Value:
    record: dict[str, Value] = {
        "weight": chance.randrange(50),
        "ok": chance.random() < 0.5,
        "role": chance.choice(WORDS),
        "marks": [chance.randrange(3) for _ in range(chance.randrange(3))],
    }
    if chance.random() < 0.5:
        record["note"] = chance.choice(WORDS)
    return record


@dataclass
class Writer:
    """Writes an expression of a wanted type, not deeper than it is told."""

    chance: random.Random
    ints: list[str] = field(default_factory=lambda: ["a", "b", "c"])
    records: list[str] = field(default_factory=lambda: ["first"])
    _names: int = 0

    def any_type(self, depth: int) -> str:
        """Return an expression of any type."""
        kinds = (self.number, self.truth, self.text, self.numbers, self.record, self.rows)
        return self.chance.choice(kinds)(depth)

    def number(self, depth: int) -> str:
        """Return an expression whose value is an integer."""
        if depth <= 0:
            return self._pick([*self.ints, str(self.chance.choice(EDGES))])
        return self._one_of(
            lambda: self._arithmetic(depth),
            lambda: self._arithmetic(depth),
            lambda: self._arithmetic(depth),
            lambda: (
                f"({self.truth(depth - 1)} ? {self.number(depth - 1)} : {self.number(depth - 1)})"
            ),
            lambda: f"size({self._pick([self.numbers, self.text, self.rows])(depth - 1)})",
            lambda: f"{self.numbers(depth - 1)}.size()",
            lambda: f"{self.numbers(depth - 1)}[{self.number(0)}]",
            lambda: self._pick(['table["k"]', "table.x", "table.nope", f"table[{self.text(0)}]"]),
            lambda: f"{self._record(depth)}.weight",
            lambda: f"-({self.number(depth - 1)})",
        )

    def truth(self, depth: int) -> str:
        """Return an expression that is true or false."""
        if depth <= 0:
            return self._pick(["p", "q", "true", "false"])
        return self._one_of(
            lambda: self._comparison(self.number, depth),
            lambda: self._comparison(self.text, depth),
            lambda: self._equality(depth),
            lambda: self._logic(depth),
            lambda: self._logic(depth),
            lambda: self._each(self._pick(["all", "exists", "exists_one"]), depth),
            lambda: f"({self.number(depth - 1)} in {self.numbers(depth - 1)})",
            lambda: f"({self.numbers(depth - 1)} in {self.rows(depth - 1)})",
            lambda: f"({self.text(depth - 1)} {self._pick(['in table', 'in words'])})",
            lambda: f"{self.text(depth - 1)}.{self._text_test()}({self.text(0)})",
            lambda: f"has({self._record(depth)}.note)",
            lambda: self._pick(["has(table.k)", "has(table.nope)"]),
            lambda: f"{self._record(depth)}.ok",
            lambda: f"!({self.truth(depth - 1)})",
        )

    def text(self, depth: int) -> str:
        """Return an expression whose value is a text."""
        if depth <= 0:
            return self._pick(["s", "t", *map(quoted, WORDS)])
        return self._one_of(
            lambda: f"({self.text(depth - 1)} + {self.text(depth - 1)})",
            lambda: f"({self.truth(depth - 1)} ? {self.text(0)} : {self.text(depth - 1)})",
            lambda: f"words[{self.number(0)}]",
            lambda: f"{self._record(depth)}.{self._pick(['role', 'note'])}",
            lambda: f"string({self.number(depth - 1)})",
        )

    def numbers(self, depth: int) -> str:
        """Return an expression whose value is a list of integers."""
        if depth <= 0:
            return self._pick(["numbers", "numbers", "[1, 2, 3]", "[a, b]", "[]"])
        return self._one_of(
            lambda: self._each("filter", depth),
            lambda: self._each("map", depth),
            lambda: f"({self.numbers(depth - 1)} + {self.numbers(depth - 1)})",
            lambda: f"({self.truth(depth - 1)} ? {self.numbers(depth - 1)} : {self.numbers(0)})",
            lambda: f"[{self.number(depth - 1)}, {self.number(depth - 1)}]",
            lambda: f"{self._record(depth)}.marks",
            lambda: f"rows[{self.number(0)}]",
            lambda: self._of_evidence(depth),
        )

    def rows(self, depth: int) -> str:
        """Return an expression whose value is a list of lists of integers."""
        if depth <= 0:
            return self._pick(["rows", "[[1], numbers]", "[[]]", "[rows[0]]"])
        return self._one_of(
            lambda: f"[{self.numbers(depth - 1)}, {self.numbers(depth - 1)}]",
            lambda: f"({self.rows(depth - 1)} + {self.rows(0)})",
            lambda: "evidence.map(w, w.marks)",
        )

    def record(self, depth: int) -> str:
        """Return an expression whose value is a record."""
        return (
            f'{{"number": {self.number(depth - 1)}, "yes": {self.truth(depth - 1)},'
            f' "text": {self.text(depth - 1)}, "inner": {{"list": {self.numbers(depth - 1)}}}}}'
        )

    def _arithmetic(self, depth: int) -> str:
        return f"({self.number(depth - 1)} {self.chance.choice('+-*/%')} {self.number(depth - 1)})"

    def _comparison(self, operand: Callable[[int], str], depth: int) -> str:
        sign = self._pick(["<", "<=", ">", ">=", "==", "!="])
        return f"({operand(depth - 1)} {sign} {operand(depth - 1)})"

    def _equality(self, depth: int) -> str:
        operand = self._pick([self.numbers, self.rows, self.record, self.truth])
        return f"({operand(depth - 1)} {self._pick(['==', '!='])} {operand(depth - 1)})"

    def _logic(self, depth: int) -> str:
        return f"({self.truth(depth - 1)} {self._pick(['&&', '||'])} {self.truth(depth - 1)})"

    def _each(self, macro: str, depth: int) -> str:
        # Sometimes the name of a variable, which it then hides.
        name = self._pick([self._new_name(), self._new_name(), "a"])
        source = self.numbers(depth - 1)
        self.ints.append(name)
        body = self.number(depth - 1) if macro == "map" else self.truth(depth - 1)
        self.ints.remove(name)
        return f"{source}.{macro}({name}, {body})"

    def _of_evidence(self, depth: int) -> str:
        name = self._new_name()
        self.records.append(name)
        kept, made = self.truth(depth - 1), self.number(depth - 1)
        self.records.remove(name)
        return f"evidence.filter({name}, {kept}).map({name}, {made})"

    def _record(self, depth: int) -> str:
        return self._pick([*self.records, f"evidence[{self.number(0)}]" if depth > 1 else "first"])

    def _text_test(self) -> str:
        return self._pick(["startsWith", "endsWith", "contains"])

    def _new_name(self) -> str:
        self._names += 1
        return f"x{self._names}"

    def _pick(self, choices: Sequence[_Choice]) -> _Choice:
        return self.chance.choice(choices)

    def _one_of(self, *makers: Callable[[], str]) -> str:
        return self.chance.choice(makers)()


def quoted(text: str) -> str:
    """Return a text as a literal of the language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def announced_chance() -> random.Random:
    """Return chance whose seed is printed, so that a failure can be drawn again."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    return random.Random(seed)  # noqa: S311 - a seed makes it the same each time
