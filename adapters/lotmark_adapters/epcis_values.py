"""Checks of single values of an EPCIS event: URIs, ids, times, numbers, standard names.

Each raises `MalformedError` that names the place, the value, the rule and the remedy.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeAlias

from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, shown, string_at
from lotmark.errors import MalformedError
from lotmark.gs1_ids import read_gs1
from lotmark.rfc3339 import enclosing_ms
from lotmark_adapters.epcis_context import JsonLdContext
from lotmark_adapters.epcis_vocabulary import Vocabulary

Check: TypeAlias = Callable[[ForeignJson, Place, JsonLdContext], None]

DEPTH_MAX = 32  # of an event

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!-~\u00a0-\U0010ffff]+")
_UNIT = re.compile(r"[A-Z0-9]{2,3}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_COMPARED_MAX = 100  # characters of a wrong name that are looked at
_STANDARD_STEMS = ("https://ref.gs1.org/cbv/", "urn:epcglobal:cbv:", "https://gs1.org/voc/")


def object_at(value: ForeignJson, place: Place) -> Mapping[str, ForeignJson]:
    """Return an object, or refuse anything else."""
    if not isinstance(value, dict):
        raise place.refusal(f"{shown(value)} is no object; write its members in {{ }}")
    return value


def filled_list_at(value: ForeignJson, place: Place) -> Sequence[ForeignJson]:
    """Return a list with an element at least, or refuse anything else."""
    if not isinstance(value, list):
        raise place.refusal(f"{shown(value)} is no list; write it in [ ]")
    if not value:
        raise place.refusal("is empty; leave it out where there is nothing to say")
    return value


def check_uri(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    """Refuse what is no URI, or is written like a GS1 identifier and is none."""
    text = string_at(value, place)
    if not _URI.fullmatch(context.expanded_value(text)):
        raise place.refusal(
            f"{shown(text)} is no URI; write one, such as urn:epc:id:sgtin:4012345.011111.9876 or"
            " https://id.gs1.org/01/04012345111118/21/9876"
        )
    _gs1_class(text, place)


def _gs1_class(text: str, place: Place) -> bool | None:
    """Return whether a GS1 identifier names a class; None: it is none."""
    try:
        found = read_gs1(text)
    except MalformedError as error:
        raise place.refusal(str(error)) from error
    return None if found is None else found.is_class


def check_instance(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    """Refuse what is no URI of a single thing."""
    check_uri(value, place, context)
    if _gs1_class(str(value), place):
        raise place.refusal(
            f"{shown(value)} names a class or lot, not a single thing; put it into the event's"
            " quantity list"
        )


def check_class(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    """Refuse what is no URI of a class."""
    check_uri(value, place, context)
    if _gs1_class(str(value), place) is False:
        raise place.refusal(
            f"{shown(value)} names a single thing, not a class or lot; put it into the event's"
            " list of EPCs"
        )


def time_at(value: ForeignJson, place: Place) -> int:
    """Return a time in Unix milliseconds, rounded down."""
    text = string_at(value, place)
    try:
        return enclosing_ms(text)[0]
    except MalformedError as error:
        raise place.refusal(str(error)) from error


def check_time(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    """Refuse what is no time with an offset."""
    time_at(value, place)


def check_number(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    """Refuse what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.refusal(f"{shown(value)} is no number; write it bare, such as 12.5")


