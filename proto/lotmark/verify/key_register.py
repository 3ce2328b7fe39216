"""Who may do what at which height: followed from the genesis through keys and governance.

The rules are those of `lotmark.key_rules` and `lotmark.governance_rules`, which the transition
runs too; here they meet the rows that follow from the genesis and these events alone.
"""

import hashlib
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from lotmark.batch import BatchHeader
from lotmark.errors import MalformedError
from lotmark.founding_rows import put_founding_rows
from lotmark.genesis import Genesis, chain_of
from lotmark.governance_rules import GOVERNING_BODIES, end_block, govern, put_policy
from lotmark.key_grant import KeyPurpose
from lotmark.key_rules import Place
from lotmark.operator_grant import OPERATOR_BODIES
from lotmark.outcome import Outcome, describe
from lotmark.rows_in_memory import RowsInMemory
from lotmark.state_rows import KeyRow, Table, parse_key_row, row_key, until_removal
from lotmark.v1 import event_pb2


def parse_event(raw: bytes) -> event_pb2.Event:
    """Return the message of an event's bytes.

    Raises:
        MalformedError: They are none.
    """
    try:
        return event_pb2.Event.FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"{len(raw)} bytes are no protobuf event") from error


def governs(event: event_pb2.Event) -> bool:
    """Return whether an event is about keys, parties, policies or operators' credentials."""
    return event.WhichOneof("body") in (*GOVERNING_BODIES, *OPERATOR_BODIES)


class KeyRegister:
    """Keys, parties, proposals and the policy up to the event that was taken in last."""

    def __init__(self, genesis: Genesis, chain_id: bytes) -> None:
        """Begin with height 0."""
        self.chain = chain_of(genesis, chain_id)
        self._rows = RowsInMemory()
        self._keys: dict[bytes, KeyRow] = {}
        self._node_keys_changed = False
        put_founding_rows(self, genesis, chain_id)

    def all_keys(self) -> Iterator[tuple[bytes, KeyRow]]:
        """Return every key that was ever registered with its row: for people, no rule asks."""
        for key, row in self._keys.items():
            yield key, until_removal(self, row)

    def key(self, key: bytes) -> KeyRow | None:
        """Return a key's row, or None where no such key was registered."""
        row = self._keys.get(key)
        return None if row is None else until_removal(self, row)

    @property
    def policy(self) -> bytes:
        """The text of the policy in force after the block that was ended last."""
        text = self._rows.get(row_key(Table.POLICY))
        assert text is not None, "height 0 has a policy"
        return text

    @property
    def policy_digest(self) -> bytes:
        """The digest of that text."""
        return hashlib.sha256(self.policy).digest()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._rows.put(key, value)
        if key[0] == Table.KEY:
            self._keys[key[3:]] = parse_key_row(value)
        self._node_keys_changed |= key[0] == Table.NODE_KEY

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        return self._rows.rows(prefix)

    def judge_signer(self, header: BatchHeader, *, height: int, time_ms: int) -> Outcome:
        """Judge what a batch header says of its chain and signer."""
        if header.chain_id != self.chain.id:
            return Outcome.CHAIN_UNKNOWN
        key = self.key(header.signer)
        if key is None:
            return Outcome.KEY_UNKNOWN
        if key.party != header.party:
            return Outcome.KEY_PARTY_MISMATCH
        if key.purpose != KeyPurpose.BATCH:
            return Outcome.KEY_PURPOSE_WRONG
        return key.judge(height=height, time_ms=time_ms)

    def take(self, event: event_pb2.Event, *, height: int, time_ms: int) -> None:
        """Take in an event that the ledger accepted; one that does not govern changes nothing.

        Args:
            event: The event.
            height: Of the block that holds it; what it says is in force from the next one on.
            time_ms: Of that block.

        Raises:
            MalformedError: The ledger should have refused it.
        """
        if event.WhichOneof("body") not in GOVERNING_BODIES:
            return
        outcome = govern(self, event, self._place(height, time_ms))
        if outcome:
            raise MalformedError(
                f"the {event.WhichOneof('body')} is accepted, but by the rules it is"
                f" {describe(outcome)}"
            )

    def end_block(self, *, height: int, time_ms: int) -> bool:
        """Decide what is to be decided at a block's end, and return whether anything was."""
        place = self._place(height, time_ms)
        decided = end_block(self, place)
        if self._node_keys_changed:
            put_policy(self, place)
            self._node_keys_changed = False
        return decided

    def _place(self, height: int, time_ms: int) -> Place:
        return Place(chain=self.chain, height=height, time_ms=time_ms)
