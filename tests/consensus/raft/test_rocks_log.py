"""The durable log: what it keeps through crashes, whom it lets in, what damage it finds."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from random import Random, SystemRandom

import pytest
from hypothesis import given, settings
from rocksdict import Options, Rdict, WriteBatch

from lotmark_consensus.errors import (
    ForeignJournal,
    JournalCorrupt,
    JournalFailed,
    JournalFull,
    JournalLocked,
)
from lotmark_consensus.raft import rocks_log
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_store import LogStore, PeerMark, StoredEntry, StoredLog, Writes
from lotmark_consensus.raft.memory_log import MemoryLogStore
from lotmark_consensus.raft.rocks_log import RocksLogStore
from tests.consensus.raft.journal_model import STEPS, Driver, Step
from tests.consensus.raft.log_writer import COUNTER, scripted_writes

CHAIN_ID = bytes(range(32))
WRITER = Path(__file__).with_name("log_writer.py")
KILL_ROUNDS = 8
WAIT_MAX_S = 20
FAST_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - no fsync to wait for

ENTRIES = [
    StoredEntry(1, 0, b"\x01"),
    StoredEntry(2, 2**61, b"\x00\x00\x00\x00\x00\x00\x00\x03\xe8alpha"),
    StoredEntry(3, 2**61, b"\x02+ACME/node-2"),
]
# After writing ENTRIES in term 2**61 + 1 with a vote for "ACME/node-1" and one peer's mark.
GOLDEN_ROWS = {
    "63 0000000000000001": "01",
    "63 0000000000000002": "00 00000000000003e8 616c706861",
    "63 0000000000000003": "02 2b41434d452f6e6f64652d32",
    "68 0000000000000001": "0000000000000000 0f44f2b9",
    "68 0000000000000002": "2000000000000000 ae96c2b4",
    "68 0000000000000003": "2000000000000000 48031bba",
    "6d 0000000000000003": "2b41434d452f6e6f64652d32 70b2c7af",
    "6f": "6c6f746d61726b2f726166742d6c6f672f76310a"
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "70 41434d452f6e6f64652d32": "0000000000000005 0000000000000002 0000010000000000 0ae16a73",
    "73": "0000000000000001 0000000000000003 2000000000000001 41434d452f6e6f64652d31 6110c00c",
    "74 0000000000000001": "0000000000000000 c9280c42",
    "74 0000000000000002": "2000000000000000 09d352d1",
}


def writes_of(entries: list[StoredEntry], *, term: int = 2**61 + 1, first: int = 1) -> Writes:
    return Writes(
        entries=entries,
        first_index=first,
        last_index=entries[-1].index,
        term=term,
        vote="ACME/node-1",
        marks={"ACME/node-2": PeerMark(term=5, index=2, signed_size=2**40)},
    )


def filled(folder: Path, count: int = 40, size: int = 100) -> None:
    """Leave a log of `count` blocks, each in a write of its own."""
    with closing(RocksLogStore(folder, CHAIN_ID)) as store:
        for index in range(1, count + 1):
            command = bytes(9) + index.to_bytes(2) * (size // 2)
            store.write(writes_of([StoredEntry(index, 1, command)]))


def rows_of(folder: Path) -> dict[str, str]:
    rows = {}
    database = Rdict(str(folder), Options(raw_mode=True))
    for key, value in database.items():
        assert isinstance(key, bytes)
        rows[key.hex()] = value.hex()
    database.close()
    return rows


def hexadecimal(rows: dict[str, str]) -> dict[str, str]:
    return {key.replace(" ", ""): value.replace(" ", "") for key, value in rows.items()}


def test_rows_are_written_as_golden_bytes(tmp_path: Path) -> None:
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        store.write(writes_of(ENTRIES))

    assert rows_of(tmp_path) == hexadecimal(GOLDEN_ROWS)


def test_golden_rows_are_read_as_this_log(tmp_path: Path) -> None:
    RocksLogStore(tmp_path, CHAIN_ID).close()
    put_rows(tmp_path, hexadecimal(GOLDEN_ROWS))

    memory = MemoryLogStore()
    memory.write(writes_of(ENTRIES))
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        assert store.load() == memory.load()
        assert [store.read(index) for index in (1, 2, 3)] == ENTRIES


def put_rows(folder: Path, rows: dict[str, str]) -> None:
    """Put rows past the store; an empty value deletes one."""
    database = Rdict(str(folder), Options(raw_mode=True))
    batch = WriteBatch(raw_mode=True)
    for key, value in rows.items():
        if value:
            batch.put(bytes.fromhex(key), bytes.fromhex(value))
        else:
            batch.delete(bytes.fromhex(key))
    database.write(batch)
    database.close()


@settings(max_examples=60)
@given(steps=STEPS)
def test_the_store_on_the_disk_and_the_one_in_memory_behave_alike(steps: list[Step]) -> None:
    memory = MemoryLogStore()
    with tempfile.TemporaryDirectory(dir=FAST_FOLDER) as folder:
        beside = Driver(lambda: BothStores(RocksLogStore(Path(folder), CHAIN_ID), memory))
        beside.run(steps)
        stored = beside.store.load()
        beside.store.close()
        kinds = Counter(key[:2] for key in rows_of(Path(folder)))
    count = stored.last_index + 1 - stored.first_index
    rows = {"63": count, "68": count, "74": len(stored.terms), "6d": len(stored.memberships)}
    assert kinds == Counter(rows | {"70": len(stored.marks), "6f": 1, "73": 1})  # and none is left


class BothStores:
    """Two stores that must always answer the same."""

    def __init__(self, disk: LogStore, memory: LogStore) -> None:
        self._disk, self._memory = disk, memory
        self.load()

    def load(self) -> StoredLog:
        answer = self._disk.load()
        assert answer == self._memory.load()
        return answer

    def read(self, index: int) -> StoredEntry:
        answer = self._disk.read(index)  # or JournalCorrupt, where the other one has nothing
        assert answer == self._memory.read(index)
        return answer

    def write(self, writes: Writes) -> None:
        self._disk.write(writes)
        self._memory.write(writes)

    def close(self) -> None:
        self._disk.close()


def test_a_term_that_began_before_the_first_entry_goes_with_its_last_one(tmp_path: Path) -> None:
    filled(tmp_path, count=9)
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        store.write(writes_of([StoredEntry(10, 1, bytes(9))], first=5))
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        store.write(writes_of([StoredEntry(n, 1, bytes(9)) for n in (20, 21)], first=20))

    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        assert store.load().terms == [(20, 1)]
    assert [key for key in rows_of(tmp_path) if key.startswith("74")] == [f"74{20:016x}"]


def test_only_one_may_have_the_folder_open_and_only_of_its_own_chain(tmp_path: Path) -> None:
    store = RocksLogStore(tmp_path, CHAIN_ID)
    with pytest.raises(JournalLocked, match="is open in another process"):
        RocksLogStore(tmp_path, CHAIN_ID)
    store.close()

    with pytest.raises(ForeignJournal, match="name another folder"):
        RocksLogStore(tmp_path, bytes(32))
    RocksLogStore(tmp_path, CHAIN_ID).close()


def test_a_folder_that_may_not_be_written_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")

    with pytest.raises(JournalFailed, match="check the disk and the rights"):
        RocksLogStore(tmp_path / "log" / "below", CHAIN_ID)


# Damage


def changed(value: str) -> str:
    """Return a row's value with one bit flipped."""
    return value[:-1] + f"{int(value[-1], 16) ^ 1:x}"


