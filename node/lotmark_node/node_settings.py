"""What a node must know before it starts: a TOML file, overridden by the environment.

`lotmark init` writes the file and people change it. Paths in the file are relative to the file;
those in environment variables (``LOTMARK_DATA`` for ``data``) to the working folder.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lotmark.client.settings import SettingsError, complete_path, read_toml
from lotmark.errors import MalformedError
from lotmark.key_grant import check_node, check_party
from lotmark.network_address import split_address

ENVIRONMENT_PREFIX = "LOTMARK_"


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that takes what `check` lets pass."""

    def validate(value: str) -> str:
        try:
            check(value)
        except MalformedError as error:
            raise ValueError(str(error)) from error  # what pydantic collects
        return value

    return AfterValidator(validate)


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
    key for key, field in NodeSettings.model_fields.items() if field.annotation is Path
)


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
        return NodeSettings(**table)
    except ValidationError as error:
        problems = (_problem(path, details) for details in error.errors(include_url=False))
        raise SettingsError(";\n".join(problems)) from error


def _problem(path: Path, details: ErrorDetails) -> str:
    """Say in one line where a value comes from, what is wrong with it, and what to do."""
    key = str(details["loc"][0])
    variable = f"{ENVIRONMENT_PREFIX}{key.upper()}"
    match details["type"]:
        case "missing":
            return f'{path}: key {key} is missing; add a line {key} = "..." or set {variable}'
        case "value_error":
            problem = str(details["ctx"]["error"])
        case _:
            problem = f"{key} is no string; write its value in quotes"
    from_environment = variable in {name.upper() for name in os.environ}
    return f"{variable if from_environment else path}: {problem}"
