"""The three kinds of settings files there are, told apart by what they set."""

from enum import Enum
from pathlib import Path

from lotmark.client import settings as client_settings
from lotmark.client.settings import ClientSettings, SettingsError, read_client_settings, read_toml
from lotmark_node.node_settings import NodeSettings, read_node_settings
from lotmark_node.witness import settings as witness_settings
from lotmark_node.witness.settings import WitnessSettings, read_witness_settings

AnySettings = NodeSettings | WitnessSettings | ClientSettings


class SettingsKind(Enum):
    """Whose settings a file holds."""

    NODE = "node"
    WITNESS = "witness"
    CLIENT = "client"


KEYS_OF_KIND: dict[SettingsKind, frozenset[str]] = {
    SettingsKind.NODE: frozenset(NodeSettings.model_fields),
    SettingsKind.WITNESS: frozenset(witness_settings.KEYS),
    SettingsKind.CLIENT: frozenset(client_settings.KEYS),
}


def settings_kind(path: Path) -> SettingsKind:
    """Return of what kind a file is: the one that knows most of its keys and lacks fewest.

    Raises:
        SettingsError: It cannot be read, or has no key of any kind.
    """
    found = set(read_toml(path))
    fits = {kind: (len(found & keys), -len(keys)) for kind, keys in KEYS_OF_KIND.items()}
    best = max(fits, key=lambda kind: fits[kind])
    if not fits[best][0]:
        raise SettingsError(
            f"{path}: no key of a node's, a witness's or a client's settings is in it; start from a"
            " file that `lotmark init` wrote"
        )
    return best


def read_settings(path: Path) -> AnySettings:
    """Return the settings in a file of any kind.

    Raises:
        SettingsError: As `settings_kind`, and as the kind's own reader raises it.
    """
    match settings_kind(path):
        case SettingsKind.NODE:
            return read_node_settings(path)
        case SettingsKind.WITNESS:
            return read_witness_settings(path)
        case SettingsKind.CLIENT:
            return read_client_settings(path)
