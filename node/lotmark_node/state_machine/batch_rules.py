"""Whether a batch is accepted as a whole. Admission and the transition ask the same rules."""

from dataclasses import dataclass

from lotmark.batch import SCHEMA, ZERO_HASH, BatchHeader
from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS, KeyPurpose
from lotmark.outcome import Outcome
from lotmark.state_rows import KeyRow, key_row
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateChanges, StateReader
from lotmark_node.state_machine.tables import LaneRow, Usage, lane_key, parse_lane_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What a party may use in one minute of block time."""

    events: int
    size: int
    signatures: int
    state_keys: int


def judge_signer(
    header: BatchHeader, chain_id: bytes, row: KeyRow | None, *, height: int, time_ms: int
) -> Outcome:
    """Judge what the header says of its chain and signer, for a block of `height` and `time_ms`."""
    if header.chain_id != chain_id:
        return Outcome.CHAIN_UNKNOWN
    if row is None:
        return Outcome.KEY_UNKNOWN
    if row.party != header.party:
        return Outcome.KEY_PARTY_MISMATCH
    if row.purpose != KeyPurpose.BATCH:
        return Outcome.KEY_PURPOSE_WRONG
    return row.judge(height=height, time_ms=time_ms)


def judge_place(header: BatchHeader, lane: LaneRow) -> Outcome:
    """Judge the sequence number: the lane's last one plus one, nothing else.

    SEQUENCE_REUSED says only that the number is taken; whether by the same bytes is for the caller.
    """
    if lane.closed:
        return Outcome.LANE_CLOSED
    if header.sequence > lane.sequence + 1:
        return Outcome.SEQUENCE_AHEAD
    if header.sequence <= lane.sequence:
        return Outcome.SEQUENCE_REUSED
    return Outcome.ACCEPTED


def judge_content(prepared: PreparedBatch, lane: LaneRow) -> Outcome:
    """Judge a correctly signed batch in its place; a refusal from here on consumes the number."""
    header = prepared.batch.header
    expected = lane.batch_id if lane.sequence else ZERO_HASH
    if header.previous != expected:
        return Outcome.PREVIOUS_MISMATCH
    if header.schema != SCHEMA:
        return Outcome.SCHEMA_UNKNOWN
    if header.event_count != len(prepared.batch.events):
        return Outcome.COUNT_MISMATCH
    if not prepared.root_holds:
        return Outcome.ROOT_MISMATCH
    if not TIME_MIN_MS <= header.created_at_ms < TIME_MAX_MS:
        return Outcome.TIME_ABSURD
    return Outcome.ACCEPTED


def judge_usage(usage: Usage, quotas: Quotas, *, events: int, size: int) -> Outcome:
    """Judge whether a party's quotas leave room for one batch of `events` and `size` bytes."""
    if (
        usage.events + events > quotas.events
        or usage.size + size > quotas.size
        or usage.signatures + 1 > quotas.signatures
        or usage.state_keys >= quotas.state_keys
    ):
        return Outcome.QUOTA_EXCEEDED
    return Outcome.ACCEPTED


def lane_row(state: StateReader | StateChanges, signer: bytes, lane: int) -> LaneRow:
    """Return where a lane stands; a lane that never sent stands at 0."""
    raw = state.get(lane_key(signer, lane))
    return LaneRow() if raw is None else parse_lane_row(raw)


def signer_row(state: StateReader | StateChanges, header: BatchHeader) -> KeyRow | None:
    """Return the row of a header's signer key."""
    return key_row(state, header.signer)
