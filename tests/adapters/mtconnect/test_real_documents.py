"""Documents and a log of real machines: read from beside the repository, skipped without it."""

import asyncio
from pathlib import Path

import pytest
from lxml import etree

from lotmark_adapters.errors import UnreadableDocument
from lotmark_adapters.mtconnect.accounting import Scope, account
from lotmark_adapters.mtconnect.assets import read_assets
from lotmark_adapters.mtconnect.device_model import read_signals
from lotmark_adapters.mtconnect.documents import read_streams
from lotmark_adapters.mtconnect.units import ucum
from lotmark_adapters.observation import Position, Quality
from lotmark_adapters.trial.adapter_log import replay
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.agent_documents import Extent, assets_document
from tests.adapters.mtconnect.kept_reports import KeptReports, until, watched
from tests.shared_vectors import require_shared, shared_folder

# Counted in the files by themselves, without the code under test.
OKUMA_ROWS = 10_525
OKUMA_UNKNOWN = 4  # values of ApplicationInstallDate, which the device model does not have


def device_files() -> list[Path]:
    folder = shared_folder()
    if folder is None:
        return []
    root = folder / "data" / "mtconnect"
    found = [root / "demo" / "agent" / "Devices.xml"]
    return found + sorted((root / "test_package" / "resources" / "samples").glob("*.xml"))


@pytest.mark.parametrize("path", device_files(), ids=lambda path: path.name)
def test_each_data_item_of_a_real_device_model_is_told_once(path: Path) -> None:
    raw = path.read_bytes()

    signals = read_signals(raw, path.name)

    written = list(etree.fromstring(raw).iter("{*}DataItem"))
    assert [each.address for each in signals] == [each.get("id") for each in written]
    for signal, element in zip(signals, written, strict=True):
        assert bool(signal.unit) + bool(signal.foreign_unit) == (element.get("units") is not None)
        assert signal.component


def test_each_unit_of_the_standard_has_a_ucum_code() -> None:
    schema = etree.parse(require_shared("data/mtconnect/schemas/MTConnectDevices_2.2.xsd"))
    (kinds,) = (each for each in schema.iter("{*}simpleType") if each.get("name") == "UnitsEnum")
    units = [str(each.get("value")) for each in kinds.iter("{*}enumeration")]

    assert len(units) > 40
    assert [each for each in units if not ucum(each)] == []


def test_a_real_cutting_tool_has_the_same_bytes_in_any_document() -> None:
    folder = require_shared("data/mtconnect/test_package/resources")
    extent = Extent(instance=7, version="2.2", size=9, first=3, next=10)
    for name in ("asset1.xml", "asset2.xml", "asset5.xml", "ext_asset_2.xml"):
        tool = (folder / name).read_bytes()
        one, other = (
            read_assets(assets_document(extent, documents), name)
            for documents in ([tool], [b"<Other assetId='x'/>\n", tool])
        )
        assert {key: other[key] for key in one} == one

    with pytest.raises(UnreadableDocument):
        read_assets((folder / "asset4.xml").read_bytes(), "asset4.xml")


def test_each_row_of_a_real_machines_log_is_accounted_for() -> None:
    folder = require_shared("data/mtconnect/demo/agent")
    agent = Agent(devices=(folder / "Devices.xml").read_bytes(), buffer_size=131_072)
    with (folder / "okuma.txt").open(encoding="utf-8") as log:
        *_, told = replay(agent, log)

    assert told.rows == OKUMA_ROWS
    document, following = agent.answer(1, 131_072)
    streams = read_streams(document, "okuma")
    report = account(
        streams,
        Position(instance=agent.instance, next_sequence=1),
        Scope(is_whole_agent=True),
    )
    items = 218  # of the model, and the two of assets: unknown at the start
    assert (told.assets_put, told.unknown) == (118, OKUMA_UNKNOWN)
    assert len(report.observations) == items + told.observations
    assert (report.gaps, report.position.next_sequence) == ([], following)
    numbers = [each for each in report.observations if each.signal == "Lx1actm"]
    assert all(each.quality is Quality.GOOD or each.value is None for each in numbers)


def test_a_real_log_through_a_short_buffer_over_the_network_is_accounted_for() -> None:
    folder = require_shared("data/mtconnect/demo/agent")

    async def scenario() -> None:
        kept = KeptReports()
        devices = (folder / "Devices.xml").read_bytes()
        async with Agent(devices=devices, buffer_size=3_000) as agent:
            with (folder / "okuma.txt").open(encoding="utf-8") as log:
                rows = replay(agent, log)
                async with watched(agent.address, kept):
                    await until(lambda: kept.has_caught_up(agent), "start")
                    for told in rows:
                        if told.rows % 200 == 0:
                            await asyncio.sleep(0)
                        if told.rows == OKUMA_ROWS // 2:
                            break
                    agent.restart()
                    for told in rows:
                        if told.rows % 50 == 0:
                            await asyncio.sleep(0.001)
                    await until(lambda: kept.has_caught_up(agent), "all rows")
            assert told.rows == OKUMA_ROWS
            kept.check_account(agent)
            assert kept.records

    asyncio.run(scenario())
