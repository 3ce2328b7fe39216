"""What must be known to watch an OPC UA server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua

from lotmark_adapters.errors import SourceRefused

QUEUE_SIZE_MIN = 100  # servers with shorter queues were seen to lose most changes without a sign
QUEUE_SIZE_MAX = 100_000
INTERVAL_MS_MAX = 60_000
MAX_GAP_MS_MAX = 86_400_000
ANSWER_S_MIN = 0.1
ANSWER_S_MAX = 60.0
SIGNALS_MAX = 1_000

_OPTIONS = (
    "trusted", "own", "application_uri", "security", "insecure", "user", "password_file",
    "publishing_ms", "sampling_ms", "queue_size", "answer_s", "max_gap_ms", "results",
)  # fmt: skip


class Security(StrEnum):
    """How messages are signed and encrypted."""

    BASIC256_SHA256 = "Basic256Sha256"
    AES256_SHA256_RSA_PSS = "Aes256_Sha256_RsaPss"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaSignal:
    """One variable of the server."""

    name: str  # within the site's words
    node: str  # its node id, "ns=2;s=W07.Current"
    unit: str = ""
    is_counter: bool = False  # it goes up by one with each piece
    max_gap_ms: int | None = None  # further apart are two values only where some are missing


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaSettings:
    """One server; paths are complete."""

    name: str
    address: str  # "opc.tcp://HOST:PORT/PATH"
    signals: tuple[OpcuaSignal, ...] = ()
    own: Path  # folder of this client's certificate and key, which are made where absent
    application_uri: str  # by which this client names itself
    trusted: Path | None  # folder of the certificates of servers or their issuers; None: insecure
    security: Security = Security.BASIC256_SHA256
    is_insecure: bool = False  # neither signed nor encrypted, and nobody known: for development
    user: str = ""  # "": anonymous
    password_file: Path | None = None
    publishing_ms: int = 250
    sampling_ms: int = 0  # 0: as fast as the server can
    queue_size: int = 1_000  # values that the server keeps of a signal until they are fetched
    answer_s: float = 5.0  # for so long a server may be silent
    has_results: bool = False  # whether OPC 40100-1 results are asked for as well

    def __post_init__(self) -> None:
        address = urlsplit(self.address)
        if address.scheme != "opc.tcp" or not address.hostname:
            self._refuse(f"address {self.address!r} is not such as opc.tcp://10.0.0.7:4840")
        if not self.is_insecure and self.trusted is None:
            self._refuse(
                'no trusted certificates: name their folder, trusted = "trusted"; insecure = true'
                " leaves the server unknown and is for development"
            )
        if self.is_insecure and self.user:
            self._refuse("a password may not be sent without encryption; leave out insecure")
        if bool(self.user) != (self.password_file is not None):
            self._refuse("user and password_file belong together; give both or none")
        for what, value, least, most in (
            ("queue_size", self.queue_size, QUEUE_SIZE_MIN, QUEUE_SIZE_MAX),
            ("publishing_ms", self.publishing_ms, 1, INTERVAL_MS_MAX),
            ("sampling_ms", self.sampling_ms, 0, INTERVAL_MS_MAX),
            ("answer_s", self.answer_s, ANSWER_S_MIN, ANSWER_S_MAX),
            ("number of signals", len(self.signals), 0, SIGNALS_MAX),
        ):
            if not least <= value <= most:
                self._refuse(f"{what} {value} is not between {least} and {most}")
        for signal in self.signals:
            self._check_signal(signal)

    @property
    def host(self) -> str:
        """The server's host as the address names it."""
        host = urlsplit(self.address).hostname
        assert host is not None
        return host

    def _check_signal(self, signal: OpcuaSignal) -> None:
        try:
            ua.NodeId.from_string(signal.node)
        except ua.UaError as error:
            raise SourceRefused(
                f"source {self.name}: signal {signal.name}: {signal.node!r} is no node id such as"
                " ns=2;s=W07.Current or ns=3;i=1001"
            ) from error
        if signal.max_gap_ms is not None and not 0 < signal.max_gap_ms <= MAX_GAP_MS_MAX:
            self._refuse(
                f"max_gap_ms {signal.max_gap_ms} of {signal.name} is not between 1 and"
                f" {MAX_GAP_MS_MAX}"
            )

    def _refuse(self, why: str) -> None:
        raise SourceRefused(f"source {self.name}: {why}")


