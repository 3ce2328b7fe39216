"""What rules read and write, kept in rows of the state."""

from collections.abc import Mapping

from lotmark.rule_value import encode_value, parse_value
from lotmark.state_rows import Table, u64
from lotmark_contracts.execution.state_keys import KeyKind, StateKey
from lotmark_contracts.execution.timers import CancelTimer, DueTimer, SetTimer
from lotmark_contracts.wcel.values import Value
from lotmark_node.state_machine.contract_rows import (
    ClaimRow,
    TimerRow,
    account_key,
    claim_key,
    encode_balance,
    once_key,
    parse_balance,
    parse_claim_row,
    parse_timer_key,
    parse_timer_row,
    rule_value_key,
    timer_key,
    timer_place_key,
)
from lotmark_node.state_machine.state import StateChanges, StateReader


class RuleRows:
    """The state of all packages, as one block changes it.

    Attributes:
        at: Batch index and position of the event for which rules are executed: timers keep it.
    """

    def __init__(self, changes: StateChanges) -> None:
        self._changes = changes
        self._posted: dict[tuple[str, str], int] = {}  # package, currency -> sum of all changes
        self.at = (0, 0)

    def read(self, key: StateKey) -> Value | None:
        """Return what is kept under a key, or None."""
        raw = self._changes.get(_row_key(key))
        if raw is None:
            return None
        match key.kind:
            case KeyKind.VALUE:
                return parse_value(raw)
            case KeyKind.ONCE:
                return str(int.from_bytes(raw))
            case KeyKind.ACCOUNT:
                return parse_balance(raw)
            case KeyKind.CLAIM:
                row = parse_claim_row(raw)
                return {"version": row.version, "opened_by": str(row.opened_by)}

    def write(self, writes: Mapping[StateKey, Value]) -> None:
        """Keep what a rule has done, all of it."""
        for key, value in writes.items():
            if key.kind is KeyKind.ACCOUNT:
                self._post(key, value)
            self._changes.put(_row_key(key), _row_value(key, value))

    def _post(self, key: StateKey, value: Value) -> None:
        raw = self._changes.get(_row_key(key))
        before = 0 if raw is None else parse_balance(raw)
        assert isinstance(value, int), "an account holds a number"
        place = key.package, key.name
        self._posted[place] = self._posted.get(place, 0) + value - before

    def check_sums(self) -> None:
        """Halt rather than close a block in which money came from nowhere."""
        assert not any(self._posted.values()), "all accounts of a currency sum to zero"

    def set_timer(self, package: str, timer: SetTimer, *, author: str, event_id: str) -> None:
        """Set a timer, in place of the one under the same name and key."""
        self._remove_timer(package, timer.name, timer.key)
        batch_index, position = self.at
        row = TimerRow(
            event_index=int(event_id),
            batch_index=batch_index,
            position=position,
            author=author,
            fields=timer.fields,
        )
        due_ms = timer.due_ms
        place = timer_place_key(package, timer.name, timer.key)
        self._changes.put(timer_key(due_ms, package, timer.name, timer.key), row.encode())
        self._changes.put(place, u64(due_ms))

    def cancel_timer(self, package: str, timer: CancelTimer) -> None:
        """Cancel a timer, if it is set."""
        self._remove_timer(package, timer.name, timer.key)

    def _remove_timer(self, package: str, name: str, key: str) -> None:
        place = timer_place_key(package, name, key)
        raw = self._changes.get(place)
        if raw is not None:
            self._changes.delete(timer_key(int.from_bytes(raw), package, name, key))
            self._changes.delete(place)

    def take_timer(self, raw_key: bytes, raw: bytes) -> DueTimer:
        """Return a timer that is due, and remove it."""
        due_ms, package, name, key = parse_timer_key(raw_key)
        row = parse_timer_row(raw)
        self._changes.delete(raw_key)
        self._changes.delete(timer_place_key(package, name, key))
        self.at = row.batch_index, row.position
        return DueTimer(
            package=package,
            name=name,
            key=key,
            due_ms=due_ms,
            fields=row.fields,
            author=row.author,
            event_id=str(row.event_index),
        )


def next_due_ms(rows: StateReader) -> int | None:
    """Return when the next timer is due, or None where none is set."""
    for key, _ in rows.rows(bytes([Table.TIMER])):
        return parse_timer_key(key)[0]
    return None


def _row_key(key: StateKey) -> bytes:
    match key.kind:
        case KeyKind.VALUE:
            return rule_value_key(key.package, key.name, key.key)
        case KeyKind.ONCE:
            return once_key(key.package, key.name, key.key)
        case KeyKind.ACCOUNT:
            return account_key(key.package, key.name, key.key)
        case KeyKind.CLAIM:
            return claim_key(key.package, key.key)


def _row_value(key: StateKey, value: Value) -> bytes:
    match key.kind, value:
        case KeyKind.VALUE, _:
            return encode_value(value)
        case KeyKind.ONCE, str():
            return u64(int(value))
        case KeyKind.ACCOUNT, int():
            return encode_balance(value)
        case KeyKind.CLAIM, {"version": int(version), "opened_by": str(opened_by)}:
            return ClaimRow(version, int(opened_by)).encode()
        case _:
            raise AssertionError(f"{value!r:.60} is not what is kept under {key.kind}")
