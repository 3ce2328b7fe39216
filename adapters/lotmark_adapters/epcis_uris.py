"""URIs for what the ledger names by plain ids, since EPCIS names everything by URI."""

from urllib.parse import quote, unquote

from lotmark.errors import MalformedError
from lotmark.gs1_ids import read_gs1
from lotmark.item_name import canonical_item

STEM = "https://lotmark.invalid/"
_ITEM_STEM = f"{STEM}item/"
_URI_STEMS = ("https://", "http://", "urn:")


def item_uri(item_id: str) -> str:
    """Return the URI of an item: a canonical Digital Link, the URI that it is, or one around it."""
    try:
        found = read_gs1(item_id)
    except MalformedError:
        return _ITEM_STEM + quote(item_id, safe="")  # written like a GS1 id, and none
    if found is not None:
        return found.link
    if item_id.startswith(_URI_STEMS) and not item_id.startswith(_ITEM_STEM):
        return item_id
    return _ITEM_STEM + quote(item_id, safe="")


def item_of_uri(uri: str) -> str:
    """Return the canonical name of the item that `item_uri` made a URI of."""
    if uri.startswith(_ITEM_STEM):
        return canonical_item(unquote(uri.removeprefix(_ITEM_STEM)))
    return canonical_item(uri)


def instance_uri(item_id: str) -> str:
    """Return the URI of an item where EPCIS wants a single thing and a class may stand."""
    return _ITEM_STEM + quote(item_id, safe="") if is_class(item_id) else item_uri(item_id)


def is_class(item_id: str) -> bool:
    """Return whether an id is that of a GS1 class or lot."""
    try:
        found = read_gs1(item_id)
    except MalformedError:
        return False
    return found is not None and found.is_class


def uri_of(kind: str, *names: str) -> str:
    """Return the URI of something else: a party, a device, a process step, a document, an event."""
    return STEM + "/".join([kind, *(quote(name, safe="") for name in names)])


def digest_uri(sha256: bytes) -> str:
    """Return the URI of bytes by their SHA-256, by RFC 6920."""
    return f"ni:///sha-256;{sha256.hex()}"