def opcua_settings(
    *,
    name: str,
    address: str,
    signals: Sequence[OpcuaSignal],
    options: Mapping[str, object],
    folder: Path,
) -> OpcuaSettings:
    """Return the settings of a source, its options as they stand in a settings file.

    Args:
        name: Of the source, unique in its site.
        address: Of the server.
        signals: What is watched. `max_gap_ms` is taken from the option of that name.
        options: `trusted`, `own`, `application_uri`, `security`, `insecure`, `user`,
            `password_file`, `publishing_ms`, `sampling_ms`, `queue_size`, `answer_s`,
            `max_gap_ms` (milliseconds by signal name), `results`.
        folder: What paths in the options are relative to.

    Raises:
        SourceRefused: An option is unknown, of another kind, or out of bounds.
    """
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise SourceRefused(
            f"source {name}: unknown option {unknown[0]!r}; OPC UA has {', '.join(_OPTIONS)}"
        )
    read = _Options(name, options)
    gaps = read.gaps([signal.name for signal in signals])
    trusted = read.text("trusted", "")
    password_file = read.text("password_file", "")
    word = read.text("security", Security.BASIC256_SHA256)
    if word not in list(Security):
        raise SourceRefused(f"source {name}: security {word!r} is not one of {', '.join(Security)}")
    return OpcuaSettings(
        name=name,
        address=address,
        signals=tuple(
            OpcuaSignal(
                name=each.name,
                node=each.node,
                unit=each.unit,
                is_counter=each.is_counter,
                max_gap_ms=gaps.get(each.name),
            )
            for each in signals
        ),
        own=folder / read.text("own", "opcua"),
        application_uri=read.text("application_uri", f"urn:lotmark:edge:{name}"),
        trusted=folder / trusted if trusted else None,
        security=Security(word),
        is_insecure=read.of_kind("insecure", bool, default=False),
        user=read.text("user", ""),
        password_file=folder / password_file if password_file else None,
        publishing_ms=read.of_kind("publishing_ms", int, default=250),
        sampling_ms=read.of_kind("sampling_ms", int, default=0),
        queue_size=read.of_kind("queue_size", int, default=1_000),
        answer_s=float(read.of_kind("answer_s", int | float, default=5.0)),
        has_results=read.of_kind("results", bool, default=False),
    )


@dataclass(frozen=True, slots=True)
class _Options:
    """Options by name; each is read as the kind it must be of."""

    source: str
    plain: Mapping[str, object]

    def text(self, option: str, default: str) -> str:
        return str(self.of_kind(option, str, default=default))

    def of_kind(self, option: str, kind: Any, *, default: Any) -> Any:
        value = self.plain.get(option, default)
        # A bool is an int to Python, not to whoever writes a settings file.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise SourceRefused(
                f"source {self.source}: option {option} = {value!r} is no {_kind_name(kind)}"
            )
        return value

    def gaps(self, names: Sequence[str]) -> dict[str, int]:
        """Return `max_gap_ms` by the name of a signal."""
        table = self.of_kind("max_gap_ms", dict, default={})
        for name, value in table.items():
            if name not in names:
                raise SourceRefused(
                    f"source {self.source}: max_gap_ms names {name!r}, which is no signal of it"
                )
            if type(value) is not int:
                raise SourceRefused(
                    f"source {self.source}: max_gap_ms of {name} = {value!r} is no whole number"
                )
        return dict(table)


def _kind_name(kind: Any) -> str:
    return {bool: "true or false", int: "whole number", str: "text", dict: "table"}.get(
        kind, "number"
    )
