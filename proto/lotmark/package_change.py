"""Changes of rule packages that parties approve: what is signed, and how a package is carried.

A proposal's hash is over its canonical bytes and the chain, so an approval names exactly the
package and the report of a backtest that its signer has seen.
"""

import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

from lotmark.errors import MalformedError
from lotmark.key_grant import check_party
from lotmark.state_rows import str8
from lotmark.v1 import contracts_pb2

PARTS_MAX: Final = 24
PART_SIZE_MAX: Final = 15_360

_CHANGE_DOMAIN = b"lotmark/package-change/v1\n"
_APPROVAL_DOMAIN = b"lotmark/package-approve/v1\n"
_ARCHIVE_DOMAIN = b"lotmark/package/v1\n"
_DIGEST_SIZE = 32
_VERSION_MAX = 1_000_000
_NAME = re.compile(r"(?=.*[a-z0-9])[a-z0-9-]{1,40}")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class ChangeKind(IntEnum):
    """What is proposed; the numbers are those of the fields of `PackageChange`."""

    ACTIVATE = 2
    SUSPEND = 3
    RESUME = 4


def kind_of(change: contracts_pb2.PackageChange) -> ChangeKind:
    """Return what a change asks for.

    Raises:
        MalformedError: It asks for nothing or for several things, or a field is not as it must be.
    """
    kinds = [field.number for field, _ in change.ListFields() if field.number in list(ChangeKind)]
    if len(kinds) != 1:
        raise MalformedError(f"a change of packages is one thing, this one {len(kinds)}")
    kind = ChangeKind(kinds[0])
    if not _NAME.fullmatch(name_of(change, kind)):
        raise MalformedError(f"{name_of(change, kind)[:60]!r} is no package's name")
    if kind is ChangeKind.ACTIVATE:
        _check_activation(change.activate)
    return kind


def name_of(change: contracts_pb2.PackageChange, kind: ChangeKind) -> str:
    """Return the name of the package that a change is about."""
    match kind:
        case ChangeKind.ACTIVATE:
            return change.activate.name
        case ChangeKind.SUSPEND:
            return change.suspend.name
        case ChangeKind.RESUME:
            return change.resume.name


def _check_activation(activation: contracts_pb2.PackageActivation) -> None:
    if not 1 <= activation.version <= _VERSION_MAX:
        raise MalformedError(f"version {activation.version} is not 1 to {_VERSION_MAX:,}")
    if not 1 <= len(activation.parts) <= PARTS_MAX:
        raise MalformedError(f"{len(activation.parts)} parts; a package has 1 to {PARTS_MAX}")
    digests = [activation.package, *activation.parts]
    if activation.report:
        digests.append(activation.report)
    if any(len(each) != _DIGEST_SIZE for each in digests):
        raise MalformedError("a SHA-256 has 32 bytes")
    is_range = activation.report_first_height <= activation.report_last_height
    if not is_range or bool(activation.report) != bool(activation.report_last_height):
        raise MalformedError("a report and the heights that it goes over come together")


def change_bytes(change: contracts_pb2.PackageChange) -> bytes:
    """Return the canonical bytes of a change."""
    return change.SerializeToString(deterministic=True)


def change_hash(chain_id: bytes, change: bytes) -> bytes:
    """Return what approvals name a change by, from its canonical bytes."""
    return hashlib.sha256(_CHANGE_DOMAIN + chain_id + change).digest()


def change_approval_statement(*, chain_id: bytes, proposal: bytes, party: str) -> bytes:
    """Return the bytes that a party's roots sign to approve the change of this hash.

    Raises:
        MalformedError: The party is none, or the hash has another size.
    """
    check_party(party)
    if len(proposal) != _DIGEST_SIZE:
        raise MalformedError(f"a proposal's hash has 32 bytes, this one {len(proposal)}")
    return _APPROVAL_DOMAIN + chain_id + proposal + str8(party)


def encode_archive(files: Mapping[str, bytes]) -> bytes:
    """Return a package's files in one piece.

    Args:
        files: By path within the package.
    """
    parts = [_ARCHIVE_DOMAIN]
    for path in sorted(files):
        raw = path.encode("ascii")
        parts += (_U16.pack(len(raw)), raw, _U32.pack(len(files[path])), files[path])
    return b"".join(parts)


def parse_archive(raw: bytes) -> dict[str, bytes]:
    """Return the files of an archive, by path.

    Raises:
        MalformedError: It is none, is cut off, or its paths do not ascend.
    """
    if not raw.startswith(_ARCHIVE_DOMAIN):
        raise MalformedError(f"{len(raw)} bytes are no archive of a package of version 1")
    at, files, before = len(_ARCHIVE_DOMAIN), dict[str, bytes](), b""
    try:
        while at < len(raw):
            path, at = _counted(raw, at, _U16)
            data, at = _counted(raw, at, _U32)
            if path <= before:
                raise MalformedError(f"path {path[:60]!r} does not ascend after {before[:60]!r}")
            files[path.decode("ascii")] = data
            before = path
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedError(f"the archive is cut off or damaged at byte {at}") from error
    return files


def _counted(raw: bytes, at: int, count: struct.Struct) -> tuple[bytes, int]:
    start = at + count.size
    end = start + count.unpack_from(raw, at)[0]
    if end > len(raw):
        raise struct.error("cut off")
    return raw[start:end], end


def archive_parts(archive: bytes) -> Sequence[bytes]:
    """Return the parts in which an archive goes on the ledger.

    Raises:
        MalformedError: There would be too many.
    """
    parts = [archive[at : at + PART_SIZE_MAX] for at in range(0, len(archive), PART_SIZE_MAX)]
    if len(parts) > PARTS_MAX:
        raise MalformedError(
            f"the package has {len(archive):,} bytes; {PARTS_MAX * PART_SIZE_MAX:,} go on the"
            " ledger, tests included: shorten its tests or split it"
        )
    return parts
