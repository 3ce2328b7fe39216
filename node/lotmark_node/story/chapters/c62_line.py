"""The line goes on: more stators of the same wire."""

from lotmark_node.story.line import MES, other_stators
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import random_nonce

TITLE = "line"


def run(stage: Stage) -> str:
    """Put the other stators of the lot on record."""
    telling = stage.ledger.tell("line", MES, other_stators(random_nonce))
    return f"{len(telling.events)} more stators of the same wire, on two welders: {telling}"
