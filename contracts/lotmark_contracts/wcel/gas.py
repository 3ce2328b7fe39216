"""What evaluation costs. These numbers are part of `wcel/1`: nodes agree on them.

Gas is charged before the work. The nodes of an expression are charged when it begins, those of a
macro's body before the macro begins, once for each item; what depends on lengths is charged when
the lengths are known.
"""

from typing import Final

NODE: Final = 1  # each node of the syntax tree
ITERATION: Final = 1  # each item of a macro, beside its body
EQUAL_NODE: Final = 1  # each pair of values that a deep comparison visits
TEXT_CHARACTERS: Final = 16  # of text, or items of a list, that are copied for 1
COMPARED_CHARACTERS: Final = 64  # of text that are compared or searched for 1


def copying(count: int) -> int:
    """Return what it costs to make a text or list of this length."""
    return NODE + count // TEXT_CHARACTERS


def comparing(count: int) -> int:
    """Return what it costs, beside the node, to compare texts of this many characters."""
    return count // COMPARED_CHARACTERS
