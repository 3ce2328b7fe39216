"""What a verifier says: valid, at fault, or that it cannot tell; and exactly where."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from lotmark.canonical_json import JsonValue
from lotmark.errors import ProtocolError
from lotmark.snapshot import UnknownVersionError
from lotmark.ustar import CutOffError


class Conclusion(IntEnum):
    """The answer; the numbers are exit codes."""

    VALID = 0
    INVALID = 1
    CANNOT_TELL = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is not as it must be."""

    rule: str  # what was being checked, one word or two
    text: str
    height: int | None = None
    index: int | None = None  # of the entry

    def __str__(self) -> str:
        return f"{self.place}{self.rule}: {self.text}"

    @property
    def place(self) -> str:
        """Where it is, ready to be written before something else."""
        match self.index, self.height:
            case None, None:
                return ""
            case None, height:
                return f"block {height}: "
            case index, None:
                return f"entry {index}: "
            case index, height:
                return f"entry {index} (height {height}): "


class FaultFound(ProtocolError):
    """A claim does not hold."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class UndecidedError(ProtocolError):
    """There is no verdict: something needed to reach one is missing."""


@contextmanager
def blaming(rule: str, *, height: int | None = None, index: int | None = None) -> Iterator[None]:
    """Name the rule and the place of what goes wrong inside.

    Raises:
        FaultFound: Something broke the protocol.
        UndecidedError: The bytes are cut off or of an unknown version.
    """
    try:
        yield
    except (FaultFound, UndecidedError):
        raise
    except (CutOffError, UnknownVersionError) as error:
        raise UndecidedError(str(error)) from error
    except ProtocolError as error:
        raise FaultFound(Fault(rule, str(error), height, index)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Something that is no fault, but that a person should know."""

    kind: str
    text: str
    count: int = 1
    first_index: int | None = None

    def to_json(self) -> JsonValue:
        """Return it for programs."""
        return {
            "kind": self.kind,
            "text": self.text,
            "count": self.count,
            "first_index": _decimal(self.first_index),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that is said of one file."""

    kind: str  # "snapshot", "receipt", or "" where it is neither
    conclusion: Conclusion
    text: str
    chain_id: bytes | None = None  # that the file claims
    fault: Fault | None = None
    ticks: Sequence[str] = ()  # what was checked and holds, in order
    flags: Sequence[Flag] = ()
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return it for people."""
        ticks = "  ".join(f"{tick} ✓" for tick in self.ticks)
        flags = [f"NOTE  {flag.text}" for flag in self.flags]
        word = self.conclusion.name.replace("_", " ")
        return [*([ticks] if ticks else []), *flags, f"{word}  {self.text}"]

    def to_json(self) -> dict[str, JsonValue]:
        """Return it for programs; integers of 64 bits are decimal strings."""
        fault = self.fault
        return {
            "kind": self.kind,
            "conclusion": self.conclusion.name.lower(),
            "text": self.text,
            "chain_id": self.chain_id.hex() if self.chain_id else None,
            "fault": None
            if fault is None
            else {
                "rule": fault.rule,
                "text": fault.text,
                "height": _decimal(fault.height),
                "index": _decimal(fault.index),
            },
            "checked": list(self.ticks),
            "flags": [flag.to_json() for flag in self.flags],
            **self.details,
        }


def _decimal(number: int | None) -> str | None:
    return None if number is None else str(number)


def time_text(time_ms: int, *, precise: bool = False) -> str:
    """Return Unix milliseconds as a person reads them, in UTC."""
    try:
        moment = datetime.fromtimestamp(time_ms // 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms of Unix time"
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{time_ms % 1_000:03} UTC" if precise else f"{text} UTC"
