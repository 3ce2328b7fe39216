"""Whether an outbox may go on in its lane, by what the ledger shows of it.

Where a lane stands is a node's word. An outbox that was restored from a backup would sign numbers
that its later self has used, and a ledger that was restored has lost what it acknowledged. Both
show before anything is signed.
"""

from collections.abc import Mapping
from enum import Enum

from lotmark.batch import ZERO_HASH
from lotmark.client.errors import LaneStateError
from lotmark.client.outbox import Lane
from lotmark.v1 import ledger_pb2


class LaneVerdict(Enum):
    """How an outbox goes on."""

    IN_LANE = "in its lane"
    NEW_LANE = "new events in another lane; what is signed is sent as it is"
    NEW_LANE_FOR_ALL = "in another lane, where what waits is signed again"


def judge_lane(
    lane: Lane, waiting: Mapping[int, bytes], shown: ledger_pb2.GetLaneStateResponse
) -> LaneVerdict:
    """Return how an outbox goes on.

    Args:
        lane: Where the outbox knows its lane to stand.
        waiting: Its batches without an acknowledgement: sequence -> batch id.
        shown: Where a node says that the lane stands.

    Raises:
        LaneStateError: The ledger lacks what it acknowledged.
    """
    if shown.closed:
        # What it took before it was closed is on record and must not be signed once more.
        may_be_on_record = any(sequence <= shown.sequence for sequence in waiting)
        return LaneVerdict.NEW_LANE if may_be_on_record else LaneVerdict.NEW_LANE_FOR_ALL
    if shown.sequence > lane.sequence:  # a later copy of this outbox has signed more
        return LaneVerdict.NEW_LANE
    ids = {**waiting, lane.sequence: lane.batch_id}
    first_missing = min(waiting, default=lane.sequence + 1)
    if shown.sequence < first_missing - 1:
        raise LaneStateError(
            f"the ledger shows lane {lane.number} of key {lane.key.hex()} at number"
            f" {shown.sequence}, but has acknowledged number {first_missing - 1}: a node was"
            " restored from an old copy, or shows a false state. Tell its operator; what it has"
            " lost must be submitted again. To go on in a new lane: `lotmark submit --new-lane`"
        )
    newest_id = shown.batch_id or ZERO_HASH  # a lane without a batch has none to show
    if ids.get(shown.sequence, newest_id) != newest_id:
        return LaneVerdict.NEW_LANE_FOR_ALL  # somebody else signs in this lane
    return LaneVerdict.IN_LANE
