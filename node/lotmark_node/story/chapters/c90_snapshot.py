"""The whole ledger in one file, verified when no node runs any more."""

from pathlib import Path

from lotmark.verify.report import Conclusion, Verdict
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import EXPORTER
from lotmark_node.story.wording import verdict_words
from lotmark_node.verification.verify import verify_snapshot

TITLE = "snapshot"


def run(stage: Stage) -> str:
    """Export it, stop the node, and execute everything again."""
    path, ledger = stage.snapshot_file, stage.ledger
    ledger.export(path)
    refused_count = sum(bool(each.head.outcome) for each in ledger.session(EXPORTER).entries())
    ledger.stop()
    verdict = verify(path, ledger.chain_id)
    if verdict.conclusion is not Conclusion.VALID:
        raise StoryFailed(f"{path}: {verdict.text}")
    event_count, size = (int(str(verdict.details[name])) for name in ("events", "size"))
    stage.facts |= {"events": event_count, "tree_size": size, "verified": True}
    stage.facts["final"] = True  # or the verdict would not be VALID, but "cannot tell"
    stage.next_commands.append(("verify", str(path), "--chain-id", ledger.chain_id.hex()))
    return (
        f"{path.stat().st_size:,} bytes, {event_count} events, {refused_count} of them refused; the"
        f" nodes are stopped\n{verdict_words(verdict)}"
    )


def verify(path: Path, chain_id: bytes) -> Verdict:
    """Return the full verdict on a snapshot file."""
    with path.open("rb") as file:
        return verify_snapshot(file, chain_id=chain_id)
