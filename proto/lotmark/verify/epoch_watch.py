"""Whether closes name the right epoch of the item chain; the full level judges its root."""

from lotmark.entry import BlockClose
from lotmark.item_epochs import (
    ZERO_HASH,
    RunningEpoch,
    begin_epochs,
    parse_running_epoch,
    rule_in_force,
)
from lotmark.state_rows import RowReader, Table, row_key


class EpochWatch:
    """The item chain's epochs as a walk over the log can count them."""

    def __init__(self, rows: RowReader, close: BlockClose) -> None:
        """Begin after a block.

        Args:
            rows: What the genesis and the events that govern make; moves along.
            close: Of that block.
        """
        self._rows = rows
        self._named, self._root = close.item_epoch, close.item_root
        raw = rows.get(row_key(Table.ITEM_EPOCH)) if close.height == 0 else None
        self._running = None if raw is None else parse_running_epoch(raw)
        # Where a range begins within an epoch, its state knows when that began: not read here.
        self._hidden = rule_in_force(rows) is not None and self._running is None

    def take(
        self, found: BlockClose, *, touches: int, size: int, is_decided: bool
    ) -> tuple[int, bytes]:
        """Return which epoch and root a block's close must name.

        Args:
            found: The close: a root that is new is taken from it.
            touches: Distinct items of each accepted event, summed.
            size: Of the log after the block.
            is_decided: Whether a proposal was decided at the block's end.
        """
        if self._hidden:
            self._look_for_end(found, size)
        elif self._running is None:
            if is_decided and rule_in_force(self._rows) is not None:
                self._running = begin_epochs(size=size, time_ms=found.time_ms)
        else:
            self._count(self._running.touched(touches), found, size)
        return self._named, self._root

    def _count(self, running: RunningEpoch, found: BlockClose, size: int) -> None:
        rule = rule_in_force(self._rows)
        assert rule is not None, "an epoch runs by a rule"
        if running.ends(rule, size=size, time_ms=found.time_ms):
            root = found.item_root if running.number > 1 else ZERO_HASH
            running = running.next(size=size, time_ms=found.time_ms, root=root)
            self._named, self._root = running.named, running.root
        self._running = running

    def _look_for_end(self, found: BlockClose, size: int) -> None:
        """From the first end of an epoch that shows in a range, the rest is counted."""
        if found.item_epoch != self._named + 1:
            return
        self._hidden = False
        self._named, self._root = found.item_epoch, found.item_root
        self._running = RunningEpoch(
            number=found.item_epoch + 2,
            chain_first_index=0,  # where the chain began does not show, nor matter here
            first_index=size,
            start_ms=found.time_ms,
            root=found.item_root,
        )
