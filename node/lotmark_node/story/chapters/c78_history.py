"""Is that all that was seen of the stator? Its history is proven whole, and one event is hidden."""

from dataclasses import replace

from lotmark.client.provenance import ProvenanceReader
from lotmark.item_proof import format_item_proof, parse_item_proof
from lotmark.verify.item_history import verify_item_proof
from lotmark.verify.report import FaultFound
from lotmark_node.story.chapters.c76_trace import ASKER
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.stage import Stage
from lotmark_node.story.welds import STATOR

TITLE = "history"


def run(stage: Stage) -> str:
    """Check the proof of the stator's history, and that it does not hold without the bad weld."""
    session = stage.ledger.session(ASKER)
    session.checkpoint_over(session.ledger().size - 1)  # a proof stands under a final one
    history = ProvenanceReader(session).item_proof(STATOR)
    findings = history.findings
    hidden = stage.ledger.tellings["review"].events[0].index
    if hidden not in {event.index for event in findings.complete}:
        raise StoryFailed(f"entry {hidden} is in no epoch yet whose root the ledger names")
    return (
        f"{len(findings.events)} events name the stator; up to entry"
        f" {findings.complete_size - 1} there are provably no others\n"
        f"without entry {hidden}, the operator's verdict: {_caught(stage, history.proof, hidden)}"
    )


def _caught(stage: Stage, raw: bytes, hidden: int) -> str:
    """Return what the verifier says of a proof that leaves an entry out.

    Raises:
        StoryFailed: It does not notice.
    """
    proof = parse_item_proof(raw)
    place = hidden.to_bytes(8)
    kept = [event for event in proof.events if place not in event.leaf]
    if len(kept) != len(proof.events) - 1:
        raise StoryFailed(f"entry {hidden} could not be told from the others")
    try:
        verify_item_proof(
            format_item_proof(replace(proof, events=kept)),
            genesis_json=stage.ledger.genesis_file.read_bytes(),
            chain_id=stage.ledger.chain_id,
        )
    except FaultFound as fault:
        return f"CAUGHT {fault}"
    raise StoryFailed(f"nobody noticed that entry {hidden} was left out")
