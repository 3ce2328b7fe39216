"""A process that leads a log through scripted changes and prints the number of each write.

Arguments: folder, chain id in hex, seed, how many writes are there already.
"""

import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_store import PeerMark, Writes
from lotmark_consensus.raft.memory_log import MemoryLogStore
from lotmark_consensus.raft.rocks_log import RocksLogStore

COUNTER = "A/counter"  # its mark's index is the number of the write


def scripted_writes(seed: int) -> Iterator[tuple[MemoryLogStore, Writes]]:
    """Give endless writes, the same for the same seed, and what is stored after each."""
    chance = Random(seed)  # noqa: S311 - a script is no secret
    store = MemoryLogStore()
    journal = RaftJournal(store)
    for number in count(1):
        term = journal.getCurrentTerm() + (chance.random() < 0.2)
        journal.setCurrentTerm(term, chance.choice([None, "A/a", "B/b"]))
        if len(journal) > 3 and chance.random() < 0.3:
            journal.deleteEntriesFrom(len(journal) - chance.randint(1, 2))
        for _ in range(chance.randint(0, 3)):
            size = chance.choice([0, 50, 5_000, 300_000])
            journal.add(bytes(9) + chance.randbytes(size), journal.last + 1, term)
        if chance.random() < 0.1:
            journal.add(b"\x02+N/n%d" % number, journal.last + 1, term)
        if chance.random() < 0.2:
            journal.prune(journal.last - 4)
        if chance.random() < 0.05:
            index = journal.last + chance.randint(0, 9)
            journal.restart_at(index, term, [(index, b"+N/n%d" % number)])
        journal.setCurrentTerm(term, f"A/a{number}")  # so that there is a change each time
        journal.mark(COUNTER, PeerMark(index=number))
        writes = journal.take_writes()
        assert writes is not None
        store.write(writes)
        journal.written(writes)
        yield store, writes


def write_for_ever(folder: Path, chain_id: bytes, seed: int, written_count: int) -> None:
    store = RocksLogStore(folder, chain_id)
    for _, writes in islice(scripted_writes(seed), written_count, None):
        store.write(writes)
        sys.stdout.write(f"{writes.marks[COUNTER].index}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write_for_ever(
        Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    )
