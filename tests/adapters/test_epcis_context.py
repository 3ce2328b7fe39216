"""JSON-LD contexts: one is pinned, prefixes are taken, everything else is refused by place."""

import hashlib
import json
import re
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.document_fields import Place
from lotmark_adapters.epcis_context import (
    CONTEXTS_MAX,
    EPCIS_CONTEXT_SHA256,
    EPCIS_CONTEXT_URL,
    PINNED_CONTEXTS,
    PREFIXES_MAX,
    STANDARD_PREFIXES,
    JsonLdContext,
    read_context,
)
from lotmark_adapters.epcis_vocabulary import (
    BUSINESS_STEP,
    COMPONENT,
    DISPOSITION,
    ERROR_REASON,
    EXCEPTION,
    MEASUREMENT,
    SOURCE_TYPE,
    STANDARD_TERMS,
    TRANSACTION_TYPE,
    Vocabulary,
)
from lotmark_adapters.errors import ContextRefused
from tests.adapters.epcis_events import EXAMPLES, HASH_VECTORS, files
from tests.shared_vectors import require_shared

GS1_CONTEXT = "data/gs1-epcis/epcis-context.jsonld"
PLACE = Place("d").member("@context")


def read(value: Any) -> JsonLdContext:
    return read_context(value, PLACE)


def gs1_context() -> dict[str, Any]:
    context: dict[str, Any] = json.loads(require_shared(GS1_CONTEXT).read_bytes())["@context"]
    return context


def test_the_pin_is_the_hash_of_the_text_that_gs1_publishes() -> None:
    raw = require_shared(GS1_CONTEXT).read_bytes()

    assert hashlib.sha256(raw).hexdigest() == EPCIS_CONTEXT_SHA256
    assert set(PINNED_CONTEXTS.values()) == {EPCIS_CONTEXT_SHA256}


def test_prefixes_and_terms_known_here_are_those_of_the_pinned_text() -> None:
    context = gs1_context()

    prefixes = {
        name: meaning
        for name, meaning in context.items()
        if isinstance(meaning, str) and meaning.startswith(("http", "urn:"))
    }
    assert prefixes == STANDARD_PREFIXES
    assert {name for name in context if name[0] != "@" and name not in prefixes} == STANDARD_TERMS


@pytest.mark.parametrize(
    ("vocabulary", "path"),
    [
        (BUSINESS_STEP, "bizStep"),
        (DISPOSITION, "disposition"),
        (TRANSACTION_TYPE, "bizTransactionList.type"),
        (SOURCE_TYPE, "sourceList.type"),
        (SOURCE_TYPE, "destinationList.type"),
        (ERROR_REASON, "errorDeclaration.reason"),
        (MEASUREMENT, "sensorElementList.sensorReport.type"),
        (EXCEPTION, "sensorElementList.sensorReport.exception"),
        (COMPONENT, "sensorElementList.sensorReport.component"),
    ],
)
def test_a_vocabulary_has_the_names_and_uris_of_the_pinned_text(
    vocabulary: Vocabulary, path: str
) -> None:
    context = gs1_context()
    for name in path.split("."):
        context = context[name]["@context"]

    listed = {name: meaning for name, meaning in context.items() if name[0] != "@"}
    assert set(listed) == vocabulary.names
    for name, compact in listed.items():
        prefix, _, local = compact.partition(":")
        assert vocabulary.uri(name) == STANDARD_PREFIXES[prefix] + local
        assert vocabulary.bare(STANDARD_PREFIXES[prefix] + local) == name


def contexts_of_shared_documents() -> list[tuple[str, str]]:
    return [(folder, name) for folder in (EXAMPLES, HASH_VECTORS) for name in files(folder, "*.j*")]


@pytest.mark.parametrize(("folder", "name"), contexts_of_shared_documents())
def test_the_context_of_every_shared_document_is_taken(folder: str, name: str) -> None:
    document = json.loads((require_shared(folder) / name).read_bytes())

    read(document["@context"])


