"""A connection to a node: mTLS, to the node that the settings name and no other."""

import grpc

from lotmark.certificates import tls_name
from lotmark.client.settings import ClientSettings
from lotmark.errors import SignatureError
from lotmark.genesis import Genesis, chain_id, parse_genesis

MESSAGE_SIZE_MAX = 32 << 20


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
