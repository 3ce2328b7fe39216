"""What is no fault, but what somebody who relies on the ledger should know."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lotmark.batch import ClockState
from lotmark.event import CheckedEvent
from lotmark.snapshot import SnapshotStart
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.report import Flag, time_text
from lotmark.verify.structure import StructureFindings
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.verification.operator_flags import OperatorFlags
from lotmark_node.verification.reexecute import ExecutedBlock

DEVICE_UNCERTAINTY_MAX_US = 1_000_000
CHECKPOINT_LATE_MAX_S = 60
HEADS_MAX = 65_536  # tree sizes whose roots are remembered, to judge what authors say they saw


@dataclass(slots=True)
class _Tally:
    """How often something was seen, and where first."""

    first_index: int
    count: int = 0


class FlagCollector:
    """Looks at executed blocks one by one."""

    def __init__(self, findings: StructureFindings, start: SnapshotStart) -> None:
        """Begin before the first block.

        Args:
            findings: What the file's structure shows, to its end.
            start: The log before the first block.
        """
        self._findings = findings
        self._keys: KeyRegister = findings.keys
        self._start_size = start.frontier.size
        self._size = start.frontier.size
        self._roots = OrderedDict([(start.frontier.size, start.frontier.root())])
        self._uncertain: _Tally | None = None
        self._contradicted: _Tally | None = None
        self._disputed: dict[bytes, _Tally] = {}
        self._operators = OperatorFlags(findings.operators)

    def take(self, executed: ExecutedBlock) -> None:
        """Look at the next block."""
        index = executed.results.first_index
        for prepared, result in zip(executed.prepared, executed.results.batches, strict=True):
            if not result.outcome:
                time_ms = executed.results.close.time_ms
                self._look_at_batch(prepared, index, time_ms)
                self._look_at_operators(prepared, result.event_outcomes, index, time_ms)
            index += result.entry_count
        self._size = executed.size
        self._roots[executed.size] = executed.root
        if len(self._roots) > HEADS_MAX:
            self._roots.popitem(last=False)

    def _look_at_batch(self, prepared: PreparedBatch, index: int, time_ms: int) -> None:
        header = prepared.batch.header
        if header.seen_size and self._contradicts(header.seen_size, header.seen_root):
            self._contradicted = _counted(self._contradicted, index, 1)
        signer = self._keys.key(header.signer)
        assert signer is not None, "an accepted batch has a signer"
        since_ms = signer.compromised_since_ms
        if since_ms and time_ms >= since_ms:
            tally = self._disputed.setdefault(header.signer, _Tally(index + 1))
            tally.count += len(prepared.events)
        clock_is_bad = (
            header.clock is ClockState.DEGRADED
            or header.clock_uncertainty_us > DEVICE_UNCERTAINTY_MAX_US
        )
        for at, event in enumerate(prepared.events, index + 1):
            if clock_is_bad or _is_uncertain(event):
                self._uncertain = _counted(self._uncertain, at, 1)

    def _look_at_operators(
        self, prepared: PreparedBatch, outcomes: Sequence[int], index: int, time_ms: int
    ) -> None:
        for at, (event, outcome) in enumerate(
            zip(prepared.events, outcomes, strict=True), index + 1
        ):
            if outcome or not isinstance(event, CheckedEvent):
                continue
            if event.body_name == "operator_signature":
                self._operators.take(event.body, index=at, time_ms=time_ms)

    def _contradicts(self, size: int, root: bytes) -> bool:
        """Tell whether an author claims a checkpoint that this log cannot have had by then."""
        if size > self._size:
            return True
        oldest = next(iter(self._roots))
        return size >= oldest and self._roots.get(size) != root

    def flags(self) -> list[Flag]:
        """Return what was seen."""
        flags = []
        if self._uncertain:
            flags.append(
                _flag(
                    "device time",
                    self._uncertain,
                    ("event has a device time", "events have device times"),
                    f"off by more than {DEVICE_UNCERTAINTY_MAX_US:,} µs, or a degraded clock",
                )
            )
        if self._contradicted:
            named = ("batch names", "batches name")
            text = "a checkpoint, as seen by its author, that this log never had"
            flags.append(_flag("seen checkpoint", self._contradicted, named, text))
        for key, tally in sorted(self._disputed.items()):
            registered = self._keys.key(key)
            assert registered is not None, "it has signed"
            text = (
                f"disputed: key {key.hex()} of {registered.party}/{registered.holder}"
                f" may be in wrong hands since {time_text(registered.compromised_since_ms)}"
            )
            flags.append(_flag("compromised key", tally, ("event is", "events are"), text))
        flags += self._operators.flags()
        flags += self._checkpoint_flags()
        return flags

    def _checkpoint_flags(self) -> list[Flag]:
        cosigned = self._findings.checkpoint.cosigned
        if not cosigned:
            return []
        cosigned_s = median(time_s for _, time_s in cosigned)
        apart_s = abs(cosigned_s - self._findings.time_ms / 1_000)
        if apart_s <= CHECKPOINT_LATE_MAX_S:
            return []
        text = (
            f"the last block says {time_text(self._findings.time_ms)}, its cosigners'"
            f" clocks are {apart_s:,.0f} s apart from that"
        )
        return [Flag(kind="block time", text=text)]


def _counted(tally: _Tally | None, index: int, count: int) -> _Tally:
    tally = tally or _Tally(index)
    tally.count += count
    return tally


def _flag(kind: str, tally: _Tally, one_or_many: tuple[str, str], what: str) -> Flag:
    counted = one_or_many[tally.count != 1]
    text = f"{tally.count:,} {counted} {what} (first: entry {tally.first_index:,})"
    return Flag(kind=kind, text=text, count=tally.count, first_index=tally.first_index)


def _is_uncertain(event: object) -> bool:
    return (
        isinstance(event, CheckedEvent)
        and event.message.time.uncertainty_us > DEVICE_UNCERTAINTY_MAX_US
    )
