"""Whether the verdict that a station acted upon follows from its results of the same image."""

from dataclasses import dataclass

from lotmark.v1 import quality_pb2
from lotmark.v1.quality_pb2 import VERDICT_CONFORMING
from lotmark_inference.inspection import doubts_of, joined_verdict
from lotmark_inference.policy import InspectionPolicy, Judges, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a station has on record of the same image near a result, in the same run.

    What is not shown is no proof of anything: a node may leave something out, and a station that
    is killed judges an image once more. So two results are of one judgement for certain only where
    no entry lies between theirs.
    """

    before: quality_pb2.InferenceResult | None = None  # that this one comes behind, as the last
    after: quality_pb2.InferenceResult | None = None  # the last, which comes behind this one
    is_next_before: bool = False  # whether no entry lies between that one's and this one's
    is_next_after: bool = False
    has_gap: bool = False  # whether one behind it says that a model failed on the image


def beside_findings(
    result: quality_pb2.InferenceResult, beside: Beside, policy: InspectionPolicy | None
) -> tuple[list[str], list[str]]:
    """Return what the image's other result contradicts, and what is not shown that has to be there.

    Which model is the light one is nowhere on record: of two it is the first.
    """
    if not result.joint_verdict:
        if beside.after is None:
            return [], ["it states no joint verdict, and no last result of its image is near it"]
        first, last, is_next = result, beside.after, beside.is_next_after
    elif beside.before is not None:
        first, last, is_next = beside.before, result, beside.is_next_before
    else:
        return [], _unshown(result, beside, policy)
    found = []
    name = quality_pb2.Verdict.Name
    joint = joined_verdict([first.verdict, last.verdict])
    if last is result and result.joint_verdict != joint:
        found.append(
            f"the joint verdict is {name(result.joint_verdict)}, but {name(joint)} follows from"
            f" {name(first.verdict)} of {first.model} and {name(last.verdict)} of {last.model}"
        )
    if policy is not None and not _asks_both(policy, first):
        found.append(
            f"policy {policy.full_name} asks for one model in mode {first.mode} where the first"
            f" says {name(first.verdict)}, but {last.model} judged the image after {first.model}"
        )
    if is_next:
        return found, []
    between = "entries lie between the two, so they may be of two judgements"
    return [], [f"{each}; {between}" for each in found]


def _unshown(
    result: quality_pb2.InferenceResult, beside: Beside, policy: InspectionPolicy | None
) -> list[str]:
    """Return what is not shown that a last result needs which stands alone: nothing refutes it."""
    name = quality_pb2.Verdict.Name
    is_for_both = policy is not None and _asks_both(policy, result)
    if beside.has_gap:
        if is_for_both and result.joint_verdict == VERDICT_CONFORMING:
            return ["a gap says that a model failed on the image: nothing conforms then"]
        return []
    if result.joint_verdict != result.verdict:
        return [
            f"the joint verdict is {name(result.joint_verdict)}, its own {name(result.verdict)};"
            " no other result of its image, and no gap, is near it"
        ]
    if is_for_both:
        return [
            f"the policy has a second model judge what is {name(result.verdict)} in mode"
            f" {result.mode}; no other result of its image, and no gap, is near it"
        ]
    return []


def _asks_both(policy: InspectionPolicy, first: quality_pb2.InferenceResult) -> bool:
    """Return whether a policy has a second model judge what a first one has judged."""
    judges = policy.judges[Mode(first.mode)]
    doubts = doubts_of([first.verdict])
    return judges is Judges.BOTH or (judges is Judges.LIGHT and bool(doubts & policy.escalate))
