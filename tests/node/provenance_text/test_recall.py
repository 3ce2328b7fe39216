"""The recall set: complete though the interval lies late, and safe in a spreadsheet."""

import csv
import io
from dataclasses import replace
from typing import Any

from lotmark.client.provenance_records import EdgeKind, Trace, TraceNode
from lotmark_node.provenance_text.recall import (
    CSV_HEADER,
    csv_rows,
    recalled_items,
    why_partial,
)
from tests.node.provenance_text.told_story import HEAD, edge

DAY_MS = 86_400_000


def link(near: int, far: int, day: int, kind: EdgeKind = EdgeKind.CONSUMED, **more: Any) -> Any:
    return edge(near, far, kind, 7 + far, "P1", at_ms=day * DAY_MS, **more)


def part(names: dict[int, str], edges: list[Any], resume: bytes = b"") -> Trace:
    nodes = [TraceNode(number, name, 1) for number, name in names.items()]
    return Trace(head=HEAD, nodes=nodes, edges=edges, resume=resume, cut_short="")


# The lot goes into a coil on day 1, that into a stator on day 5; the stator is shipped twice.
PARTS = [
    part({0: "LOT", 1: "COIL"}, [link(0, 1, 1)], resume=b"more"),
    part(
        {2: "STATOR", 3: "party:OEM-A", 4: "party:OEM-B"},
        [
            link(1, 2, 5),
            link(2, 3, 6, EdgeKind.SHIPPED),
            link(2, 4, 7, EdgeKind.SHIPPED),
            link(2, 1, 8),  # a rework: the coil is in it already
            link(2, 0, 9),
        ],
    ),
]


def test_parts_of_a_trace_make_one_set_in_which_each_item_stands_once() -> None:
    coil, stator = recalled_items(PARTS)

    assert (coil.node.id, coil.through, coil.time_ms, coil.is_last) == (
        "COIL", "LOT", DAY_MS, False,
    )  # fmt: skip
    assert (stator.node.id, stator.through) == ("STATOR", "COIL")
    assert stator.shipped_to == ("OEM-A", "OEM-B")


def test_what_came_of_the_lot_before_the_interval_is_looked_through() -> None:
    def names(**days: int) -> list[str]:
        return [item.node.id for item in recalled_items(PARTS, **days)]

    assert names(since_ms=2 * DAY_MS, until_ms=8 * DAY_MS) == ["STATOR"]
    assert names(until_ms=5 * DAY_MS) == ["COIL"]
    assert names(since_ms=DAY_MS, until_ms=DAY_MS + 1) == ["COIL"]
    assert names(since_ms=9 * DAY_MS) == []


def test_an_item_that_took_the_lot_before_and_within_the_interval_is_in_the_set() -> None:
    (coil,) = recalled_items(PARTS, since_ms=6 * DAY_MS)

    assert (coil.node.id, coil.through, coil.time_ms) == ("COIL", "STATOR", 8 * DAY_MS)


def test_what_holds_the_lot_by_another_name_is_in_the_set_and_the_name_is_not() -> None:
    parts = [
        part(
            {0: "LOT", 1: "urn:uuid:1", 2: "U1"},
            [link(0, 1, 1, EdgeKind.IDENTIFIED), link(1, 2, 2), link(1, 0, 1, EdgeKind.IDENTIFIED)],
        )
    ]

    assert [item.node.id for item in recalled_items(parts)] == ["U1"]


def test_a_set_is_whole_only_where_no_bound_ended_its_trace() -> None:
    wide = "the trace has more than 1,000,000 nodes"

    assert why_partial(PARTS[-1], answers_max=50) == ""
    assert why_partial(PARTS[0], answers_max=50) == "the trace has more than 50 answers"
    assert why_partial(replace(PARTS[-1], cut_short=wide), answers_max=50) == wide


def test_no_id_is_a_formula_in_a_spreadsheet() -> None:
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "A,B", 'A"B', "=A\nB"]
    trace = part(
        dict(enumerate(["LOT", *hostile])),
        [link(0, far, 1) for far in range(1, len(hostile) + 1)],
    )
    out = io.StringIO()
    csv.writer(out).writerows([CSV_HEADER, *csv_rows(recalled_items([trace]))])
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))

    assert [row["item"].removeprefix("'") for row in rows] == hostile
    assert not any(row["item"].startswith(("=", "+", "-", "@")) for row in rows)
