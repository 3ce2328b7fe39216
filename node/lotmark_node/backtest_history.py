"""A ledger's past as rules saw it, executed again from a snapshot, for backtests of packages."""

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import BinaryIO

from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.rule_value import parse_value
from lotmark.snapshot_reader import SnapshotReader
from lotmark.state_rows import Table, members, split_row_key
from lotmark.verify.structure import Progress, check_structure
from lotmark_contracts.backtesting.backtest import PastBlock, backtest
from lotmark_contracts.backtesting.report import BacktestReport
from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event, Party
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.execution.state_keys import (
    StateKey,
    account_key,
    claim_key,
    once_key,
    value_key,
)
from lotmark_contracts.execution.timers import SetTimer
from lotmark_contracts.package.package import Package
from lotmark_contracts.wcel.values import Value
from lotmark_node.state_machine.block_rules import parties_of
from lotmark_node.state_machine.contract_rows import (
    parse_balance,
    parse_claim_row,
    parse_timer_key,
    parse_timer_row,
)
from lotmark_node.state_machine.item_evidence import ancestors_of, put_evidence
from lotmark_node.state_machine.rule_events import is_native, name_of, rule_event
from lotmark_node.state_machine.state import StateChanges, StateInMemory, StateReader
from lotmark_node.verification.reexecute import ExecutedBlock, Replay, begin_replay


def backtest_snapshot(
    file: BinaryIO, package: Package, *, chain_id: bytes, progress: Progress | None = None
) -> BacktestReport:
    """Return what a package would have made of a snapshot's blocks.

    The snapshot is verified on the way, so the report rests on what the log holds. Beside the
    package those versions of it are executed, over all blocks, that are in force at the last one:
    what is compared is rules, not what was posted under the rules of each time.

    Args:
        file: The snapshot, at its beginning; read twice.
        package: What is tried.
        chain_id: The pinned chain id.
        progress: Called after each block, with the blocks done and to do; each counts twice.

    Raises:
        FaultFound, UndecidedError: The snapshot does not hold, or cannot be judged.
    """

    def halfway(done: int, total: int) -> None:
        if progress:
            progress(done, 2 * total)

    findings = check_structure(file, chain_id=chain_id, progress=halfway)
    file.seek(0)
    reader = SnapshotReader(file)
    replay = begin_replay(reader, findings.genesis, chain_id)
    start = kept_by(replay.state.reader, package.name)
    past = _Past(replay, package)
    manifest = reader.manifest
    total = manifest.last_height - manifest.first_height + 1
    history = []
    for done, record in enumerate(reader.blocks(), total + 1):
        history.append(past.block(replay.take(record)))
        if progress:
            progress(done, 2 * total)
    old = [
        ActivePackage(each.package, each.approved_by)
        for each in replay.state.packages.versions
        if each.package.name == package.name
        and not each.is_suspended
        and each.from_height <= manifest.last_height
    ]
    return backtest(history, old=old, new=ActivePackage(package), start=start)


