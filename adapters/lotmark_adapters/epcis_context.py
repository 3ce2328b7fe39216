"""JSON-LD contexts of EPCIS documents: one is pinned, inline ones name prefixes, none is fetched.

A context decides what a document says. What stands behind a URL tomorrow could change that, and
the event hash with it. So GS1's context is known here by its URLs, the SHA-256 of its text and the
names it gives; beside it a document may say which prefix stands for which namespace, no more.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lotmark.canonical_json import ForeignJson
from lotmark.document_fields import Place, shown
from lotmark_adapters.epcis_vocabulary import STANDARD_TERMS
from lotmark_adapters.errors import ContextRefused

EPCIS_CONTEXT_URL = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
EPCIS_CONTEXT_SHA256 = "14b10c9d3e92d35f577bfc610fe5ec15aa2941124987919389d7cd9998516861"
# Addresses under which the same text is published; the unversioned ones move on with the standard,
# so what they mean here is what they meant when the pin was set.
PINNED_CONTEXTS = dict.fromkeys(
    (
        EPCIS_CONTEXT_URL,
        "https://ref.gs1.org/standards/epcis/epcis-context.jsonld",
        "https://gs1.github.io/EPCIS/epcis-context.jsonld",
    ),
    EPCIS_CONTEXT_SHA256,
)
STANDARD_PREFIXES = {
    "epcis": "https://ref.gs1.org/epcis/",
    "cbv": "https://ref.gs1.org/cbv/",
    "cbvmda": "urn:epcglobal:cbv:mda:",
    "gs1": "https://gs1.org/voc/",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "owl": "http://www.w3.org/2002/07/owl#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "dcterms": "http://purl.org/dc/terms/",
}
CONTEXTS_MAX = 16
PREFIXES_MAX = 64

_REDEFINABLE = frozenset({"cbvmda", "rdfs", "owl", "xsd", "dcterms"})
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
_NAMESPACE = re.compile(r"(https?://|urn:)[!#-;=?-\[\]_a-z~]{1,240}")
_TYPED_TERM = re.compile(r"([A-Za-z_][A-Za-z0-9_.\-]{0,63}):[^\s:]{1,128}")
_VALUE_TYPE = re.compile(r"@id|@vocab|xsd:[A-Za-z]{1,32}")
_COMPACT = re.compile(r"([A-Za-z_][A-Za-z0-9_.\-]*):(?!//)(\S+)")


@dataclass(frozen=True, slots=True)
class JsonLdContext:
    """Which namespace each prefix of a document stands for."""

    prefixes: Mapping[str, str]  # the standard ones and those of the document

    def expanded_name(self, name: str) -> str:
        """Return ``{namespace}local`` of a name with a known prefix, any other as it is."""
        prefix, colon, local = name.partition(":")
        if colon and prefix in self.prefixes:
            return f"{{{self.prefixes[prefix]}}}{local}"
        return name

    def expanded_value(self, value: str) -> str:
        """Return the URI of a compact one with a known prefix, any other value as it is."""
        match = _COMPACT.fullmatch(value)
        if match is not None and match[1] in self.prefixes:
            return self.prefixes[match[1]] + match[2]
        return value


STANDARD_CONTEXT = JsonLdContext(STANDARD_PREFIXES)


def read_context(
    value: ForeignJson, place: Place, outer: JsonLdContext = STANDARD_CONTEXT
) -> JsonLdContext:
    """Return what an ``@context`` says.

    Args:
        value: A pinned URL, an object of prefixes, or a list of these.
        place: Where it stands.
        outer: What holds around it: the document's, for the context of an event.

    Raises:
        ContextRefused: It names another context, which would have to be fetched, or does more
            than give prefixes. The message names the place, the value, the rule and the remedy.
    """
    entries = list(value) if isinstance(value, list) else [value]
    if len(entries) > CONTEXTS_MAX:
        raise _refused(place, f"{len(entries)} contexts; at most {CONTEXTS_MAX} are allowed")
    prefixes = dict(outer.prefixes)
    for index, entry in enumerate(entries):
        at = place.element(index) if isinstance(value, list) else place
        if isinstance(entry, str):
            if entry not in PINNED_CONTEXTS:
                raise _refused(
                    at,
                    f"{shown(entry)} is a context that is not pinned here, and none is ever"
                    f" fetched; name {EPCIS_CONTEXT_URL}, and write prefixes of your own inline",
                )
        elif isinstance(entry, dict):
            for name, meaning in entry.items():
                _add(prefixes, name, meaning, at.member(name))
        else:
            raise _refused(at, f"{shown(entry)} is neither a pinned URL nor an object of prefixes")
    if len(prefixes) > PREFIXES_MAX + len(STANDARD_PREFIXES):
        raise _refused(place, f"over {PREFIXES_MAX} prefixes; declare those that are used")
    return JsonLdContext(prefixes)


def names_standard_context(value: ForeignJson) -> bool:
    """Return whether an ``@context`` names GS1's context."""
    entries = value if isinstance(value, list) else [value]
    return any(isinstance(entry, str) and entry in PINNED_CONTEXTS for entry in entries)


def _add(prefixes: dict[str, str], name: str, meaning: ForeignJson, at: Place) -> None:
    if isinstance(meaning, dict):
        _check_typed_term(prefixes, name, meaning, at)
        return
    if not _PREFIX.fullmatch(name):
        raise _refused(
            at,
            "is no prefix: letters, digits, '_', '.' and '-', at most 64; keywords such as @vocab"
            " and @import change what a document says and are not taken",
        )
    if not isinstance(meaning, str) or not _NAMESPACE.fullmatch(meaning):
        raise _refused(
            at,
            f"{shown(meaning)} is no namespace; write a whole one, such as"
            " https://ns.example.com/epcis/, of at most 244 characters",
        )
    standard = STANDARD_PREFIXES.get(name)
    if name in STANDARD_TERMS or (
        standard is not None and meaning != standard and name not in _REDEFINABLE
    ):
        raise _refused(at, "is a name that the EPCIS standard has given already; choose another")
    prefixes[name] = meaning


def _check_typed_term(
    prefixes: Mapping[str, str], name: str, meaning: Mapping[str, ForeignJson], at: Place
) -> None:
    """Take a statement of which type the values of a prefixed member have, and nothing else."""
    match = _TYPED_TERM.fullmatch(name)
    value_type = meaning.get("@type")
    if (
        match is None
        or match[1] not in prefixes
        or list(meaning) != ["@type"]
        or not isinstance(value_type, str)
        or not _VALUE_TYPE.fullmatch(value_type)
    ):
        raise _refused(
            at,
            "is more than a prefix; of a member with a declared prefix a context may say"
            ' {"@type": "@id"} or an XML Schema type, and nothing else',
        )


def _refused(place: Place, problem: str) -> ContextRefused:
    return ContextRefused(str(place.refusal(problem)))
