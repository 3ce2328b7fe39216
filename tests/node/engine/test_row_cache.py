"""No row in the cache is older than the store, and the cache stays bounded."""

from hypothesis import given
from hypothesis import strategies as st

from lotmark_node.engine.row_cache import RowCache
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
