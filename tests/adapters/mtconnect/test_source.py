"""A source against real agents on this machine, sound, hostile and of other people's models."""

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lxml import etree

from lotmark.certificates import make_ca, make_leaf
from lotmark_adapters.errors import SourceRefused, SourceUnavailable
from lotmark_adapters.mtconnect import assets
from lotmark_adapters.mtconnect.agent_client import AgentClient
from lotmark_adapters.mtconnect.assets import SUPERSEDED
from lotmark_adapters.mtconnect.device_model import probe
from lotmark_adapters.mtconnect.settings import MtconnectSettings, mtconnect_settings
from lotmark_adapters.mtconnect.source import MtconnectSource
from lotmark_adapters.observation import GapReason, Quality, Report
from lotmark_adapters.trial.agent import Agent, part
from lotmark_adapters.trial.agent_documents import DEVICES, Spoilt
from lotmark_adapters.trial.gate import Gate
from tests.adapters.mtconnect.kept_reports import POLL_S, KeptReports, until, watched

TWO_DEVICES = DEVICES.replace(
    b"</Device></Devices>",
    b'</Device><Device id="d2" name="saw" uuid="saw"><DataItems>'
    b'<DataItem id="saw_load" type="LOAD" category="SAMPLE"/></DataItems></Device></Devices>',
)
TOOL = b'<CuttingTool assetId="T1" timestamp="2026-01-02T03:04:05Z"><Life>%d</Life></CuttingTool>'


