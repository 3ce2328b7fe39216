"""API keys: who may use the HTTP endpoint, in a file of which each line of secrets is a digest.

A key is 256 random bits, shown once. The file has its SHA-256, which gives nothing away and needs
no salt, since nobody can guess what it is of. A key is bound to the party, the service and the
service's batch key that it was made for: copied elsewhere, the file opens nothing.
"""

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from lotmark.errors import MalformedError, ProtocolError
from lotmark.json_fields import JsonFields
from lotmark.key_file import read_secret_file, write_new_file
from lotmark.key_grant import check_node
from lotmark_node.http.errors import ApiKeyFileError

KEYS_MAX = 256  # revoked ones included
PER_MINUTE_DEFAULT = 120
PER_MINUTE_MAX = 60_000
FILE_SIZE_MAX = 1 << 20

_PREFIX = "lmk_"  # by which a secret in a log or a repository is recognised
_SECRET_SIZE = 32


@dataclass(frozen=True, slots=True)
class Service:
    """The client of a node's party in whose name the endpoint acts."""

    party: str
    holder: str
    batch_key: str  # public, hex


class May(StrEnum):
    """What somebody may do at the endpoint."""

    READ = "read"  # look seals up
    SEAL = "seal"  # and read
    CAPTURE = "capture"  # EPCIS events, and see what became of them
    QUERY = "query"  # EPCIS events, of everybody


Rights: TypeAlias = frozenset[May]


def parse_rights(text: str) -> Rights:
    """Return the rights that a text lists, such as "seal,query".

    Raises:
        MalformedError: It lists none, or one is unknown.
    """
    try:
        return frozenset(May(each.strip()) for each in text.split(","))
    except ValueError as error:
        raise MalformedError(
            f"{text[:40]!a} is no list of rights; write some of {','.join(May)}"
        ) from error


def rights_text(rights: Rights) -> str:
    """Return rights as a text, always in the same order."""
    return ",".join(each for each in May if each in rights)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What the file has of a key."""

    name: str
    digest: str  # SHA-256 of the key, hex
    party: str
    holder: str
    batch_key: str
    may: Rights
    per_minute: int  # requests
    created_ms: int
    revoked_ms: int  # 0: it is in force

    @property
    def service(self) -> Service:
        """Whom it was made for."""
        return Service(self.party, self.holder, self.batch_key)


class ApiKeyFile:
    """The file of API keys, as the command line changes it and the endpoint reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, ApiKey] = {}  # by digest

    def find(self, secret: str, service: Service) -> ApiKey | None:
        """Return the key that a caller shows, if it is in force for a service; for one thread.

        Raises:
            ApiKeyFileError: The file cannot be read.
        """
        self._read_if_changed()
        key = self._keys.get(_digest(secret))
        if key is None or key.revoked_ms or key.service != service:
            return None
        return key

    def all(self) -> list[ApiKey]:
        """Return every key, in the order in which they were made; none where there is no file.

        Raises:
            ApiKeyFileError: The file cannot be read.
        """
        if not self._path.exists():
            return []
        try:
            raw = read_secret_file(self._path, size_max=FILE_SIZE_MAX)
            value = json.loads(raw)
            fields = JsonFields(value, ("keys",), place="api keys")
            members = tuple(ApiKey.__dataclass_fields__)
            return [_read_key(each) for each in fields.objects("keys", members)]
        except (ProtocolError, ValueError, RecursionError) as error:
            raise ApiKeyFileError(
                f"{self._path} is no file of API keys: {error}; move it away and make new keys"
            ) from error

    def make(
        self, name: str, service: Service, *, may: Rights, per_minute: int, now_ms: int
    ) -> str:
        """Make a key and return it; nobody can show it a second time.

        Raises:
            ApiKeyFileError: The name is taken or none, the limit cannot be, or the file is full or
                cannot be written.
        """
        _check_name(name)
        if not 1 <= per_minute <= PER_MINUTE_MAX:
            raise ApiKeyFileError(f"{per_minute} requests a minute is not 1 to {PER_MINUTE_MAX}")
        secret = _PREFIX + secrets.token_urlsafe(_SECRET_SIZE)
        with self._changing() as keys:
            if any(key.name == name for key in keys):
                raise ApiKeyFileError(f"{self._path} has a key {name}; give this one another name")
            if len(keys) >= KEYS_MAX:
                raise ApiKeyFileError(
                    f"{self._path} has {len(keys)} keys, of {KEYS_MAX} at most; take revoked ones"
                    " out of it with an editor"
                )
            keys.append(
                ApiKey(
                    name=name,
                    digest=_digest(secret),
                    party=service.party,
                    holder=service.holder,
                    batch_key=service.batch_key,
                    may=may,
                    per_minute=per_minute,
                    created_ms=now_ms,
                    revoked_ms=0,
                )
            )
        return secret

    def revoke(self, name: str, *, now_ms: int) -> None:
        """Take a key out of force; a running endpoint notices with its next request.

        Raises:
            ApiKeyFileError: There is no key of that name in force, or the file cannot be written.
        """
        with self._changing() as keys:
            for at, key in enumerate(keys):
                if key.name == name and not key.revoked_ms:
                    keys[at] = replace(key, revoked_ms=now_ms)
                    return
            raise ApiKeyFileError(
                f"{self._path} has no key {name[:40]!a} in force; see `lotmark node api-key list`"
            )

    def _read_if_changed(self) -> None:
        try:
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_size, found.st_ino
        except FileNotFoundError:
            seen = None
        if seen is None or seen != self._seen:
            self._keys = {key.digest: key for key in self.all()}
            self._seen = seen

    @contextmanager
    def _changing(self) -> Iterator[list[ApiKey]]:
        """Give the keys to change, and write them; one process at a time."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            keys = self.all()
            yield keys
            part = self._path.with_name(f"{self._path.name}.part")
            part.unlink(missing_ok=True)
            document = {"keys": [{**asdict(key), "may": rights_text(key.may)} for key in keys]}
            write_new_file(part, (json.dumps(document, indent=1) + "\n").encode(), mode=0o600)
            part.replace(self._path)
            os.fsync(folder)
        except OSError as error:
            raise ApiKeyFileError(f"{self._path} cannot be written: {error.strerror}") from error
        finally:
            os.close(folder)


def now_ms() -> int:
    """Return the clock of this machine, Unix time in ms."""
    return time.time_ns() // 1_000_000


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_name(name: str) -> None:
    try:
        check_node(name)
    except MalformedError as error:
        raise ApiKeyFileError(
            f"{name[:40]!a} is no name of a key: 1 to 31 of a-z, 0-9 and, not first, a hyphen"
        ) from error


def _read_key(fields: JsonFields) -> ApiKey:
    return ApiKey(
        name=fields.text("name"),
        digest=fields.hex("digest", size=32).hex(),
        party=fields.text("party"),
        holder=fields.text("holder"),
        batch_key=fields.hex("batch_key", size=32).hex(),
        may=parse_rights(fields.text("may")),
        per_minute=fields.number("per_minute"),
        created_ms=fields.number("created_ms"),
        revoked_ms=fields.number("revoked_ms"),
    )
