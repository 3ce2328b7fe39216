"""A process that appends blocks for ever and prints each index once it is durable.

Arguments: folder, chain id in hex, how often a block repeats its index at most.
"""

import sys
from pathlib import Path

from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import Ordered


def append_for_ever(folder: Path, chain_id: bytes, copies_max: int) -> None:
    journal = Journal(folder, chain_id)
    while True:
        first_index = journal.last_index + 1
        added = [
            Ordered(
                index=index,
                term=1,
                time_ms=index,
                block=index.to_bytes(8) * (index * 7919 % copies_max),
            )
            for index in range(first_index, first_index + 1 + first_index % 3)
        ]
        journal.append_many(added)
        sys.stdout.write("".join(f"{record.index}\n" for record in added))
        sys.stdout.flush()


if __name__ == "__main__":
    append_for_ever(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3]))
