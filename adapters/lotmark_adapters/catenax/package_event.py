"""What a rule package reads: an event's name and its fields."""

from dataclasses import dataclass

from lotmark_contracts.wcel.values import Value


@dataclass(frozen=True, slots=True)
class PackageEvent:
    """The name and the fields of a contract event."""

    name: str
    fields: dict[str, Value]
