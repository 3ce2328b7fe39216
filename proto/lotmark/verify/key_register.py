"""Who may do what at which height: followed from the genesis through keys and governance.

The rules are those of `lotmark.key_rules` and `lotmark.governance_rules`, which the transition
runs too; here they meet the rows that follow from the genesis and these events alone.
"""

import hashlib
from collections.abc import Iterator, Mapping

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
from lotmark.state_rows import KeyRow, Table, parse_key_row, row_key
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
        self._rows: dict[bytes, bytes] = {}
        self._keys: dict[bytes, KeyRow] = {}
        self._keys_changed = False
        put_founding_rows(self, genesis, chain_id)

    @property
    def keys(self) -> Mapping[bytes, KeyRow]:
        """Every key that was ever registered."""
        return self._keys

    @property
    def policy(self) -> bytes:
        """The text of the policy in force after the block that was ended last."""
        return self._rows[row_key(Table.POLICY)]

    @property
    def policy_digest(self) -> bytes:
        """The digest of that text."""
        return hashlib.sha256(self.policy).digest()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._rows[key] = value
        if key[0] == Table.KEY:
            self._keys[key[3:]] = parse_key_row(value)
            self._keys_changed = True

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        return iter(sorted(row for row in self._rows.items() if row[0].startswith(prefix)))

    def judge_signer(self, header: BatchHeader, *, height: int, time_ms: int) -> Outcome:
        """Judge what a batch header says of its chain and signer."""
        if header.chain_id != self.chain.id:
            return Outcome.CHAIN_UNKNOWN
        key = self._keys.get(header.signer)
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
        if self._keys_changed:
            put_policy(self, place)
            self._keys_changed = False
        return decided

    def _place(self, height: int, time_ms: int) -> Place:
        return Place(chain=self.chain, height=height, time_ms=time_ms)
