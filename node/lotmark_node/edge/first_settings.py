"""A first settings file for a source that was looked into: a person names limits, and it runs."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lotmark.errors import MalformedError
from lotmark.text import check_identifier
from lotmark_node.edge.settings_file import NAME_SIZE_MAX, SIGNAL_NAME_SIZE_MAX

SIGNALS_WRITTEN_MAX = 250  # in a file of at most 64 KiB
ADDRESS_SIZE_MAX = 256
SHOWN_MAX = 40  # characters of a value in a comment

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")

_HEAD = """\
# Written by `lotmark edge {command}`. Read it through, then: lotmark edge run {file}
site = {site}              # this site's name, in every event that it signs
data = "data"                  # where it keeps observations, raw files and its memory
client = "client.toml"         # who signs, and where it sends: as `lotmark init` wrote it
# metrics_listen = "127.0.0.1:8405"           # where Prometheus may ask
# alarm_post = "http://127.0.0.1:9100/alarm"  # who hears at once of values outside their limits
# trusted_lab_certificates = "labs"           # folder: who may sign calibration certificates

[store]                        # raw data at this site
quota_mb = 2_000               # no more than this; when it is full, sources wait
retention_days = 90            # kept at least so long

[[source]]
name = {source}
protocol = {protocol}
address = {address}
# equipment = "https://id.gs1.org/8004/4012345W07"  # the machine's id in events
# subject = {{ signal = "serial", prefix = "https://id.gs1.org/01/04012345000023/21/" }}
#                                # which signal tells the part that it works on
"""

_TAIL = """
# Limits make a value an alarm here, and decide what goes on record: write lower and upper as text,
# such as lower = "7.6", beside a signal's unit. is_counter = true: it goes up by one with each
# piece, so that a jump is a gap.

[policy]                       # what goes on the ledger; the first rule that fits decides
name = {site}
version = 1                    # one more with each change of the rules
rules = [
    {{ signals = "*/*", when = "outside", anchor = "full" }},  # each value outside its limits
    {{ signals = "*/*", when = "always", anchor = "window", window_s = 60 }},  # one line a minute
]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSignal:
    """A signal that a source offers."""

    address: str  # within the source
    path: str  # as a person would look for it
    kind: str = ""  # the source's word for its type
    unit: str = ""  # "": it tells none
    value: str = ""  # when it was looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSource:
    """A source that was looked into."""

    protocol: str
    address: str
    signals: Sequence[FoundSignal]
    option_lines: Sequence[str] = field(default=())  # of `[source.options]`, as TOML


def first_settings(found: FoundSource, *, site: str, source: str, file: str) -> str:
    """Return the text of a settings file that watches all that was found, up to a bound.

    Args:
        found: What the source offers.
        site: The site's name.
        source: The source's name.
        file: The settings file's name, for its first line.
    """
    head = _HEAD.format(
        command="browse" if found.protocol == "opcua" else "probe",
        file=file,
        site=_toml(site),
        source=_toml(source),
        protocol=_toml(found.protocol),
        address=_toml(found.address),
    )
    lines = [head.rstrip("\n")]
    if found.option_lines:
        lines += ["", "[source.options]", *found.option_lines]
    usable = [signal for signal in found.signals if _is_usable(signal.address)]
    names: set[str] = set()
    for signal in usable[:SIGNALS_WRITTEN_MAX]:
        lines += ["", *_signal_lines(signal, _name(signal, names))]
    if (left_out := len(found.signals) - min(len(usable), SIGNALS_WRITTEN_MAX)) > 0:
        lines += ["", f"# {left_out} more signals are not listed; add those that matter likewise."]
    return "\n".join(lines) + "\n" + _TAIL.format(site=_toml(site[:NAME_SIZE_MAX]))


def settled_name(text: str, size_max: int = NAME_SIZE_MAX) -> str:
    """Return a name as settings may have it, made of whatever a source is called."""
    return _NO_NAME.sub("_", text).strip("._-")[:size_max] or "x"


def _signal_lines(signal: FoundSignal, name: str) -> list[str]:
    seen = " ".join(part for part in (_shown(signal.kind), _shown(signal.value)) if part)
    lines = [
        f"[[source.signal]]  # {_shown(signal.path)}{f': {seen}' if seen else ''}",
        f"name = {_toml(name)}",
        f"address = {_toml(signal.address)}",
    ]
    if signal.unit:
        try:
            check_identifier(signal.unit, what="a unit", size_max=16)
        except MalformedError:
            lines.append(f'# unit = ""  # the source says {_shown(signal.unit)}')
        else:
            lines.append(f"unit = {_toml(signal.unit)}")
    return lines


def _name(signal: FoundSignal, taken: set[str]) -> str:
    """Return a name that none before has: the path's end, with more of it where that is taken."""
    parts = [part for part in re.split(r"[/.]", signal.path) if part] or [signal.address]
    for count in range(1, len(parts) + 1):
        name = settled_name("_".join(parts[-count:]), SIGNAL_NAME_SIZE_MAX)
        if name not in taken:
            break
    stem, at = name[: SIGNAL_NAME_SIZE_MAX - 5], 1
    while name in taken:
        at += 1
        name = f"{stem}_{at}"
    taken.add(name)
    return name


def _is_usable(address: str) -> bool:
    """Return whether an address can stand in a settings file."""
    is_text = not any("\ud800" <= character <= "\udfff" for character in address)
    return is_text and 0 < len(address) <= ADDRESS_SIZE_MAX


def _toml(text: str) -> str:
    """Return a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shown(text: str) -> str:
    """Return what a comment can hold of a foreign text."""
    short = text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in short
    )
