"""What packages have kept, in memory: for tests of packages and for trying them on history."""

from collections.abc import Mapping

from lotmark_contracts.execution.state_keys import balances_prefix
from lotmark_contracts.wcel.values import Value


class MemoryState:
    """Values by key."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def read(self, key: str) -> Value | None:
        """Return what is kept under a key, or None."""
        return self._values.get(key)

    def write(self, writes: Mapping[str, Value]) -> None:
        """Keep what an outcome says."""
        self._values.update(writes)

    def items(self) -> list[tuple[str, Value]]:
        """Return all keys with their values, by key."""
        return sorted(self._values.items())

    def balances(self, package: str) -> dict[tuple[str, str], int]:
        """Return a package's balances in minor units, by currency and account."""
        prefix = balances_prefix(package)
        balances: dict[tuple[str, str], int] = {}
        for key, value in self.items():
            if key.startswith(prefix):
                currency, _, account = key.removeprefix(prefix).partition("/")
                assert isinstance(value, int), "a balance is a number"
                balances[currency, account] = value
        return balances

    def sums(self, package: str) -> dict[str, int]:
        """Return the sum of all accounts of each currency, which is zero."""
        sums: dict[str, int] = {}
        for (currency, _), balance in self.balances(package).items():
            sums[currency] = sums.get(currency, 0) + balance
        return sums
