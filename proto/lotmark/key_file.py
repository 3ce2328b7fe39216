"""Ed25519 private keys in files that only their owner can read: PKCS#8 in PEM, or sealed.

A sealed one opens with its passphrase alone: `lotmark.sealed_key`.
"""

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProtocolError
from lotmark.sealed_key import BEGIN, WrongPassphraseError, open_key, seal_key

KEY_FILE_SIZE_MAX = 4096


class KeyFileError(ProtocolError):
    """A private key cannot be read from its file or written to it."""


def write_key_file(path: Path, key: PrivateKey, passphrase: bytes | None = None) -> None:
    """Write a key to a new file, on disk when this returns.

    Args:
        path: Where to; nothing may stand there yet.
        key: The key.
        passphrase: What encrypts the file; None leaves it readable to whoever can open it.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    if passphrase is None:
        private = Ed25519PrivateKey.from_private_bytes(key.seed)
        content = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    elif passphrase:
        content = seal_key(key, passphrase)
    else:
        raise KeyFileError(f"{path}: an empty passphrase protects nothing; give one or none")
    write_new_file(path, content)


def write_new_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a new file, by default one that only its owner can read; on disk when this returns.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    try:
        # Exclusively: overwriting a key loses it, and following a link would put it elsewhere.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyFileError(
            f"{path} exists and is not overwritten; move it away or name another file"
        ) from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be made: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Put the folder's list of files on disk, without which a new file may be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_key_file(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """Return the key in a file.

    Raises:
        KeyFileError: There is no such file, others can read it, or the passphrase is missing,
            needless or wrong.
        MalformedError: It holds no Ed25519 key in PKCS#8 PEM.
    """
    raw = read_secret_file(path, size_max=KEY_FILE_SIZE_MAX)
    if raw.startswith(BEGIN):
        if passphrase is None:
            raise KeyFileError(f"{path} is encrypted; give its passphrase")
        try:
            return open_key(raw, passphrase)
        except WrongPassphraseError as error:
            raise KeyFileError(f"{path} does not open with this passphrase") from error
        except MalformedError as error:
            raise MalformedError(f"{path}: {error}") from error
    try:
        key = load_pem_private_key(raw, passphrase)
    except TypeError as error:
        if passphrase is None:
            raise KeyFileError(f"{path} is encrypted; give its passphrase") from error
        raise KeyFileError(f"{path} is not encrypted; give no passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase is not None and b"ENCRYPTED" in raw:
            raise KeyFileError(f"{path} does not open with this passphrase") from error
        raise MalformedError(f"{path} holds no private key in PKCS#8 PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise MalformedError(f"{path} holds a key of another kind than Ed25519")
    return PrivateKey.from_seed(key.private_bytes_raw())


def is_sealed(path: Path) -> bool:
    """Return whether a key file asks for a passphrase.

    Raises:
        KeyFileError: There is no such file, or others can read it.
    """
    raw = read_secret_file(path, size_max=KEY_FILE_SIZE_MAX)
    return raw.startswith(BEGIN) or b"ENCRYPTED" in raw


def read_secret_file(path: Path, *, size_max: int) -> bytes:
    """Return the content of a file that nobody but its owner and root can read.

    Raises:
        KeyFileError: There is no such file, it is too large, or others can read it.
    """
    try:
        with path.open("rb") as file:
            # Of the open file, not of the path: the path may name another file a moment later.
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyFileError(
                    f"{path} has mode {stat.S_IMODE(mode):04o}, so others can use the key:"
                    f" chmod 600 {path}"
                )
            raw = file.read(size_max + 1)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > size_max:
        raise KeyFileError(f"{path} has over {size_max} bytes, so it is no key file")
    return raw
