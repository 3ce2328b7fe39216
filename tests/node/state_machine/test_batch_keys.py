"""Thousands of batch keys: how many a party may have, and that they cost nobody else anything."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest

from lotmark.key_grant import KeyPurpose
from lotmark.key_rules import BATCH_KEYS_MAX, BATCH_KEYS_UNREVOKED_MAX
from lotmark.outcome import MEANINGS, Outcome
from lotmark.state_rows import (
    BatchKeyCount,
    Table,
    batch_key_count_key,
    key_row,
    parse_batch_key_count,
)
from lotmark.v1 import governance_pb2
from lotmark.verify.governance_chain import follow_entries
from lotmark.verify.key_register import KeyRegister
from lotmark_node.state_machine.ledger_state import read_policy
from tests.node.governance_events import (
    NEW_PARTY,
    NewParty,
    approval,
    hash_of,
    new_cosigner,
    proposal,
    proposing,
    roots_of,
    rotation,
    successor,
)
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.state_machine.read_rows import ReadRows
from tests.node.state_machine.reading import (
    batch_key,
    batch_outcomes,
    event_outcomes,
    rows,
)
from tests.proto.sample_genesis import grant, private_key

MES, ERP = "T1-STATOR/mes", "OEM-A/erp"
GOVERNED = (Table.PARTY, Table.KEY, Table.NODE_KEY, Table.BATCH_KEY_COUNT)
_EVENTS_A_BATCH = 256


def register(ledger: LedgerInMemory, number: int, party: str = "T1-STATOR") -> bytes:
    """Return the event that registers the batch key of a number."""
    return ledger.registration(party, KeyPurpose.BATCH, f"device-{number}")


def key_of(number: int) -> bytes:
    return batch_key(f"T1-STATOR/device-{number}")


@cache
def _blocks_of_a_crowd() -> Sequence[bytes]:
    ledger = LedgerInMemory()
    for first in range(0, BATCH_KEYS_UNREVOKED_MAX, _EVENTS_A_BATCH):
        events = [register(ledger, first + at) for at in range(_EVENTS_A_BATCH)]
        assert not any(event_outcomes(ledger.block([ledger.batch(ERP, events)])))
    return [raw for raw, _ in ledger.blocks]


def crowded() -> LedgerInMemory:
    """Return a ledger on which T1-STATOR has as many batch keys as it may."""
    ledger = LedgerInMemory()
    for raw in _blocks_of_a_crowd():
        ledger.apply(raw)
    return ledger


def put(ledger: LedgerInMemory, *events: bytes) -> list[Outcome]:
    """Put events into the next block, and return what became of them."""
    effects = ledger.block([ledger.batch(MES, events)])
    return [Outcome(outcome) for outcome in event_outcomes(effects)]


def count_of(ledger: LedgerInMemory, party: str = "T1-STATOR") -> BatchKeyCount:
    return parse_batch_key_count(ledger.rows.get(batch_key_count_key(party)))


def test_a_party_has_a_bounded_number_of_batch_keys_and_revoking_one_makes_room() -> None:
    ledger = crowded()
    before = rows(ledger, *GOVERNED)
    replacing = ledger.registration("T1-STATOR", KeyPurpose.BATCH, "device-0b", replaces=key_of(0))
    beyond = [register(ledger, BATCH_KEYS_UNREVOKED_MAX), replacing]

    assert put(ledger, *beyond) == [Outcome.BATCH_KEYS_TOO_MANY] * 2
    assert rows(ledger, *GOVERNED) == before
    assert put(ledger, register(ledger, 0, "OEM-A")) == [Outcome.ACCEPTED]  # it has its own count
    assert put(ledger, ledger.revocation("T1-STATOR", key_of(7)), replacing) == [0, 0]
    assert put(ledger, beyond[0]) == [Outcome.BATCH_KEYS_TOO_MANY]
    assert count_of(ledger) == BatchKeyCount(BATCH_KEYS_UNREVOKED_MAX + 1, BATCH_KEYS_UNREVOKED_MAX)


def test_the_refusal_names_both_bounds() -> None:
    text = MEANINGS[Outcome.BATCH_KEYS_TOO_MANY].text

    assert f"{BATCH_KEYS_UNREVOKED_MAX:,}" in text
    assert f"{BATCH_KEYS_MAX:,}" in text


def test_first_keys_are_not_counted_whether_they_stand_or_fall() -> None:
    ledger = LedgerInMemory()
    joining = proposal(ledger, add_party=NewParty().addition(ledger.chain_id))
    approve = approval(ledger, hash_of(ledger, joining), "T1-STATOR")
    assert put(ledger, proposing(ledger, joining), approve) == [0, 0]
    granted, key = grant(NEW_PARTY, KeyPurpose.BATCH, "mes")
    registered = ledger.registration_of(granted, key, roots=roots_of(NEW_PARTY))
    first = ledger.revocation(NEW_PARTY, batch_key(f"{NEW_PARTY}/erp"))
    of_genesis = ledger.revocation("T1-STATOR", batch_key("T1-STATOR/aoi-cam07"))

    assert put(ledger, register(ledger, 0), registered, of_genesis, first) == [0] * 4
    assert count_of(ledger) == count_of(ledger, NEW_PARTY) == BatchKeyCount(1, 1)


def test_a_party_does_not_register_and_revoke_without_end() -> None:
    ledger = LedgerInMemory()
    # As if it had registered and revoked all of them but two, which takes too long for a test.
    so_far = BatchKeyCount(BATCH_KEYS_MAX - 2, 0)
    ledger.rows.put(batch_key_count_key("T1-STATOR"), so_far.encode())
    revoke = ledger.revocation("T1-STATOR", key_of(0))

    assert put(ledger, register(ledger, 0), revoke, register(ledger, 1)) == [0, 0, 0]
    assert put(ledger, register(ledger, 2)) == [Outcome.BATCH_KEYS_TOO_MANY]
    assert count_of(ledger) == BatchKeyCount(BATCH_KEYS_MAX, 1)


def decided(ledger: LedgerInMemory, **change: object) -> list[bytes]:
    """Return the events that propose a change and approve it."""
    asked = proposal(ledger, **change)
    return [proposing(ledger, asked), approval(ledger, hash_of(ledger, asked), "T1-STATOR")]


def removal(party: str) -> governance_pb2.PartyRemoval:
    return governance_pb2.PartyRemoval(party=party)


FIRST_COSIGN_KEY = private_key("T1-STATOR/n1 COSIGN").public
LAB_NODE = governance_pb2.CosignerRemoval(party="LAB-17025", node="n1")
ABOUT_OTHERS: dict[str, Callable[[LedgerInMemory], list[bytes]]] = {
    "a node's key": lambda led: [successor(led, "T1-STATOR", KeyPurpose.PROPOSAL, "n1")],
    "a node's revoked key": lambda led: [led.revocation("T1-STATOR", FIRST_COSIGN_KEY)],
    "a party joins": lambda led: decided(led, add_party=NewParty().addition(led.chain_id)),
    "a party leaves": lambda led: decided(led, remove_party=removal("LAB-17025")),
    "a cosigner comes": lambda led: decided(led, add_cosigner=new_cosigner(led, "OEM-A", "w1")),
    "a cosigner ceases": lambda led: decided(led, remove_cosigner=LAB_NODE),
    "a batch key": lambda led: [register(led, 0, "OEM-A")],
    "roots": lambda led: [rotation(led, "T1-STATOR", roots_of("X"))],
}


def reads(ledger: LedgerInMemory, make: Callable[[LedgerInMemory], list[bytes]]) -> tuple[int, int]:
    """Return how many rows the block reads in which these events are accepted."""
    assert put(ledger, successor(ledger, "T1-STATOR", KeyPurpose.COSIGN, "n1")) == [0]
    reader = ReadRows(ledger.rows)
    ledger.state.reader = reader
    events = make(ledger)
    assert put(ledger, *events) == [0] * len(events)
    return reader.got_count, reader.seen_count


@pytest.mark.parametrize("name", ABOUT_OTHERS)
def test_what_governs_reads_as_much_however_many_batch_keys_there_are(name: str) -> None:
    few = LedgerInMemory()
    for number in range(len(_blocks_of_a_crowd())):
        few.block([few.batch(ERP, [measurement(number)])])

    assert reads(crowded(), ABOUT_OTHERS[name]) == reads(few, ABOUT_OTHERS[name])


class CarefulRegister(KeyRegister):
    """A verifier's register that refuses to go through the keys."""

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return rows of any table but that of the keys."""
        assert prefix[0] != Table.KEY, "no rule goes through the keys"
        return super().rows(prefix)


@pytest.mark.parametrize("name", ABOUT_OTHERS)
def test_a_verifier_goes_through_no_batch_keys_either(name: str) -> None:
    ledger = LedgerInMemory()
    assert put(ledger, register(ledger, 1)) == [0]
    reads(ledger, ABOUT_OTHERS[name])
    keys = CarefulRegister(ledger.genesis, ledger.chain_id)

    follow_entries(ledger.governance(), keys, size=ledger.size, root=ledger.root())
    keys.end_block(height=ledger.height, time_ms=ledger.state.time_ms)

    assert keys.policy == read_policy(ledger.rows)


def test_a_party_that_leaves_takes_its_batch_keys_along_and_writes_none_of_their_rows() -> None:
    ledger = LedgerInMemory()
    joining = decided(ledger, add_party=NewParty().addition(ledger.chain_id))
    assert put(ledger, *joining) == [0, 0]
    granted, private = grant(NEW_PARTY, KeyPurpose.BATCH, "mes")
    registered = ledger.registration_of(granted, private, roots=roots_of(NEW_PARTY))
    assert put(ledger, registered) == [0]
    before = rows(ledger, Table.KEY)
    leaving = proposal(ledger, remove_party=removal(NEW_PARTY))
    approving = [approval(ledger, hash_of(ledger, leaving), p) for p in ("T1-STATOR", "LAB-17025")]
    late = [ledger.batch(f"{NEW_PARTY}/{name}", [measurement(1)]) for name in ("erp", "mes")]

    assert put(ledger, proposing(ledger, leaving), *approving) == [0] * 3
    gone_height = ledger.height + 1
    assert batch_outcomes(ledger.block(late)) == [Outcome.KEY_REVOKED] * 2
    revoke = ledger.revocation(NEW_PARTY, batch_key(f"{NEW_PARTY}/mes"))
    assert put(ledger, revoke) == [Outcome.KEY_NOT_FOUND]

    after = rows(ledger, Table.KEY)
    changed = {key[3:] for key in after if after[key] != before[key]}
    assert changed == {root.public for root in roots_of(NEW_PARTY)}
    for name in ("erp", "mes"):
        row = key_row(ledger.rows, batch_key(f"{NEW_PARTY}/{name}"))
        assert row is not None
        assert row.revoked_height == gone_height
