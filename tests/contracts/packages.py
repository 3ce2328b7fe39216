"""Packages for tests: the template of a new one, changed as a test wants, and the shipped ones."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lotmark_contracts
from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Circumstances, Event, Party
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RuleReceipt
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.execution.timers import DueTimer
from lotmark_contracts.package.package import Package, load_package
from lotmark_contracts.wcel.values import Value

ROOT = Path(lotmark_contracts.__file__).parent
SHIPPED = sorted(path.parent.name for path in (ROOT / "shipped").glob("*/manifest.json"))
NOW_MS = 1_766_448_000_000
TIMERS_OF_BLOCK_MAX = 64

Files = dict[str, bytes]


def folder_files(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def template_files() -> Files:
    return folder_files(ROOT / "template")


def shipped_files(name: str) -> Files:
    return folder_files(ROOT / "shipped" / name)


def changed(files: Mapping[str, bytes], path: str, change: Callable[[Any], None]) -> Files:
    """Return the files with a change made to what one of them says."""
    document = json.loads(files[path])
    change(document)
    return {**files, path: json.dumps(document, indent=1).encode()}


def added(files: Mapping[str, bytes], path: str, document: object) -> Files:
    """Return the files with one more, or another one in place of it."""
    return {**files, path: json.dumps(document, indent=1).encode()}


def replaced(files: Mapping[str, bytes], path: str, old: str, new: str) -> Files:
    """Return the files with a text of one of them replaced."""
    assert old.encode() in files[path]
    return {**files, path: files[path].replace(old.encode(), new.encode())}


class Desk:
    """Executes events one after the other, each a second later, and keeps what they leave."""

    def __init__(self, *packages: Package, parties: tuple[Party, ...] = ()) -> None:
        self.rules = RuleBook([ActivePackage(package) for package in packages])
        self.packages = packages
        self.state = MemoryState()
        self.parties = parties
        self.count = 0

    def send(
        self, event_type: str, author: str = "OEM-A", *, now_ms: int | None = None, **told: Any
    ) -> list[RuleReceipt]:
        """Execute an event of these fields."""
        provenance = told.pop("provenance", ())
        return self.execute(
            Event(
                id=f"event-{self.count}",
                type=event_type,
                author=author,
                fields=told,
                provenance=lambda: provenance,
            ),
            now_ms,
        )

    def execute(self, event: Event, now_ms: int | None = None) -> list[RuleReceipt]:
        self.count += 1
        now_ms = NOW_MS + 1_000 * self.count if now_ms is None else now_ms
        block = self._block(now_ms)
        return list(block.judge(event) or block.execute(event))

    def wait(self, until_ms: int) -> list[RuleReceipt]:
        """Fire all timers that are due at a time, in blocks as the ledger would."""
        receipts: list[RuleReceipt] = []
        while self.state.next_due(until_ms) is not None:
            self.count += 1
            block = self._block(until_ms)
            for timer in due_timers(self.state, until_ms, TIMERS_OF_BLOCK_MAX):
                receipts += block.fire(timer)
        return receipts

    def _block(self, now_ms: int) -> RulesOfBlock:
        circumstances = Circumstances(now_ms=now_ms, height=self.count, parties=self.parties)
        return RulesOfBlock(self.rules, circumstances, self.state)

    def balance(self, currency: str, account: str) -> int:
        (package,) = self.packages
        return self.state.balances(package.name).get((currency, account), 0)


def because(receipt: RuleReceipt) -> dict[str, Value | None]:
    return {reason.step: reason.value for reason in receipt.because}


def template_desk(files: Files | None = None) -> Desk:
    return Desk(load_package(files or template_files()))


def scrap(**changes: Any) -> dict[str, Any]:
    """Return the fields of an event that the template listens to."""
    report = {
        "report": "S-1",
        "supplier": "T1-STATOR",
        "cause": "burr",
        "pieces": 3,
        "piece_price": 1_111,
    }
    return {**report, **changes}


def due_timers(state: MemoryState, now_ms: int, count_max: int = 64) -> Iterator[DueTimer]:
    """Yield the timers that are due, each taken out, as a block does it."""
    for _ in range(count_max):
        timer = state.next_due(now_ms)
        if timer is None:
            return
        state.take_timer(timer)
        yield timer
