"""The messages of one subscription, taken in one by one: no network, no clock.

A server tells each signal's values in their order, but one signal's after another's: the currents
of five welds, then their five numbers. So the values of a publishing interval, which may be several
messages, are put in the order of their times before they are given; those of one signal stay in
the server's.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from asyncua import ua

from lotmark_adapters.observation import GapReason, Observation, SourceGap
from lotmark_adapters.opcua.arrivals import Arrivals
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.observed import made_us, observed
from lotmark_adapters.opcua.vision_results import ResultEvents

RESULTS_HANDLE = 0  # signals are counted from 1

HELD_VALUES_MAX = 50_000  # of messages that the server has not told to their end

_SEQUENCE_NUMBERS = 2**32 - 1  # of messages, from 1; then they begin again


class Notifications:
    """Makes observations, records and gaps of what a subscription brings, in its order."""

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
        self._message_number: int | None = None
        self._held: list[tuple[int, ua.DataValue, int]] = []  # handle, value, when it came
        self._held_events: list[tuple[ua.EventFieldList, int]] = []

    def take(
        self, message: ua.NotificationMessage, captured_us: int, *, has_more: bool = False
    ) -> str:
        """Take a message in; return by which status the server ended the subscription, or "".

        Args:
            message: As it came.
            captured_us: When, Unix time by this machine's clock.
            has_more: Whether the server has not told all of this interval yet.
        """
        ended = ""
        if not message.NotificationData:
            return ended  # it says only that the subscription lives
        if message.SequenceNumber:  # asyncua tells of a lost connection by a message without one
            self._check_number(message.SequenceNumber)
        for data in message.NotificationData:
            if isinstance(data, ua.DataChangeNotification):
                self._held += (
                    (each.ClientHandle, each.Value, captured_us) for each in data.MonitoredItems
                )
            elif isinstance(data, ua.EventNotificationList):
                self._held_events += ((each, captured_us) for each in data.Events)
            elif isinstance(data, ua.StatusChangeNotification):
                ended = data.Status.name
        if not has_more or len(self._held) + len(self._held_events) >= HELD_VALUES_MAX:
            self.give_held()
        return ended

    def give_held(self) -> None:
        """Give what waits for the rest of its interval, which will not come any more."""
        values, self._held = self._held, []
        events, self._held_events = self._held_events, []
        self._give_values(values)
        self._give_events(events)

    def give_untold(self, captured_us: int) -> None:
        """Give what was read of those signals that the server has told nothing of."""
        self.give_held()
        self._give_values([(handle, told, captured_us) for handle, told in self.untold.items()])

    def _give_values(self, values: Sequence[tuple[int, ua.DataValue, int]]) -> None:
        """Give values by their times. Gaps lie before all values of their instant.

        Otherwise a gap in one signal would part a value from the part's number that it belongs to.
        """
        timed = list[tuple[int, int, ua.DataValue, int]]()
        newest_us = dict[int, int]()  # by handle
        for handle, told, captured_us in values:
            if handle not in self._watches:
                continue
            self.untold.pop(handle, None)
            # A clock that was set back does not turn the values of one signal round.
            at_us = max(made_us(told, captured_us), newest_us.get(handle, 0))
            newest_us[handle] = at_us
            timed.append((at_us, handle, told, captured_us))
        timed.sort(key=_time)
        for _, instant in groupby(timed, key=_time):
            alike = list[Observation]()
            for _, handle, told, captured_us in instant:
                watch = self._watches[handle]
                observation, code = observed(
                    watch.signal.node, self._next_sequence, told, captured_us
                )
                self._next_sequence += 1
                alike.append(watch.with_type(observation, told))
                for gap in watch.gaps_before(alike[-1], code, self._instance):
                    self.arrivals.add_gap(gap)
            for observation in alike:
                self.arrivals.add_observation(observation)

    def _give_events(self, events: Sequence[tuple[ua.EventFieldList, int]]) -> None:
        for event, captured_us in events:
            if self.results is None or event.ClientHandle != RESULTS_HANDLE:
                continue
            taken = self.results.record(event.EventFields, captured_us)
            if isinstance(taken, SourceGap):
                self.arrivals.add_gap(taken)
            else:
                self.arrivals.add_record(taken)

    def _check_number(self, number: int) -> None:
        """Notice a message that never came, or came in a form that asyncua could not read."""
        before, self._message_number = self._message_number, number
        if before is not None and number != before % _SEQUENCE_NUMBERS + 1:
            self.arrivals.add_gap(SourceGap(reason=GapReason.UNREADABLE, instance=self._instance))


def _time(timed: tuple[int, int, ua.DataValue, int]) -> int:
    return timed[0]