def found_damage(folder: Path) -> JournalCorrupt:
    """Read all that a voter would ever read; return what it stumbles over."""
    try:
        with closing(RocksLogStore(folder, CHAIN_ID)) as store:
            for index in range(1, store.load().last_index + 1):
                store.read(index)
    except JournalCorrupt as error:
        return error
    raise AssertionError("no damage was found")


NEEDED_ROWS = sorted(
    set(hexadecimal(GOLDEN_ROWS)) - {"6d0000000000000003", "7041434d452f6e6f64652d32"}
)
SEALED_ROWS = sorted(set(hexadecimal(GOLDEN_ROWS)) - {"6f"})


@pytest.mark.parametrize("key", NEEDED_ROWS)
def test_a_missing_row_is_found(tmp_path: Path, key: str) -> None:
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        store.write(writes_of(ENTRIES))
    put_rows(tmp_path, {key: ""})

    found_damage(tmp_path)


@pytest.mark.parametrize("key", SEALED_ROWS)
def test_a_changed_row_is_found(tmp_path: Path, key: str) -> None:
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        store.write(writes_of(ENTRIES))
    put_rows(tmp_path, {key: changed(rows_of(tmp_path)[key])})

    found_damage(tmp_path)


def test_an_entry_that_stands_at_another_index_is_found(tmp_path: Path) -> None:
    filled(tmp_path, count=9)
    rows = rows_of(tmp_path)
    put_rows(tmp_path, {kind + f"{4:016x}": rows[kind + f"{5:016x}"] for kind in ("63", "68")})

    assert found_damage(tmp_path).index == 4


