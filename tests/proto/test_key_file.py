"""Key files: what they hold, and from whom they are kept."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProtocolError
from lotmark.key_file import KeyFileError, read_key_file, read_secret_file, write_key_file

KEY = PrivateKey.from_seed(bytes(range(32)))
# From RFC 8410, section 10.3, but with the seed above: the DER prefix is the format's.
GOLDEN = (
    b"-----BEGIN PRIVATE KEY-----\n"
    b"MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
    b"-----END PRIVATE KEY-----\n"
)


def test_a_key_file_is_the_pkcs8_that_other_tools_write(tmp_path: Path) -> None:
    write_key_file(tmp_path / "batch.key", KEY)

    assert (tmp_path / "batch.key").read_bytes() == GOLDEN
    foreign = load_pem_private_key(GOLDEN, None)
    assert isinstance(foreign, Ed25519PrivateKey)
    assert foreign.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) == KEY.public


@pytest.mark.parametrize("passphrase", [None, b"a long passphrase"])
def test_a_key_is_read_back(tmp_path: Path, passphrase: bytes | None) -> None:
    write_key_file(tmp_path / "key", KEY, passphrase)

    assert read_key_file(tmp_path / "key", passphrase).seed == KEY.seed


def test_a_key_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "key", KEY)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    write_key_file(tmp_path / "key", KEY)

    with pytest.raises(KeyFileError, match="not overwritten"):
        write_key_file(tmp_path / "key", PrivateKey.generate())
    assert read_key_file(tmp_path / "key").seed == KEY.seed


def test_a_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyFileError, match="not overwritten"):
        write_key_file(tmp_path / "key", KEY)
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_in_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"missing/key cannot be made: No such file"):
        write_key_file(tmp_path / "missing" / "key", KEY)
    with pytest.raises(KeyFileError, match=r"missing/key cannot be read: No such file"):
        read_key_file(tmp_path / "missing" / "key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key_file(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601, 0o777])
def test_a_key_that_others_can_use_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_key_file(path, KEY)
    path.chmod(mode)

    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        read_key_file(path)


@pytest.mark.parametrize(
    ("written", "read", "reason"),
    [
        (b"right", b"wrong", "does not open"),
        (b"right", None, "is encrypted; give its passphrase"),
        (None, b"needless", "is not encrypted"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_refused(
    tmp_path: Path, written: bytes | None, read: bytes | None, reason: str
) -> None:
    write_key_file(tmp_path / "key", KEY, written)

    with pytest.raises(KeyFileError, match=reason):
        read_key_file(tmp_path / "key", read)


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="protects nothing"):
        write_key_file(tmp_path / "key", KEY, b"")
    assert not (tmp_path / "key").exists()


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    with pytest.raises(MalformedError, match="another kind than Ed25519"):
        read_key_file(path)


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(b"x" * 5000)

    with pytest.raises(KeyFileError, match="over 4096 bytes"):
        read_key_file(path)
    assert read_secret_file(path, size_max=5000) == b"x" * 5000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(GOLDEN) - 1), put=st.binary(max_size=3), cut=st.integers(0, 3))
def test_any_file_gives_a_key_or_a_protocol_error(
    tmp_path: Path, at: int, put: bytes, cut: int
) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(GOLDEN[:at] + put + GOLDEN[at + cut :])
    try:
        assert isinstance(read_key_file(path), PrivateKey)
    except ProtocolError:
        return
