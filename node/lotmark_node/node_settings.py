"""What a node must know before it starts: a TOML file, overridden by the environment.

`lotmark init` writes the file and people change it. Paths in the file are relative to the file;
those in environment variables (``LOTMARK_DATA`` for ``data``) to the working folder. Two tables
say where others take calls, a third who may use HTTP by certificate; they stand in the file alone:

    [peers]                                     # every other voter
    "T1-STATOR/n1" = "n1.t1.example.com:7401"
    [witnesses]                                 # whom to ask for cosignatures; may be left out
    "LAB-17025/w1" = "https://w1.lab.example.com:7404"
    [http_certificates]                         # holders of the party's clients; may be left out
    lims = "query,capture"
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from lotmark.client.settings import SettingsError, complete_path, parse_node_address, read_toml
from lotmark.errors import MalformedError
from lotmark.genesis import Genesis
from lotmark.key_grant import HOLDER_SIZE_MAX, check_node, check_party
from lotmark.network_address import is_loopback, split_address
from lotmark.text import check_identifier
from lotmark_node.http.api_keys import parse_rights
from lotmark_node.tls_pair import TlsOwner

ENVIRONMENT_PREFIX = "LOTMARK_"

_URL_PREFIX = "https://"
_ORIGIN = re.compile(r"https?://[a-z0-9.\-]{1,253}(?::[0-9]{1,5})?")


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that takes what `check` lets pass."""

    def validate(value: str) -> str:
        try:
            check(value)
        except MalformedError as error:
            raise ValueError(str(error)) from error  # what pydantic collects
        return value

    return AfterValidator(validate)


def witness_address(url: str) -> str:
    """Return host:port of the URL under which a witness takes calls.

    Raises:
        MalformedError: It is not https://HOST:PORT.
    """
    if not url.startswith(_URL_PREFIX):
        raise MalformedError(
            f"{url[:80]!a} is not https://HOST:PORT, such as https://127.0.0.1:7404"
        )
    address = url.removeprefix(_URL_PREFIX)
    split_address(address)
    return address


def _addressed(address_of: Callable[[str], str]) -> AfterValidator:
    """Return a validator of a table that says where nodes take calls."""

    def validate(table: Mapping[str, str]) -> Mapping[str, str]:
        names: dict[str, str] = {}  # by address
        try:
            for name, value in table.items():
                node = parse_node_address(name, address_of(value))
                if (first := names.setdefault(node.address, name)) != name:
                    raise MalformedError(f"{first} and {name} are both at {node.address}")
        except MalformedError as error:
            raise ValueError(str(error)) from error  # what pydantic collects
        return table

    return AfterValidator(validate)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where a node's HTTP endpoint takes requests, and whether in TLS."""

    address: str  # host:port
    is_tls: bool


