"""A node's items: records as the blocks leave them, and trees of epochs made beside the apply loop.

While the tree of one epoch is made, the next one runs. A block that ends that one waits for the
root, so there are never more than two epochs whose records stand in memory.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from lotmark.item_epochs import FULL_EVERY, ZERO_HASH, EndedEpoch, is_full
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.item_rows import Item, ItemRows
from lotmark_node.engine.stage_clock import StageClock
from lotmark_node.state_machine.item_chain import ItemChanges

logger = logging.getLogger(__name__)

WAIT_CHECK_S = 0.5


@dataclass(slots=True)
class _Unmade:
    """An epoch that has ended and whose tree is not made yet."""

    ended: EndedEpoch
    last_height: int
    records: Mapping[bytes, bytes]


@dataclass(slots=True)
class _Loaded:
    """What a store holds."""

    unmade: list[_Unmade] = field(default_factory=list)
    running: dict[bytes, bytes] = field(default_factory=dict)
    root: tuple[int, bytes] = (0, ZERO_HASH)  # of the newest epoch that has a tree


class ItemEpochs:
    """Records and roots of one store; `advance` and `records` are for the apply loop alone."""

    def __init__(
        self, rows: ItemRows, *, on_failure: Callable[[BaseException], None], clock: StageClock
    ) -> None:
        """Go on from a store.

        Args:
            rows: The store's.
            on_failure: Told once when no tree can be made any more.
            clock: Counts what making trees costs.
        """
        self._rows = rows
        self._on_failure = on_failure
        self._clock = clock
        loaded = _load(rows)
        self._running = loaded.running
        self._unmade = {each.ended.number: each for each in loaded.unmade}
        self._roots = dict([loaded.root])
        self._changed = threading.Condition()
        self._failed = self._stopped = False
        self._queue: queue.SimpleQueue[_Unmade | None] = queue.SimpleQueue()
        for each in loaded.unmade:
            self._queue.put(each)
        self._thread = threading.Thread(target=self._run, name="item-epochs", daemon=True)

    def start(self) -> None:
        """Begin to make trees; those that are missing in the store first."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is not made is made after the next start."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    # For the apply loop

    def records(self, hashes: Set[bytes]) -> Mapping[bytes, bytes]:
        """Return the records of those items that have one."""
        found: dict[bytes, bytes] = {}
        missing = hashes
        for records in (self._running, *[each.records for each in list(self._unmade.values())]):
            get = records.get
            found |= {each: record for each in missing if (record := get(each)) is not None}
            missing = hashes - found.keys()
            if not missing:
                return found
        return found | self._rows.records(list(missing))

    def root(self, epoch: int) -> bytes:
        """Return the root of one of the two epochs that ended last, once it is made.

        Raises:
            EngineError: It cannot be made.
        """
        with self._changed:
            while (root := self._roots.get(epoch)) is None:
                if self._failed or self._stopped:
                    raise EngineError(f"the tree of item epoch {epoch} is not made")
                self._changed.wait(WAIT_CHECK_S)
            return root

    def advance(self, changes: ItemChanges) -> None:
        """Move on by a block, which the store holds already."""
        self._running.update(changes.records)
        if changes.ended is None:
            return
        unmade = _Unmade(changes.ended, changes.height, self._running)
        self._unmade[changes.ended.number] = unmade
        self._running = {}
        self._queue.put(unmade)

    # On a thread of its own

    def _run(self) -> None:
        try:
            while (unmade := self._queue.get()) is not None and not self._stopped:
                with self._clock.stage("items"):
                    self._make(unmade)
        except _Stopped:
            return
        except BaseException as error:
            with self._changed:
                self._failed = True
                self._changed.notify_all()
            self._on_failure(error)

    def _make(self, unmade: _Unmade) -> None:
        number = unmade.ended.number
        touched = sorted(unmade.records.items())
        self._rows.put_records(touched)
        items = self._rows.all_records() if is_full(number) else iter(touched)
        made = self._rows.put_tree(
            unmade.ended,
            self._unless_stopped(items),
            previous_root=self._roots[number - 1],
            last_height=unmade.last_height,
        )
        if is_full(number):
            # A proof goes back to a full tree; one under an older checkpoint to the one before.
            self._rows.drop_trees(number - FULL_EVERY)
        with self._changed:
            self._roots = {number - 1: self._roots[number - 1], number: made}
            del self._unmade[number]
            self._changed.notify_all()

    def _unless_stopped(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            if self._stopped:
                raise _Stopped
            yield item


class _Stopped(Exception):
    """The node stops."""


def _load(rows: ItemRows) -> _Loaded:
    loaded = _Loaded()
    for head, root in rows.heads():
        loaded.root = head.number, root
    ends = iter(rows.ended())
    end = next(ends, None)
    for height, records in rows.blocks():
        while end is not None and height > end[1]:
            loaded.unmade.append(_Unmade(*end, loaded.running))
            loaded.running, end = {}, next(ends, None)
        loaded.running.update(records)
    while end is not None:
        loaded.unmade.append(_Unmade(*end, loaded.running))
        loaded.running, end = {}, next(ends, None)
    return loaded
