"""The documents of a trial agent: its devices, its streams, its errors, and spoilt ones."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

FORM_WITH_NAMES = (2, 6)  # from this version on an error is an element of its own name

DEVICES = b"""<?xml version="1.0" encoding="UTF-8"?>
<MTConnectDevices xmlns="urn:mtconnect.org:MTConnectDevices:2.2">
<Header creationTime="2026-01-01T00:00:00Z" sender="trial" version="2.2" instanceId="1" bufferSize="1"/>
<Devices><Device id="d1" name="press-7" uuid="press-7">
<DataItems>
<DataItem id="avail" type="AVAILABILITY" category="EVENT"/>
<DataItem id="changed" type="ASSET_CHANGED" category="EVENT"/>
<DataItem id="removed" type="ASSET_REMOVED" category="EVENT"/>
</DataItems>
<Components><Controller id="c1" name="control"><DataItems>
<DataItem id="serial" type="SERIAL_NUMBER" category="EVENT"/>
<DataItem id="offsets" type="VARIABLE" category="EVENT" representation="DATA_SET"/>
<DataItem id="system" type="SYSTEM" category="CONDITION"/>
</DataItems></Controller>
<Axes id="a1" name="axes"><Components><Linear id="z" name="Z"><DataItems>
<DataItem id="z_position" type="POSITION" subType="ACTUAL" category="SAMPLE" units="MILLIMETER"/>
<DataItem id="z_load" type="LOAD" category="SAMPLE" units="PERCENT"/>
</DataItems></Linear></Components></Axes></Components>
</Device></Devices></MTConnectDevices>"""  # noqa: E501 - a document
"""A small press, for trials that do not need a machine of their own."""

_CONTAINERS = {"SAMPLE": "Samples", "EVENT": "Events", "CONDITION": "Condition"}
_SUFFIXES = {"DATA_SET": "DataSet", "TABLE": "Table", "TIME_SERIES": "TimeSeries"}


class Spoilt(StrEnum):
    """What may be wrong with a document."""

    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    ENTITY_BOMB = "entity_bomb"
    NO_XML = "no_xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataItem:
    """Something that a device tells."""

    id: str
    name: str
    category: str
    element: str  # of its observations
    device: str
    component: str


class Kept(NamedTuple):
    """An observation in the buffer."""

    sequence: int
    item: DataItem
    element: str  # as it stands in a document


class Extent(NamedTuple):
    """What a header says of a buffer."""

    instance: int
    version: str
    size: int
    first: int
    next: int


def read_data_items(devices: bytes) -> list[DataItem]:
    """Return the data items of a device model."""
    items = []
    for element in etree.fromstring(devices).iter("{*}DataItem"):
        parents = [each for each in element.iterancestors() if "id" in each.attrib]
        kind = "".join(part.capitalize() for part in str(element.get("type")).split("_"))
        items.append(
            DataItem(
                id=str(element.get("id")),
                name=str(element.get("name") or element.get("id")),
                category=str(element.get("category")),
                element=kind + _SUFFIXES.get(str(element.get("representation")), ""),
                device=str(parents[-1].get("name")),
                component=str(parents[0].get("id")),
            )
        )
    return items


def with_asset_items(devices: bytes) -> bytes:
    """Return a device model in which the first device tells of assets, as agents see to."""
    root = etree.fromstring(devices)
    told = {element.get("type") for element in root.iter("{*}DataItem")}
    device = next(root.iter("{*}Device"))
    items = device.find("{*}DataItems")
    namespace = str(device.tag).rpartition("}")[0] + "}" if "}" in str(device.tag) else ""
    if items is None:
        items = etree.SubElement(device, f"{namespace}DataItems")
    for kind in ("ASSET_CHANGED", "ASSET_REMOVED"):
        if kind not in told:
            more = {"id": f"{device.get('id')}_{kind.lower()}", "type": kind, "category": "EVENT"}
            etree.SubElement(items, f"{namespace}DataItem", more)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def observation_element(
    item: DataItem, sequence: int, timestamp: str, content: str, attributes: Mapping[str, str]
) -> str:
    """Return an observation as it stands in a document; `content` is XML."""
    name = attributes.get("level", item.element)
    more = "".join(
        f" {key}={quoteattr(value)}" for key, value in attributes.items() if key != "level"
    )
    return (
        f"<{name} dataItemId={quoteattr(item.id)} timestamp={quoteattr(timestamp)}"
        f' sequence="{sequence}"{more}>{content}</{name}>'
    )


def entries(members: Mapping[str, str | None]) -> str:
    """Return the content of a data set; None: the entry was removed."""
    return "".join(
        f'<Entry key={quoteattr(key)} removed="true"/>'
        if value is None
        else f"<Entry key={quoteattr(key)}>{escape(value)}</Entry>"
        for key, value in members.items()
    )


def streams_document(extent: Extent, kept: Iterable[Kept], next_sequence: int) -> bytes:
    """Return a document of observations, in groups as their components stand side by side."""
    streams = []
    for (device, component, category), group in groupby(sorted(kept, key=_place), key=_place):
        container = _CONTAINERS[category]
        streams.append(
            f"<DeviceStream name={quoteattr(device)} uuid={quoteattr(device)}><ComponentStream"
            f' component="Component" componentId={quoteattr(component)}><{container}>'
            f"{''.join(each.element for each in group)}"
            f"</{container}></ComponentStream></DeviceStream>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><MTConnectStreams'
        f' xmlns="urn:mtconnect.org:MTConnectStreams:{extent.version}">'
        f"{_header(extent, next_sequence)}<Streams>{''.join(streams)}</Streams></MTConnectStreams>"
    ).encode()


def devices_document(devices: bytes, extent: Extent, device: str) -> bytes:
    """Return the device model under this agent's header, of one device or (empty) of all."""
    root = etree.fromstring(devices)
    header = root.find("{*}Header")
    assert header is not None, "a device model has a header"
    header.set("instanceId", str(extent.instance))
    header.set("bufferSize", str(extent.size))
    for other in root.findall("{*}Devices/{*}Device"):
        if device not in ("", other.get("name")):
            other.getparent().remove(other)  # type: ignore[union-attr]  # it has one
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def assets_document(extent: Extent, assets: Iterable[bytes]) -> bytes:
    """Return a document of assets."""
    return (
        b'<?xml version="1.0" encoding="UTF-8"?><MTConnectAssets xmlns="urn:mtconnect.org:'
        + f'MTConnectAssets:{extent.version}"><Header instanceId="{extent.instance}"/>'.encode()
        + b"<Assets>" + b"".join(assets) + b"</Assets></MTConnectAssets>"
    )  # fmt: skip


