"""A claim's decision as a tree of lines: each rule receipt with its reasons, in order."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lotmark.client.contract_records import FoundReceipt
from lotmark.verify.report import time_text
from lotmark_contracts.money import shown_amount
from lotmark_node.claim_reexecution import Reexecution, Verdict
from lotmark_node.terminal import WIDTH_MAX

VALUE_SHOWN_MAX = 160  # characters of a value; --json has all of it
LINES_MAX = 2_000
_LAST, _OTHER, _BELOW_LAST, _BELOW_OTHER = "└─ ", "├─ ", "   ", "│  "


@dataclass(slots=True)
class Branch:
    """A line of a tree, and what stands below it."""

    text: str
    below: list["Branch"] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A rule receipt, and what was found out about it."""

    receipt: FoundReceipt
    event: str  # such as "technical_factor_claim by OEM-A"
    standing: str  # how it stands on the log
    reexecution: Reexecution


def decision_branch(decision: Decision) -> Branch:
    """Return the branch of a rule receipt."""
    receipt = decision.receipt
    document = receipt.document
    head = (
        f"entry {receipt.index}  {time_text(receipt.time_ms)}  rule {document['rule']},"
        f" version {document['version']}: {_status(document)}"
    )
    below = [Branch(f"event  entry {receipt.event_index}: {decision.event}")]
    below += _evidence(document.get("evidence", ()))
    below += [
        Branch(f"read  {each['name']} = {_shown(each)}  ({each['family']} {each['key']})")
        for each in document.get("reads", ())
    ]
    below += [Branch(_step(each)) for each in document["because"]]
    below += [Branch(_posting(each)) for each in document["postings"]]
    below += [
        Branch(f"kept  {each['family']} {each['key']} = {_shown(each)}")
        for each in document["kept"]
    ]
    below += [Branch(_timer(each)) for each in document.get("timers", ())]
    below += [Branch(_notice(each)) for each in document["notices"]]
    below.append(Branch(f"stands  {decision.standing}"))
    below.append(Branch(f"executed again  {_again(decision.reexecution)}"))
    return Branch(head, below)


def _again(reexecution: Reexecution) -> str:
    match reexecution.verdict:
        case Verdict.SAME:
            return "the same"
        case Verdict.OTHER:
            return f"NOT the same: {reexecution.why}"
        case Verdict.CANNOT_TELL:
            return f"cannot tell: {reexecution.why}"


def _status(document: Mapping[str, Any]) -> str:
    match document["status"]:
        case "refused":
            return f"refused, {document['reason']}"
        case "duplicate":
            return f"duplicate of event entry {document['first']}"
        case "failed":
            failure = document["failure"]
            return f"failed, {failure['code']} at {failure['at']}, offset {failure['offset']}"
        case status:
            return str(status)


def _step(step: Mapping[str, Any]) -> str:
    text = f"step  {step['step']} = {_shown(step)}"
    if "table" not in step:
        return text
    row = "else" if step["row"] == "0" else f"row {step['row']}"
    return f"{text}  (table {step['table']}, {row})"


def _posting(posting: Mapping[str, Any]) -> str:
    amount = shown_amount(int(posting["minor"]), posting["currency"])
    memo = f"  {posting['memo']}" if posting["memo"] else ""
    return f"posted  {amount}  {posting['from']} → {posting['to']}{memo}"


def _timer(timer: Mapping[str, Any]) -> str:
    if "cancel" in timer:
        return f"timer  {timer['cancel']} {timer['key']} cancelled"
    return f"timer  {timer['timer']} {timer['key']} due {time_text(int(timer['at']))}"


def _notice(notice: Mapping[str, Any]) -> str:
    if "alert" in notice:
        return f"told  {notice['level']}: {notice['alert']}"
    return f"asked  {notice['assign']}: {notice['work_order']}"


def _evidence(evidence: Sequence[Mapping[str, Any]]) -> Iterator[Branch]:
    if evidence:
        yield Branch(
            f"evidence  {len(evidence)} entries",
            [
                Branch(f"entry {each['entry']}: {each['item']}, {_steps(int(each['depth']))}")
                for each in evidence
            ],
        )


def _steps(depth: int) -> str:
    if depth == 0:
        return "about the item itself"
    return "1 step back" if depth == 1 else f"{depth} steps back"


def _shown(document: Mapping[str, Any]) -> str:
    """Return the value of a step or read as a person reads it."""
    if "value" not in document:
        return "more than a rule receipt keeps"
    text = _value_text(document["value"])
    return text if len(text) <= VALUE_SHOWN_MAX else f"{text[:VALUE_SHOWN_MAX]}…"


def _value_text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(_value_text(each) for each in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_value_text(value[key])}' for key in value)}}}"
        case _:
            return str(value) if value != "" else "''"


def tree_lines(root: Branch) -> list[str]:
    """Return the lines of a tree, at most 100 columns wide and `LINES_MAX` long."""
    lines = textwrap.wrap(root.text, WIDTH_MAX)
    lines += _below(root, "")
    if len(lines) > LINES_MAX:
        return [*lines[:LINES_MAX], f"… more than {LINES_MAX:,} lines: --json has everything"]
    return lines


def _below(branch: Branch, before: str) -> Iterator[str]:
    for each in branch.below:
        is_last = each is branch.below[-1]
        under = before + (_BELOW_LAST if is_last else _BELOW_OTHER)
        hanging = under + (_BELOW_OTHER if each.below else _BELOW_LAST)
        first = before + (_LAST if is_last else _OTHER)
        yield from textwrap.wrap(
            each.text, WIDTH_MAX, initial_indent=first, subsequent_indent=hanging
        )
        yield from _below(each, under)
