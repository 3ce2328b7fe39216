"""What the journal promises the guard: tickets, durable marks, and a log as PySyncObj wants it."""

import pytest
from hypothesis import given

from lotmark_consensus.raft import command_cache
from lotmark_consensus.raft.command_cache import CACHE_SIZE_MAX, CommandCache
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, encode_command
from lotmark_consensus.raft.log_store import PeerMark, StoredEntry
from lotmark_consensus.raft.log_view import PASS_ENTRIES_MAX, PASS_SIZE_MAX
from lotmark_consensus.raft.memory_log import MemoryLogStore
from tests.consensus.raft.journal_model import STEPS, Driver, Step

NO_OP = b"\x01"


class CountingLogStore(MemoryLogStore):
    """Counts the payloads that are read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, index: int) -> StoredEntry:
        self.reads += 1
        return super().read(index)


def journal_of(store: MemoryLogStore, *commands: bytes, term: int = 1) -> RaftJournal:
    journal = RaftJournal(store)
    journal.setCurrentTerm(term, None)
    for index, command in enumerate(commands, journal.last + 1):
        journal.add(command, index, term)
    settle(journal, store)
    return journal


def settle(journal: RaftJournal, store: MemoryLogStore) -> None:
    writes = journal.take_writes()
    if writes is not None:
        store.write(writes)
        journal.written(writes)


def block(payload: bytes) -> bytes:
    return encode_command(LogEntry(EntryKind.BLOCK, 5, payload))


@given(steps=STEPS)
def test_journal_and_store_keep_their_promises_through_any_steps(steps: list[Step]) -> None:
    store = MemoryLogStore()

    Driver(lambda: store).run(steps)


def test_what_was_cut_off_while_it_was_written_does_not_count_as_durable() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP, block(b"kept"))
    for index in (3, 4, 5):
        journal.add(block(b"old %d" % index), index, 1)
    in_flight = journal.take_writes()
    assert in_flight is not None
    assert journal.durable_index == 2

    journal.deleteEntriesFrom(3)  # index 4
    journal.add(block(b"new 4"), 4, 1)
    store.write(in_flight)
    journal.written(in_flight)

    assert journal.durable_index == 3
    assert journal.command(4) == block(b"new 4")
    assert not journal.settled
    settle(journal, store)
    assert journal.durable_index == 4
    assert store.load().last_index == 4
    assert store.read(4).command == block(b"new 4")


def test_a_truncation_of_durable_entries_lowers_the_durable_index_at_once() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP, *(block(b"%d" % n) for n in range(9)))
    assert journal.durable_index == 10

    journal.deleteEntriesFrom(6)

    assert journal.durable_index == 6
    assert journal.dirty


def test_a_vote_is_durable_only_once_it_is_written() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP)
    journal.setCurrentTerm(2, "A/a")
    first = journal.take_writes()
    journal.setCurrentTerm(3, None)

    assert first is not None
    store.write(first)
    journal.written(first)

    assert (journal.durable_term, journal.durable_vote) == (2, "A/a")
    assert not journal.meta_settled
    settle(journal, store)
    assert (journal.durable_term, journal.durable_vote) == (3, None)
    assert journal.meta_settled


def test_saying_the_same_term_and_vote_again_is_no_change() -> None:
    journal = journal_of(MemoryLogStore(), NO_OP)

    journal.setCurrentTerm(1, None)

    assert not journal.dirty


def test_a_second_take_before_the_first_is_written_is_a_mistake() -> None:
    journal = journal_of(MemoryLogStore(), NO_OP)
    journal.setCurrentTerm(2, None)
    journal.take_writes()
    assert journal.take_writes() is None  # nothing has changed

    journal.setCurrentTerm(3, None)

    with pytest.raises(AssertionError, match="taken again"):
        journal.take_writes()


def test_a_mark_causes_no_write_and_rides_along_with_the_next() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP)
    mark = PeerMark(term=1, index=2, signed_size=3)

    journal.mark("A/a", mark)
    assert not journal.dirty
    assert journal.take_writes() is None
    assert store.load().marks == {}

    journal.setCurrentTerm(2, None)
    settle(journal, store)
    assert store.load().marks == {"A/a": mark}
    journal.setCurrentTerm(3, None)
    writes = journal.take_writes()
    assert writes is not None
    assert writes.marks == {}


def test_a_log_restarted_behind_a_gap_is_not_counted_on_before_it_is_written() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP, block(b"two"), block(b"three"))
    journal.add(block(b"four"), 4, 1)
    in_flight = journal.take_writes()
    assert in_flight is not None

    journal.restart_at(100, 9, [(40, b"+N/n")])
    store.write(in_flight)
    journal.written(in_flight)

    assert journal.durable_index == 3
    assert (journal.first, journal.last, journal.term_at(100)) == (100, 100, 9)
    assert journal.getCurrentTerm() == 9
    assert journal.members(frozenset({"A/a"})) == {"A/a", "N/n"}
    settle(journal, store)
    assert journal.durable_index == 100
    again = RaftJournal(store)
    assert (again.first, again.last, again.durable_index) == (100, 100, 100)
    assert again.members(frozenset({"A/a"})) == {"A/a", "N/n"}


def test_pruning_keeps_two_entries_and_all_that_is_not_durable() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP, *(block(b"%d" % n) for n in range(9)))
    journal.add(block(b"not durable"), 11, 1)
    journal.add(block(b"not durable"), 12, 1)

    journal.prune(100)
    assert (journal.first, journal.last) == (10, 12)
    settle(journal, store)
    journal.prune(100)
    assert (journal.first, journal.last) == (11, 12)
    journal.prune(5)
    assert journal.first == 11
    settle(journal, store)
    assert store.load().first_index == 11


def test_a_membership_stays_known_when_its_entry_is_pruned() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP, b"\x02+N/n", *(block(b"%d" % n) for n in range(9)))
    journal.prune(9)
    settle(journal, store)

    assert RaftJournal(store).members(frozenset({"A/a"})) == {"A/a", "N/n"}
    assert not journal.has_membership_after(2)
    assert journal.has_membership_after(1)


def test_a_start_reads_no_payload() -> None:
    store = CountingLogStore()
    journal_of(store, *(block(bytes(100)) for _ in range(1000)))

    journal = RaftJournal(store, applied_index=900)
    assert (journal.last, journal.term_at(700), len(journal[500:])) == (1000, 1, 500)
    assert journal.getRaftCommitIndex() == 900
    assert store.reads == 0

    assert journal.entry(700) == LogEntry(EntryKind.BLOCK, 5, bytes(100))
    assert journal.command(700) == block(bytes(100))
    assert store.reads == 1


def test_terms_are_found_however_often_they_change() -> None:
    store = MemoryLogStore()
    journal = RaftJournal(store)
    terms = [n * n // 50 for n in range(200)]
    for index, term in enumerate(terms, 1):
        journal.setCurrentTerm(max(term, journal.getCurrentTerm()), None)
        journal.add(NO_OP, index, term)
    settle(journal, store)

    for found in (journal, RaftJournal(store)):
        assert [found.term_at(index) for index in range(202)] == [None, *terms, None]


def test_indexes_and_terms_beyond_32_bits_are_kept() -> None:
    store = MemoryLogStore()
    journal = RaftJournal(store)
    journal.restart_at(2**61, 2**60, [])
    journal.add(block(b"far"), 2**61 + 1, 2**60)
    settle(journal, store)

    again = RaftJournal(store)
    assert again.command(2**61 + 1) == block(b"far")
    assert again.term_at(2**61) == again.getCurrentTerm() == 2**60
    assert [entry[1] for entry in again[:]] == [2**61, 2**61 + 1]


def test_the_cache_stays_within_its_bound_and_gives_up_what_was_asked_for_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_cache, "CACHE_SIZE_MAX", 1000)
    cache = CommandCache()
    for index in range(10):
        cache.put(index, bytes(100), 0)
    assert cache.get(0) is not None

    cache.put(10, bytes(100), 0)
    assert cache.get(1) is None
    assert cache.get(0) is not None
    cache.put(11, bytes(100), 700)  # which leaves room for 300
    assert [index for index in range(12) if cache.get(index) is not None] == [0, 10, 11]
    cache.drop(range(10, 2**62))
    cache.put(12, bytes(900), 0)
    assert cache.get(0) is not None


def test_commands_beyond_the_cache_come_from_the_store_and_no_waiting_one_is_given_up() -> None:
    store = CountingLogStore()
    journal = RaftJournal(store)
    large = block(bytes(1 << 20))
    count = CACHE_SIZE_MAX // len(large)
    for index in range(1, 2 * count + 1):  # twice what the cache takes
        journal.add(large, index, 0)

    assert [journal.command(index) for index in (1, 2 * count)] == [large, large]
    assert store.reads == 0
    settle(journal, store)
    assert journal.command(2 * count) is large
    assert store.reads == 0
    assert journal.command(1) == large
    assert store.reads == 1


def test_commands_that_were_cut_off_take_no_room_in_the_cache() -> None:
    store = CountingLogStore()
    journal = journal_of(store, NO_OP, block(b"early"))
    large = block(bytes(1 << 20))
    for _ in range(CACHE_SIZE_MAX // len(large) + 10):
        journal.add(large, 3, 1)
        settle(journal, store)
        journal.deleteEntriesFrom(2)

    assert journal.command(2) == block(b"early")
    assert store.reads == 0


# As PySyncObj sees it


def test_a_slice_is_exact_in_length_place_and_direction() -> None:
    commands = [NO_OP, *(block(b"%d" % n) for n in range(9))]
    journal = journal_of(MemoryLogStore(), *commands)
    entries = [(command, index, 1) for index, command in enumerate(commands, 1)]
    for start in (None, 0, 3, 10, 12, -2):
        for end in (None, 0, 4, 10, 99, -1):
            view = journal[start:end]
            assert [tuple(entry) for entry in view] == entries[start:end]
            assert [tuple(entry) for entry in reversed(view)] == entries[start:end][::-1]
            assert len(view) == len(entries[start:end])
            assert [tuple(e) for e in view[1:3]] == entries[start:end][1:3]
    assert (journal[-1][0], journal[-1][1], journal[-1][2]) == entries[-1]
    for place in (10, -11):
        with pytest.raises(IndexError):
            journal[place]


def test_a_pass_over_a_slice_is_bounded_in_entries_and_in_size() -> None:
    many = journal_of(MemoryLogStore(), *[NO_OP] * (PASS_ENTRIES_MAX + 10))
    assert len(list(many[:])) == PASS_ENTRIES_MAX
    assert len(many[:]) == PASS_ENTRIES_MAX + 10
    assert next(entry[1] for entry in many[5:]) == 6

    half = bytes(PASS_SIZE_MAX // 2)
    large = journal_of(MemoryLogStore(), half, half, half, bytes(PASS_SIZE_MAX + 1), half)
    assert [entry[1] for entry in large[:]] == [1, 2]
    assert [entry[1] for entry in large[2:]] == [3]
    assert [entry[1] for entry in large[3:]] == [4]  # at least one, whatever its size


def test_the_listener_hears_of_entries_added_and_cut_off() -> None:
    journal = journal_of(MemoryLogStore(), NO_OP, block(b"two"))
    heard: list[tuple[str, int, int | None, bytes | None]] = []
    journal.listener = lambda *event: heard.append(event)

    journal.add(block(b"three"), 3, 1)
    journal.deleteEntriesFrom(1)
    journal.deleteEntriesFrom(1)  # nothing is there
    journal.prune(1)
    journal.restart_at(9, 1, [])

    assert heard == [("add", 3, 1, block(b"three")), ("truncate", 2, None, None)]


def test_a_cleared_log_takes_entries_again() -> None:
    store = MemoryLogStore()
    journal = journal_of(store, NO_OP, *(block(b"%d" % n) for n in range(5)))
    journal.deleteEntriesTo(3)
    settle(journal, store)
    journal.clear()
    settle(journal, store)
    assert (len(journal), store.load().first_index, store.load().last_index) == (0, 4, 3)

    journal.add(NO_OP, 4, 0)  # of an older term than what was there

    assert journal.term_at(4) == 0
    settle(journal, store)
    assert RaftJournal(store).term_at(4) == 0