def error_document(extent: Extent, code: str, message: str, given: str = "") -> bytes:
    """Return an error in the form of the agent's version; its header has no sequences."""
    if tuple(map(int, extent.version.split("."))) >= FORM_WITH_NAMES:
        name = "".join(part.capitalize() for part in code.split("_"))
        error = (
            f'<{name} errorCode="{code}"><ErrorMessage>{escape(message)}</ErrorMessage>'
            f'<QueryParameter name="from"><Value>{escape(given)}</Value><Minimum>{extent.first}'
            f"</Minimum><Maximum>{extent.next}</Maximum></QueryParameter></{name}>"
        )
    else:
        error = f'<Error errorCode="{code}">{escape(message)}</Error>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?><MTConnectError'
        f' xmlns="urn:mtconnect.org:MTConnectError:{extent.version}">'
        f'<Header instanceId="{extent.instance}" bufferSize="{extent.size}" sender="trial"/>'
        f"<Errors>{error}</Errors></MTConnectError>"
    ).encode()


def spoil(document: bytes, kind: Spoilt, size: int) -> bytes:
    """Return a document that nobody can read; an oversized one has at least `size` bytes."""
    match kind:
        case Spoilt.TRUNCATED:
            return document[: len(document) // 2]
        case Spoilt.MALFORMED:
            return document.replace(b"<Streams>", b"<Streams>\x00<", 1)
        case Spoilt.OVERSIZED:
            return document.replace(b"<Streams>", b"<Streams>" + b" " * size, 1)
        case Spoilt.ENTITY_BOMB:
            levels = "".join(
                f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 20)
            )
            bomb = f'<!DOCTYPE MTConnectStreams [<!ENTITY e0 "boom">{levels}]>'.encode()
            return re.sub(rb"^<\?xml[^>]*\?>", lambda head: head[0] + bomb, document).replace(
                b"<Streams>", b'<Streams name="&e19;">', 1
            )
        case Spoilt.NO_XML:
            return b"<!doctype html><title>502 Bad Gateway</title>"


def _header(extent: Extent, next_sequence: int) -> str:
    return (
        f'<Header creationTime="2026-01-01T00:00:00Z" sender="trial" version="{extent.version}"'
        f' instanceId="{extent.instance}" bufferSize="{extent.size}"'
        f' firstSequence="{extent.first}" lastSequence="{extent.next - 1}"'
        f' nextSequence="{next_sequence}"/>'
    )


def _place(kept: Kept) -> tuple[str, str, str]:
    return kept.item.device, kept.item.component, kept.item.category
