"""Four parties found a consortium, and one of them runs a node."""

from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import NODE
from lotmark_node.story.wording import shortened

TITLE = "consortium"


def run(stage: Stage) -> str:
    """Found it and start the node."""
    ledger = stage.found()
    genesis = ledger.founded.genesis
    return (
        f"{genesis.consortium}: {', '.join(party.id for party in genesis.parties)}\n"
        f"chain {shortened(ledger.chain_id.hex())}, node {NODE} at {ledger.address} after"
        f" {ledger.startup_s:.1f} s, TLS, fsync"
    )
