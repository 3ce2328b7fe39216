"""What variables an OPC UA server has: for whoever writes the first settings."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from asyncua import Client, ua

from lotmark_adapters.errors import SourceUnavailable
from lotmark_adapters.observation import Observation
from lotmark_adapters.opcua.connection import connected, foreign_errors
from lotmark_adapters.opcua.observed import observed
from lotmark_adapters.opcua.settings import OpcuaSettings

DEPTH_MAX = 10  # objects within objects
NODES_MAX = 20_000
BROWSE_S_MAX = 60.0

_NODES_PER_CALL_MAX = 200
_REFERENCES_PER_NODE_MAX = 1_000
_CONTINUATIONS_MAX = 100  # of one node
_UN_ECE = "http://www.opcfoundation.org/UA/units/un/cefact"
_SERVER = ua.NodeId.from_string(f"i={ua.ObjectIds.Server}")  # tells of itself, not of a machine
_UNIT = "EngineeringUnits"


@dataclass(frozen=True, slots=True)
class BrowsedSignal:
    """One variable."""

    node: str  # its id, as settings name it
    path: str  # names from the folder Objects on, with slashes between
    data_type: str  # "Double", "UInt32", "String[]"; "": it has no value now
    unit: str  # code of UN/ECE recommendation 20, else as the server shows it; "": none
    value: str | None  # now


@dataclass(slots=True)
class _Found:
    node: ua.NodeId
    path: str
    unit: ua.NodeId | None = None  # the property that holds it


async def browse(
    settings: OpcuaSettings,
    *,
    depth_max: int = DEPTH_MAX,
    nodes_max: int = NODES_MAX,
    timeout_s: float = BROWSE_S_MAX,
) -> list[BrowsedSignal]:
    """Return the variables of a server, except those about itself, in the order of their paths.

    Args:
        settings: How to reach it; the signals in them play no part.
        depth_max: How deep objects are looked into.
        nodes_max: How many nodes are looked at; what lies beyond is left out.
        timeout_s: For how long all of it may take.

    Raises:
        SourceRefused: The server is not to be trusted.
        SourceUnavailable: It has not answered, or not in time.
    """
    try:
        async with asyncio.timeout(timeout_s), connected(settings) as client:
            with foreign_errors(settings):
                found = await _variables(client, depth_max, nodes_max)
                return await _read(client, found)
    except TimeoutError as error:
        raise SourceUnavailable(
            f"{settings.address} was not browsed within {timeout_s} s; browse less deep"
        ) from error


async def _variables(client: Client, depth_max: int, nodes_max: int) -> list[_Found]:
    """Walk down level by level from Objects, visiting each node once."""
    level = [_Found(ua.NodeId.from_string(f"i={ua.ObjectIds.ObjectsFolder}"), "")]
    seen, variables = {level[0].node, _SERVER}, list[_Found]()
    for _ in range(depth_max):
        below = list[_Found]()
        for start in range(0, len(level), _NODES_PER_CALL_MAX):
            some = level[start : start + _NODES_PER_CALL_MAX]
            for parent, references in zip(some, await _references(client, some), strict=True):
                for each in references:
                    if each.NodeId in seen or len(seen) >= nodes_max:
                        continue
                    seen.add(each.NodeId)
                    if each.BrowseName.Name == _UNIT:
                        parent.unit = each.NodeId
                    elif each.NodeClass in (ua.NodeClass.Object, ua.NodeClass.Variable):
                        path = f"{parent.path}/{each.BrowseName.Name}".lstrip("/")
                        below.append(child := _Found(each.NodeId, path))
                        if each.NodeClass is ua.NodeClass.Variable:
                            variables.append(child)
        level = below
    return variables


async def _references(
    client: Client, nodes: Sequence[_Found]
) -> list[list[ua.ReferenceDescription]]:
    """Return what each of the nodes holds."""
    asked = ua.BrowseParameters(
        RequestedMaxReferencesPerNode=_REFERENCES_PER_NODE_MAX,
        NodesToBrowse=[
            ua.BrowseDescription(
                NodeId=each.node,
                BrowseDirection=ua.BrowseDirection.Forward,
                ReferenceTypeId=ua.NodeId.from_string(f"i={ua.ObjectIds.HierarchicalReferences}"),
                IncludeSubtypes=True,
                NodeClassMask=ua.NodeClass.Object | ua.NodeClass.Variable,
                ResultMask=ua.BrowseResultMask.All,
            )
            for each in nodes
        ],
    )
    session = client.uaclient.session
    answers = []
    for result in await session.browse(asked):
        references = list(result.References or ())
        for _ in range(_CONTINUATIONS_MAX):
            if not result.ContinuationPoint:
                break
            more = ua.BrowseNextParameters(ContinuationPoints=[result.ContinuationPoint])
            (result,) = await session.browse_next(more)
            references += result.References or ()
        answers.append(references)
    return answers


async def _read(client: Client, found: Sequence[_Found]) -> list[BrowsedSignal]:
    values = await _values(client, [each.node for each in found])
    units = await _values(client, [each.unit for each in found if each.unit is not None])
    unit_of = dict(zip((each.node for each in found if each.unit is not None), units, strict=True))
    signals = [
        BrowsedSignal(
            node=each.node.to_string(),
            path=each.path,
            data_type=_type_name(told),
            unit=_unit(unit_of.get(each.node)),
            value=_observation(told).value,
        )
        for each, told in zip(found, values, strict=True)
    ]
    return sorted(signals, key=lambda signal: signal.path)


async def _values(client: Client, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
    values = list[ua.DataValue]()
    for start in range(0, len(nodes), _NODES_PER_CALL_MAX):
        some = list(nodes[start : start + _NODES_PER_CALL_MAX])
        values += await client.uaclient.session.read_attributes(some, ua.AttributeIds.Value)
    return values


def _observation(told: ua.DataValue) -> Observation:
    return observed("", 0, told, 0)[0]


def _type_name(told: ua.DataValue) -> str:
    if told.Value is None or told.Value.Value is None:
        return ""
    return told.Value.VariantType.name + ("[]" if told.Value.is_array else "")


def _unit(told: ua.DataValue | None) -> str:
    """Return the unit of a variable: UN/ECE codes are packed into an integer, high byte first."""
    unit = None if told is None or told.Value is None else told.Value.Value
    if not isinstance(unit, ua.EUInformation):
        return ""
    if unit.NamespaceUri == _UN_ECE and 0 < unit.UnitId < 2**32:
        code = int(unit.UnitId).to_bytes(4, "big").lstrip(b"\0")
        if code.isalnum():
            return code.decode()
    return unit.DisplayName.Text or ""
