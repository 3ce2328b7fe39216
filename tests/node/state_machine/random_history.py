"""Random histories of a ledger: batches and events of every kind, good and bad, from a seed.

Run as a program, with a seed and a number of blocks, it prints what the ledger became.
"""

import random
import sys
from functools import cache
from typing import Any

from lotmark.batch import ZERO_HASH, Batch
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import leaf_hash
from lotmark.v1 import quality_pb2
from lotmark_node.state_machine.batch_rules import lane_row
from lotmark_node.trial.software_authenticator import Authenticator
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    event,
    measurement,
    rebuilt,
    transformation,
)
from tests.node.operator_events import registered, revoked, signature, with_body
from tests.proto.sample_genesis import private_key

HOLDERS = ("OEM-A/erp", "T1-STATOR/mes", "LAB-17025/lims", "T1-STATOR/aoi-cam07")
NEW_HOLDERS = ("T1-STATOR/press-2", "OEM-A/erp-2")
VOTERS = ("OEM-A/n1", "T1-STATOR/n1")
FAULTS: tuple[dict[str, Any], ...] = (
    {"sequence": 1, "previous": ZERO_HASH},
    {"sequence": 9},
    {"schema": 2},
    {"created_at_ms": 5},
    {"chain_id": ZERO_HASH},
    {"party": "NOBODY"},
    {"previous": b"\1" * 32},
)


class RandomHistory:
    """A ledger with a small window and small quotas, and what happens to it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a seed makes it the same each time
        self.ledger = LedgerInMemory(
            consortium(
                duplicate_window_events=12,
                quota_events=25,
                quota_bytes=60_000,
                quota_signatures=20,
                quota_state_keys=60,
            )
        )
        self._sent: list[Batch] = []
        self._next: dict[tuple[bytes, int], tuple[int, bytes]] = {}  # in the block that is made

    def grow(self, block_count: int) -> LedgerInMemory:
        """Add blocks, and return the ledger."""
        for _ in range(block_count):
            self._add_block()
        return self.ledger

    def _add_block(self) -> None:
        pick, ledger = self._random, self.ledger
        self._next = {}
        batches = [self._batch() for _ in range(pick.choice((0, 1, 1, 2, 3, 5)))]
        turn: dict[str, Any] = {}
        if pick.random() < 0.2:
            turn = {"term": ledger.state.term + 3, "counter": 1}
        ledger.block(
            batches,
            time_ms=ledger.state.time_ms + pick.choice((0, 1, 900, 9_000)),
            voter=pick.choice(VOTERS),
            **turn,
        )

    def _batch(self) -> Batch:
        pick, ledger = self._random, self.ledger
        if self._sent and pick.random() < 0.15:
            return pick.choice(self._sent)
        holder = pick.choice(HOLDERS if pick.random() < 0.8 else NEW_HOLDERS)
        events = [self._event() for _ in range(pick.choice((1, 1, 2, 4, 9)))]
        lane = pick.randrange(2)
        header = self._in_turn(private_key(f"{holder} BATCH").public, lane)
        if pick.random() < 0.25:
            header |= pick.choice(FAULTS)
        made = ledger.batch(holder, events, lane=lane, **header)
        self._next[made.header.signer, lane] = (made.header.sequence, made.batch_id)
        if pick.random() < 0.05:
            made = rebuilt(made, signature=bytes(64))
        elif pick.random() < 0.1:
            made = rebuilt(made, events=[*events[:-1], b"more"])
        self._sent.append(made)
        return made

    def _in_turn(self, signer: bytes, lane: int) -> dict[str, Any]:
        """Return the place after the lane's newest batch, or after one before it in this block."""
        row = lane_row(self.ledger.rows, signer, lane)
        sequence, previous = self._next.get((signer, lane), (row.sequence, row.batch_id))
        return {"sequence": sequence + 1, "previous": previous}

    def _event(self) -> bytes:
        pick, ledger = self._random, self.ledger
        kind = pick.randrange(12)
        names = [pick.choice("abcdefghijkl") for _ in range(4)]
        if kind == 0:
            return transformation(f"p{pick.randrange(50)}", names[:2][:1], names[2:3])
        if kind == 1:
            body = quality_pb2.Aggregation(action=quality_pb2.RELATION_ACTION_ADD)
            items = [(names[0], 4), (names[1], 5)]
            return event(aggregation=body, nonce=pick.randbytes(4), items=items)
        if kind == 2:
            return pick.choice((b"", b"\xff", measurement(1, time_ms=7), bytes(16_385)))
        if kind == 3:
            party, holder = pick.choice(NEW_HOLDERS).split("/")
            return ledger.registration(party, KeyPurpose.BATCH, holder)
        if kind == 4 and pick.random() < 0.2:
            holder = pick.choice((*HOLDERS[2:], *NEW_HOLDERS))
            return ledger.revocation(holder.split("/")[0], private_key(f"{holder} BATCH").public)
        if kind == 5 and pick.random() < 0.3:
            holder = pick.choice(HOLDERS)
            key = private_key(f"{holder} BATCH").public
            return ledger.lane_closure(holder.split("/")[0], key, pick.randrange(1, 3))
        if kind == 6:
            return self._operator_event()
        return measurement(pick.randrange(60), item=names[0] if kind % 2 else None)

    def _operator_event(self) -> bytes:
        pick, ledger = self._random, self.ledger
        device = Authenticator(f"operator {pick.randrange(3)}")
        match pick.randrange(8):
            case 0 | 1:
                return registered(ledger, device=device)
            case 2:
                return revoked(ledger, device)
        signed = measurement(pick.randrange(60))
        made = signature(ledger, signed, device=device, nonce=f"{pick.randrange(50)}")
        return with_body(made, event_id=bytes(32)) if pick.random() < 0.2 else made


@cache
def history(seed: int, block_count: int) -> LedgerInMemory:
    """Return a ledger with a random history, which callers leave as it is."""
    return RandomHistory(seed).grow(block_count)


def resumed(whole: LedgerInMemory, height: int) -> LedgerInMemory:
    """Return a new ledger with the first blocks of another."""
    ledger = LedgerInMemory(whole.genesis)
    for raw, _ in whole.blocks[:height]:
        ledger.apply(raw)
    return ledger


def what_became(ledger: LedgerInMemory) -> str:
    """Return everything that two runs of one history must have in common."""
    rows = b"".join(key + value for key, value in ledger.rows.rows(b""))
    results = b"".join(results for _, results in ledger.blocks)
    parts = (ledger.root(), ledger.state.lanes.tobytes(), rows, results)
    return " ".join(leaf_hash(part).hex() for part in parts)


if __name__ == "__main__":
    print(what_became(history(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201 - for the test
