"""Three forgers try, each as well as he can without others' keys; each is caught."""

from collections.abc import Sequence
from pathlib import Path

from lotmark.verify.report import Conclusion, Fault
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.forgeries import with_flipped_bit, without_event
from lotmark_node.story.load import STORY
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import TrialLedger, random_nonce
from lotmark_node.story.welds import CAMERA, PARTY, weld_inspections
from lotmark_node.story.wording import is_bad_weld, shortened
from lotmark_node.verification.verify import verify_snapshot

TITLE = "forgeries"
SEED = 138  # other scores than the true ones
FORGED_VOTERS = ("OEM-A/n1",)  # one forger has one machine


def run(stage: Stage) -> str:
    """Make each forgery and verify it against the chain id that everybody knows."""
    seal = stage.ledger.tellings["resistivity"].events[-1]
    report, height = seal.event.report_seal, seal.result.height
    snapshot = stage.snapshot_file.read_bytes()
    flipped, removed = (
        stage.forged_file(name) for name in ("flipped-bit.snapshot", "event-removed.snapshot")
    )
    flipped.write_bytes(with_flipped_bit(snapshot, report.report_digest))
    removed.write_bytes(without_event(snapshot, seal.result.event_id))
    false_file, false_chain_id = _false_ledger(stage)
    chain_id = stage.ledger.chain_id
    faults = [
        # The author's batch and the node's proposal both bind every bit of an event.
        fault_in(flipped, chain_id, rules=("batch", "proposal"), height=height),
        fault_in(removed, chain_id, rules=("proposal",), height=height),
    ]
    fault_in(false_file, chain_id, rules=("chain",), height=None)
    stage.facts["tamper_detected"] = True
    text = (
        f"a bit of report {report.report}'s digest is flipped: CAUGHT {faults[0]}\n"
        f"report {report.report} is removed, every hash made anew: CAUGHT {faults[1]}\n"
        f"another ledger of the same names, sound by itself: UNKNOWN CHAIN {false_chain_id.hex()}"
    )
    return shortened(text)


def fault_in(path: Path, chain_id: bytes, *, rules: Sequence[str], height: int | None) -> Fault:
    """Return the fault that the verifier finds in a forged snapshot.

    Args:
        path: The snapshot.
        chain_id: The pinned chain id.
        rules: That the forger broke, any of which may be seen first.
        height: Of the block in which he did; None: it is in none.

    Raises:
        StoryFailed: It finds none, or another one than was made.
    """
    with path.open("rb") as file:
        verdict = verify_snapshot(file, chain_id=chain_id)
    fault = verdict.fault
    if verdict.conclusion is not Conclusion.INVALID or fault is None:
        raise StoryFailed(f"{path} was not caught: {verdict.text}")
    if fault.rule not in rules or fault.height != height:
        broken = " or ".join(rules)
        raise StoryFailed(f"{path} breaks rule {broken} in block {height}, but is told: {fault}")
    return fault


def _false_ledger(stage: Stage) -> tuple[Path, bytes]:
    """Make a ledger of parties by the same names that has no report and no cold weld.

    Returns:
        Its snapshot and its chain id.

    Raises:
        StoryFailed: It does not hold by itself, so that it would prove nothing to catch it.
    """
    path = stage.forged_file("false-consortium.snapshot")
    ledger = TrialLedger(stage.forged_file("false-consortium"), voters=FORGED_VOTERS, witnesses=())
    try:
        ledger.start()
        for document in STORY:
            if document.name != "resistivity":
                ledger.tell_document(document.name)
        welds = [event for event in weld_inspections(SEED, random_nonce) if not is_bad_weld(event)]
        ledger.tell("welds", f"{PARTY}/{CAMERA}", welds)
        ledger.export(path)
    finally:
        ledger.stop()
    with path.open("rb") as file:
        verdict = verify_snapshot(file, chain_id=ledger.chain_id)
    if verdict.conclusion is not Conclusion.VALID:
        raise StoryFailed(f"{path} does not hold by itself: {verdict.text}")
    return path, ledger.chain_id
