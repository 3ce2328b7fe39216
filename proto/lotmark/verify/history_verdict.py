"""The verdict on an item proof, in words and for programs."""

from lotmark.canonical_json import JsonValue
from lotmark.founding_rows import GENESIS_SIZE
from lotmark.verify.item_history import HistoryFindings, ShownEvent
from lotmark.verify.key_register import parse_event
from lotmark.verify.report import Conclusion, Verdict


def history_verdict(findings: HistoryFindings, *, kind: str, chain_id: bytes) -> Verdict:
    """Return the verdict on an item proof in which no fault was found."""
    checkpoint = findings.checkpoint
    return Verdict(
        kind=kind,
        conclusion=Conclusion.VALID if checkpoint.is_final else Conclusion.CANNOT_TELL,
        text=f"{history_text(findings)}; {checkpoint.standing}",
        chain_id=chain_id,
        details={**history_to_json(findings), "checkpoint": checkpoint.to_json()},
    )


def history_text(findings: HistoryFindings) -> str:
    """Say how complete a history is."""
    if not findings.epoch:
        count = _counted(len(findings.others), "event")
        return (
            f"{findings.item}: {count} shown; not provably all, as the ledger names no epoch of"
            " items' histories yet"
        )
    count = _counted(len(findings.complete), "event")
    text = f"{findings.item}: {f'all {count}' if findings.complete else 'no event names it'}"
    if findings.first_index > GENESIS_SIZE:
        text += f" from entry {findings.first_index:,}, where items began to be chained,"
    text += f" up to entry {findings.complete_size - 1:,}"
    if hidden_count := sum(1 for shown in findings.complete if not shown.event):
        text += f", {hidden_count:,} of them withheld from this reader"
    earlier = sum(1 for shown in findings.others if shown.index < findings.first_index)
    newer = len(findings.others) - earlier
    if newer:
        text += f"; {newer:,} newer shown, not yet provably all"
    if earlier:
        text += f"; {earlier:,} from before entry {findings.first_index:,} shown, not provably all"
    return text


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def history_to_json(findings: HistoryFindings) -> dict[str, JsonValue]:
    """Return a history for programs."""
    return {
        "item": findings.item,
        "epoch": str(findings.epoch),
        "first_index": str(findings.first_index),
        "complete_size": str(findings.complete_size),
        "events": [_event_to_json(shown, findings) for shown in findings.events],
    }


def _event_to_json(shown: ShownEvent, findings: HistoryFindings) -> JsonValue:
    body = parse_event(shown.event).WhichOneof("body") if shown.event else None
    return {
        "index": str(shown.index),
        "height": str(shown.height),
        "time_ms": str(shown.time_ms),
        "event_type": body,
        "complete": findings.first_index <= shown.index < findings.complete_size,
    }
