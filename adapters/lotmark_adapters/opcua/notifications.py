"""The messages of one subscription, taken in one by one: no network, no clock."""

from collections.abc import Mapping, Sequence

from asyncua import ua

from lotmark_adapters.observation import GapReason, SourceGap
from lotmark_adapters.opcua.arrivals import Arrivals
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.observed import observed
from lotmark_adapters.opcua.vision_results import ResultEvents

RESULTS_HANDLE = 0  # signals are counted from 1

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

    def take(self, message: ua.NotificationMessage, captured_us: int) -> str:
        """Take a message in; return by which status the server ended the subscription, or "".

        Args:
            message: As it came.
            captured_us: When, Unix time by this machine's clock.
        """
        ended = ""
        if not message.NotificationData:
            return ended  # it says only that the subscription lives
        if message.SequenceNumber:  # asyncua tells of a lost connection by a message without one
            self._check_number(message.SequenceNumber)
        for data in message.NotificationData:
            if isinstance(data, ua.DataChangeNotification):
                for item in data.MonitoredItems:
                    self._take_value(item.ClientHandle, item.Value, captured_us)
            elif isinstance(data, ua.EventNotificationList):
                self._take_events(data.Events, captured_us)
            elif isinstance(data, ua.StatusChangeNotification):
                ended = data.Status.name
        return ended

    def give_untold(self, captured_us: int) -> None:
        """Give what was read of those signals that the server has told nothing of."""
        for handle, told in list(self.untold.items()):
            self._take_value(handle, told, captured_us)

    def _take_value(self, handle: int, told: ua.DataValue, captured_us: int) -> None:
        watch = self._watches.get(handle)
        if watch is None:
            return
        self.untold.pop(handle, None)
        observation, code = observed(watch.signal.node, self._next_sequence, told, captured_us)
        observation = watch.with_type(observation, told)
        self._next_sequence += 1
        for gap in watch.gaps_before(observation, code, self._instance):
            self.arrivals.add_gap(gap)
        self.arrivals.add_observation(observation)

    def _take_events(self, events: Sequence[ua.EventFieldList], captured_us: int) -> None:
        for event in events:
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
