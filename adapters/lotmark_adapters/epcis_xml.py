"""EPCIS documents in XML, turned into the events that JSON-LD would say.

One event has one form from here on, and one hash. Nothing outside the document is looked at: no
entities, no document type, no schema, no network. Extension elements keep their namespaces; the
prefixes that stand for them go into the event's own context.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count

from lxml import etree

from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, shown
from lotmark_adapters.epcis_context import EPCIS_CONTEXT_URL, STANDARD_PREFIXES
from lotmark_adapters.epcis_numbers import is_number, json_number
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
from lotmark_adapters.errors import EpcisError

DEPTH_MAX = 32
ELEMENTS_MAX = 1_000_000  # of a document
NAMESPACES_MAX = 32  # of the extensions of an event

_ROOTS = frozenset({"EPCISDocument", "EPCISQueryDocument"})
_WAY_TO_EVENTS = _ROOTS | {"EPCISBody", "QueryResults", "resultsBody"}
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,31}")
_TRANSPARENT = frozenset({"extension", "baseExtension"})  # wrappers of EPCIS 1, empty of meaning
_LISTS = {
    "epcList": "epc", "childEPCs": "epc", "inputEPCList": "epc", "outputEPCList": "epc",
    "correctiveEventIDs": "correctiveEventID",
    "quantityList": "quantityElement", "childQuantityList": "quantityElement",
    "inputQuantityList": "quantityElement", "outputQuantityList": "quantityElement",
    "bizTransactionList": "bizTransaction", "sourceList": "source",
    "destinationList": "destination", "sensorElementList": "sensorElement",
}  # fmt: skip
_REPEATED = frozenset({"set", "unset", "sensorReport"})  # lists without an element around them
_TYPED = {
    "bizTransaction": TRANSACTION_TYPE, "source": SOURCE_TYPE, "destination": SOURCE_TYPE,
}  # fmt: skip
_VOCABULARIES: dict[str, Vocabulary] = {
    "bizStep": BUSINESS_STEP, "disposition": DISPOSITION, "set": DISPOSITION, "unset": DISPOSITION,
    "reason": ERROR_REASON, "component": COMPONENT, "exception": EXCEPTION, "type": MEASUREMENT,
}  # fmt: skip
_NUMBERS = frozenset(
    {"quantity", "value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"}
)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class XmlEvent:
    """An event as it stands in a document."""

    element: etree._Element
    place: Place


@dataclass(frozen=True, slots=True)
class XmlDocument:
    """The events of a document."""

    events: tuple[XmlEvent, ...]
    ignored: frozenset[str]  # names of extensions that a repository added, ``{namespace}local``


def read_xml(raw: bytes, place: Place) -> XmlDocument:
    """Return the events of an EPCIS document or query document in XML.

    Raises:
        EpcisError: It is no XML, has a document type, nests too deep, or is no EPCIS document.
    """
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = None if b"<!DOCTYPE" in raw else etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _refused(place, f"no XML: {error}") from error
    if root is None or root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # not in the stubs
        raise _refused(place, "has a document type, which an EPCIS document has no use for")
    _check_size(root, place)
    if _local(root) not in _ROOTS:
        raise _refused(place, f"{shown(_local(root))} is none of {', '.join(sorted(_ROOTS))}")
    at = place.member("EventList")
    events = [
        event
        for element in root.iter("EventList")
        if all(_local(each) in _WAY_TO_EVENTS for each in element.iterancestors())
        for event in _unwrapped(element)
    ]
    if not events:
        raise _refused(at, "no EPCIS event is here")
    return XmlDocument(
        tuple(XmlEvent(event, at.element(index)) for index, event in enumerate(events)),
        frozenset(
            str(field.tag)
            for element in root.iter()
            if _local(element) == "ignoreFields"
            for field in element
            if str(field.tag).startswith("{")
        ),
    )


def json_event(event: XmlEvent) -> dict[str, ForeignJson]:
    """Return an event as JSON-LD says it, its own context within.

    Raises:
        EpcisError: It has what JSON-LD has no form for. The message names the place.
    """
    names = _Names.of(event.element, event.place)
    members = _Reader(names).event(event.element, event.place)
    context: ForeignJson = (
        [EPCIS_CONTEXT_URL, dict(names.declared)] if names.declared else [EPCIS_CONTEXT_URL]
    )
    return {"@context": context, "type": _local(event.element), **members}


class _Names:
    """Which prefix each namespace of an event's extensions gets."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        self._prefixes = prefixes  # by namespace
        self.declared = {prefix: namespace for namespace, prefix in prefixes.items()}

    @classmethod
    def of(cls, event: etree._Element, place: Place) -> "_Names":
        """Return prefixes that no value of the event begins with, the author's where possible.

        A value of XML such as ``example:x`` is a URI of its own; under a prefix of that name
        JSON-LD would read another one into it.
        """
        taken = set(STANDARD_PREFIXES) - {"cbvmda"}
        for element in event.iter():
            for value in (element.text or "", *map(str, element.attrib.values())):
                taken.add(value.strip().partition(":")[0])
        prefixes: dict[str, str] = {}
        for namespace, wanted in _namespaces(event):
            if namespace in prefixes:
                continue
            if len(prefixes) == NAMESPACES_MAX:
                raise _refused(place, f"over {NAMESPACES_MAX} namespaces")
            candidates = chain([wanted or ""], (f"ns{number}" for number in count(1)))
            prefixes[namespace] = next(
                each for each in candidates if _PREFIX.fullmatch(each) and each not in taken
            )
            taken.add(prefixes[namespace])
        return cls(prefixes)

    def name(self, tag: str) -> str:
        """Return a member's name for a tag or attribute."""
        if not tag.startswith("{"):
            return tag
        namespace, _, local = tag[1:].partition("}")
        return f"{self._prefixes[namespace]}:{local}"


