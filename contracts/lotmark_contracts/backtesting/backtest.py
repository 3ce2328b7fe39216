"""Executes a ledger's history under the rules in force, and beside that under new ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lotmark_contracts.backtesting.decisions import Decisions, Side
from lotmark_contracts.backtesting.report import BacktestReport, PaidAccount, SideReport
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.offline_block import execute_block
from lotmark_contracts.execution.receipt import RuleReceipt
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook

Progress = Callable[[int], None]  # told the height of each block that is done


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBlock:
    """A block of the ledger, as rules saw it."""

    circumstances: Circumstances
    events: Sequence[Event]  # in order, those that were refused left out


def backtest(
    history: Iterable[PastBlock],
    *,
    old: Sequence[ActivePackage],
    new: ActivePackage,
    start: MemoryState,
    progress: Progress | None = None,
) -> BacktestReport:
    """Return what a package would have made of past blocks, beside what the rules in force do.

    Both sides are executed anew, so that the same bounds hold for both. A timer that is due fires
    in the next block of the history: the ledger might have made one for it.

    Args:
        history: Blocks by height, ascending.
        old: The versions of the package that rule side by side; none: it is a new package.
        new: The version that is tried. Claims that are open in `start` go on under theirs.
        start: What was kept before the first block. It is not changed.
        progress: Told of each block that is done.
    """
    package = new.package
    assert all(each.package.name == package.name for each in old), "versions of one package"
    others = [each for each in old if each.package.hash != package.hash]
    before = _Run(RuleBook(old), start.copy())
    after = _Run(RuleBook([*others, new]), start.copy())
    decisions = Decisions()
    heights: list[int] = []
    blocks = events = heard = 0
    for block in history:
        heights = [*heights[:1], block.circumstances.height]
        blocks += 1
        events += len(block.events)
        heard += sum(before.listens(event) or after.listens(event) for event in block.events)
        decisions.add(Side.BEFORE, before.execute(block))
        decisions.add(Side.AFTER, after.execute(block))
        decisions.drop_unchanged()
        if progress is not None:
            progress(block.circumstances.height)
    newest = max(old, key=lambda each: each.package.manifest.version, default=None)
    return BacktestReport(
        package=package.name,
        version=package.manifest.version,
        package_hash=package.hash,
        old_version=None if newest is None else newest.package.manifest.version,
        old_hash=None if newest is None else newest.package.hash,
        first_height=heights[0] if heights else 0,
        last_height=heights[-1] if heights else 0,
        blocks=blocks,
        events=events,
        heard=heard,
        before=before.report(),
        after=after.report(),
        paid=_paid(package.name, start, before.state, after.state),
        changed_count=decisions.changed_count,
        changed=decisions.changed(),
    )


class _Run:
    """One side: its rules, its state, and what has come of them so far."""

    def __init__(self, book: RuleBook, state: MemoryState) -> None:
        self._book = book
        self.state = state
        self._endings: dict[str, dict[str, int]] = {}
        self._failures: dict[str, int] = {}
        self._gas_max = self._block_gas_max = 0

    def listens(self, event: Event) -> bool:
        return self._book.listens(event.type)

    def execute(self, block: PastBlock) -> list[RuleReceipt]:
        """Execute a block."""
        receipts, gas = execute_block(self._book, block.circumstances, self.state, block.events)
        self._block_gas_max = max(self._block_gas_max, gas)
        for receipt in receipts:
            self._count(receipt)
        return receipts

    def _count(self, receipt: RuleReceipt) -> None:
        endings = self._endings.setdefault(receipt.rule, {})
        status = str(receipt.status)
        endings[status] = endings.get(status, 0) + 1
        if receipt.failure is not None:
            code = str(receipt.failure.code)
            self._failures[code] = self._failures.get(code, 0) + 1
        self._gas_max = max(self._gas_max, receipt.gas)

    def report(self) -> SideReport:
        return SideReport(
            receipts=self._endings,
            failures=self._failures,
            gas_max=self._gas_max,
            block_gas_max=self._block_gas_max,
        )


def _paid(
    package: str, start: MemoryState, before: MemoryState, after: MemoryState
) -> tuple[PaidAccount, ...]:
    had, old, new = (state.balances(package) for state in (start, before, after))
    paid = []
    for place in sorted(old.keys() | new.keys()):
        was = had.get(place, 0)
        changes = old.get(place, 0) - was, new.get(place, 0) - was
        if any(changes):
            paid.append(PaidAccount(*place, *changes))
    return tuple(paid)
