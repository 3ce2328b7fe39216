"""A connection to a node: mTLS, to a node that the settings name and no other."""

from dataclasses import dataclass

import grpc

from lotmark.certificates import tls_name
from lotmark.client.calls import node_errors
from lotmark.client.settings import ClientSettings
from lotmark.errors import SignatureError
from lotmark.genesis import Genesis, chain_id, parse_genesis
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc

MESSAGE_SIZE_MAX = 32 << 20
CONNECT_S = 5.0  # for the first answer of a node, where others could be called in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A channel to one of a client's nodes."""

    settings: ClientSettings  # with that node as the only one
    channel: grpc.Channel
    passed_over: tuple[str, ...]  # why each node that comes before it was not taken


def read_pinned_genesis(settings: ClientSettings) -> Genesis:
    """Return the genesis beside the settings, if it is that of the pinned chain.

    Raises:
        SignatureError: It is another chain's.
        MalformedError: It is no genesis.
        OSError: The file cannot be read.
    """
    raw = settings.genesis.read_bytes()
    genesis = parse_genesis(raw)
    if chain_id(raw) != settings.chain_id:
        raise SignatureError(
            f"{settings.genesis} is of chain {chain_id(raw).hex()}, but"
            f" {settings.chain_id.hex()} is pinned; ask your sponsor which is right"
        )
    return genesis


def channel_arguments(
    settings: ClientSettings,
) -> tuple[str, grpc.ChannelCredentials, list[tuple[str, str | int]]]:
    """Return target, credentials and options for `grpc.secure_channel` or its asyncio form.

    Raises:
        ProtocolError: The genesis is not that of the pinned chain.
        OSError: A file cannot be read.
    """
    genesis = read_pinned_genesis(settings)
    party = genesis.party(settings.node_party)
    if party is None:
        raise SignatureError(f"{settings.node_party} is no party of {genesis.consortium}")
    credentials = grpc.ssl_channel_credentials(
        root_certificates=party.ca_pem.encode("ascii"),
        private_key=settings.certificate_key.read_bytes(),
        certificate_chain=settings.certificate.read_bytes(),
    )
    name = tls_name(settings.node_party, settings.node_name, settings.chain_id)
    options: list[tuple[str, str | int]] = [
        ("grpc.ssl_target_name_override", name),
        ("grpc.max_receive_message_length", MESSAGE_SIZE_MAX),
        ("grpc.max_send_message_length", MESSAGE_SIZE_MAX),
    ]
    return settings.node_address, credentials, options


def open_channel(settings: ClientSettings) -> grpc.Channel:
    """Return a channel to the node that the settings name.

    Raises:
        ProtocolError: The genesis is not that of the pinned chain.
        OSError: A file cannot be read.
    """
    target, credentials, options = channel_arguments(settings)
    return grpc.secure_channel(target, credentials, options)


def place(settings: ClientSettings) -> str:
    """Return the node that is called first, and where, for messages."""
    return f"{settings.node_party}/{settings.node_name} at {settings.node_address}"


def connect(settings: ClientSettings) -> Connection:
    """Return a connection to the first of the client's nodes that answers.

    A client with one node calls nobody here: its first call will show whether that node answers.

    Raises:
        ConnectionError, TimeoutError: None answers; the message says why of each.
        ProtocolError: The genesis is not that of the pinned chain, or a node refuses to answer.
        OSError: A file cannot be read.
    """
    if not settings.other_nodes:
        return Connection(settings=settings, channel=open_channel(settings), passed_over=())
    passed_over: list[str] = []
    for candidate in settings.each_node():
        channel = open_channel(candidate)
        try:
            with node_errors(place(candidate), CONNECT_S):
                # What it answers, every session checks for itself.
                ledger_pb2_grpc.LedgerServiceStub(channel).GetLedger(
                    ledger_pb2.GetLedgerRequest(), timeout=CONNECT_S
                )
        except (ConnectionError, TimeoutError) as error:
            channel.close()
            passed_over.append(str(error))
        except BaseException:
            channel.close()
            raise
        else:
            return Connection(settings=candidate, channel=channel, passed_over=tuple(passed_over))
    raise ConnectionError(
        f"none of {len(passed_over)} nodes can be called: {'; '.join(passed_over)}"
    )
