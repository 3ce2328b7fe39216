"""What a witness must know before it starts: a TOML file, written by `lotmark init` or by hand.

Paths are relative to the file. A witness of a Lotmark consortium takes its name, the log's origin
and the log's keys from the genesis:

    listen = "127.0.0.1:7404"                   # host:port to take calls on; port 0: any
    data = "data"                               # its memory; made with the key, never by a start
    cosign_key = "keys/cosign.key"
    tls_certificate = "tls/cert.pem"            # both or neither: without them it speaks HTTP
    tls_key = "tls/key.pem"
    metrics_listen = "127.0.0.1:8404"           # may be left out: where monitoring asks
    party = "LAB-17025"                         # these four together: the consortium
    node = "w1"
    genesis = "../../../genesis.json"
    acceptances = "../../../acceptances.json"

`lotmark init` makes key and memory. A witness of foreign logs has a name and lists the logs (one of
a consortium may list some too); `lotmark witness new` makes its key and its memory:

    name = "witness.example/w1"                 # only without a consortium
    [[log]]
    origin = "example.com/log"
    vkeys = ["example.com/log+09fadd6c+AZsf..."]
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lotmark.checkpoint import Checkpoint
from lotmark.client.settings import SettingsError, complete_path, read_toml
from lotmark.errors import ProtocolError
from lotmark.key_grant import check_node, check_party
from lotmark.merkle import EMPTY_ROOT
from lotmark.network_address import split_address
from lotmark.signed_note import ED25519, VerifierKey, check_key_name, parse_vkey

LOGS_MAX = 64  # that are listed one by one
LOG_KEYS_MAX = 16  # of one such log

_CONSORTIUM_KEYS = ("party", "node", "genesis", "acceptances")
_TLS_KEYS = ("tls_certificate", "tls_key")
KEYS = (
    "listen", "metrics_listen", "data", "cosign_key", *_TLS_KEYS, *_CONSORTIUM_KEYS, "name", "log"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """What a witness shows to whoever connects, and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsortiumMember:
    """Which cosigning node of which consortium a witness is."""

    party: str
    node: str
    genesis: Path
    acceptances: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLog:
    """A log that the settings name with its keys."""

    origin: str
    vkeys: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """The settings of one witness; paths are complete, and the files are not opened yet."""

    listen: str
    data: Path
    cosign_key: Path
    tls: TlsFiles | None
    member: ConsortiumMember | None
    name: str | None  # None exactly where the genesis tells it
    logs: tuple[ListedLog, ...]
    metrics_listen: str | None  # None: monitoring is answered nowhere


def read_witness_settings(path: Path) -> WitnessSettings:
    """Return the settings in a file; the files it names are not opened.

    Raises:
        SettingsError: The file cannot be read, has an unknown key, lacks one, has a value that is
            not possible, or names no log to watch.
    """
    table = read_toml(path)
    if unknown := sorted(set(table) - set(KEYS)):
        raise SettingsError(
            f"{path}: key {unknown[0][:40]!a} is unknown; remove it, or use one of"
            f" {', '.join(KEYS)}"
        )
    listen = _checked(path, table, "listen", split_address)
    member = _member(path, table)
    name = None if member else _checked(path, table, "name", check_key_name)
    if member and "name" in table:
        raise SettingsError(
            f"{path}: key name stands beside party and node, from which the name follows; remove it"
        )
    logs = _logs(path, table.get("log", []))
    if not member and not logs:
        raise SettingsError(
            f"{path}: no log to watch; add {', '.join(_CONSORTIUM_KEYS)} of a consortium, or"
            " [[log]] with origin and vkeys"
        )
    metrics_listen = None
    if "metrics_listen" in table:
        metrics_listen = _checked(path, table, "metrics_listen", split_address)
    return WitnessSettings(
        listen=listen,
        data=_path(path, table, "data"),
        cosign_key=_path(path, table, "cosign_key"),
        tls=_tls(path, table),
        member=member,
        name=name,
        logs=logs,
        metrics_listen=metrics_listen,
    )


def _tls(path: Path, table: dict[str, Any]) -> TlsFiles | None:
    if not _together(path, table, _TLS_KEYS):
        return None
    return TlsFiles(
        certificate=_path(path, table, "tls_certificate"), key=_path(path, table, "tls_key")
    )


def _member(path: Path, table: dict[str, Any]) -> ConsortiumMember | None:
    if not _together(path, table, _CONSORTIUM_KEYS):
        return None
    return ConsortiumMember(
        party=_checked(path, table, "party", check_party),
        node=_checked(path, table, "node", check_node),
        genesis=_path(path, table, "genesis"),
        acceptances=_path(path, table, "acceptances"),
    )


def _together(path: Path, table: dict[str, Any], keys: tuple[str, ...]) -> bool:
    """Return whether the keys are there, which they are all or none."""
    missing = [key for key in keys if key not in table]
    if missing and len(missing) < len(keys):
        raise SettingsError(
            f"{path}: key {missing[0]} is missing; {', '.join(keys)} stand together or not at all"
        )
    return not missing


def _logs(path: Path, value: object) -> tuple[ListedLog, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise SettingsError(f"{path}: log is no list of tables; write each as [[log]]")
    if len(value) > LOGS_MAX:
        raise SettingsError(f"{path}: {len(value)} logs; list at most {LOGS_MAX}")
    logs = tuple(_log(path, table) for table in value)
    origins = [log.origin for log in logs]
    if twice := next((origin for origin in origins if origins.count(origin) > 1), None):
        raise SettingsError(f"{path}: log {twice[:80]!a} is listed twice; put its keys in one list")
    return logs


def _log(path: Path, table: dict[str, Any]) -> ListedLog:
    if set(table) != {"origin", "vkeys"}:
        raise SettingsError(f"{path}: a [[log]] has exactly origin and vkeys, not {sorted(table)}")
    # Any line can be an origin, also one that is no name of a key.
    origin = _checked(path, table, "origin", lambda text: Checkpoint(text, 0, EMPTY_ROOT))
    texts = table["vkeys"]
    if not isinstance(texts, list) or not 1 <= len(texts) <= LOG_KEYS_MAX:
        raise SettingsError(
            f'{path}: vkeys of {origin[:80]!a} is no list of 1 to {LOG_KEYS_MAX}; write ["..."]'
        )
    return ListedLog(origin=origin, vkeys=tuple(_vkey(path, origin, text) for text in texts))


def _vkey(path: Path, origin: str, text: object) -> VerifierKey:
    try:
        vkey = parse_vkey(str(text))
    except ProtocolError as error:
        raise SettingsError(f"{path}: log {origin[:80]!a}: {error}") from error
    if vkey.kind != ED25519:
        raise SettingsError(
            f"{path}: log {origin[:80]!a}: a log's key has signature type {ED25519:#04x}, not"
            f" {vkey.kind:#04x}, which is a witness's"
        )
    return vkey


def _path(path: Path, table: dict[str, Any], key: str) -> Path:
    return complete_path(path, key, _text(path, table, key))


def _checked(path: Path, table: dict[str, Any], key: str, check: Callable[[str], object]) -> str:
    text = _text(path, table, key)
    try:
        check(text)
    except ProtocolError as error:
        raise SettingsError(f"{path}: {key}: {error}") from error
    return text


def _text(path: Path, table: dict[str, Any], key: str) -> str:
    if key not in table:
        raise SettingsError(f'{path}: key {key} is missing; add a line {key} = "..."')
    value = table[key]
    if not isinstance(value, str):
        raise SettingsError(f"{path}: {key} is no string; write its value in quotes")
    return value
