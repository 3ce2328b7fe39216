"""The closures of macros: what is done for each item of a list, paid for before it begins."""

from lotmark_contracts.wcel.errors import EvaluationFailed
from lotmark_contracts.wcel.frame import Code, Frame
from lotmark_contracts.wcel.syntax import MacroKind


def compiled_macro(
    kind: MacroKind,
    operand: Code,
    body: Code,
    *,
    slot: int,
    item_cost: int,
    offset: int,
    body_can_fail: bool,
) -> Code:
    """Return the closure of a macro.

    Args:
        kind: Which one.
        operand: Its list.
        body: What is evaluated for each item.
        slot: Where the item stands meanwhile.
        item_cost: Charged for each item, for all of them before the first.
        offset: Of the macro.
        body_can_fail: Whether a body may have no value, which the first item that decides hides.
    """

    def items_of(frame: Frame) -> list[object]:
        items: list[object] = operand(frame)
        frame.charge(len(items) * item_cost, offset)
        return items

    match kind:
        case MacroKind.MAP:
            return _mapped(items_of, body, slot)
        case MacroKind.FILTER:
            return _filtered(items_of, body, slot)
        case MacroKind.EXISTS_ONE:
            filtered = _filtered(items_of, body, slot)
            return lambda frame: len(filtered(frame)) == 1
        case _:
            deciding = kind is MacroKind.EXISTS
            if body_can_fail:
                return _decided_in_spite(items_of, body, slot, deciding)
            return _decided(items_of, body, slot, deciding)


def _mapped(items_of: Code, body: Code, slot: int) -> Code:
    def mapped(frame: Frame) -> list[object]:
        slots = frame.slots
        result = []
        for slots[slot] in items_of(frame):
            result.append(body(frame))
        return result

    return mapped


def _filtered(items_of: Code, body: Code, slot: int) -> Code:
    def filtered(frame: Frame) -> list[object]:
        slots = frame.slots
        result = []
        for item in items_of(frame):
            slots[slot] = item
            if body(frame):
                result.append(item)
        return result

    return filtered


def _decided(items_of: Code, body: Code, slot: int, deciding: bool) -> Code:
    def decided(frame: Frame) -> object:
        slots = frame.slots
        for slots[slot] in items_of(frame):
            if body(frame) is deciding:
                return deciding
        return not deciding

    return decided


def _decided_in_spite(items_of: Code, body: Code, slot: int, deciding: bool) -> Code:
    """As `&&` and `||`: an item that decides is enough; else the first failure counts."""

    def decided(frame: Frame) -> object:
        slots = frame.slots
        failure: EvaluationFailed | None = None
        for slots[slot] in items_of(frame):
            try:
                if body(frame) is deciding:
                    return deciding
            except EvaluationFailed as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return not deciding

    return decided