def check_boolean(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise place.refusal(f"{shown(value)} is neither true nor false; write it bare")


def check_string(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    """Refuse what is no string."""
    string_at(value, place)


def check_hex(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    """Refuse what is no hexadecimal text."""
    if not _HEX.fullmatch(string_at(value, place)):
        raise place.refusal(f"{shown(value)} is not hexadecimal; write an even number of digits")


def check_unit(value: ForeignJson, place: Place, _context: JsonLdContext) -> None:
    """Refuse what is no code of UN/ECE Recommendation 20 by its look."""
    if not is_unit(string_at(value, place)):
        raise place.refusal(
            f"{shown(value)} is no unit; write its code of UN/ECE Recommendation 20, such as KGM"
        )


def is_unit(text: str) -> bool:
    """Return whether a text looks like a code of UN/ECE Recommendation 20."""
    return _UNIT.fullmatch(text) is not None


def standard_name(vocabulary: Vocabulary) -> Check:
    """Return the check of a standard name or a URI of one's own."""

    def check(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
        text = string_at(value, place)
        uri = vocabulary.uri(context.expanded_value(text))
        if vocabulary.bare(uri) in vocabulary.names:
            return
        if uri.startswith(_STANDARD_STEMS):
            raise place.refusal(
                f"{shown(text)} is no {vocabulary.what} of the standard;"
                f" write {_nearest(uri, vocabulary)}, or a URI of your own"
            )
        if not _URI.fullmatch(uri):
            raise place.refusal(
                f"{shown(text)} is no {vocabulary.what}: neither a bare name of the standard,"
                f" such as {_nearest(uri, vocabulary)}, nor a URI of your own"
            )

    return check


def _nearest(uri: str, vocabulary: Vocabulary) -> str:
    """Return the standard name that a wrong one is likest to."""
    names = sorted(vocabulary.names)
    name = re.split("[/:-]", uri[:_COMPARED_MAX])[-1]
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.3)), names[0])


def each(check: Check) -> Check:
    """Return the check of a list of different values that is not empty."""

    def check_list(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
        seen = []
        for index, element in enumerate(filled_list_at(value, place)):
            check(element, place.element(index), context)
            if element in seen:
                raise place.element(index).refusal(f"{shown(element)} stands twice; write it once")
            seen.append(element)

    return check_list


def one_or_each(check: Check) -> Check:
    """Return the check of a value or a list of them."""

    def check_either(value: ForeignJson, place: Place, context: JsonLdContext) -> None:
        (each(check) if isinstance(value, list) else check)(value, place, context)

    return check_either


def check_members(
    members: Mapping[str, ForeignJson],
    place: Place,
    context: JsonLdContext,
    checks: Mapping[str, Check],
    *,
    required: Collection[str] = (),
    extensible: bool = True,
) -> None:
    """Check the members of an object.

    Args:
        members: The object.
        place: Where it stands.
        context: What the document's context says.
        checks: By name of each standard member.
        required: Names that must be there.
        extensible: Whether members with a namespace of their own may be there.
    """
    for name in required:
        if name not in members:
            raise place.member(name).missing("the standard asks for it here")
    for name, value in members.items():
        at = place.member(name)
        if name in checks:
            checks[name](value, at, context)
        elif extensible and ":" in name and not name.startswith("@"):
            check_extension(name, value, at, context)
        else:
            further = ["members with a prefix of your own"] if extensible else []
            raise at.refusal(f"is unknown; allowed here are {', '.join([*checks, *further])}")


def check_extension(name: str, value: ForeignJson, place: Place, context: JsonLdContext) -> None:
    """Check a member with a namespace of its own, and what stands in it."""
    _check_namespace(name, place, context)
    _check_free(value, place, context, 0)


def _check_namespace(name: str, place: Place, context: JsonLdContext) -> None:
    prefix, colon, local = name.partition(":")
    is_whole = local.startswith("//") or prefix == "urn"
    if colon and prefix not in context.prefixes and not is_whole:
        raise place.refusal(
            f"has the prefix {shown(prefix)}, which @context does not declare; declare its"
            " namespace there"
        )


def _check_free(value: ForeignJson, place: Place, context: JsonLdContext, depth: int) -> None:
    """Refuse what would change the meaning of an extension, or has none: keywords and nulls."""
    if depth > DEPTH_MAX:
        raise place.refusal(f"nests deeper than {DEPTH_MAX}; flatten it")
    if value is None:
        raise place.refusal("is null; leave it out where there is nothing to say")
    if isinstance(value, list):
        for index, element in enumerate(value):
            _check_free(element, place.element(index), context, depth + 1)
    elif isinstance(value, dict):
        for name, element in value.items():
            at = place.member(name)
            if name.startswith("@"):
                raise at.refusal(
                    "is a keyword of JSON-LD, which may change what others read here; a context"
                    " stands at the top of the event or document only"
                )
            _check_namespace(name, at, context)
            _check_free(element, at, context, depth + 1)
