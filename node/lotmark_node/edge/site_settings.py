"""What an edge site must know: the records that one TOML file is read into.

site = "line-3"                      # its name, in every event
data = "data"                        # where it keeps observations, raw files and its memory
client = "client.toml"               # who signs, and which nodes it sends to
trusted_lab_certificates = "labs"    # folder; of whoever may sign calibration certificates
metrics_listen = "127.0.0.1:8405"    # may be left out

[store]
quota_mb = 2_000
retention_days = 90

[[source]]
name = "W07"                         # unique in the site
protocol = "opcua"                   # or "mtconnect"
address = "opc.tcp://127.0.0.1:4840"
equipment = "https://id.gs1.org/8004/4012345W07"
calibration = "dcc-88-12.xml"        # of the gauge behind it, if it has one
gauge_ids = ["SN-4711"]              # that the certificate must name one of
calibration_valid_days = 365         # where the certificate states no end
clock_uncertainty_ms = 1_000         # how far the source's clock may be off
subject = { signal = "serial", prefix = "https://id.gs1.org/01/04012345000023/21/" }

[[source.signal]]
name = "weld"                        # within the site's words
address = "ns=2;s=W07.Weld"          # within the source's
is_counter = true                    # goes up by one with each piece: a jump is a gap

[[source.signal]]
name = "serial"
address = "ns=2;s=W07.Serial"

[[source.signal]]
name = "current"
address = "ns=2;s=W07.Current"
feature = "weld_{weld}.current"      # {weld}: the newest value of the signal of that name
unit = "kA"
lower = "7.6"
upper = "8.8"

[policy]
name = "line-3"
version = 4
rules = [
    { signals = "W07/*", when = "outside", anchor = "full" },
    { signals = "W07/*", when = "always", anchor = "window", window_s = 60, window_count = 1000 },
]
"""

# Inspection stations have files of their own, see `station_settings`, which the head may name:
# stations = ["aoi-cam07.toml"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lotmark_node.edge.station_settings import StationSettings


class Anchor(StrEnum):
    """How much of an observation goes on record; what goes there is kept at the site anyway."""

    FULL = "full"  # its value, as an event of its own
    DIGEST = "digest"  # of a record: the digest of its file
    WINDOW = "window"  # count, bounds and root of many
    LOCAL = "local"  # nothing


class When(StrEnum):
    """Which observations a rule is for."""

    ALWAYS = "always"
    OUTSIDE = "outside"  # beyond the signal's limits, or of bad quality
    NONCONFORMING = "nonconforming"  # a record with such a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """The first rule that fits an observation decides."""

    signals: str  # SOURCE/SIGNAL, where * stands for any characters
    when: When
    anchor: Anchor
    window_s: int = 60  # a window is closed so long after its first observation
    window_count: int = 1_000  # or with so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a site puts on record. Where no rule fits, nothing is."""

    name: str
    version: int
    rules: tuple[PolicyRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSettings:
    """One value of a source."""

    name: str
    address: str
    feature: str = ""  # "": the name
    unit: str = ""  # UCUM or UN/ECE; "": as the source says
    lower: str = ""  # decimal; "": no limit
    upper: str = ""
    is_counter: bool = False  # it goes up by one with each piece: a jump is a gap


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectSettings:
    """By which signal a source tells what it works on."""

    signal: str
    prefix: str  # of the item's id; the signal's value follows


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """One server or agent."""

    name: str
    protocol: str  # "opcua", "mtconnect"
    address: str
    signals: tuple[SignalSettings, ...]
    equipment: str = ""  # item id; "": none
    subject: SubjectSettings | None = None
    calibration: Path | None = None  # certificate of the gauge behind it
    gauge_ids: tuple[str, ...] = ()  # of which the certificate must name one
    calibration_valid_days: int | None = None  # None: as the certificate states
    clock_uncertainty_ms: int = 1_000  # how far the source's clock may be off
    options: Mapping[str, object] = field(default_factory=dict)  # of the protocol alone


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """How much raw data is kept, and how long."""

    quota_mb: int = 2_000
    retention_days: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """One edge site; paths are complete."""

    site: str
    data: Path
    client: Path
    sources: tuple[SourceSettings, ...]
    policy: Policy
    stations: tuple[StationSettings, ...] = ()
    store: StoreSettings = StoreSettings()
    trusted_lab_certificates: Path | None = None
    metrics_listen: str | None = None
    alarm_post: str | None = None  # URL of who hears of values outside their limits at once
    folder: Path = Path()  # of the file: paths in sources' options are relative to it
    settings_digest: bytes = bytes(32)  # SHA-256 of the file

    @property
    def stations_folder(self) -> Path:
        """Where licences and modes of its stations are kept."""
        return self.data / "stations"
