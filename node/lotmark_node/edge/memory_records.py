"""What a site's memory is told and tells: where sources stand, what became of what, what waits."""

from dataclasses import dataclass, field

from lotmark_adapters.observation import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """Where a source stands."""

    name: str
    position: Position
    observation_count: int  # in this run
    gap_count: int  # in this run
    context: bytes  # JSON of what it works on


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What is to be handed on."""

    event: bytes = b""  # to the outbox; b"": nothing
    file: bytes = b""  # its SHA-256; b"": none
    nonce: bytes = b""  # of the window whose file it is; b"": none
    content: bytes = b""  # of a file that is no window's


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of an observation, a window, a record or a gap, and why."""

    what: str  # "measurement", "window", "record", "gap", "policy"
    source: str
    signal: str
    policy: str  # name/version; "": none was asked
    rule: int  # from 1; 0: none fitted
    anchor: str
    first_sequence: int
    last_sequence: int
    first_made_us: int
    last_made_us: int
    observation_count: int
    event_id: bytes  # b"": none went on record
    event: bytes  # where it bears a file, so that they can be compared
    file: bytes  # SHA-256 of what the store keeps; b"": nothing of its own
    anchored: bytes  # digest of the file as the event has it; b"": none
    nonce: bytes  # of the window that an observation is kept in, or that this is; b"": none
    decided_us: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that the store has, or had."""

    file: bytes
    size: int
    kept_us: int
    removed_us: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """A run of the site."""

    session: bytes
    is_closed: bool


@dataclass(slots=True)
class Changes:
    """What one transaction writes."""

    sources: dict[str, SourceState] = field(default_factory=dict)
    opened: list[tuple[bytes, bytes]] = field(default_factory=list)  # nonce, header
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)  # nonce, lines
    pending: list[Pending] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    kept: list[tuple[bytes, int, int]] = field(default_factory=list)  # file, size, when in us
    policy: tuple[str, int, bytes] | None = None  # name, version, document
    session: Session | None = None
