"""Audits of inferences and what becomes of models, as text for people and for programs."""

from collections.abc import Sequence

from lotmark.v1 import quality_pb2
from lotmark_inference.audit_lottery import drawing_size
from lotmark_inference.label_catalogue import CatalogueApproval
from lotmark_inference.rerun import Rerun
from lotmark_node.inference_audits import Lottery, RecordedAudit
from lotmark_node.inference_ledger import ProvenResult
from lotmark_node.model_decay import Decay
from lotmark_node.model_drift import ScoreDrift

_PPM = 1_000_000

_WORDS = {
    quality_pb2.AUDIT_FINDING_EXACT: "exact",
    quality_pb2.AUDIT_FINDING_WITHIN_TOLERANCE: "within tolerance",
    quality_pb2.AUDIT_FINDING_REFUTED: "refuted",
    quality_pb2.AUDIT_FINDING_CANNOT_TELL: "cannot tell",
}


def finding_name(finding: quality_pb2.AuditFinding.ValueType) -> str:
    """Return a finding for programs, such as "EXACT"."""
    return quality_pb2.AuditFinding.Name(finding).removeprefix("AUDIT_FINDING_")


def rerun_document(result: ProvenResult, rerun: Rerun) -> dict[str, object]:
    """Return what came of running a result again, for programs."""
    body = result.accepted.event.inference_result
    return {
        "index": result.accepted.index,
        "event_id": result.accepted.event_id.hex(),
        "party": result.party,
        "model": body.model,
        "finding": finding_name(rerun.finding),
        "reasons": list(rerun.reasons),
        "engine": rerun.engine,
        "policy_digest": rerun.policy_digest.hex(),
        "stated_scores": list(body.scores),
        "scores": list(rerun.scores),
        "difference_max": rerun.difference_max,
    }


def rerun_text(result: ProvenResult, rerun: Rerun) -> str:
    """Return what came of running a result again, for people."""
    body = result.accepted.event.inference_result
    head = f"entry {result.accepted.index}, {body.model} of {result.party}"
    where = f" at {body.feature}" if body.feature else ""
    on = f" on {rerun.engine}" if rerun.engine else ""
    lines = [f"{head}{where}: {_WORDS[rerun.finding]}{on}"]
    if rerun.scores:
        lines.append(f"scores {list(rerun.scores)}, on record {list(body.scores)}")
    if rerun.scores and not rerun.policy_digest:
        lines.append("no policy was applied: that label and verdict follow is not shown")
    return "\n".join([*lines, *rerun.reasons])


def audit_document(lottery: Lottery, reruns: Sequence[Rerun]) -> dict[str, object]:
    """Return a lottery for programs.

    Args:
        lottery: What was drawn.
        reruns: Of each that was drawn; empty: nothing was run again.
    """
    made = [
        rerun_document(each.result, rerun)
        for each, rerun in zip(lottery.drawn, reruns, strict=False)
    ]
    return {
        "checkpoint_size": lottery.checkpoint.size,
        "checkpoint_root": lottery.checkpoint.root.hex(),
        "since": lottery.since,
        "drawn_size": lottery.drawn_size,
        "rate_ppm": lottery.rate_ppm,
        "waiting_count": lottery.waiting_count,
        "withheld_count": lottery.withheld_count,
        "withheld_drawn": list(lottery.withheld_drawn),
        "unaudited_count": _unaudited_count(lottery),
        "drawn": [
            {
                "index": each.result.accepted.index,
                "event_id": each.result.accepted.event_id.hex(),
                "party": each.result.party,
                "model": each.result.accepted.event.inference_result.model,
                "draw_size": each.draw.size,
                "draw_root": each.draw.root.hex(),
                "audits": [
                    {
                        "index": audit.index,
                        "party": audit.party,
                        "finding": finding_name(audit.finding),
                        "rate_ppm": audit.rate_ppm,
                        "policy_digest": audit.policy_digest.hex(),
                        "of_draw": audit.is_of_draw,
                    }
                    for audit in each.audits
                ],
            }
            for each in lottery.drawn
        ],
        "reruns": made,
    }


def _unaudited_count(lottery: Lottery) -> int:
    """Return of how many that are drawn no other party's audit of the draw tells how they are."""
    return sum(
        not any(
            audit.is_of_draw
            and audit.party != each.result.party
            and audit.finding != quality_pb2.AUDIT_FINDING_CANNOT_TELL
            for audit in each.audits
        )
        for each in lottery.drawn
    )


