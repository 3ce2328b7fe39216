"""Which variables an expression may name, and where their values stand while it is evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lotmark_contracts.wcel.types import Type


@dataclass(frozen=True, slots=True)
class Variable:
    """A name's type, and the slot of its value in a frame."""

    slot: int
    type: Type


@dataclass(frozen=True, slots=True)
class Scope:
    """Names and what they stand for. Immutable: a step that adds a name makes another scope."""

    variables: Mapping[str, Variable] = field(default_factory=dict)
    slot_count: int = 0

    def with_variable(self, name: str, type_: Type) -> "Scope":
        """Return this scope and one more name, which hides an older one of that name."""
        variable = Variable(self.slot_count, type_)
        return Scope({**self.variables, name: variable}, self.slot_count + 1)
