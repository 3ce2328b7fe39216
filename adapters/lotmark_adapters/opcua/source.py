"""An OPC UA server as a source: connected again and again, every gap on record."""

import asyncio
import logging
import time

from asyncua import Client, ua

from lotmark_adapters.errors import SourceRefused, SourceUnavailable
from lotmark_adapters.observation import GapReason, Position, ReportTaker, SourceGap
from lotmark_adapters.opcua.connection import connected, foreign_errors
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.observed import unix_us
from lotmark_adapters.opcua.plain_values import utc_text
from lotmark_adapters.opcua.settings import OpcuaSettings
from lotmark_adapters.opcua.subscription import ITEMS_PER_CALL_MAX, Subscription

RETRY_S_MIN = 0.5
RETRY_S_MAX = 15.0

_UNKNOWN_NODE = (
    ua.StatusCodes.BadNodeIdUnknown,
    ua.StatusCodes.BadNodeIdInvalid,
    ua.StatusCodes.BadAttributeIdInvalid,  # it exists, and is no variable
)

logger = logging.getLogger(__name__)


class OpcuaSource:
    """One server, watched.

    Observations are numbered on, whatever becomes of server and connection; the position's
    instance, START/SESSION/SUBSCRIPTION, changes with each subscription.
    """

    def __init__(self, settings: OpcuaSettings, position: Position | None) -> None:
        """Begin where it was left off.

        Args:
            settings: What is watched.
            position: Of the last report that was kept; None: there was none.
        """
        self._settings = settings
        self._is_first = position is None
        self._position = position or Position(instance="", next_sequence=1)
        self._watches = [SignalWatch(signal) for signal in settings.signals]
        self._was_connected = False
        self._cause = GapReason.SITE_RESTARTED  # of the gap before what comes next

    async def run(self, taker: ReportTaker) -> None:
        """Give all that the server tells, until cancelled.

        Raises:
            SourceRefused: The server is not to be trusted, or not what the settings say, and was
                so from the start.
        """
        retry_s = RETRY_S_MIN
        while True:
            position = self._position
            try:
                await self._follow(taker)
            except SourceUnavailable as error:
                logger.warning(
                    "opcua source unavailable",
                    extra={"source": self._settings.name, "error": str(error)},
                )
            except SourceRefused as error:
                if not self._was_connected:
                    raise
                # It was right before: its certificate may be about to be replaced, or its nodes
                # come a little later than it does.
                logger.error(
                    "opcua source refused",
                    extra={"source": self._settings.name, "error": str(error)},
                )
            retry_s = RETRY_S_MIN if self._position is not position else retry_s
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_S_MAX)

    async def _follow(self, taker: ReportTaker) -> None:
        """Connect once and give what comes until that is lost; then all of it is given."""
        subscription: Subscription | None = None

        def lose_connection() -> None:
            if subscription is not None:
                subscription.lose(GapReason.STREAM_LOST, "the connection is gone")

        async with connected(self._settings, lose_connection) as client:
            with foreign_errors(self._settings):
                told, started = await self._read(client)
                subscription = Subscription(client, self._settings, self._watches)
                await subscription.open(started, self._position.next_sequence)
                if gap := self._gap_before(subscription.instance):
                    subscription.arrivals.add_gap(gap)
            try:
                await self._monitor(subscription, told)
                await self._give(subscription, taker)
            finally:
                subscription.close()
        assert subscription.lost is not None
        raise SourceUnavailable(
            f"source {self._settings.name} is lost: {subscription.lost_because}"
        )

    async def _monitor(self, subscription: Subscription, told: list[ua.DataValue]) -> None:
        """Let the server tell values; where that fails, what it has told until then is given."""
        try:
            with foreign_errors(self._settings):
                await subscription.monitor(told)
        except (SourceUnavailable, SourceRefused) as error:
            if isinstance(error, SourceRefused) and not self._was_connected:
                raise
            subscription.lose(GapReason.STREAM_LOST, str(error))
            return
        self._was_connected = True
        logger.info(
            "opcua source connected",
            extra={"source": self._settings.name, "instance": subscription.instance},
        )

    async def _give(self, subscription: Subscription, taker: ReportTaker) -> None:
        while True:
            if len(subscription.arrivals):
                report = subscription.arrivals.report(self._position)
                await taker.take(report)
                self._position, self._is_first = report.position, False
            elif subscription.lost is not None:
                self._cause = subscription.lost
                return
            else:
                await subscription.wait()

    def _gap_before(self, instance: str) -> SourceGap | None:
        """Return what the time without a subscription makes; None for the very first one."""
        before, reason = self._position.instance, self._cause
        has_restarted = not self._is_first and _started(before) != _started(instance)
        for watch in self._watches:
            watch.resubscribed(has_restarted=has_restarted)
        if self._is_first:
            return None
        if has_restarted and reason is not GapReason.SITE_RESTARTED:
            reason = GapReason.INSTANCE_CHANGED
        return SourceGap(
            reason=reason,
            instance=before,
            next_instance=instance,
            last_seen_us=self._position.last_made_us or None,
            resumed_us=time.time_ns() // 1_000,
        )

    async def _read(self, client: Client) -> tuple[list[ua.DataValue], str]:
        """Return what the signals are now, and when the server was started.

        Raises:
            SourceRefused: It has no such signals.
        """
        session = client.uaclient.session
        nodes = [ua.NodeId.from_string(each.node) for each in self._settings.signals]
        told = list[ua.DataValue]()
        for first in range(0, len(nodes), ITEMS_PER_CALL_MAX):
            some = nodes[first : first + ITEMS_PER_CALL_MAX]
            told += await session.read_attributes(some, ua.AttributeIds.Value)
        unknown = [
            f"{signal.name} = {signal.node}"
            for signal, value in zip(self._settings.signals, told, strict=True)
            if value.StatusCode is not None and value.StatusCode.value in _UNKNOWN_NODE
        ]
        if unknown:
            raise SourceRefused(
                f"source {self._settings.name}: {self._settings.address} has no"
                f" {', '.join(unknown)}; `lotmark edge browse {self._settings.address}` lists"
                " what it has"
            )
        start = ua.NodeId.from_string(f"i={ua.ObjectIds.Server_ServerStatus_StartTime}")
        (answer,) = await session.read_attributes([start], ua.AttributeIds.Value)
        started = None if answer.Value is None else answer.Value.Value
        return told, "unknown" if started is None or not unix_us(started) else utc_text(started)


def _started(instance: str) -> str:
    return instance.partition("/")[0]
