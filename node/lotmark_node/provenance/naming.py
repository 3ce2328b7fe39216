"""Which item a person or system means, by any of its ids or by a shorter name."""

from collections.abc import Callable, Iterator
from itertools import chain, islice

from lotmark.item_name import read_item_name
from lotmark.v1 import provenance_pb2
from lotmark_node.provenance.packed import RESTRICTED
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Edges

EXACTLY = "id:"  # before an id that is no short name
CANDIDATES_MAX = 20
LOOKED_AT_MAX = 200  # items of a short name, and links of a stated one, to find those to be told


class ItemUnknown(Exception):
    """No event on the ledger names the item, as far as whoever asks may read."""


class ItemAmbiguous(Exception):
    """Several items have the name."""

    def __init__(self, message: str, candidates: list[str]) -> None:
        super().__init__(message)
        self.candidates = candidates


def find_item(
    index: IndexReader,
    typed: str,
    *,
    height: int,
    may_see: Callable[[str], bool],
    may_read: Callable[[int], bool],
) -> str:
    """Return the canonical name of an item that events name.

    What is an id of one item and a short name of another means both: an item by that id, which
    anybody may make, must not take the place of the one that is meant.

    Args:
        index: The index.
        typed: An id in any form, or a short name: a serial alone, a lot alone; behind "id:" it is
            an id alone.
        height: Of the ledger, for messages.
        may_see: Tells whether an item, by its canonical name, may be told to whoever asks.
        may_read: Tells whether the event of an entry may be told to whoever asks.

    Raises:
        MalformedError: It is no name of an item.
        ItemUnknown: No event names it.
        ItemAmbiguous: A short name of several items.
    """
    exactly = typed.strip().startswith(EXACTLY)
    name = read_item_name(typed.strip().removeprefix(EXACTLY))
    own = [name] if index.has_item(name) and may_see(name) else []
    if exactly and own:
        return name
    stated = () if own else _identified(index, name, may_read)
    called = () if exactly else index.items_called(name, count_max=LOOKED_AT_MAX)
    seen = chain(own, stated, islice(filter(may_see, called), CANDIDATES_MAX + 1))
    found = list(dict.fromkeys(seen))
    if not found:
        raise ItemUnknown(
            f"no event up to height {height} names item {typed[:128]!a}; check the id, or ask a"
            " node that is further"
        )
    if len(found) > 1:
        shown = ", ".join(found[:CANDIDATES_MAX])
        more = " and more" if len(found) > CANDIDATES_MAX else ""
        raise ItemAmbiguous(
            f"{typed[:128]!a} means {len(found)} items{more}: {shown}; name one of them whole,"
            f" as {EXACTLY}{found[0]}",
            found[:CANDIDATES_MAX],
        )
    return found[0]


def _identified(index: IndexReader, name: str, may_read: Callable[[int], bool]) -> Iterator[str]:
    """Return the items of which events, that may be told, state the name as another one."""
    for edge in islice(index.edges(Edges.FORWARD, name), LOOKED_AT_MAX):
        if edge.kind == provenance_pb2.EDGE_KIND_IDENTIFIED and (
            not edge.flags & RESTRICTED or may_read(edge.entry)
        ):
            yield edge.other
