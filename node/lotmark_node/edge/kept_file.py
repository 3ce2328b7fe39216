"""How observations are kept: one line of canonical JSON each, many lines to a file.

    {"anchor":"window",…,"format":"lotmark-observations/1",…}        the header: whose they are
    {"captured_us":…,"made_us":…,"quality":"good","sequence":17,…}   one observation
    …

The *root* of such a file is that of the RFC 6962 tree whose leaves are the lines of its
observations, without their line feeds. So one observation can be shown without the others. The
header has 16 random bytes: nobody can guess a file of few values from its digest.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from json.encoder import JSONEncoder, encode_basestring

from lotmark import canonical_json
from lotmark.errors import MalformedError
from lotmark.merkle import leaf_hash, root
from lotmark.text import DECIMAL_PATTERN
from lotmark.v1 import event_pb2
from lotmark_adapters.observation import Observation, Quality
from lotmark_node.edge.errors import EvidenceDamaged

FORMAT = "lotmark-observations/1"
MEDIA_TYPE = "application/x-ndjson"
NONCE_SIZE = 16
LINE_SIZE_MAX = 1 << 20

_dump = JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_matches_decimal = re.compile(DECIMAL_PATTERN).fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowHeader:
    """What all observations of a file have in common."""

    site: str
    source: str
    signal: str
    instance: str  # of the source
    subject: str  # item id of what it worked on; "": not known
    unit: str
    policy: str  # name/version
    rule: int  # number of the rule, from 1; 0: none fitted
    anchor: str
    certificate: str  # of the gauge; "": none is known
    calibration: str  # its state, "valid" and so on; "": not stated
    nonce: str  # 16 random bytes, hex

    def line(self) -> bytes:
        """Return the file's first line, without its line feed."""
        # As `canonical_json.dump` gives it, much faster: very many windows may end at once.
        told = {"format": FORMAT, **{name: getattr(self, name) for name in self.__slots__}}
        return _dump(told).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file of observations that was read back."""

    header: WindowHeader
    observations: Sequence[Observation]
    root: bytes


def kept_line(observation: Observation, signal: str) -> bytes:
    """Return an observation as it is kept.

    Args:
        observation: As its source told it.
        signal: The signal's name at the site, as a JSON string.
    """
    # The hot path: `canonical_json.dump` gives the same bytes, in ten times the time.
    value, status = observation.value, observation.status
    text = (
        f'{{"captured_us":{observation.captured_us},"made_us":{observation.made_us},'
        f'"quality":"{observation.quality.value}","sequence":{observation.sequence},'
        f'"signal":{signal},"status":{json_string(status) if status else _EMPTY},'
        f'"value":{_NULL if value is None else json_string(value)}}}'
    )
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair is no character
        return text.encode(errors="replace")


_EMPTY, _NULL = '""', "null"
json_string = encode_basestring  # escapes as RFC 8785 does


def number_of(value: str | None) -> Decimal | None:
    """Return the number that a value is; None: it is text, or there is none."""
    return Decimal(value) if value is not None and _matches_decimal(value) else None


def parse_header(line: bytes) -> WindowHeader:
    """Return what a file's first line says.

    Raises:
        EvidenceDamaged: It is no such line.
    """
    try:
        found = canonical_json.load(line, size_max=LINE_SIZE_MAX)
    except MalformedError as error:
        raise EvidenceDamaged(f"{line[:80]!r} is no header of a kept file: {error}") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise EvidenceDamaged(f"the first line does not say that the format is {FORMAT}")
    types = {field.name: int if field.name == "rule" else str for field in fields(WindowHeader)}
    _check_types(found, types)
    return WindowHeader(**found)


def parse_line(line: bytes) -> Observation:
    """Return the observation that a line keeps; its signal is the name at the site.

    Raises:
        EvidenceDamaged: It is no such line.
    """
    try:
        found = json.loads(line)
        value = found.pop("value")
        _check_types(found, _LINE_TYPES)
        quality = Quality(found.pop("quality"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EvidenceDamaged(f"{line[:80]!r} is no line of a kept file: {error}") from error
    observation = Observation(value=value, quality=quality, **found)
    # Whatever else the line may be: it is the one way to write what was read.
    if (
        not isinstance(value, str | None)
        or kept_line(observation, json_string(observation.signal)) != line
    ):
        raise EvidenceDamaged(f"{line[:80]!r} is not as an observation is written")
    return observation


_LINE_TYPES: dict[str, type] = {
    "captured_us": int,
    "made_us": int,
    "quality": str,
    "sequence": int,
    "signal": str,
    "status": str,
}


def _check_types(found: Mapping[str, object], types: Mapping[str, type]) -> None:
    if found.keys() != types.keys() or any(type(found[key]) is not types[key] for key in types):
        raise EvidenceDamaged(f"{sorted(found)} are not the fields {sorted(types)}, or not theirs")


def read_kept_file(content: bytes) -> KeptFile:
    """Return what a kept file says.

    Raises:
        EvidenceDamaged: It is no such file.
    """
    first, *lines = content.split(b"\n")
    if not lines or lines.pop() != b"":
        raise EvidenceDamaged("a kept file ends with a line feed, and this one does not")
    return KeptFile(
        header=parse_header(first),
        observations=[parse_line(line) for line in lines],
        root=root([leaf_hash(line) for line in lines]),
    )


def check_against_event(content: bytes, event: event_pb2.Event) -> KeptFile:
    """Read a kept file, and check that all that a window's event says follows from it.

    Raises:
        EvidenceDamaged: It does not; the message names what differs.
    """
    if event.WhichOneof("body") != "observation_window":
        raise EvidenceDamaged("the event is not about a window of observations")
    check_digest(content, event)
    kept = read_kept_file(content)
    header, body, seen = kept.header, event.observation_window, kept.observations
    if not seen:
        raise EvidenceDamaged("the file has a header and no observation")
    numbers = [number_of(each.value) for each in seen if each.quality is not Quality.BAD]
    low, high = bounds_of(numbers)
    for what, said, found in (
        ("root", body.root.hex(), kept.root.hex()),
        ("observation_count", body.observation_count, len(seen)),
        ("first_sequence", body.first_sequence, min(each.sequence for each in seen)),
        ("last_sequence", body.last_sequence, max(each.sequence for each in seen)),
        ("minimum", number_of(body.minimum), low),
        ("maximum", number_of(body.maximum), high),
        ("policy", body.policy, header.policy),
        ("certificate", body.certificate, header.certificate),
        ("unit", body.unit, header.unit),
    ):
        if said != found:
            raise EvidenceDamaged(f"{what} is {found} in the file, and {said} in the event")
    return kept


def check_digest(content: bytes, event: event_pb2.Event) -> None:
    """Check that an event bears the digest of a file.

    Raises:
        EvidenceDamaged: It does not.
    """
    if all(hashlib.sha256(file.salt + content).digest() != file.sha256 for file in event.files):
        raise EvidenceDamaged(
            f"the event has no digest of a file of {len(content)} bytes with SHA-256"
            f" {hashlib.sha256(content).hexdigest()}"
        )


def bounds_of(numbers: Sequence[Decimal | None]) -> tuple[Decimal | None, Decimal | None]:
    """Return the smallest and the largest; None, None where one is no number, or none is there."""
    known = [each for each in numbers if each is not None]
    if not known or len(known) < len(numbers):
        return None, None
    return min(known), max(known)