def _namespaces(event: etree._Element) -> Iterator[tuple[str, str | None]]:
    """Yield the namespace of each extension in an event, and the prefix its author gave it."""
    for element in event.iter():
        for tag in (str(element.tag), *map(str, element.attrib)):
            if tag.startswith("{"):
                namespace = tag[1:].partition("}")[0]
                prefix = next(
                    (each for each, uri in element.nsmap.items() if uri == namespace and each), None
                )
                yield namespace, prefix


class _Reader:
    """Turns the elements of one event into members."""

    def __init__(self, names: _Names) -> None:
        self._names = names

    def event(self, element: etree._Element, place: Place) -> dict[str, ForeignJson]:
        """Return the members of an event, or of a standard object in it."""
        return self._members(_unwrapped(element), place, self._standard)

    def _members(
        self,
        elements: list[etree._Element],
        place: Place,
        read: Callable[[etree._Element, Place], ForeignJson],
    ) -> dict[str, ForeignJson]:
        members: dict[str, ForeignJson] = {}
        for element in elements:
            name = self._names.name(str(element.tag))
            value = read(element, place.member(name))
            if value == [] and name in _LISTS:
                continue  # an empty list says as much as none
            if name in members and name in _LISTS:
                raise _refused(place.member(name), "stands twice")
            if name in _REPEATED:
                members[name] = [*_as_list(members.get(name, [])), value]
            elif name in members:
                members[name] = [*_as_list(members[name]), value]
            else:
                members[name] = value
        return members

    def _standard(self, element: etree._Element, place: Place) -> ForeignJson:
        name = str(element.tag)
        if name.startswith("{"):
            return self._extension(element, place)
        if name == "ilmd":
            return self._members(_unwrapped(element), place, self._extension)
        if name in _LISTS:
            return [
                self._standard(each, place.element(index))
                for index, each in enumerate(_unwrapped(element))
                if _is(each, _LISTS[name], place)
            ]
        if name in _TYPED:
            return self._typed(element, name, place)
        if name in ("sensorMetadata", "sensorReport"):
            return self._of_attributes(element, place)
        if len(element):
            return self.event(element, place)
        return _value(name, _text(element), place)

    def _typed(self, element: etree._Element, name: str, place: Place) -> ForeignJson:
        members: dict[str, ForeignJson] = {}
        if "type" in element.attrib:
            members["type"] = _TYPED[name].bare(_expanded(str(element.attrib["type"]).strip()))
        members[name] = _text(element)
        return members

    def _of_attributes(self, element: etree._Element, place: Place) -> dict[str, ForeignJson]:
        members: dict[str, ForeignJson] = {}
        for tag, value in element.attrib.items():
            name = self._names.name(str(tag))
            members[name] = _value(name, str(value).strip(), place.member(name))
        members.update(self._members(_unwrapped(element), place, self._standard))
        return members

    def _extension(self, element: etree._Element, place: Place) -> ForeignJson:
        """Return what an element of a foreign namespace, or one inside it, holds."""
        if not len(element) and not element.attrib:
            return _text(element)
        if _text(element) or any((child.tail or "").strip() for child in element):
            raise _refused(
                place, "text beside attributes or elements has no form in JSON-LD; put it in an"
                " element of its own"
            )  # fmt: skip
        members: dict[str, ForeignJson] = {
            self._names.name(str(tag)): str(value).strip() for tag, value in element.attrib.items()
        }
        members.update(self._members(list(element), place, self._extension))
        return members


def _value(name: str, text: str, place: Place) -> ForeignJson:
    if name in _VOCABULARIES:
        return _VOCABULARIES[name].bare(_expanded(text))
    if name in _NUMBERS:
        return _number(text, place)
    if name == "booleanValue":
        if text not in _BOOLEANS:
            raise _refused(place, f"{shown(text)} is no boolean; write true or false")
        return _BOOLEANS[text]
    return text


def _expanded(text: str) -> str:
    """Return the URI of a value with one of the prefixes that GS1's XML documents use."""
    prefix, colon, local = text.partition(":")
    if colon and prefix in ("gs1", "cbv", "epcis"):
        return STANDARD_PREFIXES[prefix] + local
    return text


def _number(text: str, place: Place) -> int | float:
    if not is_number(text):
        raise _refused(place, f"{shown(text)} is no decimal number")
    number = json_number(text)
    if number is None:
        raise _refused(
            place,
            f"{shown(text)} has more digits than a double, which a JSON number is; write at most"
            " 15",
        )
    return number


def _as_list(value: ForeignJson) -> list[ForeignJson]:
    return list(value) if isinstance(value, list) else [value]


def _unwrapped(element: etree._Element) -> list[etree._Element]:
    """Return the children of an element, those of a transparent wrapper in its place."""
    children: list[etree._Element] = []
    for child in element:
        children += _unwrapped(child) if str(child.tag) in _TRANSPARENT else [child]
    return children


def _is(element: etree._Element, name: str, place: Place) -> bool:
    if str(element.tag) != name:
        raise _refused(place, f"{shown(str(element.tag))} stands where {name} belongs")
    return True


def _text(element: etree._Element) -> str:
    return (element.text or "").strip()


def _local(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _check_size(root: etree._Element, place: Place) -> None:
    depth = elements = 0
    for action, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if action == "start" else -1
        elements += action == "start"
        if depth > DEPTH_MAX:
            raise _refused(place, f"nests deeper than {DEPTH_MAX} elements")
        if elements > ELEMENTS_MAX:
            raise _refused(place, f"has over {ELEMENTS_MAX} elements; send parts")


def _refused(place: Place, problem: str) -> EpcisError:
    return EpcisError(str(place.refusal(problem)))
