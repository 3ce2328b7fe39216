"""OPC UA messages as a server sends them, and taking them in: what decoding costs by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from lotmark_adapters.observation import Position
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.notifications import Notifications
from lotmark_adapters.opcua.settings import OpcuaSignal
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE

WELDS_PER_MESSAGE = 100
VALUES_PER_WELD = 3

_SIGNALS = (
    (OpcuaSignal(name="weld", node=COUNTER, is_counter=True), ua.VariantType.UInt32),
    (OpcuaSignal(name="current", node=CURRENT), ua.VariantType.Float),
    (OpcuaSignal(name="force", node=FORCE), ua.VariantType.Double),
)
_APART = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of messages."""

    observations: int
    gaps: int
    reports: int


def record_notifications(welds: int) -> list[bytes]:
    """Return the messages by which a server tells so many welds, three values each."""
    start = ua.DateTime(2026, 1, 12, 8, tzinfo=UTC)
    messages = []
    for number, first in enumerate(range(1, welds + 1, WELDS_PER_MESSAGE), 1):
        some = range(first, min(first + WELDS_PER_MESSAGE, welds + 1))
        items = [
            ua.MonitoredItemNotification(
                ClientHandle=handle,
                Value=ua.DataValue(
                    ua.Variant(value, kind),
                    SourceTimestamp=start + weld * _APART,
                    ServerTimestamp=start + weld * _APART,
                ),
            )
            for weld in some
            for handle, (value, (_, kind)) in enumerate(
                zip((weld, 7.6 + weld % 13 / 10, 2.4 + weld % 7 / 100), _SIGNALS, strict=True), 1
            )
        ]
        answer = ua.PublishResponse()
        answer.Parameters.SubscriptionId = 1
        answer.Parameters.NotificationMessage.SequenceNumber = number
        answer.Parameters.NotificationMessage.NotificationData = [
            ua.DataChangeNotification(MonitoredItems=items)
        ]
        messages.append(struct_to_binary(answer))
    return messages


def decode_notifications(messages: Sequence[bytes]) -> list[ua.NotificationMessage]:
    """Return what asyncua makes of the bytes of messages."""
    return [
        struct_from_binary(ua.PublishResponse, Buffer(raw)).Parameters.NotificationMessage
        for raw in messages
    ]


def take_notifications(messages: Sequence[ua.NotificationMessage]) -> Taken:
    """Take messages in as a source does: observations, gap signs and reports."""
    watches = {handle: SignalWatch(signal) for handle, (signal, _) in enumerate(_SIGNALS, 1)}
    notifications = Notifications(watches, "recorded", 1, items_max=100_000)
    position = Position(instance="recorded", next_sequence=1)
    observations = gaps = reports = 0
    for message in messages:
        notifications.take(message, 1_767_254_400_000_000)
        while len(notifications.arrivals):
            report = notifications.arrivals.report(position)
            position = report.position
            observations += len(report.observations)
            gaps += len(report.gaps)
            reports += 1
    return Taken(observations, gaps, reports)