def parse_http_address(url: str) -> HttpAddress:
    """Return what a URL such as http://127.0.0.1:7480 names.

    Raises:
        MalformedError: It is no such URL, or would take API keys in clear from other machines.
    """
    scheme, _, address = url.partition("://")
    if scheme not in ("http", "https"):
        raise MalformedError(
            f"{url[:80]!a} is not http://HOST:PORT or https://HOST:PORT, such as"
            " http://127.0.0.1:7480"
        )
    host, _ = split_address(address)
    if scheme == "http" and not is_loopback(host):
        raise MalformedError(
            f"{url[:80]!a} would take API keys in clear from other machines; write"
            f" https://{address[:80]}, which shows the node's certificate, or listen at 127.0.0.1"
        )
    return HttpAddress(address, scheme == "https")


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the web origins that a text lists, such as "https://desk.example.com".

    Raises:
        MalformedError: One is no origin: scheme, host and perhaps a port, and nothing more.
    """
    origins = tuple(each.strip() for each in text.split(","))
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise MalformedError(
                f"{origin[:80]!a} is no web origin; write them like https://desk.example.com,"
                " with a comma between two, in lower case and without a path"
            )
    return origins


def _check_rights(table: Mapping[str, str]) -> Mapping[str, str]:
    try:
        for holder, rights in table.items():
            check_identifier(holder, what="holder", size_max=HOLDER_SIZE_MAX)
            parse_rights(rights)
    except MalformedError as error:
        raise ValueError(str(error)) from error  # what pydantic collects
    return table


CompletePath = Annotated[Path, AfterValidator(Path.absolute)]


class NodeSettings(BaseSettings):
    """The settings of one node; paths are complete, and the files are not opened yet."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, frozen=True
    )

    party: Annotated[str, _checked(check_party)]
    node: Annotated[str, _checked(check_node)]
    listen: Annotated[str, _checked(split_address)]
    data: CompletePath
    genesis: CompletePath
    acceptances: CompletePath
    tls_certificate: CompletePath
    tls_key: CompletePath
    proposal_key: CompletePath
    log_key: CompletePath
    cosign_key: CompletePath
    admit_key: CompletePath
    metrics_listen: Annotated[str, _checked(split_address)] | None = None  # None: nowhere
    http_listen: Annotated[str, _checked(parse_http_address)] | None = None  # None: nowhere
    http_client: CompletePath | None = None  # in whose name it acts
    http_origins: Annotated[str, _checked(parse_origins)] | None = None  # of pages; None: none
    # NoDecode: what the environment has under these names is no JSON to be read, but a mistake.
    peers: Annotated[Mapping[str, str], NoDecode, _addressed(str)] = {}
    witnesses: Annotated[Mapping[str, str], NoDecode, _addressed(witness_address)] = {}
    http_certificates: Annotated[Mapping[str, str], NoDecode, AfterValidator(_check_rights)] = {}

    @property
    def http(self) -> HttpAddress | None:
        """Where it serves HTTP; None: nowhere."""
        return None if self.http_listen is None else parse_http_address(self.http_listen)

    @property
    def name(self) -> str:
        """The node's whole name, "<party>/<node>"."""
        return f"{self.party}/{self.node}"

    @property
    def tls_owner(self) -> TlsOwner:
        """Whose its certificate is, and where it and its key lie."""
        return TlsOwner(
            party=self.party, node=self.node, certificate=self.tls_certificate, key=self.tls_key
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment go before the file, and ask nothing else."""
        return env_settings, init_settings


_PATH_KEYS = tuple(
    key
    for key, field in NodeSettings.model_fields.items()
    if field.annotation is Path or key == "http_client"
)
_NODE_TABLES = ("peers", "witnesses")
_TABLE_LINES = {
    **dict.fromkeys(_NODE_TABLES, '"PARTY/NAME" = "..."'),
    "http_certificates": 'HOLDER = "query,capture"',
}


def read_node_settings(path: Path) -> NodeSettings:
    """Return the settings in a file, as the environment overrides them.

    Raises:
        SettingsError: The file cannot be read or has an unknown key, or a value, wherever it
            comes from, is missing or not possible. Every such value has a line in the message.
    """
    table = read_toml(path)
    # Before the settings class sees them: some names mean something else to its constructor.
    if unknown := sorted(set(table) - set(NodeSettings.model_fields)):
        keys = ", ".join(NodeSettings.model_fields)
        raise SettingsError(
            f"{path}: key {unknown[0][:40]!a} is unknown; remove it, or use one of {keys}"
        )
    for key in _PATH_KEYS:
        if isinstance(value := table.get(key), str):
            table[key] = complete_path(path, key, value)
    try:
        settings = NodeSettings(**table)
    except ValidationError as error:
        problems = (_problem(path, details) for details in error.errors(include_url=False))
        raise SettingsError(";\n".join(problems)) from error
    if (settings.http_listen is None) != (settings.http_client is None):
        lacking = "http_listen" if settings.http_listen is None else "http_client"
        raise SettingsError(
            f"{path}: the HTTP endpoint needs {lacking} too; add it, or remove the other line"
        )
    if settings.http_certificates and not (settings.http and settings.http.is_tls):
        raise SettingsError(
            f"{path}: http_certificates needs TLS; write https:// in http_listen, or remove the"
            " table"
        )
    for key in _NODE_TABLES:
        if settings.name in getattr(settings, key):
            raise SettingsError(
                f"{path}: {key} names {settings.name}, which is this node itself; remove that line"
            )
    return settings


def check_peers(settings: NodeSettings, genesis: Genesis) -> None:
    """Check that a node can find all whom the genesis lets it work with, and is one of them.

    Raises:
        SettingsError: The node is no voter, another voter has no address, or somebody has one who
            is no voter, or a voter one as a witness. The message names who.
    """
    voters = {f"{voter.party}/{voter.node}" for voter in genesis.voters}
    if settings.name not in voters:
        raise SettingsError(
            f"{settings.name} is no voter of the genesis, which has {', '.join(sorted(voters))};"
            " name the right genesis, party and node in the node's settings"
        )
    for name in sorted(voters - {settings.name} - set(settings.peers)):
        raise SettingsError(
            f"voter {name} has no address in the settings of {settings.name}; add a line"
            f' "{name}" = "HOST:PORT" under [peers]'
        )
    for name in sorted(set(settings.peers) - voters):
        raise SettingsError(
            f"{name} has an address under [peers] but is no voter of the genesis; remove that line"
        )
    # Who cosigns besides, the ledger says: a witness may have come later.
    for name in sorted(set(settings.witnesses) & voters):
        raise SettingsError(
            f"{name} has an address under [witnesses] but by the genesis it votes, and cosigns as a"
            " voter; remove that line"
        )


def _problem(path: Path, details: ErrorDetails) -> str:
    """Say in one line where a value comes from, what is wrong with it, and what to do."""
    key = str(details["loc"][0])
    variable = f"{ENVIRONMENT_PREFIX}{key.upper()}"
    match details["type"]:
        case "missing":
            return f'{path}: key {key} is missing; add a line {key} = "..." or set {variable}'
        case "value_error":
            problem = str(details["ctx"]["error"])
            problem = f"{key}: {problem}" if key in _TABLE_LINES else problem
        case _ if key in _TABLE_LINES:
            problem = (
                f"{key} is no table of strings; write [{key}] and lines {_TABLE_LINES[key]} under"
                " it, in the file"
            )
        case _:
            problem = f"{key} is no string; write its value in quotes"
    from_environment = variable in {name.upper() for name in os.environ}
    return f"{variable if from_environment else path}: {problem}"
