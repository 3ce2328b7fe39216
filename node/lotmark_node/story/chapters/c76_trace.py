"""Where does the bad weld come from? Back to the wire lot, its report, and the raw readings."""

import time

from lotmark.client.provenance import ProvenanceReader
from lotmark.client.provenance_records import EdgeKind, Trace, TraceLimits
from lotmark.client.raw_file import RawState, verify_raw_file
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.line import WIRE_LOT
from lotmark_node.story.load import read_file
from lotmark_node.story.stage import Stage
from lotmark_node.story.welds import STATOR

TITLE = "trace"
ASKER = "OEM-A/erp"

_RAW_FILE = "resistivity-CU-20251223-07.csv"
_SERIAL = STATOR.rpartition("/")[2]


def run(stage: Stage) -> str:
    """Trace the stator back, prove each fact, and compare the laboratory's file."""
    reader = ProvenanceReader(stage.ledger.session(ASKER))
    limits = TraceLimits(kinds=tuple(EdgeKind))
    started_s = time.perf_counter()
    trace = reader.trace_back(_SERIAL, limits)
    trace_ms = (time.perf_counter() - started_s) * 1_000
    stage.facts["trace_ms"] = round(trace_ms, 1)
    lot, report = _way_to_the_report(trace)
    proven = list(reader.prove({edge.entry for edge in trace.edges}))
    raw = stage.folder / _RAW_FILE
    raw.write_bytes(read_file(_RAW_FILE))
    verdict = verify_raw_file(reader, raw, item=WIRE_LOT)
    if verdict.state is not RawState.MATCH:
        raise StoryFailed(f"{_RAW_FILE} is not the file that the laboratory anchored")
    stage.next_commands.append(
        ("trace", _SERIAL, "--back", "--as", str(stage.ledger.network.client_file(ASKER)))
    )
    return (
        f"{_SERIAL} ← {lot} ← {report} ← {_RAW_FILE}: {verdict.state}\n"
        f"{len(trace.nodes)} things and {len(trace.edges)} facts in {trace_ms:.1f} ms,"
        f" {len(proven)} events proven"
    )


def _way_to_the_report(trace: Trace) -> tuple[str, str]:
    """Return the wire lot and the report on it, as the trace leads there.

    Raises:
        StoryFailed: It does not.
    """
    numbers = {node.id: node.number for node in trace.nodes}
    lot = numbers.get(WIRE_LOT)
    reports = [
        trace.nodes[edge.far].id
        for edge in trace.edges
        if edge.kind is EdgeKind.REPORTED and edge.near == lot
    ]
    made_of = {edge.far for edge in trace.edges if edge.near == 0}
    if lot not in made_of or not reports:
        raise StoryFailed(f"the trace of {_SERIAL} does not lead to the wire's report")
    return WIRE_LOT.rpartition("/")[2], reports[0][:19]
