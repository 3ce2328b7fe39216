"""What an MTConnect source must know, and how it is read from plain settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lotmark_adapters.errors import SourceRefused

# Of each number: the least and the most it may be, for everybody who waits, stores or answers.
BOUNDS = {
    "interval_ms": (0, 60_000),
    "heartbeat_ms": (10, 600_000),
    "count": (1, 10_000),
    "document_size_max": (10_000, 64_000_000),
}
OPTIONS = (*BOUNDS, "assets", "ca")
SIGNALS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MtconnectSettings:
    """One agent, or one device of it."""

    name: str  # of the source
    address: str  # http(s)://host:port, and /device where the agent has several
    signals: frozenset[str] = frozenset()  # data item ids; empty: all
    interval_ms: int = 100  # the agent gathers observations for so long before it tells them
    heartbeat_ms: int = 10_000  # after so long without observations it says that it lives
    count: int = 1_000  # most observations of a document
    document_size_max: int = 8_000_000  # bytes
    assets: bool = True  # whether assets are fetched when the agent tells that they changed
    ca: Path | None = None  # PEM file of who certifies the agent; None: whom the system trusts

    @property
    def agent(self) -> str:
        """The address without a device."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def device(self) -> str:
        """The device's name or uuid, empty for the whole agent."""
        return urlsplit(self.address).path.strip("/")


def mtconnect_settings(
    name: str, address: str, signals: Sequence[str], options: Mapping[str, object], *, folder: Path
) -> MtconnectSettings:
    """Return the settings of a source.

    Args:
        name: Of the source.
        address: Of the agent.
        signals: Ids of data items; none: all are taken.
        options: By name, as a TOML file gives them.
        folder: Paths in the options are relative to it.

    Raises:
        SourceRefused: An option is unknown, or a value is not possible.
    """
    place = f"source {name}"
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise SourceRefused(
            f"{place}: option {unknown[0][:40]!a} is unknown; remove it, or use one of"
            f" {', '.join(OPTIONS)}"
        )
    numbers = {key: _number(place, key, options[key]) for key in BOUNDS if key in options}
    assets, ca = options.get("assets", True), options.get("ca")
    if not isinstance(assets, bool):
        raise SourceRefused(f"{place}: assets is {assets!a}; write true or false")
    if ca is not None and not (isinstance(ca, str) and (folder / ca).is_file()):
        raise SourceRefused(f"{place}: ca {ca!a} is no file; name one with certificates in PEM")
    if len(signals) > SIGNALS_MAX:
        raise SourceRefused(
            f"{place}: {len(signals)} signals; at most {SIGNALS_MAX} can be named, none means all"
        )
    return MtconnectSettings(
        name=name,
        address=checked_address(address),
        signals=frozenset(signals),
        assets=assets,
        ca=None if ca is None else folder / str(ca),
        **numbers,
    )


def checked_address(address: str) -> str:
    """Return an agent's address without a slash at its end.

    Raises:
        SourceRefused: It is not http(s)://host[:port][/device].
    """
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or parts.username or "/" in parts.path.strip("/"):
        raise SourceRefused(
            f"{address[:80]!a} is no address of an MTConnect agent; write http://HOST:PORT, or"
            " http://HOST:PORT/DEVICE for one device of several"
        )
    return address.rstrip("/")


def _number(place: str, key: str, value: object) -> int:
    least, most = BOUNDS[key]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SourceRefused(f"{place}: {key} is {value!a}; write a whole number {least} to {most}")
    return value
