"""Four parties found a consortium: three of them run a voter, the laboratory a witness."""

from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import VOTERS, WITNESSES
from lotmark_node.story.wording import shortened

TITLE = "consortium"


def run(stage: Stage) -> str:
    """Found it and start everything."""
    ledger, seconds = stage.found()
    genesis = ledger.founded.genesis
    stage.next_commands.append(("network", "run", str(ledger.folder)))  # others ask these nodes
    stage.facts["nodes"] = len(VOTERS) + len(WITNESSES)
    return (
        f"{genesis.consortium}: {', '.join(party.id for party in genesis.parties)}\n"
        f"chain {shortened(ledger.chain_id.hex())}, voters {', '.join(VOTERS)}, witness"
        f" {', '.join(WITNESSES)}\n"
        f"each a process of its own, TLS, fsync; {ledger.leader()} leads after {seconds:.1f} s"
    )
