"""One subscription: what comes by it, in its order, and what shows that something did not.

It is made of the services themselves. asyncua's own subscription gives each notification to a
task of its own, so that their order is the event loop's, and drops unnoticed what it cannot read.
"""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Sequence

from asyncua import Client, ua

from lotmark_adapters.errors import SourceUnavailable
from lotmark_adapters.observation import GapReason
from lotmark_adapters.opcua.arrivals import ITEMS_MAX, Arrivals
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.notifications import RESULTS_HANDLE, Notifications
from lotmark_adapters.opcua.settings import QUEUE_SIZE_MIN, OpcuaSettings
from lotmark_adapters.opcua.vision_results import ResultEvents

KEEP_ALIVE_S = 2.0  # so often at least a server says that it has nothing to say
SILENT_KEEP_ALIVES_MAX = 3  # so many may be late before the subscription counts as lost
LIFETIME_S = 60.0  # after so long unasked the server ends the subscription
ITEMS_PER_CALL_MAX = 500  # servers bound a call; few have a lower bound

_FILTER_REFUSED = (
    ua.StatusCodes.BadMonitoredItemFilterUnsupported,
    ua.StatusCodes.BadFilterNotAllowed,
)

logger = logging.getLogger(__name__)


class Subscription:
    """A server's promise to tell changes. Once lost it stays so; another takes its place."""

    def __init__(
        self, client: Client, settings: OpcuaSettings, watches: Sequence[SignalWatch]
    ) -> None:
        """Take over a client; nothing is asked of the server yet.

        Args:
            client: Connected, and used for nothing else.
            settings: Of the source.
            watches: Of its signals; they outlive the subscription.
        """
        self.lost: GapReason | None = None
        self.lost_because = ""
        self._client = client
        self._settings = settings
        self._watches = dict(enumerate(watches, 1))
        self._silent_s = math.inf
        self._heard_at = asyncio.get_running_loop().time()
        self._owed: asyncio.TimerHandle | None = None  # gives what the server has not told yet
        self._notifications: Notifications | None = None  # until it is opened
        self._is_closed = False

    async def open(self, started: str, next_sequence: int) -> None:
        """Make the subscription, which tells nothing yet.

        Args:
            started: When the server was, as it says; part of the instance's name.
            next_sequence: Of the first observation.
        """
        publishing_ms = self._settings.publishing_ms
        keep_alives = max(1, math.ceil(KEEP_ALIVE_S * 1_000 / publishing_ms))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing_ms,
            RequestedLifetimeCount=max(
                SILENT_KEEP_ALIVES_MAX * keep_alives, math.ceil(LIFETIME_S * 1_000 / publishing_ms)
            ),
            RequestedMaxKeepAliveCount=keep_alives,
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
        )
        session = self._client.uaclient.session
        made = await session.create_subscription(parameters, self.take)
        interval_s = made.RevisedPublishingInterval * made.RevisedMaxKeepAliveCount / 1_000
        self._silent_s = SILENT_KEEP_ALIVES_MAX * interval_s + self._settings.answer_s
        self._id = made.SubscriptionId
        token = hashlib.sha256(session.authentication_token.to_string().encode()).hexdigest()
        self.instance = f"{started}/{token[:8]}/{self._id}"
        self._notifications = Notifications(
            self._watches, self.instance, next_sequence, items_max=ITEMS_MAX
        )

    @property
    def arrivals(self) -> Arrivals:
        """What has come and is to be kept."""
        return self._opened.arrivals

    @property
    def _opened(self) -> Notifications:
        assert self._notifications is not None, "it is opened first"
        return self._notifications

    async def monitor(self, told: Sequence[ua.DataValue]) -> None:
        """Ask for all signals. A server tells at once what they are, and then each change.

        Args:
            told: Their values, as just read: given after `answer_s` for those that the server
                owes their first value.

        Raises:
            SourceUnavailable: The server watches one of them no more.
        """
        self._opened.untold = dict(enumerate(told, 1))
        handles = list(self._watches)
        for start in range(0, len(handles), ITEMS_PER_CALL_MAX):
            await self._monitor_some(handles[start : start + ITEMS_PER_CALL_MAX])
        if self._settings.has_results:
            results = await ResultEvents.of(self._client, self._settings)
            self._opened.results = results
            request = results.request(RESULTS_HANDLE, self._settings.queue_size)
            (result,) = await self._create([request])
            result.StatusCode.check()
        self._owed = asyncio.get_running_loop().call_later(
            self._settings.answer_s,
            lambda: self._opened.give_untold(time.time_ns() // 1_000),
        )

    async def wait(self) -> None:
        """Return when something has come or the subscription is lost, at the latest by silence."""
        try:
            async with asyncio.timeout_at(self._heard_at + self._silent_s):
                await self.arrivals.wait()
        except TimeoutError:
            if asyncio.get_running_loop().time() < self._heard_at + self._silent_s:
                return  # it said that it had nothing to say
            self.lose(GapReason.SUBSCRIPTION_RECREATED, f"not a word for {self._silent_s:.1f} s")

    def take(self, result: ua.PublishResult) -> None:
        """Take a message in; asyncua calls this in the order of arrival."""
        if self._is_closed:
            return
        self._heard_at = asyncio.get_running_loop().time()
        try:
            ended = self._opened.take(
                result.NotificationMessage,
                time.time_ns() // 1_000,
                has_more=result.MoreNotifications and self.lost is None,
            )
        except Exception as error:  # asyncua would log it, go on, and the values were never there
            logger.exception("opcua message not taken", extra={"source": self._settings.name})
            self.lose(GapReason.UNREADABLE, repr(error))
            return
        if ended:
            self.lose(GapReason.SUBSCRIPTION_RECREATED, f"the server says {ended}")

    def lose(self, reason: GapReason, because: str) -> None:
        """Note that it is lost; the first reason counts."""
        if self.lost is None:
            self.lost, self.lost_because = reason, because
            if self._notifications is not None:
                self._notifications.release()  # no other part of a message comes
                self.arrivals.wake()

    def close(self) -> None:
        """Take nothing more.

        What still comes before the connection is closed would be given to nobody; and as its
        signals were then known to have come further than was told, the next gap would be too short.
        """
        self._is_closed = True
        if self._owed is not None:
            self._owed.cancel()

    async def _monitor_some(self, handles: Sequence[int]) -> None:
        results = await self._create([self._request(each, has_filter=True) for each in handles])
        refused = [
            handle
            for handle, result in zip(handles, results, strict=True)
            if result.StatusCode.value in _FILTER_REFUSED
        ]
        if refused:  # then two equal values in a row are told as one
            logger.warning(
                "opcua server tells no equal values",
                extra={"source": self._settings.name, "signals": len(refused)},
            )
            again = await self._create([self._request(each, has_filter=False) for each in refused])
            by_handle = dict(zip(handles, results, strict=True))
            by_handle.update(zip(refused, again, strict=True))
            results = list(by_handle.values())
        for handle, result in zip(handles, results, strict=True):
            self._check_watched(handle, result)

    def _check_watched(self, handle: int, result: ua.MonitoredItemCreateResult) -> None:
        signal = self._watches[handle].signal
        if not result.StatusCode.is_good():
            raise SourceUnavailable(
                f"source {self._settings.name} does not watch {signal.node} for us:"
                f" {result.StatusCode.name}"
            )
        if result.RevisedQueueSize < QUEUE_SIZE_MIN:
            logger.warning(
                "opcua server has a short queue",
                extra={
                    "source": self._settings.name,
                    "signal": signal.node,
                    "queue_size": result.RevisedQueueSize,
                },
            )

    async def _create(
        self, requests: list[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        return await self._client.uaclient.session.create_monitored_items(
            ua.CreateMonitoredItemsParameters(
                SubscriptionId=self._id,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=requests,
            )
        )

    def _request(self, handle: int, *, has_filter: bool) -> ua.MonitoredItemCreateRequest:
        parameters = ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=self._settings.sampling_ms,
            QueueSize=self._settings.queue_size,
            DiscardOldest=True,  # then the overflow bit stands where values are missing
        )
        if has_filter:
            # Two equal measurements in a row are two: a new timestamp is a change as well.
            trigger = ua.DataChangeTrigger.StatusValueTimestamp
            parameters.Filter = ua.DataChangeFilter(Trigger=trigger)
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(
                NodeId=ua.NodeId.from_string(self._watches[handle].signal.node),
                AttributeId=ua.AttributeIds.Value,
            ),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=parameters,
        )
