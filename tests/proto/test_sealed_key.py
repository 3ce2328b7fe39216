"""A sealed key opens with its passphrase and no other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.errors import ProtocolError
from lotmark.sealed_key import WrongPassphraseError, open_key, seal_key
from tests.proto.sample_genesis import private_key

KEY = private_key("sealed")
SEALED = seal_key(KEY, b"right")
# As the first release wrote it.
GOLDEN = b"""-----BEGIN LOTMARK SEALED KEY-----
bG90bWFyay9zZWFsZWQta2V5L3YxCr6/BpNLGJduLli43Op9xQaEifA4N+ZMz8Cw
yn1EHP5JR5PbfU8WPbH+eaVhfUpaO30H4C61BrDokIdesoT7ja9peOWsjCB8xgUa
2lQwfBiJ5Sape5rm4LM=
-----END LOTMARK SEALED KEY-----
"""


def test_a_sealed_key_opens_with_its_passphrase() -> None:
    assert open_key(SEALED, b"right").seed == KEY.seed
    assert seal_key(KEY, b"right") != SEALED  # salted anew
    assert KEY.seed.hex().encode() not in SEALED


def test_a_key_that_the_first_release_sealed_opens() -> None:
    assert open_key(GOLDEN, b"a long passphrase").seed == KEY.seed


@pytest.mark.parametrize("passphrase", [b"", b"Right", b"right "])
def test_another_passphrase_opens_nothing(passphrase: bytes) -> None:
    with pytest.raises(WrongPassphraseError, match="does not open"):
        open_key(SEALED, passphrase)


@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, len(SEALED) - 1), put=st.integers(0, 255))
def test_a_changed_file_opens_nothing_or_the_same_key(at: int, put: int) -> None:
    changed = SEALED[:at] + bytes([put]) + SEALED[at + 1 :]
    try:
        found = open_key(changed, b"right")
    except ProtocolError:
        return
    assert found.seed == KEY.seed


@pytest.mark.parametrize("size", range(0, len(SEALED), 17))
def test_a_file_that_is_cut_off_opens_nothing(size: int) -> None:
    with pytest.raises(ProtocolError):
        open_key(SEALED[:size], b"right")
