"""The messages of one subscription, taken in one by one: no network, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from asyncua import ua

from lotmark_adapters.observation import GapReason, Observation, SourceGap, SourceRecord
from lotmark_adapters.opcua.arrivals import Arrivals
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.observed import observed
from lotmark_adapters.opcua.vision_results import ResultEvents

RESULTS_HANDLE = 0  # signals are counted from 1

_SEQUENCE_NUMBERS = 2**32 - 1  # of messages, from 1; then they begin again


class Notifications:
    """Makes observations, records and gaps of what a subscription brings.

    A message tells the values of one signal after those of another. They are given by the time at
    which they were made, so that what belongs together comes together; those of one time in the
    order in which they came. Of a message in several parts all are waited for.
    """

    def __init__(
        self,
        watches: Mapping[int, SignalWatch],
        instance: str,
        next_sequence: int,
        *,
        items_max: int,
    ) -> None:
        """Begin with a new subscription.

        Args:
            watches: Its signals by the handle in its messages, which is 1 or more.
            instance: Its name.
            next_sequence: Of the first observation.
            items_max: How many may wait to be kept.
        """
        self.arrivals = Arrivals(instance, items_max=items_max)
        self.untold = dict[int, ua.DataValue]()  # what is owed a first value, as it was read
        self.results: ResultEvents | None = None  # where they were asked for
        self._watches = watches
        self._instance = instance
        self._next_sequence = next_sequence
        self._items_max = items_max
        self._held: list[tuple[Observation, list[SourceGap]]] = []  # not numbered; gaps before each
        self._held_gaps: list[SourceGap] = []  # before all of these
        self._held_records: list[SourceRecord | SourceGap] = []
        self._has_more = False  # parts of a message, of which some came
        self._message_number: int | None = None

    def take(
        self, message: ua.NotificationMessage, captured_us: int, *, has_more: bool = False
    ) -> str:
        """Take a message in; return by which status the server ended the subscription, or "".

        Args:
            message: As it came.
            captured_us: When, Unix time by this machine's clock.
            has_more: Whether another part of it follows at once.
        """
        ended = ""
        if not message.NotificationData:
            self.release()
            return ended  # it says only that the subscription lives
        if message.SequenceNumber:  # asyncua tells of a lost connection by a message without one
            self._check_number(message.SequenceNumber)
        for data in message.NotificationData:
            if isinstance(data, ua.DataChangeNotification):
                for item in data.MonitoredItems:
                    self._hold_value(item.ClientHandle, item.Value, captured_us)
            elif isinstance(data, ua.EventNotificationList):
                self._hold_events(data.Events, captured_us)
            elif isinstance(data, ua.StatusChangeNotification):
                ended = data.Status.name
        held = len(self._held) + len(self._held_records)
        self._has_more = has_more and held < self._items_max
        if not self._has_more:
            self.release()
        return ended

    def give_untold(self, captured_us: int) -> None:
        """Give what was read of those signals that the server has told nothing of."""
        for handle, told in list(self.untold.items()):
            self._hold_value(handle, told, captured_us)
        if not self._has_more:
            self.release()

    def release(self) -> None:
        """Give what has come, though a part of it may be missing."""
        self._has_more = False
        held, self._held = self._held, []
        records, self._held_records = self._held_records, []
        gaps_first, self._held_gaps = self._held_gaps, []
        for gap in gaps_first:
            self.arrivals.add_gap(gap)
        held.sort(key=_made_us)
        for _, instant in groupby(held, key=_made_us):
            observations = []
            for observation, gaps in instant:
                for gap in gaps:
                    self.arrivals.add_gap(gap)
                observations.append(replace(observation, sequence=self._next_sequence))
                self._next_sequence += 1
            self.arrivals.add_instant(observations)
        for record in records:
            if isinstance(record, SourceGap):
                self.arrivals.add_gap(record)
            else:
                self.arrivals.add_record(record)

    def _hold_value(self, handle: int, told: ua.DataValue, captured_us: int) -> None:
        watch = self._watches.get(handle)
        if watch is None:
            return
        is_first = self.untold.pop(handle, None) is not None
        observation, code = observed(watch.signal.node, 0, told, captured_us)
        observation = watch.with_type(observation, told)
        # By the order in which the server tells them: its clock may have been set between two.
        gaps = watch.gaps_before(observation, code, self._instance)
        if is_first:  # what is missing was so before the subscription told anything
            self._held_gaps += gaps
            gaps = []
        self._held.append((observation, gaps))

    def _hold_events(self, events: Sequence[ua.EventFieldList], captured_us: int) -> None:
        for event in events:
            if self.results is None or event.ClientHandle != RESULTS_HANDLE:
                continue
            self._held_records.append(self.results.record(event.EventFields, captured_us))

    def _check_number(self, number: int) -> None:
        """Notice a message that never came, or came in a form that asyncua could not read."""
        before, self._message_number = self._message_number, number
        if before is not None and number != before % _SEQUENCE_NUMBERS + 1:
            self.release()
            self.arrivals.add_gap(SourceGap(reason=GapReason.UNREADABLE, instance=self._instance))


def _made_us(held: tuple[Observation, list[SourceGap]]) -> int:
    return held[0].made_us