def audit_text(lottery: Lottery, reruns: Sequence[Rerun]) -> str:
    """Return a lottery for people."""
    if lottery.drawn_size > lottery.since:
        head = (
            f"entries {lottery.since} to {lottery.drawn_size - 1}: {len(lottery.drawn)} results"
            f" are drawn at {lottery.rate_ppm} of a million, {_unaudited_count(lottery)} of them"
            " without another party's audit that could tell"
        )
    else:
        head = f"no entry from {lottery.since} on has its root yet"
    lines = [head]
    if lottery.waiting_count:
        lines.append(
            f"not drawn yet: {lottery.waiting_count} results from entry {lottery.drawn_size} on;"
            f" the next root is that of {drawing_size(lottery.drawn_size)} entries, the final"
            f" checkpoint has {lottery.checkpoint.size}"
        )
    if lottery.withheld_count:
        drawn = ", ".join(map(str, lottery.withheld_drawn))
        lines.append(
            f"withheld: {lottery.withheld_count} events for others, results maybe among them;"
            f" drawn are the entries {drawn or 'none'}"
        )
    for place, each in enumerate(lottery.drawn):
        if reruns:
            lines.append(rerun_text(each.result, reruns[place]))
            continue
        accepted = each.result.accepted
        told = [_audit_text(audit) for audit in each.audits]
        model = accepted.event.inference_result.model
        lines.append(
            f"entry {accepted.index}, {model} of {each.result.party}:"
            f" {', '.join(told) or 'no audit yet'}"
        )
    return "\n".join(lines)


def _audit_text(audit: RecordedAudit) -> str:
    by = "with its policy" if audit.policy_digest else "without a policy"
    drawn = "" if audit.is_of_draw else ", not as drawn"
    return f"{audit.party} {_WORDS[audit.finding]} ({by}{drawn})"


def decay_document(decay: Decay, undone: Sequence[str]) -> dict[str, object]:
    """Return how a model does, for programs.

    Args:
        decay: How it does.
        undone: What was asked for and could not be done: the ticket, telling of it.
    """
    finding = decay.finding
    return {
        "model": decay.watch.model,
        "station": decay.watch.station,
        "standing": finding.standing.value,
        "f1_ppm": finding.f1_ppm,
        "baseline_ppm": finding.baseline_ppm,
        "positive_count": finding.positives,
        "coverage_ppm": finding.coverage_ppm,
        "breach_hours": finding.breach_hours,
        "episode": finding.episode or None,
        "grade": finding.grade.value if finding.grade else None,
        "ticket": decay.ticket_id.hex() or None,
        "undone": list(undone),
    }


def decay_text(decay: Decay, undone: Sequence[str]) -> str:
    """Return how a model does, for people; arguments as for `decay_document`."""
    finding = decay.finding
    lines = [f"{decay.watch.model} at {decay.watch.station}: {finding.said}"]
    if finding.grade:
        ticket_id = decay.ticket_id
        ticket = f"ticket {ticket_id.hex()}" if ticket_id else "no ticket yet: --ticket makes one"
        lines.append(f"episode {finding.episode}, {finding.grade}: {ticket}")
    lines += [f"not done yet: {each}" for each in undone]
    return "\n".join(lines)


def drift_document(drift: ScoreDrift) -> dict[str, object]:
    """Return what became of a model's scores, for programs."""
    return {
        "model": drift.model,
        "station": drift.station,
        "reference_count": drift.reference_count,
        "sample_count": drift.sample_count,
        "drifted": drift.is_drifted,
        "findings": [
            {
                "label_place": place,
                "metric": each.metric,
                "value_ppm": each.value_ppm,
                "limit_ppm": each.limit_ppm,
                "drifted": each.is_drifted,
            }
            for place, found in drift.findings.items()
            for each in found
        ],
    }


def drift_text(drift: ScoreDrift) -> str:
    """Return what became of a model's scores, for people."""
    said = "drifted" if drift.is_drifted else "as they were"
    lines = [
        f"{drift.model} at {drift.station}: scores are {said}, {drift.sample_count} results"
        f" against the first {drift.reference_count}"
    ]
    for place, found in drift.findings.items():
        told = (
            f"{each.metric} {each.value_ppm / _PPM:.3f} of {each.limit_ppm / _PPM:.3f}"
            f"{' *' if each.is_drifted else ''}"
            for each in found
        )
        lines.append(f"label {place}  {'  '.join(told)}")
    return "\n".join(lines)


def catalogue_document(approval: CatalogueApproval) -> dict[str, object]:
    """Return the catalogues of a ledger, for programs."""
    return {
        "catalogues": [
            {
                "catalogue": each.catalogue.full_name,
                "event_id": event_id.hex(),
                "digest": each.catalogue.digest.hex(),
                "labels": list(each.catalogue.labels),
                "missing": [f"{who.party}/{who.role}" for who in approval.missing(each)],
                "why_not": approval.why_not(each),
                "in_force": approval.is_in_force(event_id),
            }
            for event_id, each in approval.proposed.items()
        ]
    }


def catalogue_text(approval: CatalogueApproval) -> str:
    """Return the catalogues of a ledger, for people."""
    lines = []
    for event_id, each in approval.proposed.items():
        missing = ", ".join(f"{who.party}/{who.role}" for who in approval.missing(each))
        if approval.is_in_force(event_id):
            said = "in force"
        elif why := approval.why_not(each):
            said = f"counts for nothing: {why}"
        else:
            said = f"waits for the approval of {missing}"
        lines.append(f"{each.catalogue.full_name:<20}  {event_id.hex()}  {said}")
    return "\n".join(lines) or "No label catalogues yet."
