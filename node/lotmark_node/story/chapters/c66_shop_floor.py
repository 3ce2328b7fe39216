"""An edge site watches the line's machines: what matters goes on record, and so does each gap."""

from lotmark.v1 import event_pb2
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.shop_floor import BURST_COUNT, Account, account, watch_machines
from lotmark_node.story.stage import Stage
from lotmark_node.story.welds import COLD_WELD
from lotmark_node.trial.trial_site import MILL, SITE, WELDER

TITLE = "machines"
CLIENT = "T1-STATOR/edge-l3"


def run(stage: Stage) -> str:
    """Let machines work and lose things on the way; account for every observation."""
    ledger = stage.ledger
    watched = watch_machines(stage.folder / "edge-l3", ledger.network.client_file(CLIENT))
    indexes: dict[int, event_pb2.Event] = {}
    for entry in ledger.session(CLIENT).entries():
        if entry.event:
            event = event_pb2.Event.FromString(entry.event)
            if event.device.partition("/")[0] == SITE:
                indexes[entry.head.index] = event
    found = account(indexes.values(), watched)
    bad = [each.measurement for each in found.outside]
    if [each.feature for each in bad] != [f"weld_{COLD_WELD}.current"] or found.unaccounted_count:
        raise StoryFailed(
            f"{found.unaccounted_count} observations are nowhere; outside their limits were {bad}"
        )
    stage.facts |= {
        "observations": found.observation_count,
        "gaps": len(found.gaps),
        "unaccounted": found.unaccounted_count,
    }
    stage.next_commands.append(("edge", "explain", str(watched.site.settings), f"{WELDER}/current"))
    index = next(at for at, event in indexes.items() if event.HasField("measurement"))
    return (
        f"edge site {SITE} watches a welder (OPC UA) and a milling centre (MTConnect):"
        f" {found.observation_count:,} observations kept, {found.event_count} events\n"
        f"weld {COLD_WELD} had {bad[0].value} {bad[0].unit}, its limit is {bad[0].lower_limit}:"
        f" an alarm at once, and entry {index}\n"
        f"{len(found.gaps)} gaps on record: {_missing(found, WELDER)} welds while the line was cut,"
        f" {_missing(found, MILL):,} of {BURST_COUNT:,} values that the mill told at once;"
        " 0 unaccounted"
    )


def _missing(found: Account, source: str) -> int:
    gaps = [each.gap for each in found.gaps]
    return sum(each.missing_count for each in gaps if each.source.partition("/")[0] == source)
