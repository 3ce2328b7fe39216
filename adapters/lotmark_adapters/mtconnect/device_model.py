"""What an agent says that its devices can tell: the data items of its probe document."""

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from lotmark_adapters.errors import UnreadableDocument
from lotmark_adapters.mtconnect.agent_client import AgentClient
from lotmark_adapters.mtconnect.documents import local_name, parse_document
from lotmark_adapters.mtconnect.settings import MtconnectSettings, checked_address
from lotmark_adapters.mtconnect.units import ucum

DATA_ITEMS_MAX = 100_000  # of an agent


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedSignal:
    """One data item of an agent."""

    address: str  # the data item's id
    name: str  # as people call it; its id where it has no name
    category: str  # SAMPLE, EVENT or CONDITION
    type: str  # such as POSITION; with the sub-type where it has one, POSITION.ACTUAL
    representation: str  # VALUE, TIME_SERIES, DATA_SET or TABLE
    unit: str  # UCUM; empty: none, or one that MTConnect does not have
    foreign_unit: str  # as the agent writes it, where it has no UCUM code here
    component: str  # names from the device down, OKUMA/Axes/X


async def probe(address: str) -> list[ProbedSignal]:
    """Return the data items of an agent, or of one of its devices, in its order.

    Raises:
        SourceRefused: It is no address, or the agent has no such device.
        SourceUnavailable: The agent does not answer in time, or not with a device model.
    """
    settings = MtconnectSettings(name="probe", address=checked_address(address))
    async with AgentClient(settings) as client:
        return read_signals(await client.probe(), address)


def read_signals(raw: bytes, place: str) -> list[ProbedSignal]:
    """Return the data items of a probe document.

    Raises:
        UnreadableDocument: It is none, or a data item has no id, category or type.
        RequestRefused: It is an error document.
        SourceRefused: It is one that says that the address names no device of the agent.
    """
    root = parse_document(raw, place)
    if local_name(root) != "MTConnectDevices":
        raise UnreadableDocument(
            f"{place}: {local_name(root)[:80]!a} stands where MTConnectDevices belongs; is this the"
            " address of an MTConnect agent?"
        )
    signals: list[ProbedSignal] = []
    for element in root.iter("{*}DataItem"):
        if len(signals) == DATA_ITEMS_MAX:
            raise UnreadableDocument(f"{place}: over {DATA_ITEMS_MAX} data items; name one device")
        try:
            signals.append(_signal(element))
        except KeyError as error:
            raise UnreadableDocument(f"{place}: a data item has no {error}") from error
    return signals


def _signal(element: etree._Element) -> ProbedSignal:
    attributes = {str(name): str(value) for name, value in element.attrib.items()}
    foreign = attributes.get("units", "")
    unit = ucum(foreign)
    return ProbedSignal(
        address=attributes["id"],
        name=attributes.get("name", attributes["id"]),
        category=attributes["category"],
        type=".".join(filter(None, (attributes["type"], attributes.get("subType")))),
        representation=attributes.get("representation", "VALUE"),
        unit=unit,
        foreign_unit="" if unit else foreign,
        component="/".join(reversed(list(_components(element)))),
    )


def _components(element: etree._Element) -> Iterator[str]:
    """Yield the names of what a data item is part of, from the innermost out to the device."""
    for each in element.iterancestors():
        if "id" in each.attrib:
            yield str(each.get("name") or each.get("id"))
