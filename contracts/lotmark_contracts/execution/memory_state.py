"""What packages have kept, in memory: for tests of packages and for trying them on history."""

from collections.abc import Mapping
from heapq import heappop, heappush

from lotmark_contracts.execution.state_keys import KeyKind, StateKey
from lotmark_contracts.execution.timers import CancelTimer, DueTimer, SetTimer
from lotmark_contracts.wcel.values import Value


class MemoryState:
    """Values and timers by key."""

    def __init__(self) -> None:
        self._values: dict[StateKey, Value] = {}
        self._timers: dict[tuple[str, str, str], DueTimer] = {}  # by package, name and key
        # Due time, package, name and key of these, and of some that are there no more.
        self._by_due: list[tuple[int, str, str, str]] = []

    def copy(self) -> "MemoryState":
        """Return a state that holds the same and goes its own way."""
        other = MemoryState()
        other._values = dict(self._values)
        other._timers = dict(self._timers)
        other._by_due = list(self._by_due)
        return other

    def read(self, key: StateKey) -> Value | None:
        """Return what is kept under a key, or None."""
        return self._values.get(key)

    def write(self, writes: Mapping[StateKey, Value]) -> None:
        """Keep these values, each in place of what is under its key."""
        self._values.update(writes)

    def set_timer(self, package: str, timer: SetTimer, *, author: str, event_id: str) -> None:
        """Set a timer in place of the one of this package, name and key."""
        self._timers[package, timer.name, timer.key] = DueTimer(
            package=package,
            name=timer.name,
            key=timer.key,
            due_ms=timer.due_ms,
            fields=timer.fields,
            author=author,
            event_id=event_id,
        )
        heappush(self._by_due, (timer.due_ms, package, timer.name, timer.key))

    def cancel_timer(self, package: str, timer: CancelTimer) -> None:
        """Take a timer back; where there is none, do nothing."""
        self._timers.pop((package, timer.name, timer.key), None)

    def next_due(self, now_ms: int) -> DueTimer | None:
        """Return the timer that is due first, by due time, package, name and key, if one is."""
        while self._by_due and self._by_due[0][0] <= now_ms:
            due_ms, package, name, key = self._by_due[0]
            timer = self._timers.get((package, name, key))
            if timer is not None and timer.due_ms == due_ms:
                return timer
            heappop(self._by_due)
        return None

    def take_timer(self, timer: DueTimer) -> None:
        """Take a timer out that `next_due` has returned."""
        del self._timers[timer.package, timer.name, timer.key]

    def timers(self) -> list[DueTimer]:
        """Return all timers, by package, name and key."""
        return [self._timers[place] for place in sorted(self._timers)]

    def items(self) -> list[tuple[StateKey, Value]]:
        """Return all keys with their values, by key."""
        return sorted(self._values.items(), key=lambda item: item[0])

    def balances(self, package: str) -> dict[tuple[str, str], int]:
        """Return a package's balances in minor units, by currency and account."""
        balances: dict[tuple[str, str], int] = {}
        for key in sorted(self._values):
            if key.kind is KeyKind.ACCOUNT and key.package == package:
                balance = self._values[key]
                assert isinstance(balance, int), "a balance is a number"
                balances[key.name, key.key] = balance
        return balances

    def sums(self, package: str) -> dict[str, int]:
        """Return the sum of all accounts of each currency, which is zero."""
        sums: dict[str, int] = {}
        for (currency, _), balance in self.balances(package).items():
            sums[currency] = sums.get(currency, 0) + balance
        return sums
