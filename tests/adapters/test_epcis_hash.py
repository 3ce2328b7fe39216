"""The event hash: every vector of the standard's reference, and what must not change it."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark_adapters.epcis_hash import (
    event_hash_uri,
    pre_hash,
    read_event_hash_uri,
)
from tests.adapters.epcis_events import (
    EQUAL_VECTORS,
    EXAMPLES,
    HASH_VECTORS,
    TWICE,
    an_event,
    events_of,
    files,
    shared_events,
)
from tests.shared_vectors import require_shared

VECTORS = [*files(HASH_VECTORS, "*.jsonld"), *files(HASH_VECTORS, "*.xml")]
# Two lines are not the text whose hash stands beside them, so they cannot be what was hashed.
STALE_LINES = {
    ("epcisDocWithCustomSchemaInContext", 1),
    ("epcisDocWithDefaultSchemaInContext", 1),
}
EXTENSION = "{https://ns.example.com/epcis/}"


def the_pre_hash(**members: Any) -> str:
    (event,) = events_of(an_event(**members))
    return pre_hash(event.members, event.context)


def test_all_vector_files_are_tried() -> None:
    require_shared(HASH_VECTORS)

    assert len(VECTORS) == 31
    assert len(files(EQUAL_VECTORS, "*.xml")) == 8
    assert len(files(EQUAL_VECTORS, "*.json")) == 1


@pytest.mark.parametrize("name", VECTORS)
def test_every_event_of_a_vector_has_the_hash_of_the_reference(name: str) -> None:
    path = require_shared(HASH_VECTORS) / name
    expected = path.with_suffix(".hashes").read_text().split()

    assert [event_hash_uri(event.hash) for event in shared_events(HASH_VECTORS, name)] == expected


@pytest.mark.parametrize("name", VECTORS)
def test_every_event_of_a_vector_has_the_pre_hash_of_the_reference(name: str) -> None:
    path = (require_shared(HASH_VECTORS) / name).with_suffix(".prehashes")
    if not path.exists():
        pytest.skip(f"the reference gives no pre-hashes for {name}")

    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    events = shared_events(HASH_VECTORS, name)
    for index, (event, line) in enumerate(zip(events, lines, strict=True)):
        if hashlib.sha256(line.encode()).digest() == event.hash:
            assert pre_hash(event.members, event.context) == line
        else:
            assert (path.stem, index) in STALE_LINES


@pytest.mark.parametrize("name", [*files(EQUAL_VECTORS, "*.xml"), *files(EQUAL_VECTORS, "*.json")])
def test_events_that_the_reference_calls_equal_have_one_hash(name: str) -> None:
    events = shared_events(EQUAL_VECTORS, name)

    assert len(events) > 1
    assert len({event.hash for event in events}) == 1


@pytest.mark.parametrize("name", [name for name in VECTORS if name.endswith(".xml")])
def test_an_event_of_xml_keeps_its_hash_when_its_json_is_read_again(name: str) -> None:
    for event in shared_events(HASH_VECTORS, name):
        (again,) = events_of(event.compact_json())
        assert again.hash == event.hash


@pytest.mark.parametrize("name", [name for name in files(EXAMPLES, "*.jsonld") if name != TWICE])
def test_an_event_of_gs1_keeps_its_hash_on_its_own_and_in_another_order(name: str) -> None:
    for event in shared_events(EXAMPLES, name):
        whole = json.loads(event.compact_json())
        reversed_ = json.dumps(dict(reversed(whole.items())), indent=2).encode()
        assert [each.hash for each in events_of(reversed_)] == [event.hash]


def test_an_event_is_written_out_in_the_order_of_the_standard() -> None:
    text = the_pre_hash(
        parentID="https://id.gs1.org/00/040123450000003338",
        quantityList=[{"uom": "KGM", "quantity": 1.50, "epcClass": "https://example.com/steel"}],
        certificationInfo=["https://example.com/b", "https://example.com/a"],
        disposition="https://ref.gs1.org/cbv/Disp-active",
        bizTransactionList=[{"bizTransaction": "https://example.com/1", "type": "po"}],
        ilmd={"ex:heat": "7"},
        **{"ex:b": [True, "x"], "ex:a": {"ex:d": None, "ex:c": "urn:epc:id:giai:4000001.111"}},
    )

    assert text == "".join(
        (
            "eventType=ObjectEvent",
            "eventTime=2026-01-12T08:00:00.000ZeventTimeZoneOffset=+01:00",
            "certificationInfo=https://example.com/acertificationInfo=https://example.com/b",
            "epcListepc=https://id.gs1.org/01/04012345111118/21/9876",
            "parentID=https://id.gs1.org/00/040123450000003338",
            "quantityListquantityElementepcClass=https://example.com/steelquantity=1.5uom=KGM",
            "action=OBSERVEbizStep=https://ref.gs1.org/cbv/BizStep-inspecting",
            "disposition=https://ref.gs1.org/cbv/Disp-active",
            "bizTransactionListtype=https://ref.gs1.org/cbv/BTT-po",
            "bizTransaction=https://example.com/1",
            f"ilmd{EXTENSION}heat=7",
            f"{EXTENSION}a{EXTENSION}c=https://id.gs1.org/8004/4000001111{EXTENSION}d",
            f"{EXTENSION}b=true{EXTENSION}b=x",
        )
    )


SAME: dict[str, list[Any]] = {
    "eventTime": ["2026-01-12T08:00:00.5Z", "2026-01-12T09:00:00.4996+01:00"],
    "bizStep": [
        "shipping",
        "urn:epcglobal:cbv:bizstep:shipping",
        "https://ref.gs1.org/cbv/BizStep-shipping",
        "cbv:BizStep-shipping",
    ],
    "ex:note": ["ex:a", "https://ns.example.com/epcis/a", " ex:a "],
    "ex:number": [1, 1.0, "1.00", "+1", 1e0],
    "epcList": [
        ["urn:epc:id:sscc:4012345.0000000333", "urn:epc:id:sscc:4012345.0000000111"],
        ["https://id.gs1.org/00/040123450000001112", "http://x.org/00/040123450000003338?a=b"],
    ],
    "eventID": [None, "urn:uuid:580d3189-6f23-4e7c-8b4b-7a2f4c3f1e0d"],
    "recordTime": [None, "2026-01-12T08:00:00.5Z"],
    "errorDeclaration": [None, {"declarationTime": "2026-01-12T08:00:00.5Z"}],
    "rdfs:comment": [None, "seen twice"],
    "quantityList": [None, []],
}


@pytest.mark.parametrize("member", SAME)
def test_what_says_the_same_has_one_hash(member: str) -> None:
    hashes = {events_of(an_event(**{member: value}))[0].hash for value in SAME[member]}

    assert len(hashes) == 1


OTHER: dict[str, Any] = {
    "eventTime": "2026-01-12T08:00:00.001Z",
    "eventTimeZoneOffset": "+02:00",
    "type": "TransactionEvent",
    "action": "ADD",
    "bizStep": "https://example.com/steps/inspecting",
    "epcList": ["urn:epc:id:sgtin:4012345.011111.987"],
    "quantityList": [{"epcClass": "https://example.com/steel"}],
    "readPoint": {"id": "urn:epc:id:sgln:4012345.00005.0"},
    "ilmd": {"ex:heat": ""},
    "ex:note": "x",
    "unknown": "x",
}


@pytest.mark.parametrize("member", OTHER)
def test_a_change_of_what_an_event_says_changes_its_hash(member: str) -> None:
    changed = an_event(**{member: OTHER[member]})

    assert events_of(changed)[0].hash != events_of(an_event())[0].hash


def test_a_namespace_counts_and_its_prefix_does_not() -> None:
    def hash_with(prefix: str, namespace: str) -> bytes:
        event = an_event(**{f"{prefix}:note": "x"})
        event["@context"] = [event["@context"][0], {prefix: namespace}]
        return events_of(event)[0].hash

    assert hash_with("a", "https://a.example/") == hash_with("b", "https://a.example/")
    assert hash_with("a", "https://a.example/") != hash_with("a", "https://b.example/")


@given(st.binary(min_size=32, max_size=32))
def test_a_hash_reads_back_from_its_uri(digest: bytes) -> None:
    assert read_event_hash_uri(event_hash_uri(digest)) == digest


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "urn:uuid:580d3189-6f23-4e7c-8b4b-7a2f4c3f1e0d",
        f"ni:///sha-256;{'A' * 64}?ver=CBV2.0",
        f"ni:///sha-256;{'a' * 64}?ver=CBV2.1",
        f"ni:///sha-256;{'a' * 63}?ver=CBV2.0",
        f"ni:///sha-384;{'a' * 64}?ver=CBV2.0",
    ],
)
def test_another_uri_is_no_event_hash(uri: str) -> None:
    assert read_event_hash_uri(uri) is None


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "id", "ex:a", "epcClass", "time", "x"]), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*SAME, *OTHER, "sensorElementList", "sourceList"]), NESTED))
def test_any_event_has_a_hash_however_odd_its_members_are(members: dict[str, Any]) -> None:
    events = events_of({"eventTime": "", **members})

    assert len(events[0].hash) == 32
