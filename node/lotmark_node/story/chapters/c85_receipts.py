"""Who sent an event keeps its receipt, and proves it later with the genesis alone."""

from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, Verdict
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import ToldEvent
from lotmark_node.story.wording import is_bad_weld, verdict_words

TITLE = "receipts"


def run(stage: Stage) -> str:
    """Fetch three receipts, and verify their files without the node."""
    tellings = stage.ledger.tellings
    seal = tellings["resistivity"].events[-1]
    weld = [each for each in tellings["welds"].events if is_bad_weld(each.event)][-1]
    (review,) = tellings["review"].events
    wanted = (
        (f"report-{seal.event.report_seal.report}", "resistivity", seal),
        (weld.event.inference_result.feature.replace("_", "-"), "welds", weld),
        ("review", "review", review),
    )
    verdicts = [_keep(stage, name, tellings[told].client, event) for name, told, event in wanted]
    stage.next_commands.append(_verify_command(stage, wanted[0][0]))
    return (
        f"{len(verdicts)} fetched, each verified with genesis.json alone; that of {wanted[0][0]}:\n"
        f"{verdict_words(verdicts[0])}"
    )


def _keep(stage: Stage, name: str, client: str, told: ToldEvent) -> Verdict:
    """Fetch a receipt into its file, and return the verdict on that file."""
    path = stage.receipt_file(name)
    path.write_bytes(stage.ledger.session(client).receipt(told.index))
    with path.open("rb") as file:
        verdict = judge_file(
            file,
            chain_id=stage.ledger.chain_id,
            genesis_json=stage.ledger.genesis_file.read_bytes(),
        )
    if verdict.conclusion is not Conclusion.VALID:
        raise StoryFailed(f"{path}: {verdict.text}")
    if verdict.details["event_id"] != told.result.event_id.hex():
        raise StoryFailed(f"{path} is of event {verdict.details['event_id']}")
    return verdict


def _verify_command(stage: Stage, name: str) -> tuple[str, ...]:
    ledger = stage.ledger
    pins = ("--chain-id", ledger.chain_id.hex(), "--genesis", str(ledger.genesis_file))
    return ("verify", str(stage.receipt_file(name)), *pins)
