"""An agent's documents, parsed within bounds: no entities, no document type, no network."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import MappingProxyType

from lxml import etree

from lotmark_adapters.errors import RequestRefused, SourceRefused, UnreadableDocument
from lotmark_adapters.mtconnect.values import (
    Value,
    bounded,
    condition_value,
    event_value,
    sample_value,
)
from lotmark_adapters.observation import Observation, Quality

SEQUENCE_MAX = 2**62  # so that what follows has room in 63 bits, too
INSTANCE_MAX = 2**64 - 1
OUT_OF_RANGE = "OUT_OF_RANGE"
CODES_MAX = 16  # of an error document
NO_UNITS: Mapping[str, str] = MappingProxyType({})
SHOWN_MAX = 120  # characters of a foreign text that a message repeats

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_READERS = {"Samples": sample_value, "Events": event_value, "Condition": condition_value}
_INTEGER = re.compile(r"[0-9]{1,20}")
_FOR_GOOD = frozenset({"NO_DEVICE"})  # the settings name what the agent does not have
_by_sequence = attrgetter("sequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an agent says of itself and its buffer in a document of streams."""

    instance: str  # a new one with each start
    buffer_size: int  # observations
    first: int  # sequence of the oldest observation in the buffer
    last: int  # sequence of the newest; one below the first where the buffer is empty
    next: int  # the one to go on with after this document


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetNotice:
    """An observation that tells of an asset's change."""

    asset: str
    sequence: int
    is_removed: bool


@dataclass(frozen=True, slots=True)
class Streams:
    """A document of streams."""

    header: Header
    observations: list[Observation]  # by sequence, each once
    assets: tuple[AssetNotice, ...]


def parse_document(raw: bytes, place: str) -> etree._Element:
    """Return the root of a document that is no error document.

    libxml2's own bounds hold: elements nest to 256, a text has 10 MB, entities do not multiply.

    Raises:
        UnreadableDocument: It is no XML, or has a document type.
        RequestRefused: It is an error document, whatever the HTTP status was.
        SourceRefused: It is one that says that the address names no device of the agent.
    """
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    if b"<!DOCTYPE" in raw[:1_024]:
        raise _with_document_type(place)
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableDocument(f"{place}: no XML: {str(error)[:SHOWN_MAX]}") from error
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # not in the stubs
        raise _with_document_type(place)
    if local_name(root) == "MTConnectError":
        raise _refused_request(root, place)
    return root


def read_streams(raw: bytes, place: str, units: Mapping[str, str] = NO_UNITS) -> Streams:
    """Return what a document of streams says.

    Args:
        raw: The document.
        place: Where it comes from, for messages.
        units: UCUM codes by data item id, which only the device model tells.

    Raises:
        UnreadableDocument: It is none, or one of its observations has no sequence.
        RequestRefused: It is an error document.
        SourceRefused: It is one that says that the address names no device of the agent.
    """
    root = parse_document(raw, place)
    if local_name(root) != "MTConnectStreams":
        raise UnreadableDocument(
            f"{place}: {local_name(root)[:SHOWN_MAX]!a} stands where MTConnectStreams belongs; is"
            " this the address of an MTConnect agent?"
        )
    captured_us = time.time_ns() // 1_000
    observations: list[Observation] = []
    assets: list[AssetNotice] = []
    try:
        for container in root.iter("{*}Samples", "{*}Events", "{*}Condition"):
            read_value = _READERS[local_name(container)]
            for element in container:
                observation = _observation(element, read_value(element), captured_us, units)
                observations.append(observation)
                if "assetType" in element.attrib and observation.value:
                    assets.append(_asset_notice(element, observation))
    except (KeyError, ValueError) as error:
        raise UnreadableDocument(
            f"{place}: an observation has no usable {str(error)[:SHOWN_MAX]}"
        ) from error
    observations.sort(key=_by_sequence)
    assets.sort(key=_by_sequence)
    return Streams(header=_header(root, place), observations=observations, assets=tuple(assets))


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace, which differs from version to version."""
    return str(element.tag).rpartition("}")[2]


def time_us(timestamp: str) -> int:
    """Return the Unix time of a timestamp, UTC where it names no zone.

    Raises:
        ValueError: It is none, or from before 1970.
    """
    moment = datetime.fromisoformat(timestamp)  # digits beyond microseconds are cut off
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    made_us = (moment - _EPOCH) // _MICROSECOND
    if made_us < 0:
        raise ValueError(f"{timestamp} is before 1970")
    return made_us


def _observation(
    element: etree._Element, value: Value, captured_us: int, units: Mapping[str, str]
) -> Observation:
    attributes = element.attrib
    written = str(attributes["sequence"])
    sequence = int(written) if written.isdecimal() and len(written) < 20 else 0
    if not 0 < sequence <= SEQUENCE_MAX:
        raise ValueError(f"sequence: {written[:20]!a}")
    text, quality, status = value
    try:
        made_us = time_us(str(attributes.get("timestamp", "")))
    except ValueError:
        made_us, quality = captured_us, Quality.BAD
        status = f"timestamp {str(attributes.get('timestamp', ''))[:SHOWN_MAX]!a}"
    if "resetTriggered" in attributes and not status:
        status = str(bounded(str(attributes["resetTriggered"])).value)
    signal = str(attributes["dataItemId"])
    unit = units.get(signal, "")
    return Observation(signal, sequence, made_us, captured_us, text, quality, status, unit)


def _asset_notice(element: etree._Element, observation: Observation) -> AssetNotice:
    return AssetNotice(
        asset=str(observation.value),
        sequence=observation.sequence,
        is_removed=local_name(element) == "AssetRemoved",
    )


def _header(root: etree._Element, place: str) -> Header:
    element = root.find("{*}Header")
    if element is None:
        raise UnreadableDocument(f"{place}: has no Header")

    def number(name: str, greatest: int) -> int:
        written = str(element.get(name, ""))
        if not _INTEGER.fullmatch(written) or int(written) > greatest:
            raise UnreadableDocument(
                f"{place}: {name} {written[:20]!a} of the header is no number up to {greatest}"
            )
        return int(written)

    return Header(
        instance=str(number("instanceId", INSTANCE_MAX)),
        buffer_size=number("bufferSize", SEQUENCE_MAX),
        first=max(1, number("firstSequence", SEQUENCE_MAX)),
        last=number("lastSequence", SEQUENCE_MAX),
        next=number("nextSequence", SEQUENCE_MAX),
    )


def _with_document_type(place: str) -> UnreadableDocument:
    return UnreadableDocument(
        f"{place}: has a document type, which an MTConnect document has no use for"
    )


def _refused_request(root: etree._Element, place: str) -> RequestRefused | SourceRefused:
    """Return the error of a document in either form.

    Up to version 2.5 it is ``<Error errorCode="OUT_OF_RANGE">…``, from 2.6 on
    ``<OutOfRange errorCode="OUT_OF_RANGE"><ErrorMessage>…``.
    """
    errors = list(root.iterfind("{*}Errors/*")) or list(root.iterfind("{*}Error"))
    codes = frozenset(
        str(each.get("errorCode") or _as_code(local_name(each))) for each in errors[:CODES_MAX]
    )
    said = next((text.strip() for each in errors for text in each.itertext() if text.strip()), "")
    message = f"{place}: the agent answers {', '.join(sorted(codes))}: {said[:SHOWN_MAX]!a}"
    if codes & _FOR_GOOD:
        return SourceRefused(f"{message}; correct the device in the address")
    return RequestRefused(message, codes)


def _as_code(name: str) -> str:
    """Return ``OUT_OF_RANGE`` for ``OutOfRange``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
