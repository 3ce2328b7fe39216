import pytest
from pysyncobj import SyncObj  # type: ignore[import-untyped]  # it has no stubs

from lotmark_consensus.errors import CoreMismatch
from lotmark_consensus.raft.core import PINNED_VERSION, check_core


class Renamed:
    """A core of another release: the same version, but other names inside."""

    def __init__(self) -> None:
        self._SyncObj__raftCommitIndex = 1

    def _onTick(self) -> None:  # noqa: N802 - the core's name
        """Call nothing."""

    def _SyncObj__applyLogEntries(self) -> None: ...  # noqa: N802


def test_the_pinned_release_is_the_one_that_is_guarded() -> None:
    check_core(PINNED_VERSION, SyncObj)


def test_another_version_is_refused() -> None:
    with pytest.raises(CoreMismatch, match=f"0.3.18 is installed; install {PINNED_VERSION}"):
        check_core("0.3.18", SyncObj)


def test_a_private_name_that_is_gone_is_named() -> None:
    with pytest.raises(CoreMismatch) as refusal:
        check_core(PINNED_VERSION, Renamed)

    told = str(refusal.value)
    assert "_SyncObj__connectedToAnyone" in told  # a method that is gone
    assert "_SyncObj__raftNextIndex" in told  # a field that is never set
    assert "_SyncObj__applyLogEntries" in told  # there, but the tick no longer calls it
    assert "_SyncObj__raftCommitIndex" not in told


def test_a_core_without_a_tick_is_refused() -> None:
    with pytest.raises(CoreMismatch):
        check_core(PINNED_VERSION, object)
