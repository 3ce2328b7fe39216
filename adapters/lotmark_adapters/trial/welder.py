"""A hairpin welder with an OPC UA server: it welds, and fails in every way a machine does.

What it makes is counted, so that whoever watches it can be asked for every weld.
"""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from types import TracebackType

from asyncua import Server, ua

from lotmark_adapters.opcua.certificates import write_certificate
from lotmark_adapters.trial.gate import Gate

NAMESPACE = "urn:lotmark:trial:welder"
COUNTER = "ns=2;s=W07.Counter"
CURRENT = "ns=2;s=W07.Current"
FORCE = "ns=2;s=W07.Force"
SERIAL = "ns=2;s=W07.Serial"

QUEUE_SIZE = 200  # values of a signal that the server keeps, whatever is asked for

_UN_ECE = "http://www.opcfoundation.org/UA/units/un/cefact"
_NOT_CONNECTED = ua.UInt32(ua.StatusCodes.BadNotConnected)
_TOO_MANY = ua.UInt32(ua.StatusCodes.BadTooManyMonitoredItems)
_OVERFLOWED = ua.StatusCode(ua.UInt32(0x480))


@dataclass(frozen=True, slots=True)
class Weld:
    """One weld as it was made."""

    run: int  # of the server, from 1
    number: int  # in that run, from 1
    current_ka: float
    force_kn: float
    overflowed: bool = False  # its values bear the overflow bit


