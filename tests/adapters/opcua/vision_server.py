"""A machine vision system in memory, which tells its results by the OPC Foundation's node set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncua import Server, ua

from lotmark_adapters.opcua.vision_results import MACHINE_VISION

NODESET = "data/opcua-nodesets/Opc.Ua.MachineVision.NodeSet2.xml"  # among the shared files

_RESULT_READY = 1_024


@asynccontextmanager
async def opcua_server() -> AsyncIterator[Server]:
    """Run a server without security at a free port."""
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    async with server:
        yield server


class VisionServer:
    """What makes a server a vision system's."""

    def __init__(self, server: Server, events: Any) -> None:  # asyncua's generator
        """Use what `begun` has made."""
        self._server = server
        self._events = events

    @classmethod
    async def begun(cls, server: Server, nodeset: Path) -> "VisionServer":
        """Give a server the types of OPC 40100-1."""
        await server.import_xml(str(nodeset))
        await server.load_data_type_definitions()
        namespace = await server.get_namespace_index(MACHINE_VISION)
        kind = server.get_node(f"ns={namespace};i={_RESULT_READY}")
        return cls(server, await server.get_event_generator(kind, server.nodes.server.nodeid))

    def is_watched(self) -> bool:
        """Return whether somebody waits for its results."""
        subscriptions = self._server.iserver.subscription_service.subscriptions.values()
        return any(each.monitored_item_srv._monitored_events for each in subscriptions)

    async def tell(self, result: str, *, state: int = 1, content: str = "") -> None:
        """Tell of a result.

        Args:
            result: Its id.
            state: Of its making, by OPC 40100-1; 1 is completed.
            content: The only text in it; "": it has none.
        """
        event = self._events.event
        event.ResultId = vars(ua)["ResultIdDataType"](Id=result)
        event.add_property("ResultState", state, ua.VariantType.Int32)
        if content:
            event.add_property("ResultContent", [content], ua.VariantType.String)
        event.Message = ua.LocalizedText(f"result {result}")
        await self._events.trigger()


def address(server: Server) -> str:
    """Return where clients find a server that runs."""
    assert server.bserver is not None
    return f"opc.tcp://127.0.0.1:{server.bserver.port}"
