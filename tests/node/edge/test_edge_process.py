"""A site as a process: real machines, a real node, and every observation accounted for."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.welder import Welder
from tests.deploy.named_metrics import named_metrics
from tests.node.edge.site_process import (
    SiteProcess,
    agent_source,
    counted,
    on_record,
    sessions_of,
    until,
    welder_source,
)
from tests.node.running_node import NodeProcess, lotmark, node_process

OPENED = quality_pb2.SESSION_STATE_OPENED
NARROW = "measurement,observation_window,gap,site_session"  # and no policy
STATION_METRICS = {
    "lotmark_edge_station_judges",
    "lotmark_edge_inferences_total",
    "lotmark_edge_refused_images_total",
    "lotmark_edge_unnamed_images_total",
    "lotmark_edge_unread_images",
    "lotmark_edge_unremoved_images",
}
CLOSED = quality_pb2.SESSION_STATE_CLOSED
BROKEN_OFF = quality_pb2.SESSION_STATE_BROKEN_OFF


@dataclass(frozen=True)
class Ran:
    """A site that has run from birth to death, and what of it is on the ledger."""

    site: SiteProcess
    exit_code: int | None
    told_count: int  # by the agent
    events: list[event_pb2.Event]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("edge") / "consortium"
    clients = ["OEM-A/erp", "OEM-A/line-2", f"OEM-A/narrow:{NARROW}"]
    with node_process(folder, parties=["OEM-A:oem"], clients=clients) as it:
        yield it


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, node: NodeProcess) -> Ran:
    folder = tmp_path_factory.mktemp("ran")

    async def scenario() -> tuple[SiteProcess, int | None, int]:
        async with Welder(folder / "welder") as welder, Agent() as agent:
            sources = _trusting(welder, folder) + agent_source(agent.address)
            site = SiteProcess(folder, node.client("OEM-A", "erp"), sources)
            await site.start()
            await until(lambda: bool(site.told("opcua source connected")))
            for current in (8.0, 8.25, 9.5):
                await welder.weld(current)
            agent.burst(300)
            await until(lambda: "9.5" in site.alarms())
            await until(lambda: site.next_sequence("mill") == agent.next_sequence)
            return site, await site.end(), agent.next_sequence - 1

    site, exit_code, told_count = asyncio.run(scenario())
    return Ran(site, exit_code, told_count, on_record(node.client("OEM-A", "erp"), "line-3"))


def _trusting(welder: Welder, folder: Path) -> str:
    """Let a site trust a welder, and return its source."""
    (folder / "trusted").mkdir()
    shutil.copy(welder.certificate, folder / "trusted")
    return welder_source(welder.address)


# From birth to death


def test_a_site_says_when_it_begins_and_ends_and_accounts_for_every_observation(ran: Ran) -> None:
    opened, closed = sessions_of(ran.events)
    assert (ran.exit_code, opened.state, closed.state) == (0, OPENED, CLOSED)
    assert opened.session == closed.session
    assert (opened.previous_session, closed.previous_session) == (b"", b"")
    assert closed.event_count == len(ran.events) - 1
    assert ran.events[-1].site_session == closed
    standing = {each.source: each for each in closed.sources}
    assert standing["mill"].last_sequence == ran.told_count
    assert standing["mill"].observation_count == counted(ran.events, "mill") == ran.told_count
    assert standing["W07"].observation_count == counted(ran.events, "W07")
    assert not ran.site.told("observations were told twice")


def test_a_weld_outside_its_limits_is_on_record_in_full(ran: Ran) -> None:
    measured = [each.measurement for each in ran.events if each.HasField("measurement")]

    # The machine had no current before its first weld.
    assert [(each.feature, each.value) for each in measured] == [
        ("weld_0.current", "0"),
        ("weld_3.current", "9.5"),
    ]
    assert {each.verdict for each in measured} == {quality_pb2.VERDICT_NONCONFORMING}
    assert ran.site.alarms() == ["0", "9.5"]


def test_the_ready_line_tells_what_is_watched(ran: Ran) -> None:
    ready = ran.site.ready

    assert (ready["site"], ready["policy"], ready["waiting_events"]) == ("line-3", "line-3/1", 2)
    assert [(each["name"], each["signals"]) for each in ready["sources"]] == [  # type: ignore[attr-defined]  # JSON
        ("W07", 4),
        ("mill", 0),
    ]


def test_status_tells_how_far_each_source_came(ran: Ran) -> None:
    done = lotmark("edge", "status", str(ran.site.settings), "--json")

    document = json.loads(done.stdout)
    assert document["session_is_open"] is False
    assert (document["events"], document["not_handed_on"]) == (len(ran.events), 0)
    (mill,) = [each for each in document["sources"] if each["name"] == "mill"]
    assert (mill["next_sequence"], mill["gaps"]) == (ran.told_count + 1, 0)
    assert "line-3: ended; " in lotmark("edge", "status", str(ran.site.settings)).stdout


# Explaining


def _event_id(event: event_pb2.Event) -> str:
    return leaf_hash(event.SerializeToString(deterministic=True)).hex()


def test_an_event_on_the_ledger_is_explained_by_its_rule_and_its_file_matches(ran: Ran) -> None:
    window = next(each for each in ran.events if each.HasField("observation_window"))

    done = lotmark("edge", "explain", str(ran.site.settings), _event_id(window))

    assert done.returncode == 0, done.stderr
    assert f"{window.observation_window.source}: {window.observation_window.observation_count}" in (
        done.stdout
    )
    assert "rule 2 of policy line-3/1: */* always → window" in done.stdout
    assert "MATCH: the file is there" in done.stdout


def test_a_file_and_a_signal_are_explained_too(ran: Ran) -> None:
    window = next(each for each in ran.events if each.HasField("observation_window"))
    digest = window.files[0].sha256.hex()

    by_file = lotmark("edge", "explain", str(ran.site.settings), digest, "--json")
    by_signal = lotmark("edge", "explain", str(ran.site.settings), "W07/current", "--json")

    (found,) = json.loads(by_file.stdout)["explanations"]
    assert (found["event_id"], found["file_state"]) == (_event_id(window), "matches")
    bad = [
        each for each in json.loads(by_signal.stdout)["explanations"] if each["anchor"] == "full"
    ]
    assert {each["rule_text"]["when"] for each in bad} == {"outside"}


def test_a_file_that_was_altered_is_found_out(ran: Ran, tmp_path: Path) -> None:
    copied = shutil.copytree(ran.site.settings.parent, tmp_path / "copied")
    window = next(each for each in ran.events if each.HasField("observation_window"))
    digest = window.files[0].sha256.hex()
    file = copied / "data/evidence" / digest[:2] / digest[2:]
    file.write_bytes(file.read_bytes().replace(b'"value":"', b'"value":"1', 1))

    done = lotmark("edge", "explain", str(copied / "site.toml"), digest)

    assert done.returncode == 1
    assert "DAMAGED: " in done.stdout


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("0" * 64, "knows nothing of"),
        ("W07/currant", "knows nothing of"),
        ("W08/current", "names nothing. .* sources are W07, mill"),
        ("W07/current@noon", "'noon' is no time with a zone"),
        ("W07/current@2026-01-05T10:00:00", "is no time with a zone"),
    ],
)
def test_what_is_not_known_is_said_so(ran: Ran, what: str, said: str) -> None:
    done = lotmark("edge", "explain", str(ran.site.settings), what)

    assert done.returncode == 2
    assert re.search(said, done.stderr), done.stderr


# What goes wrong


def test_a_site_that_was_killed_while_no_node_could_be_reached_brings_everything_once(
    node: NodeProcess, tmp_path: Path
) -> None:
    client = tmp_path / "client.toml"
    settings = node.client("OEM-A", "line-2")
    shutil.copytree(settings.parent, tmp_path, dirs_exist_ok=True)
    text = client.read_text().replace('"../', f'"{settings.parent}/../')
    # A port where nobody listens; 1 is nobody's who is not root.
    client.write_text(re.sub(r'node_address = "[^"]*"', 'node_address = "127.0.0.1:1"', text))

    async def scenario() -> int:
        async with Welder(tmp_path / "welder") as welder, Agent() as agent:
            sources = _trusting(welder, tmp_path) + agent_source(agent.address)
            site = SiteProcess(tmp_path, client, sources, name="line-4")
            await site.start()
            await until(lambda: bool(site.told("opcua source connected")))
            await welder.weld(9.9)
            agent.burst(120)
            await until(lambda: "9.9" in site.alarms())  # though nobody takes events
            await until(lambda: site.next_sequence("mill") == agent.next_sequence)
            await asyncio.to_thread(site.kill)
            agent.burst(80)
            client.write_text(text)
            await site.start()
            await until(lambda: len(site.told("opcua source connected")) == 2)
            await welder.weld(8.0)
            await until(lambda: site.next_sequence("mill") == agent.next_sequence)
            assert await site.end() == 0
            return agent.next_sequence - 1

    told_count = asyncio.run(scenario())
    events = on_record(settings, "line-4")
    first, broken_off, second, closed = sessions_of(events)
    assert [first.state, broken_off.state, second.state, closed.state] == [
        OPENED,
        BROKEN_OFF,
        OPENED,
        CLOSED,
    ]
    assert broken_off.session == first.session == second.previous_session
    assert closed.session == second.session != first.session
    known = {each.source: each.last_sequence for each in broken_off.sources}
    assert known["mill"] == told_count - 80
    assert counted(events, "mill") == told_count
    gaps = [each.gap for each in events if each.HasField("gap")]
    assert [(each.source, each.reason) for each in gaps] == [("W07", "site_restarted")]
    assert closed.event_count == len(events) - 1


def test_a_refused_source_stops_no_other_and_everybody_is_told_and_a_site_runs_once(
    node: NodeProcess, tmp_path: Path
) -> None:
    async def scenario() -> tuple[tuple[int, str], str]:
        async with Welder(tmp_path / "welder") as welder, Agent() as agent:
            (tmp_path / "trusted").mkdir()  # and nobody is
            sources = welder_source(welder.address) + agent_source(agent.address)
            site = SiteProcess(
                tmp_path,
                node.client("OEM-A", "narrow"),
                sources,
                name="line-5",
                head='metrics_listen = "127.0.0.1:0"\n',
            )
            await site.start()
            await until(lambda: bool(site.told("source is not watched")))
            await until(lambda: bool(site.told("the ledger refused an event")))
            agent.burst(10)
            await until(lambda: site.next_sequence("mill") == agent.next_sequence)
            again = await asyncio.to_thread(lotmark, "edge", "run", str(site.settings))
            assert (again.returncode, "in use by another process" in again.stderr) == (2, True)
            ready = await asyncio.to_thread(_asked, site, "/readyz")
            _, metrics = await asyncio.to_thread(_asked, site, "/metrics")
            await site.end()
            return ready, metrics

    (status, why), metrics = asyncio.run(scenario())

    assert status == 503
    assert re.search(r"source W07 is not watched: .* is not trusted; compare the digest", why)
    assert 'lotmark_edge_source_watched{source="W07"} 0.0' in metrics
    assert 'lotmark_edge_source_watched{source="mill"} 1.0' in metrics
    assert 'lotmark_edge_refused_events_total{outcome="KEY_NOT_PERMITTED"} 1.0' in metrics
    shown = set(re.findall(r"^(\w+?)(?:_bucket|_sum|_count)?(?:\{| )", metrics, re.MULTILINE))
    # No alert asks for what nobody shows, but for gaps and stations, of which there were none.
    unshown = {"lotmark_edge_gaps_total", *STATION_METRICS}
    assert named_metrics(edge=True) - shown == unshown


def _asked(site: SiteProcess, path: str) -> tuple[int, str]:
    with closing(HTTPConnection(str(site.ready["metrics"]), timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
