"""In whose name a node's HTTP endpoint acts, and where the keys to it are kept."""

from pathlib import Path

from lotmark.client.settings import ClientSettings, SettingsError, read_client_settings
from lotmark.key_file import read_key_file
from lotmark_node.http.api_keys import Service
from lotmark_node.node_settings import NodeSettings

API_KEYS_NAME = "api-keys.json"


def read_service(settings: NodeSettings) -> tuple[Service, ClientSettings]:
    """Return the service in whose name a node's endpoint acts, and its client's settings.

    Raises:
        SettingsError: There is none, or it is of another party.
        ProtocolError, OSError: A file cannot be used.
    """
    if settings.http_client is None:
        raise SettingsError(
            f"{settings.name} has no HTTP endpoint; in node.toml write http_listen ="
            ' "http://127.0.0.1:7480" and http_client = ".../client.toml", a client of its own'
        )
    client = read_client_settings(settings.http_client)
    if client.party != settings.party:
        raise SettingsError(
            f"{settings.http_client} is of {client.party}, but {settings.name} seals for its own"
            " party alone; name a client of that"
        )
    key = read_key_file(client.batch_key)
    return Service(client.party, client.holder, key.public.hex()), client


def api_keys_file(settings: NodeSettings) -> Path:
    """Return where the API keys of a node's endpoint are kept: beside its service's settings."""
    assert settings.http_client is not None, "who calls this has looked"
    return settings.http_client.parent / API_KEYS_NAME
