"""A client that takes no larger message than it says it does.

asyncua keeps whatever a server announces until all of it is there, and takes over the bounds that
the server states. A server that nobody knows yet could fill the memory by that.
"""

import asyncio
import logging
import struct

from asyncua import Client, ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import wait_for
from asyncua.ua.ua_binary import uatcp_to_binary

CHUNK_SIZE_MAX = 65_536  # bytes of a message that are sent at once
CHUNK_SIZE_MIN = 8_192  # that both sides must take: OPC 10000-6, 7.1.2
UNKNOWN_SERVER_MESSAGE_SIZE_MAX = 1_048_576  # its endpoints and certificates are a few kB
MESSAGE_SIZE_MAX = 67_108_864  # all values that 500 signals have waiting, several times

_HEADER_SIZE = 8  # type of message and chunk, and the size with this header

logger = logging.getLogger(__name__)


class BoundedClient(Client):
    """A client with bounds for a server that nobody knows yet, until `trust_server`."""

    def __init__(self, address: str, answer_s: float) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__(address, answer_s, answer_s)
        self.uaclient._make_protocol = self._make_protocol  # type: ignore[method-assign]
        self._bound(UNKNOWN_SERVER_MESSAGE_SIZE_MAX)

    def trust_server(self) -> None:
        """Take larger messages on the connections that are opened from now on."""
        self._bound(MESSAGE_SIZE_MAX)

    def _bound(self, size_max: int) -> None:
        self.max_messagesize, self.max_chunkcount = size_max, size_max // CHUNK_SIZE_MIN

    def _make_protocol(self) -> UASocketProtocol:
        client = self.uaclient
        limits = _OwnLimits(
            CHUNK_SIZE_MAX, CHUNK_SIZE_MAX, self.max_chunkcount, self.max_messagesize
        )
        protocol = _BoundedProtocol(client._timeout, client.security_policy, limits)
        protocol.pre_request_hook = client.pre_request_hook
        protocol.on_connection_lost = client._on_transport_lost
        protocol.is_session_closing = client._is_session_closing
        client.protocol = protocol
        return protocol


class _OwnLimits(TransportLimits):
    """What is received is bounded by this side alone; what is sent, by the server too."""

    def update_client_limits(self, msg: ua.Acknowledge) -> None:
        if msg.ReceiveBufferSize < CHUNK_SIZE_MIN:
            raise ua.UaError(
                f"the server takes {msg.ReceiveBufferSize} bytes at once; {CHUNK_SIZE_MIN} are the"
                " least that it must take"
            )
        self.max_send_buffer = min(CHUNK_SIZE_MAX, msg.ReceiveBufferSize)


class _BoundedProtocol(UASocketProtocol):
    async def send_hello(
        self, url: str, max_messagesize: int = 0, max_chunkcount: int = 0
    ) -> ua.Acknowledge:
        """Say what is received; asyncua would say that chunks may have 2 GiB."""
        hello = ua.Hello(
            ReceiveBufferSize=ua.UInt32(CHUNK_SIZE_MAX),
            SendBufferSize=ua.UInt32(CHUNK_SIZE_MAX),
            MaxMessageSize=ua.UInt32(max_messagesize),
            MaxChunkCount=ua.UInt32(max_chunkcount),
            EndpointUrl=ua.String(url),
        )
        acknowledged = asyncio.get_running_loop().create_future()
        self._callbackmap[0] = acknowledged
        if self.transport is not None:
            self.transport.write(
                uatcp_to_binary(ua.MessageType.Hello, hello)  # type: ignore[arg-type]  # bytes
            )
        answer: ua.Acknowledge = await wait_for(acknowledged, self.timeout)
        return answer

    def data_received(self, data: bytes) -> None:
        """Take what has come. What is not complete is kept only where it may become so."""
        super().data_received(data)
        kept = self.receive_buffer
        if kept is None or len(kept) < _HEADER_SIZE:
            return
        (size,) = struct.unpack_from("<I", kept, 4)
        if size > CHUNK_SIZE_MAX:
            self.receive_buffer = None
            logger.warning(
                "opcua message too large", extra={"size": size, "size_max": CHUNK_SIZE_MAX}
            )
            self._fail_all_pending(ua.uaerrors.BadTcpMessageTooLarge())  # type: ignore[no-untyped-call]
            self.disconnect_socket()
