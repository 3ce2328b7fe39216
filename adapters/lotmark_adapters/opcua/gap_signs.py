"""What shows, in the values of one signal themselves, that others are missing before them."""

import re
from dataclasses import dataclass, replace

from asyncua import ua

from lotmark_adapters.observation import GapReason, Observation, SourceGap
from lotmark_adapters.opcua.settings import OpcuaSignal

OVERFLOW = 0x480  # InfoType DataValue with the bit Overflow: OPC 10000-4, 7.39.1

_WHOLE = re.compile(r"[0-9]{1,18}")


@dataclass(slots=True)
class SignalWatch:
    """One signal, and what is remembered of its last value."""

    signal: OpcuaSignal
    kind: ua.VariantType | None = None  # of its values since it was first told
    count: int | None = None  # where it is a counter
    made_us: int = 0  # of the last value; 0: not to be compared with
    has_restarted: bool = False  # the server, since then

    def resubscribed(self, *, has_restarted: bool) -> None:
        """Forget what says nothing across a gap that is known anyway.

        Args:
            has_restarted: Whether the server has, so that counters may have begun again.
        """
        self.made_us = 0
        self.has_restarted |= has_restarted

    def gaps_before(self, now: Observation, code: int, instance: str) -> list[SourceGap]:
        """Return what is missing between the last value and this one.

        Args:
            now: The value.
            code: Its status code.
            instance: The subscription it came by.
        """
        last_us, gaps = self.made_us or None, list[SourceGap]()
        if code & OVERFLOW == OVERFLOW:
            gaps.append(
                SourceGap(
                    reason=GapReason.OVERFLOW_BIT,
                    signal=now.signal,
                    instance=instance,
                    last_seen_us=last_us,
                    resumed_us=now.made_us,
                )
            )
        if self.signal.is_counter and now.value is not None:
            gaps += self._counter_gaps(now, last_us)
        most_us = (self.signal.max_gap_ms or 0) * 1_000
        if most_us and last_us and now.made_us - last_us > most_us:
            gaps.append(
                SourceGap(
                    reason=GapReason.TIME_JUMP,
                    signal=now.signal,
                    instance=instance,
                    last_seen_us=last_us,
                    resumed_us=now.made_us,
                )
            )
        self.made_us = now.made_us
        return gaps

    def with_type(self, now: Observation, told: ua.DataValue) -> Observation:
        """Return the value; where its type is not the one before, its status says so."""
        variant = told.Value
        if variant is None or variant.Value is None or variant.VariantType is self.kind:
            return now
        before, self.kind = self.kind, variant.VariantType
        if before is None:
            return now
        changed = f"type changed from {before.name} to {self.kind.name}"
        return replace(now, status=f"{now.status}; {changed}" if now.status else changed)

    def _counter_gaps(self, now: Observation, last_us: int | None) -> list[SourceGap]:
        """Return the numbers that a counter has passed unseen; they are the machine's own."""
        assert now.value is not None
        if not _WHOLE.fullmatch(now.value):
            return []
        before, self.count = self.count, int(now.value)
        has_restarted, self.has_restarted = self.has_restarted, False
        if before is None:
            return []
        if not has_restarted and before <= self.count <= before + 1:
            return []
        if not has_restarted and self.count > before:
            return [
                SourceGap(
                    reason=GapReason.COUNTER_JUMP,
                    signal=now.signal,
                    first=before + 1,
                    last=self.count - 1,
                    count=self.count - before - 1,
                    last_seen_us=last_us,
                    resumed_us=now.made_us,
                )
            ]
        # Set back, or perhaps so: how far it had come is not known, nor with what it began. That it
        # stands higher now proves nothing, since it may have begun again and passed the old number.
        return [
            SourceGap(
                reason=GapReason.INSTANCE_CHANGED,
                signal=now.signal,
                first=before + 1,
                last_seen_us=last_us,
                resumed_us=now.made_us,
            )
        ]
