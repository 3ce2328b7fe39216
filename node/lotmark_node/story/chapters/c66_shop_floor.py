"""An edge site watches the line's machines: what matters goes on record, and so does each gap."""

from lotmark.v1 import event_pb2
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.shop_floor import BURST_COUNT, SITE, account, watch_machines
from lotmark_node.story.stage import Stage
from lotmark_node.story.welds import COLD_WELD

TITLE = "machines"
CLIENT = "T1-STATOR/edge-l3"


def run(stage: Stage) -> str:
    """Let machines work and lose things on the way; account for every observation."""
    ledger = stage.ledger
    folder = stage.folder / "edge-l3"
    welds, mill_count = watch_machines(folder, ledger.network.client_file(CLIENT))
    placed = [
        (entry.head.index, event)
        for entry in ledger.session(CLIENT).entries()
        if entry.event
        and (event := event_pb2.Event.FromString(entry.event)).device.partition("/")[0] == SITE
    ]
    found = account((event for _, event in placed), folder, welds=welds, mill_count=mill_count)
    bad = [each.measurement for each in found.outside]
    if [each.feature for each in bad] != [f"weld_{COLD_WELD}.current"] or found.unaccounted:
        raise StoryFailed(f"{found.unaccounted} observations are nowhere; outside were {bad}")
    lost = {
        source: sum(
            each.gap.missing_count for each in found.gaps if each.gap.source.startswith(source)
        )
        for source in ("W07", "mill")
    }
    stage.facts |= {
        "observations": found.observation_count,
        "gaps": len(found.gaps),
        "unaccounted": found.unaccounted,
    }
    index = next(index for index, event in placed if event.HasField("measurement"))
    stage.next_commands.append(("edge", "explain", str(folder / "site.toml"), "W07/current"))
    return (
        f"edge site {SITE} watches a welder (OPC UA) and a milling centre (MTConnect):"
        f" {found.observation_count:,} observations kept, {found.event_count} events\n"
        f"weld {COLD_WELD} had {bad[0].value} kA, its limit is {bad[0].lower_limit}: told at once,"
        f" entry {index}\n"
        f"{len(found.gaps)} gaps on record: {lost['W07']} welds while the line was cut,"
        f" {lost['mill']:,} of {BURST_COUNT:,} values of the mill at once; 0 unaccounted"
    )
