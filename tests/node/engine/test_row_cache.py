"""No row in the cache is older than the store, and the cache stays bounded."""

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.engine.row_cache import RowCache
from lotmark_node.state_machine.state import RowChange
from lotmark_node.state_machine.tables import Table, row_key

KEYS = [row_key(Table.LANE, bytes([at])) for at in range(6)]


def test_what_was_read_before_a_write_is_not_kept_after_it() -> None:
    cache = RowCache(8)
    version = cache.version  # a reader is about to read the store
    cache.written([(KEYS[0], b"old", b"new")])

    cache.offer(KEYS[0], b"old", version)

    assert cache.get(KEYS[0]) == b"new"


def test_rows_of_other_tables_are_not_kept() -> None:
    cache = RowCache(8)
    recent = row_key(Table.RECENT_BLOCK, bytes(8))

    cache.offer(recent, b"large", cache.version)
    cache.written([(recent, None, b"large")])

    assert cache.get(recent) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=2)), st.booleans())
    )
)
def test_the_cache_says_nothing_or_what_the_store_says(
    steps: list[tuple[bytes, bytes | None, bool]],
) -> None:
    cache, store = RowCache(4), dict[bytes, bytes]()
    for key, value, writes in steps:
        if writes:
            cache.written([(key, store.get(key), value)])
            store.pop(key, None)
            if value is not None:
                store[key] = value
        elif key in store:
            cache.offer(key, store[key], cache.version)
        for each in KEYS:
            assert cache.get(each) in (None, store.get(each))


class _ToldLock:
    """A lock that tells when somebody comes to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.came = threading.Event()

    def __enter__(self) -> None:
        self.came.set()
        self._lock.acquire()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


def write_while_read(cache: RowCache, changes: list[RowChange], at: int, key: bytes) -> None:
    """Write, and have somebody ask for a row once `at` of the changes are taken over."""
    lock: Any = _ToldLock()
    cache._lock = lock

    def read() -> None:
        cache.get(key)
        lock.came.set()

    reader = threading.Thread(target=read)

    def interrupted() -> Iterator[RowChange]:
        yield from changes[:at]
        lock.came.clear()
        reader.start()
        lock.came.wait()  # it has read, or has found a row and is about to keep it
        yield from changes[at:]

    cache.written(interrupted())
    reader.join()


def test_a_reader_in_the_middle_of_a_write_brings_nothing_old_back() -> None:
    """As it happened: a leader then billed a party by an older row, and left the others' tree."""
    cache = RowCache(4)
    quota = row_key(Table.QUOTA, b"A")
    cache.written([(quota, None, b"1")])
    cache.written([(key, None, b"x") for key in KEYS[:2]])  # so that row is of the old generation

    write_while_read(cache, [(quota, b"1", b"2")], 0, quota)

    assert cache.get(quota) == b"2"


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(KEYS), min_size=1, unique=True),
            st.integers(0, len(KEYS)),
            st.sampled_from(KEYS),
        ),
        max_size=12,
    )
)
def test_whenever_a_reader_comes_the_cache_says_nothing_or_what_the_store_says(
    steps: list[tuple[list[bytes], int, bytes]],
) -> None:
    cache, store = RowCache(4), dict[bytes, bytes]()
    for number, (keys, at, key) in enumerate(steps):
        value = number.to_bytes(2)
        write_while_read(cache, [(each, store.get(each), value) for each in keys], at, key)
        store |= dict.fromkeys(keys, value)
        for each in KEYS:
            assert cache.get(each) in (None, store.get(each))
