"""The EPCIS event hash of CBV 2.0: the same event has the same hash, however it was written.

An event is written out as one text, the pre-hash: members in the standard's order, each as
``name=value``, list elements and extensions sorted, values in one form (UTC with milliseconds,
web URIs, canonical Digital Links, numbers without trailing zeros). Its SHA-256 names the event:
``ni:///sha-256;<hex>?ver=CBV2.0``.

Source: GS1 Core Business Vocabulary 2.0, the section on the event hash ID; where its text leaves a
choice, the vectors of its reference implementation decide (docs/decisions/0022).
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lotmark.canonical_json import ForeignJson
from lotmark.errors import MalformedError
from lotmark.gs1_ids import read_gs1
from lotmark.rfc3339 import TEXT_MAX_MS, nearest_ms, text_of_ms
from lotmark_adapters.epcis_context import JsonLdContext
from lotmark_adapters.epcis_numbers import is_number
from lotmark_adapters.epcis_vocabulary import (
    BUSINESS_STEP,
    COMPONENT,
    DISPOSITION,
    ERROR_REASON,
    EXCEPTION,
    MEASUREMENT,
    SOURCE_TYPE,
    TRANSACTION_TYPE,
    Vocabulary,
)

_URI = re.compile(r"ni:///sha-256;([0-9a-f]{64})\?ver=CBV2\.0")
_COMMENT = "{http://www.w3.org/2000/01/rdf-schema#}comment"
_NOT_HASHED = frozenset({"type", "eventID", "recordTime", "errorDeclaration", "@context", _COMMENT})


@dataclass(frozen=True, slots=True)
class _Member:
    """A member that the standard gives a place in the order."""

    name: str
    element: str | None = None  # of a list: the name of each element, "" for none; None: no list
    members: tuple["_Member", ...] = ()  # of an object
    vocabulary: Vocabulary | None = None
    is_time: bool = False


def event_hash(event: Mapping[str, ForeignJson], context: JsonLdContext) -> bytes:
    """Return the 32 bytes that name an event by its content."""
    return hashlib.sha256(pre_hash(event, context).encode()).digest()


def event_hash_uri(digest: bytes) -> str:
    """Return an event hash as the standard writes it, for an ``eventID``."""
    return f"ni:///sha-256;{digest.hex()}?ver=CBV2.0"


def read_event_hash_uri(uri: str) -> bytes | None:
    """Return the event hash that a URI holds, None where it is none of CBV 2.0 with SHA-256."""
    match = _URI.fullmatch(uri)
    return None if match is None else bytes.fromhex(match[1])


def pre_hash(event: Mapping[str, ForeignJson], context: JsonLdContext) -> str:
    """Return the text whose SHA-256 is the event's hash.

    Args:
        event: An EPCIS event in JSON-LD.
        context: What its document's context and its own say.
    """
    writer = _Writer(context)
    text, strays = writer.ordered(event, _EVENT, _NOT_HASHED)
    return f"eventType={event.get('type', '')}{text}{''.join(sorted(strays))}"


class _Writer:
    """Writes values out in the context of a document."""

    def __init__(self, context: JsonLdContext) -> None:
        self._context = context

    def ordered(
        self,
        members: Mapping[str, ForeignJson],
        order: tuple[_Member, ...],
        left_out: frozenset[str] = frozenset({_COMMENT}),
    ) -> tuple[str, list[str]]:
        """Return the members in their order, and what has no place in it.

        Extensions of an event have none either; those of an object inside stand at its end.
        """
        is_event = order is _EVENT
        text, strays = "", []
        for member in order:
            if member.name in members:
                written, inner_strays = self._member(member, members[member.name])
                text += written
                strays += inner_strays
        extensions: list[str] = []
        known = {member.name for member in order}
        for member in _LISTS_BEHIND if is_event else ():
            known.add(member.name)
            if member.name in members:
                strays += [self._member(member, members[member.name])[0]]
        for name, value in members.items():
            expanded = self._context.expanded_name(name)
            if name in known or expanded in left_out:
                continue
            target = strays if is_event or not expanded.startswith("{") else extensions
            target += self.free(expanded, value)
        return text + "".join(sorted(extensions)), strays

    def _member(self, member: _Member, value: ForeignJson) -> tuple[str, list[str]]:
        name = member.name if member.element is None else member.element
        texts, strays = [], []
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and member.members:
                inner, inner_strays = self.ordered(each, member.members)
                texts.append(name + inner if inner else "")
                strays += [name + "".join(sorted(inner_strays))] if inner_strays else []
            elif isinstance(each, dict | list):
                texts += self.free(name, each)
            else:
                text = self._value(each, member)
                texts.append(f"{name}={text}" if text else "")
        written = "".join(sorted(texts))
        if member.element is None:
            return written, strays
        return (
            member.name + written if written else "",
            [member.name + "".join(sorted(strays))] if strays else [],
        )

    def free(self, name: str, value: ForeignJson) -> list[str]:
        """Return what an extension or a member without a place says, one text an element."""
        if isinstance(value, list):
            return [text for each in value for text in self.free(name, each)]
        if isinstance(value, dict):
            inner = []
            for key, each in value.items():
                expanded = self._context.expanded_name(key)
                if expanded != _COMMENT:
                    inner += self.free(expanded, each)
            return [name + "".join(sorted(inner))]
        text = self._value(value, None)
        return [f"{name}={text}" if text else name]

    def _value(self, value: ForeignJson, member: _Member | None) -> str:
        """Return a value in its one form."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        text = str(value).strip()
        if member is not None and member.is_time:
            return _utc(text)
        expanded = self._context.expanded_value(text)
        if member is not None and member.vocabulary is not None:
            return member.vocabulary.uri(expanded)
        for vocabulary in _URN_VOCABULARIES:
            expanded = vocabulary.uri(expanded) if ":" in expanded else expanded
        return _canonical_link(_shortest_number(expanded))


