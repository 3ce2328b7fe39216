"""The one name under which an item is chained and indexed, whatever name an author gave it.

Consensus depends on `canonical_item`: every node must give every id the same name, for ever. So it
is integer and ASCII work without tables that grow, and a golden file pins it.
"""

import re
from functools import lru_cache

from lotmark.errors import MalformedError
from lotmark.gs1_ids import STEM, checked_gs1, gtin_14, read_gs1
from lotmark.text import check_identifier

ITEM_ID_SIZE_MAX = 128
_CACHED_NAMES_MAX = 32_768  # below 10 MB: a line's events name the same items over and over

_SHAPED = re.compile(
    # What has this shape stays as it is: it is canonical, or its check digit is wrong.
    re.escape(STEM) + r"(?:01/[0-9]{14}(?:/(?:10|21|235)/[A-Za-z0-9\-._';=]+)?|00/[0-9]{18})"
)
_OTHERS = ("http", "HTTP", "urn:epc:")
_TYPED = re.compile(r"(lot|serial):([^.]*)(?:\.(.*))?")
_TYPED_QUALIFIERS = {"lot": "10", "serial": "21"}


def canonical_item(item_id: str) -> str:
    """Return the name under which an item is known, whichever of its ids an event bears.

    GS1 identifiers become canonical Digital Links; every other id, and what is written like a GS1
    identifier but is not one, stays as it is. Never raises, and doing it twice changes nothing.

    Args:
        item_id: An id as events may bear it: an identifier of at most 128 characters.
    """
    # No event bears a longer one; the names kept in memory have a bound.
    return _canonical(item_id) if len(item_id) <= ITEM_ID_SIZE_MAX else item_id


@lru_cache(maxsize=_CACHED_NAMES_MAX)
def _canonical(item_id: str) -> str:
    if not item_id.startswith(_OTHERS) or _SHAPED.fullmatch(item_id):
        return item_id
    try:
        found = read_gs1(item_id)
    except MalformedError:
        return item_id  # an event on the ledger stands, whatever its author mistyped
    return item_id if found is None else found.link


def read_item_name(typed: str) -> str:
    """Return the canonical name of an item as a person types it.

    Args:
        typed: A GS1 identifier in any form, ``lot:GTIN.LOT``, ``serial:GTIN.SERIAL`` or any other
            id of an item; white space around it is left out.

    Raises:
        MalformedError: It is none of these. The message names the value, the rule and the remedy.
    """
    name = typed.strip()
    match = _TYPED.fullmatch(name)
    if match is not None and (gtin := gtin_14(match[2])) is not None and match[3]:
        return checked_gs1("01", gtin, _TYPED_QUALIFIERS[match[1]], match[3]).link
    if match is not None:
        raise MalformedError(
            f"{name[:60]!a} names no {match[1]}: write {match[1]}:GTIN.{match[1].upper()} with a"
            f" GTIN of 8, 12, 13 or 14 digits, such as {match[1]}:04012345000016.A-7"
        )
    found = read_gs1(name)
    if found is not None:
        return found.link
    check_identifier(name, what="item", size_max=ITEM_ID_SIZE_MAX)
    return name


def plain_names(canonical: str) -> tuple[str, ...]:
    """Return shorter names that people use for an item: its serial alone, its lot alone.

    They are not unique. A key that needs no serial, such as an SSCC, is its own short name.

    Args:
        canonical: What `canonical_item` returned.
    """
    if not canonical.startswith(STEM):
        return ()
    if _SHAPED.fullmatch(canonical):
        return (canonical.rpartition("/")[2],)
    try:
        found = read_gs1(canonical)
    except MalformedError:
        return ()
    if found is None or found.qualifier in ("254", "8011"):
        return ()
    return (found.qualifier_value or found.value,)
