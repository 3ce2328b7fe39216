"""The webhooks of a site, from one TOML file.

[[target]]
name = "quality"                  # unique in the file
kind = "feishu"                   # or "json"
url = "https://open.feishu.cn/open-apis/bot/v2/hook/…"
secret_file = "quality.secret"    # beside this file; readable by its owner alone
"""

import tomllib
from pathlib import Path

from lotmark.errors import MalformedError
from lotmark.json_fields import JsonFields
from lotmark.text import check_identifier
from lotmark_adapters.errors import WebhookRefused
from lotmark_adapters.webhooks.targets import Target, TargetKind

FILE_SIZE_MAX = 65_536
TARGETS_MAX = 16

_NAME_SIZE_MAX = 64
_SECRET_SIZE_MAX = 1_024
_OTHERS = 0o077  # permissions of group and others


def read_targets(path: Path) -> tuple[Target, ...]:
    """Return the webhooks that a file names.

    Raises:
        WebhookRefused: A key is missing, unknown or wrong, or a secret can be read by others.
        OSError: A file cannot be read.
    """
    raw = path.read_bytes()
    if len(raw) > FILE_SIZE_MAX:
        raise WebhookRefused(f"{path} has {len(raw)} bytes; at most {FILE_SIZE_MAX} may be")
    try:
        table = JsonFields(tomllib.loads(raw.decode()), ("target",), place="webhooks")
        targets = tuple(
            _target(each, path.parent)
            for each in table.objects("target", ("name", "kind", "url", "secret_file"))
        )
    except (MalformedError, ValueError) as error:
        raise WebhookRefused(f"{path}: {error}") from error
    names = [each.name for each in targets]
    if not 1 <= len(set(names)) == len(names) <= TARGETS_MAX:
        raise WebhookRefused(
            f"{path} has {len(names)} targets; 1 to {TARGETS_MAX} may be, each of another name"
        )
    return targets


def _target(table: JsonFields, folder: Path) -> Target:
    name, kind = table.text("name"), table.text("kind")
    check_identifier(name, what="target.name", size_max=_NAME_SIZE_MAX)
    if kind not in list(TargetKind):
        raise MalformedError(f"target {name}: kind {kind!a} is none of {', '.join(TargetKind)}")
    return Target(
        name=name,
        kind=TargetKind(kind),
        url=table.text("url"),
        secret=_secret(folder / table.text("secret_file")),
    )


def _secret(path: Path) -> str:
    if path.stat().st_mode & _OTHERS:
        raise MalformedError(f"{path} can be read by others: chmod 600 {path}")
    with path.open("rb") as file:
        return file.read(_SECRET_SIZE_MAX).decode().strip()