async def raw_agent(answers: Callable[[str], list[bytes]]) -> asyncio.Server:
    """Serve the bytes that `answers` gives for a path, then nothing; the connection stays open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readline()).split()[1].decode()
        try:
            for each in answers(target):
                writer.write(each)
                await writer.drain()
                await asyncio.sleep(0.01)  # a slow line, byte by byte
            if answers(target)[-1:] == [b""]:
                writer.write_eof()
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def address_of(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=x\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        [STREAM_HEAD],  # silent
        [STREAM_HEAD, *[bytes([each]) for each in part(b"<a/>" * 100)]],  # a drop at a time
        [STREAM_HEAD, b"--x\r\nContent-length: 100\r\n\r\n<a"],  # stops within a document
    ],
    ids=["silent", "dripping", "stopped"],
)
def test_a_stream_is_lost_after_two_heartbeats_without_a_whole_document(
    answer: list[bytes],
) -> None:
    async def scenario() -> None:
        server = await raw_agent(lambda target: answer)
        settings = MtconnectSettings(name="a", address=address_of(server), heartbeat_ms=100)
        begin_s = time.monotonic()
        async with server, AgentClient(settings) as client:
            with pytest.raises(SourceUnavailable, match=r"no whole document within 0\.2 s"):
                async for _ in client.stream(1, count=10):
                    pass
        assert time.monotonic() - begin_s < 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a", b""], "ends too early"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"x" * 60_000], "of over 50000"),
        ([b"HTTP/1.1 302 No\r\nLocation: http://x/\r\n\r\n"], "name the agent itself"),
        ([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f"], "compression"),
        ([b"HTTP/1.1 500 No\r\nContent-Length: 7\r\n\r\n<html/>"], "of an MTConnect agent"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b""], "no XML"),
        ([b"gibberish\r\n\r\n", b""], "ends too early"),
    ],
)
def test_an_answer_that_is_no_document_is_a_named_error(answer: list[bytes], problem: str) -> None:
    async def scenario() -> None:
        server = await raw_agent(lambda target: answer)
        settings = MtconnectSettings(name="a", address=address_of(server), document_size_max=50_000)
        async with server, AgentClient(settings) as client:
            with pytest.raises(SourceUnavailable, match=problem):
                await client.current()

    asyncio.run(scenario())


def test_nobody_at_the_address_is_a_named_error() -> None:
    async def scenario() -> None:
        async with Agent() as agent:
            address = agent.address
        with pytest.raises(SourceUnavailable, match="ConnectError"):
            await probe(address)

    asyncio.run(scenario())


@pytest.mark.parametrize(("version", "status"), [("2.7", 400), ("2.2", 404), ("1.3", 200)])
def test_an_overrun_is_known_by_the_document_whatever_version_and_status(
    version: str, status: int
) -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(buffer_size=50, version=version, error_status=status) as agent:
            async with watched(agent.address, kept):
                await until(lambda: kept.has_caught_up(agent), "start")
            agent.burst(200)
            async with watched(agent.address, kept):
                await until(lambda: kept.has_caught_up(agent), "after the burst")
            assert [gap.reason for gap in kept.gaps] == [GapReason.OVERRUN]
            kept.check_account(agent)

    asyncio.run(scenario())


def test_a_buffer_that_moves_faster_than_it_is_asked_is_read_all_the_same() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(buffer_size=40) as agent, watched(agent.address, kept, count=40):
            await until(lambda: kept.has_caught_up(agent), "start")
            for _ in range(300):
                agent.burst(10)
                await asyncio.sleep(0.001)  # the load itself
            await until(lambda: kept.has_caught_up(agent), "after it")
            assert {gap.reason for gap in kept.gaps} <= {GapReason.OVERRUN}
            kept.check_account(agent)

    asyncio.run(scenario())


def test_an_agent_that_gives_fewer_at_once_than_asked_for_is_asked_for_fewer() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(count_max=100) as agent, watched(agent.address, kept, count=1_000):
            await until(lambda: kept.position is not None, "start")
            agent.burst(300)
            await until(lambda: kept.has_caught_up(agent), "all is read")
            kept.check_account(agent)
            assert kept.gaps == []

    asyncio.run(scenario())


def test_one_device_of_several_gives_its_own_observations_and_no_gap_for_the_others() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(devices=TWO_DEVICES, buffer_size=200) as agent:
            async with watched(f"{agent.address}/saw", kept) as source:
                await until(lambda: kept.has_caught_up(agent), "start")
                for _ in range(20):
                    agent.observe("z_load", "1")
                    agent.observe("saw_load", "2")
                await until(lambda: kept.has_caught_up(agent), "both devices")
                assert (kept.gaps, list(source.signals)) == ([], ["saw_load"])
                assert {each.signal for each in kept.observations} == {"saw_load"}
                assert len(kept.observations) == 21
                agent.burst(500)
                await until(lambda: kept.has_caught_up(agent), "the other device's burst")
            (gap,) = kept.gaps
            assert (gap.reason, gap.count) == (GapReason.OVERRUN, None)

    asyncio.run(scenario())


def test_chosen_data_items_alone_are_told_and_the_others_are_not_missing() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        signals = frozenset({"z_load"})
        async with Agent() as agent, watched(agent.address, kept, signals=signals):
            await until(lambda: kept.has_caught_up(agent), "start")
            agent.burst(100)
            agent.observe("z_load", "7")
            await until(lambda: kept.has_caught_up(agent), "all is read")
            assert [each.value for each in kept.observations] == [None, "7"]
            assert kept.gaps == []

    asyncio.run(scenario())


def test_polling_goes_on_after_a_stream_was_lost_and_streams_again_later() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(streams=False) as agent:
            async with watched(agent.address, kept, stream_retry_s=0.2):
                await until(lambda: kept.has_caught_up(agent), "start")
                await until(
                    lambda: sum("interval" in each for each in agent.requests) >= 3,
                    "a stream is asked for again and again",
                )
            polls = sum("/sample?from" in each for each in agent.requests)
            assert polls > 6  # and not each time that it polls

    asyncio.run(scenario())


def has_begun(kept: KeptReports, agent: Agent) -> bool:
    """Return whether all that was there is told, assets too: what changes now is told once."""
    asked = any(each.endswith("/assets") for each in agent.requests)
    return asked and kept.has_caught_up(agent)


def test_an_asset_that_changes_becomes_a_record_in_canonical_xml() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: has_begun(kept, agent), "start")
            agent.put_asset("T1", "CuttingTool", TOOL % 5)
            await until(lambda: bool(kept.records), "the asset")
            (record,) = kept.records
            assert (record.kind, record.record, record.signal) == (
                "mtconnect_asset", "T1", "changed",
            )  # fmt: skip
            assert record.made_us == 1_767_323_045_000_000
            assert record.content == etree.tostring(
                etree.fromstring(record.content), method="c14n", exclusive=True
            )
            assert b"<Life>5</Life>" in record.content

    asyncio.run(scenario())


def test_an_asset_that_was_changed_again_or_is_gone_says_so_at_its_observation() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: has_begun(kept, agent), "start")
            first = agent.put_asset("T1", "CuttingTool", TOOL % 5)
            agent.put_asset("T1", "CuttingTool", TOOL % 4)
            gone = agent.put_asset("T;/2", "CuttingTool", b"<CuttingTool assetId='T;/2'/>")
            agent.remove_asset("T;/2")
            spoilt = agent.put_asset("T3", "CuttingTool", b"<CuttingTool")
            await until(lambda: kept.has_caught_up(agent), "all of them")
            status = {each.sequence: each.status for each in kept.observations}
            assert (status[first], status[first + 1]) == (SUPERSEDED, "")
            assert (status[gone], status[gone + 1], status[spoilt]) == (SUPERSEDED, "", "")
            await until(lambda: bool(kept.records), "the one that can be had")
            assert [each.record for each in kept.records] == ["T1"]
            kept.check_account(agent)

    asyncio.run(scenario())


def test_all_assets_are_told_at_the_start_and_after_a_gap() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(buffer_size=20) as agent:
            agent.put_asset("T1", "CuttingTool", TOOL % 5)
            agent.burst(100)
            async with watched(agent.address, kept):
                await until(lambda: bool(kept.records), "start")
                assert [each.record for each in kept.records] == ["T1"]
                agent.put_asset("T1", "CuttingTool", TOOL % 4)
                agent.burst(100)
                await until(
                    lambda: b"<Life>4</Life>" in kept.records[-1].content, "after the overrun"
                )

    asyncio.run(scenario())


class SilentAgent(Agent):
    """An agent that, while it is silent, does not answer whoever asks for assets."""

    is_silent = False

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        while self.is_silent and "asset" in target:
            if writer.transport.is_closing():
                raise ConnectionError("whoever asked is gone")
            await asyncio.sleep(POLL_S)
        await super()._answer(target, writer)


def test_observations_do_not_wait_for_assets_that_are_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with SilentAgent() as agent, watched(agent.address, kept):
            agent.put_asset("T0", "CuttingTool", TOOL.replace(b"T1", b"T0") % 5)
            await until(lambda: bool(kept.records), "start")
            agent.is_silent = True
            agent.put_asset("T1", "CuttingTool", TOOL % 5)
            agent.burst(10)
            await until(lambda: kept.has_caught_up(agent), "what was told with the asset")
            await until(lambda: any("/asset" in each for each in agent.requests), "asked for")

            monkeypatch.setattr(assets, "ASSETS_S", 0.05)
            agent.put_asset("T1", "CuttingTool", TOOL % 4)
            agent.put_asset("T2", "CuttingTool", TOOL.replace(b"T1", b"T2") % 4)
            agent.burst(10)
            await until(lambda: kept.has_caught_up(agent), "what was told behind it")
            assert {each.record for each in kept.records} == {"T0"}
            agent.is_silent = False
            agent.put_asset("T3", "CuttingTool", TOOL.replace(b"T1", b"T3") % 4)
            await until(lambda: kept.records[-1].record == "T3", "the next")

    asyncio.run(scenario())


def test_assets_that_a_kill_kept_from_being_fetched_are_fetched_by_the_next_run() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with SilentAgent() as agent:
            agent.put_asset("T0", "CuttingTool", TOOL.replace(b"T1", b"T0") % 5)
            async with watched(agent.address, kept):
                await until(lambda: bool(kept.records), "start")
                agent.is_silent = True
                agent.put_asset("T1", "CuttingTool", TOOL % 5)
                await until(lambda: kept.has_caught_up(agent), "the notice")
            agent.is_silent = False
            async with watched(agent.address, kept):
                await until(lambda: "T1" in {each.record for each in kept.records}, "the asset")
            kept.check_account(agent)

    asyncio.run(scenario())


def test_assets_are_left_alone_where_the_settings_say_so() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept, assets=False):
            agent.put_asset("T1", "CuttingTool", TOOL % 5)
            await until(lambda: kept.has_caught_up(agent), "start")
            assert kept.records == []
            assert not [each for each in agent.requests if "asset" in each]

    asyncio.run(scenario())


def test_a_device_that_the_agent_does_not_have_ends_the_source() -> None:
    async def scenario() -> None:
        async with Agent() as agent:
            settings = MtconnectSettings(name="a", address=f"{agent.address}/drill")
            with pytest.raises(SourceRefused, match="correct the device in the address"):
                await MtconnectSource(settings, None).run(KeptReports())

    asyncio.run(scenario())


NO_DEVICE = (
    b'<MTConnectError xmlns="urn:mtconnect.org:MTConnectError:1.7"><Header instanceId="1"'
    b' bufferSize="1"/><Errors><Error errorCode="NO_DEVICE">x</Error></Errors></MTConnectError>'
)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (NO_DEVICE, "mtconnect agent refused"),
        (b"<!DOCTYPE html><html>404 <br></html>", "mtconnect agent unavailable"),
    ],
)
def test_an_agent_that_another_answers_for_later_is_tried_again_and_its_gap_told(
    answer: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer)

    async def scenario() -> None:
        kept = KeptReports()
        other = await raw_agent(lambda target: [head, answer])
        async with other, Agent(buffer_size=64) as agent:
            ports = [urlsplit(agent.address).port or 0]
            async with (
                Gate(lambda: ports[-1]) as gate,
                watched(f"http://127.0.0.1:{gate.port}", kept),
            ):
                await until(lambda: kept.has_caught_up(agent), "all there was")
                ports.append(other.sockets[0].getsockname()[1])
                gate.cut()
                await until(lambda: caplog.messages.count(told) >= 2, "tried again")
                agent.burst(200)
                ports.pop()
                gate.cut()
                await until(lambda: kept.has_caught_up(agent), "the newest")
            kept.check_account(agent)
            assert [gap.reason for gap in kept.gaps] == [GapReason.OVERRUN]

    asyncio.run(scenario())


def test_a_chosen_data_item_that_the_agent_does_not_have_ends_the_source() -> None:
    async def scenario() -> None:
        async with Agent() as agent:
            signals = frozenset({"z_load", "z_lode"})
            settings = MtconnectSettings(name="a", address=agent.address, signals=signals)
            with pytest.raises(SourceRefused, match=r"no data item 'z_lode' \(1 of the chosen"):
                await MtconnectSource(settings, None).run(KeptReports())

    asyncio.run(scenario())


def test_while_nothing_can_be_kept_the_source_waits_and_what_is_then_lost_is_a_gap() -> None:
    class FullDisk(KeptReports):
        """Takes nothing while there is no room."""

        def __init__(self) -> None:
            super().__init__()
            self.room = asyncio.Event()
            self.room.set()

        async def take(self, report: Report) -> None:
            await self.room.wait()
            await super().take(report)

    async def scenario() -> None:
        kept = FullDisk()
        async with Agent(buffer_size=200) as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            kept.room.clear()
            for _ in range(10):
                agent.burst(500)
                await asyncio.sleep(0.01)  # the disk stays full for a while
            assert len(kept.reports) == 1
            kept.room.set()
            await until(lambda: kept.has_caught_up(agent), "there is room again")
            assert {gap.reason for gap in kept.gaps} == {GapReason.OVERRUN}
            kept.check_account(agent)

    asyncio.run(scenario())


def test_an_agent_behind_tls_is_read_with_its_issuer_and_refused_without(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    ca, ca_key = make_ca("T2-CU-JX", "trial", now_ms=now_ms)
    leaf, leaf_key = make_leaf(
        ca, ca_key, chain_id=bytes(32), party="T2-CU-JX", node="n1", addresses=["127.0.0.1"],
        days=1, now_ms=now_ms,
    )  # fmt: skip
    for name, content in (("ca.pem", ca), ("leaf.pem", leaf), ("leaf.key", leaf_key)):
        (tmp_path / name).write_bytes(content)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "leaf.pem", tmp_path / "leaf.key")

    async def scenario() -> None:
        async with Agent(tls=tls) as agent:
            trusting = mtconnect_settings("a", agent.address, [], {"ca": "ca.pem"}, folder=tmp_path)
            async with AgentClient(trusting) as client:
                assert (await client.current()).header.instance == agent.instance
            with pytest.raises(SourceRefused, match="in the option ca"):
                await probe(agent.address)

    asyncio.run(scenario())


def test_a_probe_tells_each_data_item_with_its_unit_and_component() -> None:
    async def scenario() -> None:
        async with Agent() as agent:
            signals = {each.address: each for each in await probe(agent.address)}
        position = signals["z_position"]
        assert (position.type, position.unit, position.category) == (
            "POSITION.ACTUAL", "mm", "SAMPLE",
        )  # fmt: skip
        assert position.component == "press-7/axes/Z"
        assert signals["offsets"].representation == "DATA_SET"

    asyncio.run(scenario())


def test_an_instance_that_ends_while_a_stream_runs_is_caught_from_its_first_on() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            for _ in range(4):
                agent.burst(20)
                agent.restart()
                agent.burst(20)
                agent.spoil_next(Spoilt.TRUNCATED)
                await until(lambda: kept.has_caught_up(agent), "the new instance")
            assert [gap.reason for gap in kept.gaps] == [GapReason.INSTANCE_CHANGED] * 4
            kept.check_account(agent)

    asyncio.run(scenario())


def test_observations_have_the_unit_that_the_device_model_tells() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            agent.observe("z_load", "7")
            await until(lambda: kept.has_caught_up(agent), "the load")
            units = {each.signal: each.unit for each in kept.observations}
            assert (units["z_position"], units["z_load"], units["serial"]) == ("mm", "%", "")

    asyncio.run(scenario())


def test_what_the_agent_does_not_know_is_told_as_bad_without_a_value() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            assert {(each.value, each.quality, each.status) for each in kept.observations} == {
                (None, Quality.BAD, "UNAVAILABLE")
            }

    asyncio.run(scenario())
