"""What happens when the disk is full or fails, met through the real system calls."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lotmark_consensus.errors import JournalFailed, JournalFull, OrderingFailed
from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import Ordered, Role
from lotmark_consensus.single import SingleNodeOrdering

CHAIN_ID = bytes(range(32))
WAIT_MAX_S = 20


def record(index: int, block: bytes) -> Ordered:
    return Ordered(index=index, term=1, time_ms=index, block=block)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond `size`: the write that would is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def put_in_place_of_segment(folder: Path, device: str) -> None:
    """Let the journal's open segment be a device that fails as a disk can fail."""
    segment = str(max(folder.glob("*.segment")).resolve())
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink() and str(link.readlink()) == segment:
            replacement = os.open(device, os.O_RDWR)
            os.dup2(replacement, int(link.name), inheritable=False)
            os.close(replacement)
            return
    raise AssertionError(f"{segment} is not open")


def test_a_full_disk_keeps_nothing_of_the_append_and_takes_one_that_fits(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        journal.append_many([record(1, b"first")])
        segment = next(tmp_path.glob("*.segment"))
        size = segment.stat().st_size
        with file_size_limit(size + 5000):
            with pytest.raises(
                JournalFull, match=r"no room for 10096 bytes .* bytes are free .* make room"
            ):
                journal.append_many([record(2, bytes(3000)), record(3, bytes(7000))])
            assert segment.stat().st_size == size
            assert [found.block for found in journal.read(1)] == [b"first"]
            journal.append_many([record(2, b"small")])
        journal.append_many([record(3, bytes(9000))])

    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        assert journal.torn_tail is None
        assert [found.block for found in journal.read(1)] == [b"first", b"small", bytes(9000)]


def test_a_disk_too_full_for_a_new_segment_keeps_the_old_one_in_use(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, CHAIN_ID, segment_size_max=1000)) as journal:
        journal.append_many([record(1, bytes(800))])
        with file_size_limit(10), pytest.raises(JournalFull, match="no room for 64 bytes"):
            journal.append_many([record(2, bytes(800))])
        journal.append_many([record(2, bytes(8))])
        journal.append_many([record(3, bytes(800))])

    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        assert [len(found.block) for found in journal.read(1)] == [800, 8, 800]
        journal.scrub()


def test_a_new_folder_on_a_full_disk_is_refused_and_opens_when_there_is_room(
    tmp_path: Path,
) -> None:
    with file_size_limit(10), pytest.raises(JournalFull):
        Journal(tmp_path, CHAIN_ID)

    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        assert journal.last_index == 0


def test_a_full_disk_does_not_stop_a_journal_from_being_opened_and_read(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        journal.append_many([record(1, b"kept")])

    with file_size_limit(0), closing(Journal(tmp_path, CHAIN_ID)) as journal:
        assert [found.block for found in journal.read(1)] == [b"kept"]


@pytest.mark.parametrize(
    ("device", "failing"),
    [("/dev/null", "fdatasync, after a write that succeeded"), ("/dev/full", "cutting back")],
)
def test_after_a_failed_sync_nothing_is_appended_until_the_disk_is_read_again(
    tmp_path: Path, device: str, failing: str
) -> None:
    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        journal.append_many([record(1, b"durable")])
        put_in_place_of_segment(tmp_path, device)

        with pytest.raises(JournalFailed, match="Invalid argument while appending index 2"):
            journal.append_many([record(2, failing.encode())])
        with pytest.raises(JournalFailed, match="nothing is appended any more"):
            journal.append_many([record(2, b"again")])

        assert journal.last_index == 1
        assert [found.block for found in journal.read(1)] == [b"durable"]

    with closing(Journal(tmp_path, CHAIN_ID)) as journal:
        journal.append_many([record(2, b"after the restart")])


def test_a_full_disk_fails_the_proposals_it_met_and_the_order_goes_on(tmp_path: Path) -> None:
    ordering = SingleNodeOrdering(tmp_path, CHAIN_ID)
    delivered: list[Ordered] = []
    ordering.on_committed(delivered.append)
    with file_size_limit(1000):
        refused = ordering.propose(bytes(2000), time_ms=1, term=1)
        assert isinstance(refused.exception(WAIT_MAX_S), JournalFull)
        assert ordering.status().role is Role.LEADER

    assert ordering.propose(bytes(2000), time_ms=2, term=1).result(WAIT_MAX_S).index == 1
    ordering.stop()
    assert [(record.index, record.time_ms) for record in delivered] == [(1, 2)]


def test_a_failing_disk_stops_the_order_and_leaves_no_proposal_waiting(tmp_path: Path) -> None:
    ordering = SingleNodeOrdering(tmp_path, CHAIN_ID)
    failures: list[BaseException] = []
    failed, entered, leave = threading.Event(), threading.Event(), threading.Event()

    def hold_up(record: Ordered) -> None:
        entered.set()
        assert leave.wait(WAIT_MAX_S)

    def note(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    ordering.on_committed(hold_up)
    ordering.on_failure(note)
    ordering.propose(b"durable", time_ms=1, term=1)
    assert entered.wait(WAIT_MAX_S)
    put_in_place_of_segment(tmp_path, "/dev/null")
    futures = [ordering.propose(b"lost", time_ms=2, term=1) for _ in range(3)]
    leave.set()

    for future in futures:
        assert isinstance(future.exception(WAIT_MAX_S), OrderingFailed)
    assert failed.wait(WAIT_MAX_S)
    assert [type(error) for error in failures] == [JournalFailed]
    assert (ordering.status().role, ordering.status().committed_index) == (Role.FAILED, 1)
    assert [record.block for record in ordering.committed(1)] == [b"durable"]
    ordering.stop()
    assert ordering.status().role is Role.FAILED

    restarted = SingleNodeOrdering(tmp_path, CHAIN_ID)
    assert restarted.propose(b"again", time_ms=3, term=1).result(WAIT_MAX_S).index == 2
    restarted.stop()
