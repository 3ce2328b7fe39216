"""Find what became of a lot: everything that was made of it, and of that, step by step.

LOTMARK_CLIENT=.../client.toml python trace_lot.py LOT-1
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lotmark.client import LedgerSession, read_client_settings
from lotmark.v1.event_pb2 import (
    ITEM_ROLE_CHILD,
    ITEM_ROLE_INPUT,
    ITEM_ROLE_OUTPUT,
    ITEM_ROLE_PARENT,
    Event,
)

INTO = {ITEM_ROLE_INPUT: ITEM_ROLE_OUTPUT, ITEM_ROLE_CHILD: ITEM_ROLE_PARENT}


def steps_from(session: LedgerSession, item_id: str) -> Iterator[tuple[int, str, str]]:
    """Yield entry, event type and item for each thing that an item went into."""
    for entry in session.entries(item=item_id):
        event = Event.FromString(entry.event)
        roles = [item.role for item in event.items if item.id == item_id]
        wanted = {INTO[role] for role in roles if role in INTO}
        for item in event.items:
            if item.role in wanted:
                yield entry.head.index, event.WhichOneof("body") or "", item.id


def main(lot: str) -> None:
    """Print the lot's descendants, each once, below what it was made of."""
    settings = read_client_settings(Path(os.environ["LOTMARK_CLIENT"]))
    seen = {lot}
    with LedgerSession(settings) as session:

        def show(item_id: str, depth: int) -> None:
            for index, kind, made in steps_from(session, item_id):
                if made not in seen:
                    seen.add(made)
                    print(f"{'  ' * depth}{made}  ({kind}, entry {index})")
                    show(made, depth + 1)

        print(lot)
        show(lot, 1)


if __name__ == "__main__":
    main(sys.argv[1])
