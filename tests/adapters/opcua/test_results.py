"""Results of a machine vision system, told by events of the OPC Foundation's own node set."""

import asyncio
import json
from pathlib import Path

from asyncua import Server

from lotmark_adapters.opcua.settings import OpcuaSettings
from tests.adapters.opcua.vision_server import NODESET, VisionServer, address, opcua_server
from tests.adapters.opcua.watching import Kept, refusal, watching
from tests.shared_vectors import require_shared


def settings_for(server: Server, folder: Path) -> OpcuaSettings:
    return OpcuaSettings(
        name="camera",
        address=address(server),
        own=folder,
        application_uri="urn:x",
        trusted=None,
        is_insecure=True,
        publishing_ms=20,
        has_results=True,
    )


def test_each_result_is_one_record_and_a_failed_one_does_not_conform(tmp_path: Path) -> None:
    nodeset = require_shared(NODESET)

    async def scenario() -> None:
        kept = Kept()
        async with opcua_server() as server:
            without = await refusal(settings_for(server, tmp_path))
            camera = await VisionServer.begun(server, nodeset)
            async with watching(settings_for(server, tmp_path), kept) as until:
                await until(camera.is_watched)
                await camera.tell("R-1", state=1)
                await camera.tell("R-2", state=4)
                await until(lambda: len(kept.records) == 2)

        assert "offers no results by OPC 40100-1; leave out the option results" in without
        first, second = kept.records
        assert (first.kind, first.record, first.signal) == ("vision_result", "R-1", "results")
        assert (second.record, second.is_conforming) == ("R-2", False)
        assert first.is_conforming is None
        content = json.loads(first.content)
        assert (content["ResultState"], content["Message"]) == (1, "result R-1")
        assert content["ResultId"]["Id"] == "R-1"
        assert first.made_us > 0

    asyncio.run(scenario())
