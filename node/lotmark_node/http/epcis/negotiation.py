"""What a request to the EPCIS interface wants of its answer, and whether it can be had."""

import re
from collections.abc import Iterator, Mapping

from lotmark_node.http.errors import NotAcceptable, UnsupportedMedia, UriTooLong

URI_SIZE_MAX = 16_384  # characters
JSON = "application/json"
JSON_LD = "application/ld+json"
READ_TYPES = (JSON, JSON_LD, "application/xml", "text/xml")

EPCIS_VERSION = "2.0.0"
CBV_VERSION = "2.0.0"
KEPT_FORM = "Never_Translates"

_PARTS_MAX = 4
_VERSION = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}")
_RANGES = {  # header -> whether our version may be lower than what it says
    "GS1-EPCIS-Min": (EPCIS_VERSION, False),
    "GS1-EPCIS-Max": (EPCIS_VERSION, True),
    "GS1-CBV-Min": (CBV_VERSION, False),
    "GS1-CBV-Max": (CBV_VERSION, True),
}
_VERSIONS = {"GS1-EPCIS-Version": EPCIS_VERSION, "GS1-CBV-Version": CBV_VERSION}
_FORMATS = ("No_Preference", KEPT_FORM)
_EXTENSION = re.compile(r"\s*([A-Za-z][A-Za-z0-9_\-]{0,63})\s*=\s*(\S{1,400}?)\s*")


def check_uri(raw: bytes, query: bytes) -> None:
    """Check that a request's URI is not too long.

    Raises:
        UriTooLong: It is.
    """
    size = len(raw) + len(query)
    if size > URI_SIZE_MAX:
        raise UriTooLong(f"the URI has {size} characters; at most {URI_SIZE_MAX} are read")


def check_versions(headers: Mapping[str, str]) -> None:
    """Check the versions and forms that a request takes.

    Raises:
        NotAcceptable: One of them is not served.
    """
    for name, (own, may_be_higher) in _RANGES.items():
        wanted = _version(name, headers)
        if wanted is not None and (
            _numbers(own) > wanted if may_be_higher else _numbers(own) < wanted
        ):
            raise NotAcceptable(f"{name}: {headers[name][:40]} leaves out {own}, which is served")
    for name, own in _VERSIONS.items():
        wanted = _version(name, headers)
        if wanted is not None and wanted != _numbers(own):
            raise NotAcceptable(f"{name}: {headers[name][:40]} is not served; {own} is")
    form = headers.get("GS1-EPC-Format", KEPT_FORM)
    if form not in _FORMATS:
        raise NotAcceptable(
            f"GS1-EPC-Format: {form[:40]} is not served: ids are told as they were captured"
            f" ({KEPT_FORM}), and are found by any of their forms"
        )


def answer_type(accept: str) -> str:
    """Return the media type of a JSON answer that a request accepts.

    Raises:
        NotAcceptable: It accepts neither.
    """
    if not accept.strip():
        return JSON
    best: dict[str, float] = {}
    for part in accept.split(",")[:64]:
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        for offered in (JSON, JSON_LD):
            if name in (offered, "application/*", "*/*"):
                best[offered] = max(best.get(offered, 0.0), _quality(parameters))
    offered = max((JSON, JSON_LD), key=lambda each: best.get(each, 0.0))
    if best.get(offered, 0.0) <= 0.0:
        raise NotAcceptable(f"Accept: {accept[:80]} leaves out {JSON} and {JSON_LD}, as it is told")
    return offered


def body_type(content_type: str) -> str:
    """Return the media type of a body that is read.

    Raises:
        UnsupportedMedia: It is not read.
    """
    found = content_type.partition(";")[0].strip().lower()
    if found not in READ_TYPES:
        raise UnsupportedMedia(
            f"Content-Type: {content_type[:80]!a} is not read; send {', '.join(READ_TYPES)}"
        )
    return found


def namespaces(extensions: str) -> dict[str, str]:
    """Return what the prefixes in the header GS1-Extensions stand for."""
    return dict(_declared(extensions))


def _declared(extensions: str) -> Iterator[tuple[str, str]]:
    for part in extensions.split(",")[:64]:
        match = _EXTENSION.fullmatch(part)
        if match is not None:
            yield match[1], match[2]


def _version(name: str, headers: Mapping[str, str]) -> tuple[int, ...] | None:
    text = headers.get(name)
    if text is None:
        return None
    if _VERSION.fullmatch(text.strip()) is None:
        raise NotAcceptable(f"{name}: {text[:40]!a} is no version, such as {EPCIS_VERSION}")
    return _numbers(text.strip())


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return (*numbers, *[0] * (_PARTS_MAX - len(numbers)))  # 2.0 means 2.0.0


def _quality(parameters: list[str]) -> float:
    for each in parameters:
        if each.startswith("q="):
            try:
                return min(1.0, float(each[2:]))
            except ValueError:
                return 0.0
    return 1.0
