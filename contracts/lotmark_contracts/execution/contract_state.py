"""What rules are executed on: values under keys, and timers."""

from collections.abc import Callable, Mapping
from typing import Protocol

from lotmark_contracts.execution.state_keys import StateKey
from lotmark_contracts.execution.timers import CancelTimer, SetTimer
from lotmark_contracts.wcel.values import Value

ReadState = Callable[[StateKey], Value | None]  # what is kept under a key, if anything


class ContractState(Protocol):
    """What all packages have kept. A rule sees what the rules before it have written."""

    def read(self, key: StateKey) -> Value | None:
        """Return what is kept under a key, or None."""

    def write(self, writes: Mapping[StateKey, Value]) -> None:
        """Keep these values, each in place of what is under its key."""

    def set_timer(self, package: str, timer: SetTimer, *, author: str, event_id: str) -> None:
        """Set a timer in place of the one of this package, name and key."""

    def cancel_timer(self, package: str, timer: CancelTimer) -> None:
        """Take a timer back; where there is none, do nothing."""
