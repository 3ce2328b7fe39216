"""Results of a machine vision system, told by events of the OPC Foundation's own node set."""

import asyncio
import json
from pathlib import Path
from typing import Any

from asyncua import Server, ua

from lotmark_adapters.opcua.settings import OpcuaSettings
from lotmark_adapters.opcua.vision_results import MACHINE_VISION
from tests.adapters.opcua.watching import Kept, refusal, watching
from tests.shared_vectors import require_shared

NODESET = "data/opcua-nodesets/Opc.Ua.MachineVision.NodeSet2.xml"


def settings_for(server: Server, folder: Path) -> OpcuaSettings:
    assert server.bserver is not None
    return OpcuaSettings(
        name="camera",
        address=f"opc.tcp://127.0.0.1:{server.bserver.port}",
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
        server, kept = Server(), Kept()
        await server.init()
        server.set_endpoint("opc.tcp://127.0.0.1:0")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        async with server:
            without = await refusal(settings_for(server, tmp_path))
            await server.import_xml(str(nodeset))
            await server.load_data_type_definitions()
            namespace = await server.get_namespace_index(MACHINE_VISION)
            kind = server.get_node(f"ns={namespace};i=1024")
            events = await server.get_event_generator(kind, server.nodes.server.nodeid)
            async with watching(settings_for(server, tmp_path), kept) as until:
                await until(lambda: server.iserver.subscription_service.subscriptions)
                await until(lambda: _watches_events(server))
                for state, result in ((1, "R-1"), (4, "R-2")):
                    event: Any = events.event
                    event.ResultId = vars(ua)["ResultIdDataType"](Id=result)
                    event.add_property("ResultState", state, ua.VariantType.Int32)
                    event.Message = ua.LocalizedText(f"result {result}")
                    await events.trigger()
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


def _watches_events(server: Server) -> bool:
    subscriptions = server.iserver.subscription_service.subscriptions.values()
    return any(each.monitored_item_srv._monitored_events for each in subscriptions)
