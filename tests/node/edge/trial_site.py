"""A made-up site for tests: settings, reports of a deterministic source, an outbox in memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lotmark.merkle import leaf_hash
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import Observation, Position, Report, SourceGap
from lotmark_node.edge.evidence_store import EvidenceStore
from lotmark_node.edge.kept_file import KeptFile, parse_line, read_kept_file
from lotmark_node.edge.memory_records import Changes
from lotmark_node.edge.recording import Calibration
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_recorder import SiteRecorder
from lotmark_node.edge.site_settings import (
    Anchor,
    Policy,
    PolicyRule,
    SignalSettings,
    SiteSettings,
    SourceSettings,
    StoreSettings,
    SubjectSettings,
    When,
)

START_US = 1_796_000_000_000_000
WELDER = "https://id.gs1.org/8004/4012345W07"
STATOR = "https://id.gs1.org/01/04012345000023/21/"

SIGNALS = (
    SignalSettings(name="serial", address="ns=2;s=Serial"),
    SignalSettings(name="weld", address="ns=2;s=Weld", is_counter=True),
    SignalSettings(
        name="current",
        address="ns=2;s=Current",
        feature="weld_{weld}.current",
        unit="kA",
        lower="7.6",
        upper="8.8",
    ),
    SignalSettings(name="note", address="ns=2;s=Note"),
)

RULES = (
    PolicyRule(signals="W07/note", when=When.ALWAYS, anchor=Anchor.FULL),
    PolicyRule(signals="*/current", when=When.OUTSIDE, anchor=Anchor.FULL),
    PolicyRule(signals="W07/current", when=When.ALWAYS, anchor=Anchor.WINDOW, window_count=5),
    PolicyRule(signals="W07/weld", when=When.ALWAYS, anchor=Anchor.LOCAL, window_count=7),
)


class Kept:
    """An outbox in memory, which takes an event once however often it comes."""

    def __init__(self) -> None:
        self.raw: dict[bytes, bytes] = {}
        self.fuse = Fuse()

    def submit(self, events: Sequence[bytes]) -> None:
        self.fuse()
        for event in events:
            self.raw.setdefault(leaf_hash(event), event)
        self.fuse()

    def events(self, body: str = "") -> list[event_pb2.Event]:
        """Return the events, or those with one body, in the order in which they came first."""
        parsed = [event_pb2.Event.FromString(raw) for raw in self.raw.values()]
        return [each for each in parsed if body in ("", each.WhichOneof("body"))]


class Clock:
    """This machine's clock, which stands until it is moved."""

    def __init__(self) -> None:
        self.now_us = START_US

    def __call__(self) -> int:
        return self.now_us


def site_settings(folder: Path, *, rules: Sequence[PolicyRule] = RULES) -> SiteSettings:
    """Return the settings of a site with one welder."""
    return SiteSettings(
        site="line-3",
        data=folder,
        client=folder / "client.toml",
        sources=(
            SourceSettings(
                name="W07",
                protocol="opcua",
                address="opc.tcp://127.0.0.1:4840",
                equipment=WELDER,
                subject=SubjectSettings(signal="serial", prefix=STATOR),
                signals=SIGNALS,
            ),
        ),
        policy=Policy(name="line-3", version=4, rules=tuple(rules)),
        store=StoreSettings(quota_mb=10, retention_days=30),
    )


def no_calibration(source: str, made_us: int) -> tuple[str, quality_pb2.CalibrationState.ValueType]:
    """Tell that nothing is stated."""
    return "", quality_pb2.CALIBRATION_STATE_UNSPECIFIED


def always_valid(source: str, made_us: int) -> tuple[str, quality_pb2.CalibrationState.ValueType]:
    """Tell that a certificate holds."""
    return "DCC-88-12", quality_pb2.CALIBRATION_STATE_VALID


def observed(
    sequence: int, signal: str, value: str | None, *, made_us: int | None = None
) -> Observation:
    """Return an observation, made a tenth of a second after the one before."""
    made_us = START_US + sequence * 100_000 if made_us is None else made_us
    return Observation(signal, sequence, made_us, made_us + 2_000, value)