class _Past:
    """Blocks as they were executed, with those events that a version of a package listens to."""

    def __init__(self, replay: Replay, package: Package) -> None:
        self._replay = replay
        self._package = package
        self._evidence = StateInMemory()  # which the package asks for and the ledger has not kept
        self._evidence_types = {EVENT_TYPES[name] for name in package.manifest.evidence}
        self._versions: list[Package] = []
        self._book = RuleBook([ActivePackage(package)])
        self._parties: list[Party] = []

    def block(self, executed: ExecutedBlock) -> PastBlock:
        """Return a block that was just executed."""
        self._follow_versions()
        close = executed.results.close
        rows = _WithEvidence(self._replay.state.reader, self._evidence)
        parties = parties_of(members(rows, close.height))
        if parties != self._parties:
            self._parties = parties
        for event, index, author in _accepted(executed):
            if event.event_type in self._evidence_types:
                changes = StateChanges(self._evidence)
                put_evidence(changes, event, author, index, close.time_ms)
                self._evidence.write(changes.changed())
        changes = StateChanges(rows)
        events = [
            self._event(changes, event, index, author)
            for event, index, author in _accepted(executed)
            if self._book.listens(name_of(event))
        ]
        return PastBlock(
            circumstances=Circumstances(
                now_ms=close.time_ms, height=close.height, parties=self._parties
            ),
            events=events,
        )

    def _follow_versions(self) -> None:
        """Listen to what the package listens to, and its versions that are approved by now."""
        found = [
            each.package
            for each in self._replay.state.packages.versions
            if each.package.name == self._package.name
            and each.package.manifest.version != self._package.manifest.version
        ]
        if found != self._versions:
            self._versions = found
            self._book = RuleBook([ActivePackage(each) for each in [*found, self._package]])

    def _event(self, changes: StateChanges, event: CheckedEvent, index: int, author: str) -> Event:
        name = name_of(event)
        # Now: later blocks know more of its items.
        ancestors: Sequence[Ancestor] = ()
        if self._asks_provenance(name):
            ancestors = ancestors_of(changes, event.item_names).ancestors
        return rule_event(
            event,
            index=index,
            author=author,
            declared=self._book.fields_of(name) if is_native(name) else {},
            provenance=lambda: ancestors,
        )

    def _asks_provenance(self, name: str) -> bool:
        return any(
            rule.event_type == name and "provenance" in rule.names
            for package in [*self._versions, self._package]
            for rule in package.rules
        )


class _WithEvidence:
    """Rows of a ledger, and evidence beside what it has kept."""

    def __init__(self, reader: StateReader, evidence: StateInMemory) -> None:
        self._reader = reader
        self._evidence = evidence

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None."""
        found = self._reader.get(key)
        return self._evidence.get(key) if found is None else found

    def rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the rows whose keys begin with `prefix`, in ascending order."""
        own = self._reader.rows(prefix)
        if prefix[:1] != bytes([Table.EVIDENCE]):
            return own
        return iter(dict(merge(own, self._evidence.rows(prefix))).items())


def _accepted(executed: ExecutedBlock) -> Iterator[tuple[CheckedEvent, int, str]]:
    """Return the accepted events of a block, with entry index and author."""
    index = executed.results.first_index
    for prepared, result in zip(executed.prepared, executed.results.batches, strict=True):
        for at, (event, outcome) in enumerate(
            zip(prepared.events, result.event_outcomes, strict=False), index + 1
        ):
            if not outcome and isinstance(event, CheckedEvent):
                yield event, at, prepared.batch.header.party
        index += result.entry_count


def kept_by(rows: StateReader, package: str) -> MemoryState:
    """Return what the rules of a package have kept in a state: values, accounts, claims, timers."""
    state = MemoryState()
    writes: dict[StateKey, Value] = {}
    for key, value in _rows_of(rows, Table.RULE_VALUE, package):
        writes[value_key(package, *key)] = parse_value(value)
    for key, value in _rows_of(rows, Table.ONCE, package):
        writes[once_key(package, *key)] = str(int.from_bytes(value))
    for key, value in _rows_of(rows, Table.ACCOUNT, package):
        writes[account_key(package, *key)] = parse_balance(value)
    for key, value in _rows_of(rows, Table.CLAIM, package):
        row = parse_claim_row(value)
        writes[claim_key(package, *key)] = {
            "version": row.version,
            "opened_by": str(row.opened_by),
        }
    state.write(writes)
    for raw_key, raw in rows.rows(bytes([Table.TIMER])):
        due_ms, owner, name, key_text = parse_timer_key(raw_key)
        if owner == package:
            timer = parse_timer_row(raw)
            state.set_timer(
                package,
                SetTimer(name=name, key=key_text, due_ms=due_ms, fields=timer.fields),
                author=timer.author,
                event_id=str(timer.event_index),
            )
    return state


def _rows_of(rows: StateReader, table: Table, package: str) -> Iterator[tuple[list[str], bytes]]:
    """Return the rows of a package in a table, by what follows its name."""
    for key, value in rows.rows(bytes([table])):
        owner, *rest = [part.decode() for part in split_row_key(key)[1]]
        if owner == package:
            yield rest, value
