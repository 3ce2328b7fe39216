"""What has come in and what has become of it since the start: for metrics, never for decisions."""

from collections import Counter
from collections.abc import Iterable

from lotmark_consensus.latency import Latency
from lotmark_node.engine.stored_block import PlacedBatch


class Traffic:
    """Counts. One writer, the event loop's thread; any thread may read.

    Attributes:
        admission: Batches answered here, by the outcome's code.
        admitted_events: Events in those that were taken.
        blocks: Blocks applied.
        batches: Batches on the log, by the outcome's code.
        events: Events on the log, by the outcome's code.
        acknowledgement: From a batch's admission here to its acknowledgement.
    """

    def __init__(self) -> None:
        self.admission: Counter[int] = Counter()
        self.admitted_events = 0
        self.blocks = 0
        self.batches: Counter[int] = Counter()
        self.events: Counter[int] = Counter()
        self.acknowledgement = Latency()

    def applied(self, placed_batches: Iterable[PlacedBatch]) -> None:
        """Count a block that was applied."""
        self.blocks += 1
        for placed in placed_batches:
            self.batches[placed.result.outcome] += 1
            self.events.update(placed.result.event_outcomes)
