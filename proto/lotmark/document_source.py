"""Documents as they are handed in, before anybody asks what they say: parsed, and their files."""

import hashlib
import tomllib
from collections.abc import Callable
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Any

from lotmark.canonical_json import load_foreign
from lotmark.document_fields import Place, shown, string_at, table_at
from lotmark.errors import MalformedError
from lotmark.v1 import event_pb2

DOCUMENT_SIZE_MAX = 4_194_304

_READ_SIZE = 1_048_576


def parse_document(raw: bytes, place: Place) -> dict[str, Any]:
    """Return the table that a document is: JSON if it begins with a brace, else TOML.

    Raises:
        MalformedError: It is too large, or neither.
    """
    if len(raw) > DOCUMENT_SIZE_MAX:
        raise place.refusal(
            f"it has {len(raw)} bytes; at most {DOCUMENT_SIZE_MAX} are allowed: split it"
        )
    try:
        # No TOML document begins with a brace, and every JSON object does.
        if raw.lstrip()[:1] == b"{":
            document = load_foreign(raw, size_max=DOCUMENT_SIZE_MAX)
            assert isinstance(document, dict)
            return document
        return tomllib.loads(raw.decode())
    except MalformedError as error:
        raise place.refusal(str(error)) from error
    except RecursionError as error:
        raise place.refusal("the TOML nests too deeply; an event needs four levels") from error
    except ValueError as error:  # no UTF-8, no TOML, or an integer of thousands of digits
        raise place.refusal(f"this is neither a JSON object nor TOML in UTF-8: {error}") from error


def file_beneath(
    folder: Traversable | None, value: object, place: Place, nonce: Callable[[], bytes]
) -> event_pb2.FileDigest:
    """Return what an event says of a file that a document names by its path.

    Args:
        folder: Where the document stands; None: it may name no file.
        value: The table, such as ``{path = "raw.csv", media_type = "text/csv"}``.
        place: Where it stands in the document.
        nonce: Gives 16 random bytes, for the salt where the table says ``salted = true``.

    Raises:
        MalformedError: The table is not as it should be, or the file cannot be read.
    """
    table = table_at(value, place, ["path", "media_type", "salted"])
    for name, remedy in (
        ("path", "name the file"),
        ("media_type", "write what the file is, such as text/csv"),
    ):
        if name not in table:
            raise place.member(name).missing(remedy)
    path = string_at(table["path"], place.member("path"))
    salted = table.get("salted", False)
    if not isinstance(salted, bool):
        raise place.member("salted").refusal(f"{shown(salted)} is neither true nor false")
    salt = nonce() if salted else b""
    digest, size = digest_beneath(folder, path, place.member("path"), salt)
    return event_pb2.FileDigest(
        sha256=digest,
        size=size,
        salt=salt,
        media_type=string_at(table["media_type"], place.member("media_type")),
        name=PurePosixPath(path).name,
    )


def digest_beneath(
    folder: Traversable | None, path: str, place: Place, salt: bytes
) -> tuple[bytes, int]:
    """Return SHA-256 of salt and content of a file beneath `folder`, and the content's size.

    Raises:
        MalformedError: The path leads out of the folder, or the file cannot be read.
    """
    if folder is None:
        raise place.refusal(
            f"{shown(path)} stands beside no file, since this document came without a folder;"
            " write sha256 and size"
        )
    # A document from elsewhere shall not make its reader publish digests of the reader's files.
    if not path or "\\" in path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise place.refusal(f"{shown(path)} is no path beneath the document's own folder")
    digest, size = hashlib.sha256(salt), 0
    try:
        with folder.joinpath(path).open("rb") as file:
            while chunk := file.read(_READ_SIZE):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise place.refusal(
            f"{shown(path)} cannot be read beside the document: {error.strerror or error}"
        ) from error
    return digest.digest(), size
