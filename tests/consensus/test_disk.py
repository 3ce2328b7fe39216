"""What the durable calls promise where the system does less at a time than it was asked."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark_consensus.disk import write_fully


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(buffers=st.lists(st.binary(max_size=20), max_size=6), size_max=st.integers(1, 30))
def test_writes_cut_short_anywhere_still_write_every_byte_once(
    tmp_path: Path, buffers: list[bytes], size_max: int
) -> None:
    whole_write = os.pwritev

    def short_write(descriptor: int, asked: Sequence[memoryview], offset: int) -> int:
        return whole_write(descriptor, [b"".join(asked)[:size_max]], offset)

    path = tmp_path / "file"
    path.write_bytes(b"before")
    descriptor = os.open(path, os.O_RDWR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwritev", short_write)
        write_fully(descriptor, buffers, 6)
    os.close(descriptor)

    assert path.read_bytes() == b"before" + b"".join(buffers)


def test_a_write_that_takes_nothing_is_an_error_and_not_an_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)

    with pytest.raises(OSError, match="took no byte"):
        write_fully(descriptor, [b"some"], 0)

    os.close(descriptor)
