"""How a claim's decision reads: every kind of ending and reason, within the width of a page."""

from typing import Any

import pytest

from lotmark.client.contract_records import FoundReceipt
from lotmark_node.claim_reexecution import Reexecution, Verdict
from lotmark_node.decision_text import Branch, Decision, decision_branch, tree_lines
from lotmark_node.terminal import WIDTH_MAX

SAME = Reexecution(Verdict.SAME)
DOCUMENT: dict[str, Any] = {
    "package": "p", "version": "2", "rule": "charge", "status": "done",
    "because": [], "postings": [], "kept": [], "notices": [],
}  # fmt: skip


def shown(again: Reexecution = SAME, **fields: Any) -> list[str]:
    receipt = FoundReceipt(
        index=9, height=4, time_ms=0, event_index=7, raw=b"", document={**DOCUMENT, **fields}
    )
    decision = Decision(receipt=receipt, event="bill by A", standing="proven", reexecution=again)
    return tree_lines(decision_branch(decision))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "rule charge, version 2: done"),
        ({"status": "refused", "reason": "TIME_BAR"}, "refused, TIME_BAR"),
        ({"status": "duplicate", "first": "5"}, "duplicate of event entry 5"),
        (
            {"status": "failed", "failure": {"code": "overflow", "at": "let.x", "offset": "3"}},
            "failed, overflow at let.x, offset 3",
        ),
        ({"because": [{"step": "x", "value": "7"}]}, "step x = 7"),
        ({"because": [{"step": "x", "value": True}]}, "step x = true"),
        ({"because": [{"step": "x", "value": ""}]}, "step x = ''"),
        ({"because": [{"step": "x", "value": [["a", "1"]]}]}, "step x = [[a, 1]]"),
        ({"because": [{"step": "x"}]}, "step x = more than a rule receipt keeps"),
        (
            {"because": [{"step": "r", "value": {"bp": "5"}, "table": "share", "row": "2"}]},
            "step r = {bp: 5} (table share, row 2)",
        ),
        ({"because": [{"step": "r", "value": {}, "table": "t", "row": "0"}]}, "(table t, else)"),
        (
            {"reads": [{"name": "agreed", "family": "f", "key": "k", "value": "1"}]},
            "read agreed = 1 (f k)",
        ),
        (
            {"postings": [
                {"from": "a:b", "to": "c:d", "minor": "1234567", "currency": "EUR", "memo": "m"}
            ]},
            "posted 12,345.67 EUR a:b → c:d m",
        ),
        ({"kept": [{"family": "f", "key": "k", "value": "v"}]}, "kept f k = v"),
        (
            {"timers": [{"timer": "t", "key": "k", "at": "0", "with": {}}]},
            "timer t k due 1970-01-01 00:00:00 UTC",
        ),
        ({"timers": [{"cancel": "t", "key": "k"}]}, "timer t k cancelled"),
        ({"notices": [{"alert": "look", "level": "warning"}]}, "told warning: look"),
        ({"notices": [{"work_order": "do", "assign": "B"}]}, "asked B: do"),
        (
            {"evidence": [{"depth": "0", "entry": "3", "item": "LOT"}]},
            "entry 3: LOT, about the item itself",
        ),
        ({"evidence": [{"depth": "2", "entry": "3", "item": "LOT"}]}, "LOT, 2 steps back"),
    ],
)  # fmt: skip
def test_every_part_of_a_rule_receipt_is_said(fields: dict[str, Any], said: str) -> None:
    assert said in " ".join(" ".join(shown(**fields)).split())


def test_long_texts_wrap_and_long_values_are_cut() -> None:
    lines = shown(
        because=[{"step": "x", "value": "word " * 200}],
        notices=[{"alert": "long " * 200, "level": "info"}],
    )

    assert max(map(len, lines)) <= WIDTH_MAX
    assert sum("…" in line for line in lines) == 1, "a value is cut, what was told is not"


def test_a_tree_of_ten_thousand_lines_ends() -> None:
    lines = tree_lines(Branch("root", [Branch(f"leaf {number}") for number in range(10_000)]))

    assert len(lines) == 2_001
    assert "--json has everything" in lines[-1]


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (Reexecution(Verdict.SAME), "executed again the same"),
        (Reexecution(Verdict.OTHER, "gas"), "executed again NOT the same: gas"),
        (Reexecution(Verdict.CANNOT_TELL, "no files"), "executed again cannot tell: no files"),
    ],
)
def test_what_came_of_executing_again_is_said(again: Reexecution, said: str) -> None:
    assert said in " ".join(" ".join(shown(again)).split())