def test_prefixes_of_later_entries_and_of_an_event_come_last() -> None:
    outer = read([EPCIS_CONTEXT_URL, {"a": "https://a.example/"}, {"a": "https://b.example/"}])
    inner = read_context({"c": "urn:c:"}, PLACE, outer)

    assert inner.expanded_name("a:x") == "{https://b.example/}x"
    assert inner.expanded_name("c:x:y") == "{urn:c:}x:y"
    assert outer.expanded_name("c:x") == "c:x"
    assert inner.expanded_value("a:x") == "https://b.example/x"
    for plain in ("a: x", "a://x", "http://x", "x", "a:"):
        assert inner.expanded_value(plain) == plain


def test_a_type_of_a_prefixed_member_is_taken() -> None:
    read({"r": "urn:r:", "r:a": {"@type": "@id"}, "r:b": {"@type": "xsd:integer"}})


NAMESPACE = "https://ns.example.com/"
REFUSED = {
    "remote": ("https://evil.example/context.jsonld", "is a context that is not pinned here, and"),
    "other version": (
        "https://ref.gs1.org/standards/epcis/2.1.0/epcis-context.jsonld",
        f"none is ever fetched; name {EPCIS_CONTEXT_URL}",
    ),
    "number": (7, "7 is neither a pinned URL nor an object of prefixes"),
    "null": (None, "None is neither a pinned URL nor an object"),
    "list in list": ([[EPCIS_CONTEXT_URL]], "[0]: a list is neither a pinned URL nor"),
    "vocab": ({"@vocab": NAMESPACE}, "'@vocab': is no prefix: letters, digits"),
    "base": ({"@base": NAMESPACE}, "keywords such as @vocab and @import change what"),
    "import": ({"@import": NAMESPACE}, "'@import': is no prefix"),
    "language": ({"@language": "de"}, "'@language': is no prefix"),
    "protected": ({"@protected": False}, "'@protected': is no prefix"),
    "reverse": ({"ex": {"@reverse": "ex:a"}}, "is more than a prefix"),
    "alias": ({"when": "eventTime"}, "'eventTime' is no namespace; write a whole one"),
    "keyword alias": ({"when": "@id"}, "'@id' is no namespace"),
    "prefix of prefix": ({"a": NAMESPACE, "b": "a:b/"}, ".b: 'a:b/' is no namespace"),
    "term": ({"eventTime": NAMESPACE}, "is a name that the EPCIS standard has given already"),
    "gs1": ({"gs1": NAMESPACE}, ".gs1: is a name that the EPCIS standard has given"),
    "cbv": ({"cbv": NAMESPACE}, ".cbv: is a name that the EPCIS standard has given"),
    "long": ({"a": NAMESPACE + "x" * 240}, "of at most 244 characters"),
    "brace": ({"a": NAMESPACE + "}"}, "is no namespace"),
    "white space": ({"a": "https://a b/"}, "is no namespace"),
    "scheme": ({"a": "file:///etc/"}, "is no namespace"),
    "nested": ({"a": {"@id": NAMESPACE, "@context": {}}}, "is more than a prefix"),
    "undeclared": ({"b:x": {"@type": "@id"}}, "is more than a prefix; of a member with a decl"),
    "other type": ({"a": NAMESPACE, "a:x": {"@type": "@json"}}, "is more than a prefix"),
    "further": ({"a": NAMESPACE, "a:x": {"@type": "@id", "@id": "b"}}, "is more than a prefix"),
    "contexts": ([{}] * (CONTEXTS_MAX + 1), f"17 contexts; at most {CONTEXTS_MAX} are allowed"),
    "prefixes": (
        {f"p{number}": NAMESPACE for number in range(PREFIXES_MAX + 1)},
        f"over {PREFIXES_MAX} prefixes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_context_that_says_more_than_prefixes_is_refused_by_place(case: str) -> None:
    value, problem = REFUSED[case]

    with pytest.raises(ContextRefused, match=f"^d: '@context'.*{re.escape(problem)}"):
        read(value)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([*PINNED_CONTEXTS]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["@vocab", "@type", "a", "a:b", "gs1"]) | st.text(max_size=3), inner
            )
        ),
        max_leaves=8,
    )
)
def test_any_context_is_taken_or_refused_and_nothing_is_fetched(value: Any) -> None:
    def no_socket(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a socket was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", no_socket)
        try:
            read(value)
        except ContextRefused as error:
            assert str(error).startswith("d: '@context'")  # noqa: PT017  # any other error fails