def _utc(text: str) -> str:
    """Return a time in UTC with milliseconds, a half rounded up; what is none as it is."""
    try:
        time_ms = nearest_ms(text)
    except MalformedError:
        return text
    return text_of_ms(time_ms) if time_ms < TEXT_MAX_MS else text


def _shortest_number(text: str) -> str:
    """Return a decimal number as the shortest one of the same double; other text as it is.

    Through a double, although that loses digits: the vectors of the standard do so.
    """
    if not is_number(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        return text
    return str(int(number) if number.is_integer() else number)


def _canonical_link(text: str) -> str:
    try:
        found = read_gs1(text)
    except MalformedError:
        return text
    return text if found is None else found.link


_URN_VOCABULARIES = (BUSINESS_STEP, DISPOSITION, TRANSACTION_TYPE, SOURCE_TYPE, ERROR_REASON)
_QUANTITY = (_Member("epcClass"), _Member("quantity"), _Member("uom"))
_METADATA = (
    _Member("time", is_time=True),
    _Member("startTime", is_time=True),
    _Member("endTime", is_time=True),
    *map(_Member, ("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules")),
)
_REPORT = (
    _Member("type", vocabulary=MEASUREMENT),
    _Member("exception", vocabulary=EXCEPTION),
    *map(_Member, ("deviceID", "deviceMetadata", "rawData", "dataProcessingMethod")),
    _Member("time", is_time=True),
    *map(_Member, ("microorganism", "chemicalSubstance", "value")),
    _Member("component", vocabulary=COMPONENT),
    *map(_Member, ("stringValue", "booleanValue", "hexBinaryValue", "uriValue", "minValue")),
    *map(_Member, ("maxValue", "meanValue", "sDev", "percRank", "percValue", "uom")),
    _Member("coordinateReferenceSystem"),
)
_PLACE = (_Member("id"),)


def _typed(name: str, vocabulary: Vocabulary) -> tuple[_Member, ...]:
    return (_Member("type", vocabulary=vocabulary), _Member(name))


_EVENT = (
    _Member("eventTime", is_time=True),
    _Member("eventTimeZoneOffset"),
    _Member("certificationInfo"),
    _Member("epcList", "epc"),
    _Member("parentID"),
    _Member("inputEPCList", "epc"),
    _Member("childEPCs", "epc"),
    _Member("quantityList", "quantityElement", _QUANTITY),
    _Member("childQuantityList", "quantityElement", _QUANTITY),
    _Member("inputQuantityList", "quantityElement", _QUANTITY),
    _Member("outputEPCList", "epc"),
    _Member("outputQuantityList", "quantityElement", _QUANTITY),
    _Member("action"),
    _Member("transformationID"),
    _Member("bizStep", vocabulary=BUSINESS_STEP),
    _Member("disposition", vocabulary=DISPOSITION),
    _Member(
        "persistentDisposition",
        members=(
            _Member("set", vocabulary=DISPOSITION),
            _Member("unset", vocabulary=DISPOSITION),
        ),
    ),
    _Member("readPoint", members=_PLACE),
    _Member("bizLocation", members=_PLACE),
    _Member(
        "sensorElementList",
        "sensorElement",
        (_Member("sensorMetadata", members=_METADATA), _Member("sensorReport", members=_REPORT)),
    ),
)
# The vectors have these behind the sensor elements, sorted among what has no place in the order.
_LISTS_BEHIND = (
    _Member("bizTransactionList", "", _typed("bizTransaction", TRANSACTION_TYPE)),
    _Member("sourceList", "", _typed("source", SOURCE_TYPE)),
    _Member("destinationList", "", _typed("destination", SOURCE_TYPE)),
)
