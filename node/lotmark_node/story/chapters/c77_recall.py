"""What else is of that wire, and what did that welder touch? The recall set."""

import time

from lotmark.client.provenance import ProvenanceReader
from lotmark.rfc3339 import parse_ms
from lotmark_node.story.chapters.c76_trace import ASKER
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.line import OTHER_COUNT, WIRE_LOT
from lotmark_node.story.stage import Stage
from lotmark_node.story.welds import STATOR, WELDER

TITLE = "recall"

_WINDOW = ("2026-01-12T07:30:00Z", "2026-01-12T08:30:00Z")


def run(stage: Stage) -> str:
    """Find all that is of the lot, and what of it the welder touched around the bad weld."""
    reader = ProvenanceReader(stage.ledger.session(ASKER))
    started_s = time.perf_counter()
    recall = reader.trace_forward(WIRE_LOT)
    recall_ms = (time.perf_counter() - started_s) * 1_000
    units = {node.id for node in recall.nodes[1:]}
    from_ms, to_ms = (parse_ms(each) for each in _WINDOW)
    seen = reader.suspects(WELDER, from_ms=from_ms, to_ms=to_ms)
    suspects = units & {each.id for each in seen.items}
    if len(units) != OTHER_COUNT + 1 or STATOR not in suspects:
        raise StoryFailed(f"{len(units)} stators are of the lot, {OTHER_COUNT + 1} were made of it")
    stage.facts["recall_units"] = len(units)
    stage.next_commands.append(
        ("recall", WIRE_LOT, "--as", str(stage.ledger.network.client_file(ASKER)))
    )
    return (
        f"{len(units)} stators are of the lot, found in {recall_ms:.1f} ms;"
        f" {len(suspects)} of them went over welder {WELDER.rpartition('/')[2]} within the hour"
    )
