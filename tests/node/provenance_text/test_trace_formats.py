"""A trace in its four formats: as the golden files have it, and safe and legible whatever it is."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.client.provenance_records import EdgeKind, Trace, TraceNode
from lotmark.rfc3339 import parse_ms
from lotmark_node.provenance_text.documents import trace_document
from lotmark_node.provenance_text.facts import TraceFacts
from lotmark_node.provenance_text.graphs import dot_lines, mermaid_lines
from lotmark_node.provenance_text.lines import BAD, LinkText
from lotmark_node.provenance_text.tree import DEPTH_MAX, FOLDED_MIN, LINES_MAX, tree_lines
from lotmark_node.terminal import WIDTH_MAX
from tests.node.provenance_text.told_story import HEAD, edge, told_story

GOLDEN = Path(__file__).parent / "golden"
NO_FACTS = TraceFacts()
HOSTILE = [
    'X"]; n0 --> n9', 'X"]\nclick n0 "javascript:alert(1)"', "X`**b**`", "X<script>alert(1)",
    "X#quot;]", 'X" shape=none URL="javascript:1', 'X\\" ]; n0 -> n9', "X\\N\\G", "X|y|",
    "%%{init}%%", "end", "X;Y", "é\u202e",
]  # fmt: skip


def trace_of(names: list[str], edges: list[tuple[int, int, EdgeKind]]) -> Trace:
    nodes = [TraceNode(number, name, 1) for number, name in enumerate(names)]
    made = [edge(near, far, kind, 7, "P1") for near, far, kind in edges]
    return Trace(head=HEAD, nodes=nodes, edges=made, resume=b"", cut_short="")


def test_the_story_s_trace_is_told_as_the_golden_files_have_it() -> None:
    trace, facts = told_story()
    tree = [LinkText(trace, facts).root(trace, back=True), *tree_lines(trace, facts)]

    assert (GOLDEN / "trace.txt").read_text().splitlines() == tree
    assert (GOLDEN / "trace.mmd").read_text().splitlines() == [*mermaid_lines(trace, back=True)]
    assert (GOLDEN / "trace.dot").read_text().splitlines() == [*dot_lines(trace, back=True)]
    assert json.loads((GOLDEN / "trace.json").read_text()) == trace_document(trace, facts)


MERMAID_LINE = re.compile(
    r'  n[0-9]+\["(?:[A-Za-z0-9 ._:/,+-]|#[0-9]+;)*"\]'
    r'|  n[0-9]+ (?:-->|-\.->)\|"(?:[A-Za-z0-9 ._:/,+-]|#[0-9]+;)*"\| n[0-9]+'
)
_DOT_STRING = r'"(?:[^"\\\n]|\\[\\"])*"'
DOT_LINE = re.compile(
    rf"  n[0-9]+ \[label={_DOT_STRING}, shape=box\];"
    rf"|  n[0-9]+ -> n[0-9]+ \[label={_DOT_STRING}(?:, style=dashed)?\];"
)


def check_graphs(trace: Trace) -> None:
    first, *lines = mermaid_lines(trace, back=True)
    assert first == "flowchart LR"
    assert [line for line in lines if not MERMAID_LINE.fullmatch(line)] == []
    dot = list(dot_lines(trace, back=False))
    assert (dot[:2], dot[-1]) == (["digraph trace {", "  rankdir=LR;"], "}")
    assert [line for line in dot[2:-1] if not DOT_LINE.fullmatch(line)] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_id_stays_a_text_in_a_graph(name: str) -> None:
    check_graphs(
        trace_of(
            [name, name, f"model:{name}"], [(0, 1, EdgeKind.PACKED), (0, 2, EdgeKind.INFERRED)]
        )
    )


@given(names=st.lists(st.text(max_size=40), min_size=1, max_size=6), data=st.data())
def test_no_id_whatever_breaks_out_of_a_graph_or_a_line(
    names: list[str], data: st.DataObject
) -> None:
    numbers = st.integers(0, len(names) - 1)
    links = st.lists(st.tuples(numbers, numbers, st.sampled_from(EdgeKind)), max_size=12)
    trace = trace_of(names, data.draw(links))
    check_graphs(trace)
    lines = tree_lines(trace, NO_FACTS)
    assert all(len(line) <= WIDTH_MAX for line in lines), "whatever links there are, the tree ends"
    assert not any("\n" in line for line in lines)


def test_a_mermaid_text_is_the_id_again_once_its_codes_are_read() -> None:
    for name in HOSTILE:
        line = list(mermaid_lines(trace_of([name], []), back=True))[1]
        text = line.removeprefix('  n0["').removesuffix('"]')
        assert re.sub("#([0-9]+);", lambda match: chr(int(match[1])), text) == name


def test_many_alike_share_a_line_and_those_that_differ_do_not() -> None:
    alike = [f"COIL-{number}" for number in range(1, FOLDED_MIN + 1)]
    names = ["UNIT", *alike, "LOT-A", "LOT-B"]
    consumed = EdgeKind.CONSUMED
    made = [(0, at, consumed) for at in range(1, len(alike) + 1)]
    of_one_lot = [(at, len(alike) + 1, consumed) for at in range(1, len(alike) + 1)]

    lines = tree_lines(trace_of(names, made + of_one_lot), NO_FACTS)
    assert lines[0].startswith(f"└─ COIL-1 to COIL-{FOLDED_MIN}  {FOLDED_MIN} alike  P1")
    assert lines[1].startswith("   └─ LOT-A")
    assert len(lines) == 2

    other = [*of_one_lot[:-1], (len(alike), len(alike) + 2, consumed)]
    lines = tree_lines(trace_of(names, made + other), NO_FACTS)
    assert sum("COIL" in line for line in lines) == FOLDED_MIN, "three of a lot are not many"


def test_a_nonconforming_one_among_many_keeps_its_line() -> None:
    names = ["UNIT", *(f"COIL-{number}" for number in range(9))]
    trace = trace_of(names, [(0, at, EdgeKind.MOUNTED) for at in range(1, 10)])
    edges = [replace(each, nonconforming_count=each.far == 4) for each in trace.edges]
    lines = tree_lines(replace(trace, edges=edges), NO_FACTS)

    assert [line[3:].startswith(BAD) for line in lines] == [False, True]
    assert "COIL-3" in lines[1]
    assert "8 alike" in lines[0]


def test_a_long_chain_and_a_wide_fan_are_shown_in_part_and_say_so() -> None:
    chain = trace_of(
        [f"N{number}x" for number in range(5_000)],
        [(at, at + 1, EdgeKind.PACKED) for at in range(4_999)],
    )
    lines = tree_lines(chain, NO_FACTS)
    assert len(lines) == DEPTH_MAX + 1
    assert lines[-1].endswith("… deeper: --format json tells it")

    fan = trace_of(
        ["ROOT", *(f"{number}x" for number in range(5_000))],
        [(0, at, EdgeKind.PACKED) for at in range(1, 5_001)],
    )
    lines = tree_lines(fan, NO_FACTS)
    assert len(lines) == LINES_MAX + 1
    assert lines[-1].startswith(f"… more than {LINES_MAX} lines")


def test_a_gauge_that_was_used_outside_its_validity_is_marked() -> None:
    trace, facts = told_story()
    late_ms = parse_ms("2026-03-01T00:00:00Z")
    edges = [
        replace(each, at_ms=late_ms if each.kind is EdgeKind.USED else each.at_ms)
        for each in trace.edges
    ]
    late = "\n".join(tree_lines(replace(trace, edges=edges), facts)).split()

    assert " ".join(late).count(f"{BAD}not valid when used, │ │ 2026-03-01") == 1
    assert "not valid" not in "\n".join(tree_lines(trace, facts))


def test_a_part_of_a_trace_that_goes_on_begins_where_the_earlier_one_ended() -> None:
    trace = Trace(
        head=HEAD,
        nodes=[TraceNode(9, "N9", 3)],
        edges=[edge(4, 9, EdgeKind.PACKED, 7, "P1")],
        resume=b"",
        cut_short="",
    )
    assert tree_lines(trace, NO_FACTS)[:1] == ["no. 4 of an earlier answer"]
    assert "N9" in tree_lines(trace, NO_FACTS)[1]
    check_graphs(trace)
