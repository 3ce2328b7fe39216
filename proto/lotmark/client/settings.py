"""What a submitting system must know: who it is, which chain it means, and which nodes it calls.

A TOML file, written by `lotmark init` and changed by people. Paths in it are relative to the file.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lotmark.errors import MalformedError, ProtocolError
from lotmark.key_grant import HOLDER_SIZE_MAX, check_node, check_party
from lotmark.network_address import split_address
from lotmark.text import check_identifier

SETTINGS_SIZE_MAX = 64 << 10

_CHAIN_ID = re.compile(r"[0-9a-f]{64}")


class SettingsError(ProtocolError):
    """A settings file cannot be used; the message names the file, the key and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddress:
    """A node, and where it takes calls."""

    party: str
    node: str
    address: str  # host:port


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The settings of one client; paths are complete."""

    chain_id: bytes  # the pin: another genesis is refused, whoever sends it
    party: str
    holder: str
    node_party: str
    node_name: str
    node_address: str
    batch_key: Path
    certificate: Path
    certificate_key: Path
    genesis: Path
    outbox_file: Path  # what was submitted and is not acknowledged
    other_nodes: tuple[NodeAddress, ...] = ()  # called in this order where the node cannot be

    def each_node(self) -> Iterator["ClientSettings"]:
        """Return the settings for each node alone, in the order in which they are called."""
        yield replace(self, other_nodes=())
        for other in self.other_nodes:
            yield replace(
                self,
                node_party=other.party,
                node_name=other.node,
                node_address=other.address,
                other_nodes=(),
            )


_OUTBOX = "outbox"
_OUTBOX_DEFAULT = "outbox.db"
_OTHER_NODES = "other_nodes"
_REQUIRED_KEYS = tuple(
    name
    for name in ClientSettings.__dataclass_fields__
    if name not in ("outbox_file", "other_nodes")
)
KEYS = (*_REQUIRED_KEYS, _OUTBOX, _OTHER_NODES)


def read_client_settings(path: Path) -> ClientSettings:
    """Return the settings in a file; the files it names are not opened.

    Raises:
        SettingsError: The file cannot be read, lacks a key, has an unknown one, or has a value
            that is not possible.
    """
    table = read_toml(path)
    if unknown := sorted(set(table) - set(KEYS)):
        raise SettingsError(
            f"{path}: key {unknown[0][:40]!a} is unknown; remove it, or use one of"
            f" {', '.join(KEYS)}"
        )
    texts = {key: _text(path, table, key) for key in _REQUIRED_KEYS}
    outbox = _text(path, {_OUTBOX: _OUTBOX_DEFAULT, **table}, _OUTBOX)
    if not _CHAIN_ID.fullmatch(texts["chain_id"]):
        raise SettingsError(
            f"{path}: chain_id {texts['chain_id'][:80]!a} is not 64 lower-case hex digits; copy"
            " it from who founded the consortium, by a way you trust"
        )
    try:
        check_party(texts["party"])
        check_identifier(texts["holder"], what="holder", size_max=HOLDER_SIZE_MAX)
        check_party(texts["node_party"])
        check_node(texts["node_name"])
        _, port = split_address(texts["node_address"])
    except MalformedError as error:
        raise SettingsError(f"{path}: {error}") from error
    if port == 0:
        raise SettingsError(f"{path}: node_address has port 0; give the port the node listens on")
    return ClientSettings(
        chain_id=bytes.fromhex(texts["chain_id"]),
        party=texts["party"],
        holder=texts["holder"],
        node_party=texts["node_party"],
        node_name=texts["node_name"],
        node_address=texts["node_address"],
        batch_key=complete_path(path, "batch_key", texts["batch_key"]),
        certificate=complete_path(path, "certificate", texts["certificate"]),
        certificate_key=complete_path(path, "certificate_key", texts["certificate_key"]),
        genesis=complete_path(path, "genesis", texts["genesis"]),
        outbox_file=complete_path(path, _OUTBOX, outbox),
        other_nodes=_other_nodes(path, table, f"{texts['node_party']}/{texts['node_name']}"),
    )


def _other_nodes(path: Path, table: dict[str, Any], first: str) -> tuple[NodeAddress, ...]:
    """Return the nodes to call where `first` cannot be reached, in the file's order."""
    addresses = table.get(_OTHER_NODES, {})
    if not isinstance(addresses, dict):
        raise SettingsError(
            f'{path}: {_OTHER_NODES} is no table; write "PARTY/NAME" lines under it'
        )
    if first in addresses:
        raise SettingsError(
            f"{path}: {_OTHER_NODES} names {first}, which is called first; remove that line"
        )
    try:
        return tuple(parse_node_address(name, address) for name, address in addresses.items())
    except MalformedError as error:
        raise SettingsError(f"{path}: {_OTHER_NODES}: {error}") from error


def parse_node_address(name: str, address: object) -> NodeAddress:
    """Return the node that a line such as ``"OEM-A/n1" = "127.0.0.1:7401"`` names.

    Raises:
        MalformedError: The name is no PARTY/NAME, or nobody can call that address.
    """
    party, slash, node = name.partition("/")
    if not slash:
        raise MalformedError(f"{name[:80]!a} is not PARTY/NAME, such as OEM-A/n1")
    check_party(party)
    check_node(node)
    if not isinstance(address, str):
        raise MalformedError(f"{name} has no string as its address; write it in quotes")
    _, port = split_address(address)
    if port == 0:
        raise MalformedError(f"{name} has port 0; give the port it listens on")
    return NodeAddress(party=party, node=node, address=address)


def read_toml(path: Path, *, size_max: int = SETTINGS_SIZE_MAX) -> dict[str, Any]:
    """Return the table in a TOML file of at most `size_max` bytes.

    Raises:
        SettingsError: It cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(size_max + 1)
    except (OSError, ValueError) as error:  # ValueError: the path has a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{path} cannot be read: {reason}; name the settings file that `lotmark init` wrote"
        ) from error
    if len(raw) > size_max:
        raise SettingsError(f"{path} has over {size_max} bytes, so it is no settings file")
    try:
        return tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is no TOML in UTF-8: {error}") from error


def complete_path(path: Path, key: str, value: str) -> Path:
    """Return the path that a settings file names, relative to the file.

    Raises:
        SettingsError: The value is empty or no path.
    """
    if not value or "\0" in value:
        raise SettingsError(f"{path}: {key} is {value[:80]!a}, no path; name a file or folder")
    return path.absolute().parent / value


def _text(path: Path, table: dict[str, Any], key: str) -> str:
    if key not in table:
        raise SettingsError(f'{path}: key {key} is missing; add a line {key} = "..."')
    value = table[key]
    if not isinstance(value, str):
        raise SettingsError(f"{path}: {key} is no string; write its value in quotes")
    return value