class Welder:
    """The machine, from `async with` on; its folder gets the server's certificate."""

    def __init__(
        self,
        folder: Path,
        *,
        hosts: tuple[str, ...] = ("127.0.0.1",),
        valid_days: int = 365,
        claimed_uri: str = NAMESPACE,
    ) -> None:
        """Set it up; nothing runs yet.

        Args:
            folder: For certificate (`welder.der`) and key.
            hosts: What the certificate is for.
            valid_days: For how long; negative: it has ended.
            claimed_uri: The application that the server says it is; the certificate is for
                `NAMESPACE`.
        """
        self.certificate, self._key = write_certificate(
            folder,
            "welder",
            application_uri=NAMESPACE,
            hosts=hosts,
            is_server=True,
            valid_days=valid_days,
        )
        self._claimed_uri = claimed_uri
        self.made: list[Weld] = []
        self.run = 0
        self.serial = "ST2601120001234"
        self._number = 0
        self._watched_max: int | None = None
        self._gate = Gate(self._server_port)
        self._server: Server

    async def __aenter__(self) -> "Welder":
        await self._gate.__aenter__()
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._gate.__aexit__(kind, error, trace)
        await self._stop()

    @property
    def address(self) -> str:
        """Where its server is reached, run after run."""
        return f"opc.tcp://127.0.0.1:{self._gate.port}"

    async def prepare(self, current_ka: float = 8.1) -> None:
        """Show the current that is set, as a machine does that has not welded yet."""
        await self._write(
            CURRENT, ua.Variant(current_ka, ua.VariantType.Float), ua.DateTime.now(UTC)
        )

    async def weld(self, current_ka: float = 8.1, force_kn: float = 2.4) -> Weld:
        """Make one weld; all its values have the same time."""
        return await self._weld(current_ka, force_kn, ua.StatusCode())

    async def next_part(self, serial: str) -> None:
        """Take the next stator."""
        self.serial = serial
        await self._write(SERIAL, ua.Variant(serial, ua.VariantType.String), ua.DateTime.now(UTC))

    async def overrun(self, count: int) -> None:
        """Make welds faster than the server's queues can tell, which it says by the overflow bit.

        asyncua's server drops the oldest values but never sets the bit, so that is done here: on
        the values that will be the oldest left.

        Args:
            count: More than `QUEUE_SIZE`.
        """
        assert count > QUEUE_SIZE, count
        for at in range(count):  # no step of this lets the server publish
            code = _OVERFLOWED if at == count - QUEUE_SIZE else ua.StatusCode()
            await self._weld(8.0 + at % 9 / 10, 2.4, code)

    async def restart(self) -> None:
        """Start the server anew, at the same address: its counter begins at 1 again."""
        self._gate.shut()
        await self._stop()
        await self._start()
        self._gate.open()

    def stall(self) -> None:
        """Answer nothing, until `go_on`; connections stay."""
        self._gate.stall()

    def go_on(self) -> None:
        """Answer again."""
        self._gate.go_on()

    def cut(self) -> None:
        """Lose all connections at once."""
        self._gate.cut()

    def shut(self) -> None:
        """Be unreachable, until `open`."""
        self._gate.shut()

    def open(self) -> None:
        """Be reachable again."""
        self._gate.open()

    def watch_at_most(self, signals: int | None) -> None:
        """Refuse to watch more of the signals asked for at once than so many; None: watch all."""
        self._watched_max = signals

    async def write(self, node: str, value: ua.DataValue) -> None:
        """Tell anything by a signal."""
        await self._server.write_attribute_value(ua.NodeId.from_string(node), value)

    async def forget_type(self, node: str) -> None:
        """Have no value of a signal, so that the next may be of another type."""
        number = ua.DataValue(ua.Variant(ua.NodeId.from_string(f"i={ua.ObjectIds.Number}")))
        where = ua.NodeId.from_string(node)
        await self._server.write_attribute_value(where, number, ua.AttributeIds.DataType)
        await self.write(node, ua.DataValue(StatusCode=ua.StatusCode(_NOT_CONNECTED)))

    async def _start(self) -> None:
        self.run += 1
        self._number = 0
        server = Server()
        await server.init()
        server.iserver.max_monitored_item_queue_size = QUEUE_SIZE
        await server.set_application_uri(self._claimed_uri)
        server.set_server_name("Welder W07")
        server.set_endpoint("opc.tcp://127.0.0.1:0")
        server.set_security_policy(
            [
                ua.SecurityPolicyType.NoSecurity,
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        )
        await server.load_certificate(self.certificate)
        await server.load_private_key(self._key)
        await _add_signals(server, self.serial)
        await server.start()
        self._server = server
        self._let_refuse()

    def _let_refuse(self) -> None:
        service = self._server.iserver.subscription_service
        create = service.create_monitored_items

        async def create_some(
            asked: ua.CreateMonitoredItemsParameters,
        ) -> list[ua.MonitoredItemCreateResult]:
            items = asked.ItemsToCreate
            asked.ItemsToCreate = items[: self._watched_max]
            refused = len(items) - len(asked.ItemsToCreate)
            return await create(asked) + refused * [
                ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(_TOO_MANY))
            ]

        service.create_monitored_items = create_some  # type: ignore[method-assign, assignment]

    async def _stop(self) -> None:
        # asyncua leaves those of clients that are gone running.
        subscriptions = self._server.iserver.subscription_service
        await subscriptions.delete_subscriptions(list(subscriptions.subscriptions))
        await self._server.stop()

    def _server_port(self) -> int:
        assert self._server.bserver is not None
        return self._server.bserver.port

    async def _weld(self, current_ka: float, force_kn: float, code: ua.StatusCode) -> Weld:
        self._number += 1
        weld = Weld(self.run, self._number, current_ka, force_kn, code == _OVERFLOWED)
        now = ua.DateTime.now(UTC)
        await self._write(COUNTER, ua.Variant(weld.number, ua.VariantType.UInt32), now, code)
        await self._write(CURRENT, ua.Variant(current_ka, ua.VariantType.Float), now, code)
        await self._write(FORCE, ua.Variant(force_kn, ua.VariantType.Double), now, code)
        self.made.append(weld)
        return weld

    async def _write(
        self, node: str, value: ua.Variant, now: ua.DateTime, code: ua.StatusCode | None = None
    ) -> None:
        told = ua.DataValue(value, code or ua.StatusCode(), now, now)
        await self._server.write_attribute_value(ua.NodeId.from_string(node), told)


async def _add_signals(server: Server, serial: str) -> None:
    namespace = await server.register_namespace(NAMESPACE + ":signals")
    machine = await server.nodes.objects.add_object(f"ns={namespace};s=W07", f"{namespace}:W07")
    for node, kind, first, unit in (
        (COUNTER, ua.VariantType.UInt32, 0, None),
        (CURRENT, ua.VariantType.Float, 0.0, ("kA", "B22")),
        (FORCE, ua.VariantType.Double, 0.0, ("kN", "B47")),
        (SERIAL, ua.VariantType.String, serial, None),
    ):
        name = node.rpartition(".")[2]
        variable = await machine.add_variable(node, f"{namespace}:{name}", first, kind)
        if unit is not None:
            shown, code = unit
            told = ua.EUInformation(
                NamespaceUri=_UN_ECE,
                UnitId=int.from_bytes(code.encode(), "big"),
                DisplayName=ua.LocalizedText(shown),
                Description=ua.LocalizedText(shown),
            )
            await variable.add_property("i=0", "0:EngineeringUnits", told)
