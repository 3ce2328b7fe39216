"""Everything about a batch that follows from its bytes alone, found once.

Admission, the apply loop and the verifier all judge prepared batches, so a batch that a node has
admitted itself is not hashed and checked a second time when its block is applied.
"""

from collections.abc import Sequence

from lotmark import ed25519
from lotmark.batch import SCHEMA, Batch
from lotmark.errors import SignatureError
from lotmark.event import CheckedEvent, EventRefused, check_event


class PreparedBatch:
    """A batch, whether its signature and root hold, and its events checked."""

    __slots__ = ("batch", "events", "root_holds", "signature_holds")

    def __init__(self, batch: Batch, *, signature_holds: bool | None = None) -> None:
        """Prepare a batch.

        Args:
            batch: The batch.
            signature_holds: What was found elsewhere; None: it is checked here.
        """
        self.batch = batch
        self.signature_holds = (
            _signature_holds(batch) if signature_holds is None else signature_holds
        )
        self.root_holds = batch.carried_root == batch.header.events_root
        self.events: Sequence[CheckedEvent | EventRefused] = ()
        if self.signature_holds and self.root_holds and batch.header.schema == SCHEMA:
            self.events = [_checked(raw) for raw in batch.events]


def _signature_holds(batch: Batch) -> bool:
    try:
        ed25519.verify(batch.header.signer, batch.signed_message, batch.signature)
    except SignatureError:
        return False
    return True


def _checked(raw: bytes) -> CheckedEvent | EventRefused:
    try:
        return check_event(raw)
    except EventRefused as refusal:
        return refusal