def report(
    observations: Iterable[Observation], *, instance: str = "1", gaps: Sequence[SourceGap] = ()
) -> Report:
    """Return a report of observations in the order of their numbers."""
    observations = list(observations)
    last = observations[-1] if observations else None
    return Report(
        position=Position(
            instance=instance,
            next_sequence=1 if last is None else last.sequence + 1,
            last_made_us=0 if last is None else last.made_us,
        ),
        observations=observations,
        gaps=gaps,
    )


class Killed(BaseException):
    """The process is gone; what would have come next did not."""


class Fuse:
    """Kills at the n-th of the places at which a kill makes a difference."""

    def __init__(self) -> None:
        self.left: int | None = None  # None: it never does

    def __call__(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


class FusedMemory(SiteMemory):
    """A memory with a fuse before and behind each write."""

    fuse: Fuse = Fuse()

    def write(self, changes: Changes, *, handed_on: int = 0) -> None:
        self.fuse()
        super().write(changes, handed_on=handed_on)
        self.fuse()


class FusedStore(EvidenceStore):
    """A store with a fuse before, within and behind each file."""

    fuse: Fuse = Fuse()

    def keep(self, files: Mapping[bytes, bytes], *, now_us: int) -> None:
        written: dict[bytes, bytes] = {}
        for file, content in files.items():
            try:
                self.fuse()
            except Killed:
                super().keep(written, now_us=now_us)
                unfinished = self.path(file).with_suffix(".new")
                unfinished.parent.mkdir(parents=True, exist_ok=True)
                unfinished.write_bytes(content[: len(content) // 2])
                raise
            written[file] = content
        super().keep(files, now_us=now_us)
        self.fuse()


class TrialSite:
    """A recorder on a folder, which can be given up at any moment and opened again."""

    def __init__(self, settings: SiteSettings, outbox: Kept | None = None) -> None:
        self.settings = settings
        self.clock = Clock()
        self.jumped_us = 0  # by which somebody set the clock
        self.outbox = outbox or Kept()
        self.fuse = self.outbox.fuse = Fuse()
        self.calibration: Calibration = always_valid
        self.open()

    def open(self) -> None:
        """Open the memory, as the process does when it starts."""
        self.settings.data.mkdir(parents=True, exist_ok=True)
        self.memory = FusedMemory.open(self.settings.data, site=self.settings.site)
        self.memory.fuse = self.fuse
        try:
            self.store = FusedStore(self.settings.data, self.memory, self.settings.store)
            self.store.fuse = self.fuse
            self.recorder = SiteRecorder(
                self.settings,
                self.memory,
                self.store,
                self.outbox,
                calibration=self.calibration,
                now_us=self.clock,
                jumped_us=lambda: self.jumped_us,
            )
        except BaseException:
            self.memory.close()
            raise

    def kill(self) -> None:
        """End without a word: nothing is written."""
        self.memory.close()

    def again(self, **changed: object) -> None:
        """Kill the site, change its settings, and open it again."""
        self.kill()
        self.settings = replace(self.settings, **changed)  # type: ignore[arg-type]
        self.open()

    def take(self, *observations: Observation, instance: str = "1") -> None:
        """Take a report and hand on what follows."""
        self.recorder.take("W07", report(observations, instance=instance))
        self.hand_on()

    def hand_on(self) -> None:
        """Hand on all that waits."""
        while self.recorder.hand_on_next():
            pass

    def close_all(self) -> None:
        """Close all windows and hand them on."""
        while self.recorder.close_windows(due_only=False):
            pass
        self.hand_on()

    def files(self) -> list[KeptFile]:
        """Return all files of observations that the store has, read back."""
        found = sorted((self.settings.data / "evidence").glob("??/*"))
        return [read_kept_file(path.read_bytes()) for path in found if not path.suffix]

    @staticmethod
    def body_of(raw: bytes) -> str:
        """Return the name of an event's body."""
        return event_pb2.Event.FromString(raw).WhichOneof("body") or ""

    def kept_sequences(self) -> Counter[tuple[str, int]]:
        """Return how often each observation is kept, in files and open windows, by instance."""
        kept: Counter[tuple[str, int]] = Counter()
        for file in self.files():
            kept.update((file.header.instance, each.sequence) for each in file.observations)
        for _, lines in self.memory.open_windows():
            lines_of_it = lines.split(b"\n")[:-1]
            kept.update(("1", parse_line(line).sequence) for line in lines_of_it)
        return kept