def test_terms_that_begin_where_there_is_no_entry_are_found(tmp_path: Path) -> None:
    filled(tmp_path, count=9)
    rows = rows_of(tmp_path)
    with closing(RocksLogStore(tmp_path / "longer", CHAIN_ID)) as store:
        store.write(writes_of([StoredEntry(n, n, bytes(9)) for n in range(1, 13)]))
    longer = rows_of(tmp_path / "longer")
    for index in (5, 12):
        key = f"74{index:016x}"
        put_rows(tmp_path, {key: longer[key]})
        found_damage(tmp_path)
        put_rows(tmp_path, {key: rows.get(key, "")})
    RocksLogStore(tmp_path, CHAIN_ID).close()


def flip_bit(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def test_a_start_reads_no_payload_and_a_damaged_payload_is_found_when_it_is_read(
    tmp_path: Path,
) -> None:
    filled(tmp_path, count=4, size=40_000)
    with_tables(tmp_path)
    blobs = list(tmp_path.glob("*.blob"))
    assert sum(blob.stat().st_size for blob in blobs) > 4 * 40_000
    for blob in blobs:
        content = blob.read_bytes()
        blob.write_bytes(content[:100] + bytes(len(content) - 200) + content[-100:])

    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        journal = RaftJournal(store, applied_index=4)
        assert (journal.last, journal.term_at(3), len(journal[:])) == (4, 1, 4)
        for index in (1, 2, 3, 4):
            with pytest.raises(JournalCorrupt):
                journal.command(index)


def with_tables(folder: Path) -> None:
    """Move all rows from the journal of RocksDB to its tables."""
    database = Rdict(str(folder), Options(raw_mode=True))
    database.flush()
    database.close()


@pytest.mark.parametrize("missing", ["CURRENT", "*.log", "MANIFEST-*", "*.sst", "*.blob"])
def test_a_missing_file_is_found_before_a_vote_could_be_forgotten(
    tmp_path: Path, missing: str
) -> None:
    filled(tmp_path, count=4, size=40_000)
    if missing in ("*.sst", "*.blob"):
        with_tables(tmp_path)
    paths = list(tmp_path.glob(missing))
    assert paths
    for path in paths:
        path.unlink()

    found_damage(tmp_path)


def write_ahead_log(folder: Path) -> Path:
    return max(folder.glob("*.log"))


def copied_while_open(folder: Path, copy: Path) -> None:
    """Leave in `copy` what a crash would leave after forty writes, all in one *.log file."""
    with closing(RocksLogStore(folder, CHAIN_ID)) as store:
        for index in range(1, 41):
            store.write(writes_of([StoredEntry(index, 1, bytes(9) + index.to_bytes(2) * 20)]))
        shutil.copytree(folder, copy)


def test_a_write_that_was_torn_off_is_gone_and_all_before_it_is_there(tmp_path: Path) -> None:
    copied_while_open(tmp_path / "live", tmp_path / "crashed")
    size = write_ahead_log(tmp_path / "crashed").stat().st_size
    lost_counts: dict[int, int] = {}
    for cut_size in (0, 1, 7, 100, 1000):
        shutil.copytree(tmp_path / "crashed", tmp_path / f"{cut_size}")
        os.truncate(write_ahead_log(tmp_path / f"{cut_size}"), size - cut_size)
        with closing(RocksLogStore(tmp_path / f"{cut_size}", CHAIN_ID)) as store:
            last = store.load().last_index
            found = [store.read(index).command for index in range(1, last + 1)]
        assert found == [bytes(9) + index.to_bytes(2) * 20 for index in range(1, last + 1)]
        lost_counts[cut_size] = 40 - last
    assert lost_counts == {0: 0, 1: 1, 7: 1, 100: 1, 1000: 6}  # a write takes 185 bytes


def test_a_bit_that_was_flipped_in_a_write_gives_no_entry_that_was_not_written(
    tmp_path: Path,
) -> None:
    copied_while_open(tmp_path / "live", tmp_path / "crashed")
    size = write_ahead_log(tmp_path / "crashed").stat().st_size
    corrupt_count = 0
    for offset in range(3, size, size // 40):
        folder = tmp_path / f"{offset}"
        shutil.copytree(tmp_path / "crashed", folder)
        flip_bit(write_ahead_log(folder), offset)
        try:
            store = RocksLogStore(folder, CHAIN_ID)
        except JournalCorrupt:
            corrupt_count += 1
            continue
        # A record's length that reaches beyond the end looks like a write that was torn off.
        last = store.load().last_index
        found = [store.read(index).command for index in range(1, last + 1)]
        assert found == [bytes(9) + index.to_bytes(2) * 20 for index in range(1, last + 1)]
        store.close()
    assert corrupt_count > 30


# The disk


def test_a_write_without_room_keeps_nothing_and_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        store.write(writes_of(ENTRIES[:2]))
        before = store.load()
        monkeypatch.setattr(rocks_log, "ROOM_KEPT", 2**62)  # no disk is that large
        with pytest.raises(JournalFull, match="make room"):
            store.write(writes_of(ENTRIES[2:]))
        assert store.load() == before
        monkeypatch.undo()

        store.write(writes_of(ENTRIES[2:]))

        assert [store.read(index) for index in (1, 2, 3)] == ENTRIES


@pytest.mark.parametrize(
    ("device", "reason"),
    [("/dev/full", "No space left"), ("/dev/null", "Invalid argument")],  # fails write, fails fsync
)
def test_after_a_failed_write_nothing_is_written_until_a_restart(
    tmp_path: Path, device: str, reason: str
) -> None:
    store = RocksLogStore(tmp_path, CHAIN_ID)
    store.write(writes_of(ENTRIES[:2]))
    put_in_place_of(write_ahead_log(tmp_path), device)

    with pytest.raises(JournalFailed, match=reason):
        store.write(writes_of(ENTRIES[2:]))
    with pytest.raises(JournalFailed, match="an earlier write failed"):
        store.write(writes_of(ENTRIES[2:]))
    store.close()

    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        assert store.load().last_index == 2
        assert [store.read(index) for index in (1, 2)] == ENTRIES[:2]


def put_in_place_of(path: Path, device: str) -> None:
    """Let RocksDB's open file be a device that fails as a disk can fail."""
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink() and str(link.readlink()) == str(path.resolve()):
            replacement = os.open(device, os.O_RDWR)
            os.dup2(replacement, int(link.name), inheritable=False)
            os.close(replacement)
            return
    raise AssertionError(f"{path} is not open")


def test_pruning_gives_the_disk_back(tmp_path: Path) -> None:
    with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
        for index in range(1, 161):
            first = max(1, index - 10)
            store.write(writes_of([StoredEntry(index, 1, os.urandom(1 << 19))], first=first))
        deadline_s = time.monotonic() + WAIT_MAX_S
        while folder_size(tmp_path) > 40 << 20:  # of 80 MiB written, 5 are kept
            assert time.monotonic() < deadline_s, "the disk was not given back"
        assert store.load().first_index == 150
        for index in (149, 1):
            with pytest.raises(JournalCorrupt, match=f"index {index}"):
                store.read(index)


def folder_size(folder: Path) -> int:
    size = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # RocksDB deletes files meanwhile
            size += path.stat().st_size
    return size


# Crashes


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chance = Random(seed)  # noqa: S311 - when to kill is no secret
    script = scripted_writes(seed)
    number = 0
    for _ in range(KILL_ROUNDS):
        acknowledged = killed_writer(tmp_path, seed, number, chance.randint(1, 12))
        with closing(RocksLogStore(tmp_path, CHAIN_ID)) as store:
            found = store.load()
            count = found.marks[COUNTER].index - number
            assert acknowledged <= number + count <= acknowledged + 1
            expected = deque(islice(script, count), maxlen=1)[0][0]
            assert found == expected.load()
            for index in range(found.first_index, found.last_index + 1):
                assert store.read(index) == expected.read(index)
        number += count


def killed_writer(folder: Path, seed: int, written_count: int, lines: int) -> int:
    """Kill a writer that has acknowledged some writes; returns the last one acknowledged."""
    arguments = [str(folder), CHAIN_ID.hex(), str(seed), str(written_count)]
    with subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, str(WRITER), *arguments], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        read = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        # A line that the kill cut short acknowledges nothing.
        *later, _ = child.stdout.read().split(b"\n")
    return int([*read, *later][-1])


def test_entries_are_read_while_others_are_written_and_pruned(tmp_path: Path) -> None:
    store = RocksLogStore(tmp_path, CHAIN_ID)
    written = threading.Semaphore(0)
    failures: list[BaseException] = []
    first = 1

    def write() -> None:
        nonlocal first
        try:
            for index in range(1, 301):
                first = max(1, index - 20)
                store.write(writes_of([StoredEntry(index, 1, bytes(9) * 1000)], first=first))
                written.release()
        except BaseException as error:
            failures.append(error)
            written.release(300)

    writer = threading.Thread(target=write)
    writer.start()
    for index in range(1, 301):
        assert written.acquire(timeout=WAIT_MAX_S)
        try:
            assert store.read(index).command == bytes(9) * 1000
        except JournalCorrupt:
            assert index < first  # pruned before it was read
    writer.join(WAIT_MAX_S)
    store.close()
    assert failures == []
