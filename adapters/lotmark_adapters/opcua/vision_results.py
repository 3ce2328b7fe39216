"""Results of machine vision systems, OPC 40100-1: each is told by one event, as a whole."""

from collections.abc import Sequence

from asyncua import Client, ua
from asyncua.common.events import get_filter_from_event_type

from lotmark.canonical_json import JsonValue, dump
from lotmark.errors import MalformedError
from lotmark_adapters.errors import SourceRefused
from lotmark_adapters.observation import GapReason, SourceGap, SourceRecord
from lotmark_adapters.opcua.observed import unix_us
from lotmark_adapters.opcua.plain_values import Unkept, json_value
from lotmark_adapters.opcua.settings import OpcuaSettings

MACHINE_VISION = "http://opcfoundation.org/UA/MachineVision"
RESULTS = "results"  # by which anchoring policies name them
RESULT_SIZE_MAX = 1_000_000  # bytes as JSON

_RESULT_READY = 1_024  # ResultReadyEventType within that namespace
_QUEUE_OVERFLOWED = f"i={ua.ObjectIds.EventQueueOverflowEventType}"
_UNDONE_STATES = (3, 4)  # aborted, failed: OPC 40100-1, 12.19


class ResultEvents:
    """Which fields are asked for, and what they say."""

    def __init__(self, asked: ua.EventFilter) -> None:
        self._filter = asked
        self._names = [
            "/".join(each.Name for each in clause.BrowsePath) for clause in asked.SelectClauses
        ]

    @classmethod
    async def of(cls, client: Client, settings: OpcuaSettings) -> "ResultEvents":
        """Return the result events of a server.

        The structures in them become classes of the whole process, as asyncua keeps them: two
        servers that number their namespaces differently cannot both be asked for results.

        Raises:
            SourceRefused: It is no vision system's.
        """
        namespaces = await client.get_namespace_array()
        if MACHINE_VISION not in namespaces:
            raise SourceRefused(
                f"source {settings.name} at {settings.address} has no {MACHINE_VISION}: it offers"
                " no results by OPC 40100-1; leave out the option results"
            )
        await client.load_data_type_definitions()
        kind = client.get_node(f"ns={namespaces.index(MACHINE_VISION)};i={_RESULT_READY}")
        return cls(await get_filter_from_event_type([kind]))

    def request(self, handle: int, queue_size: int) -> ua.MonitoredItemCreateRequest:
        """Return what asks for them; every server sends its events by the Server object."""
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(
                NodeId=ua.NodeId.from_string(f"i={ua.ObjectIds.Server}"),
                AttributeId=ua.AttributeIds.EventNotifier,
            ),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=handle, QueueSize=queue_size, Filter=self._filter
            ),
        )

    def record(self, fields: Sequence[ua.Variant], captured_us: int) -> SourceRecord | SourceGap:
        """Return what an event says, or that events are missing, or that it can be kept in no form.

        Args:
            fields: What was asked for, in that order.
            captured_us: When it came.
        """
        told = dict(zip(self._names, fields, strict=True))
        try:
            plain = {name: json_value(field) for name, field in told.items()}
            content = dump(plain)
        except (MalformedError, Unkept):
            return _UNREADABLE
        if len(content) > RESULT_SIZE_MAX:
            return _UNREADABLE
        if plain.get("EventType") == _QUEUE_OVERFLOWED:  # sent in the place of what was dropped
            return SourceGap(reason=GapReason.OVERFLOW_BIT, signal=RESULTS)
        state = plain.get("ResultState")
        return SourceRecord(
            kind="vision_result",
            record=_result_id(plain),
            signal=RESULTS,
            made_us=unix_us(told["Time"].Value) or captured_us,
            media_type="application/json",
            content=content,
            # The state tells how processing ended. That it did says nothing of the part; but by a
            # result that was not reached no part conforms.
            is_conforming=False if state in _UNDONE_STATES else None,
        )


_UNREADABLE = SourceGap(reason=GapReason.UNREADABLE, signal=RESULTS, count=1)


def _result_id(plain: dict[str, JsonValue]) -> str:
    match plain.get("ResultId"):
        case {"Id": str(result)} if result:
            return result
    return str(plain.get("EventId"))
