"""EPCIS documents: every GS1 example becomes an event, and what cannot is named exactly."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.event import ITEMS_MAX
from lotmark.event_rules import EPCIS_DOCUMENT_SIZE_MAX
from lotmark.v1 import event_pb2
from lotmark_adapters.epcis import (
    IDS_REFUSED_SHOWN_MAX,
    EpcisEventDraft,
    read_epcis,
    to_event,
)
from lotmark_adapters.epcis_document import DOCUMENT_SIZE_MAX
from lotmark_adapters.epcis_hash import event_hash_uri
from lotmark_adapters.errors import EpcisError
from tests.shared_vectors import require_shared, shared_folder

SUBJECT, INPUT, OUTPUT, PARENT, CHILD = (
    event_pb2.ITEM_ROLE_SUBJECT,
    event_pb2.ITEM_ROLE_INPUT,
    event_pb2.ITEM_ROLE_OUTPUT,
    event_pb2.ITEM_ROLE_PARENT,
    event_pb2.ITEM_ROLE_CHILD,
)
EXAMPLES = "data/gs1-epcis/JSON"
TWICE = "AssociationEvent/AssociationEvent-h.jsonld"  # names eventID twice in one object
HASH_VECTORS = "vectors/epcis-hash/tests/examples"


def documents(relative: str) -> list[str]:
    folder = shared_folder()
    root = folder / relative if folder else Path("absent")
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.jsonld"))


def read(document: object, *, name: str = "d.jsonld") -> EpcisEventDraft:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_epcis(raw, name=name)


def made_into_event(draft: EpcisEventDraft) -> event_pb2.Event:
    return to_event(
        draft,
        lambda: bytes(16),
        device="erp",
        capture_mode=event_pb2.CAPTURE_MODE_HISTORICAL,
        uncertainty_us=1_000_000,
    )


def an_event(**members: Any) -> dict[str, Any]:
    return {"type": "ObjectEvent", "eventTime": "2026-01-12T08:00:00.000Z", **members}


def pairs(draft: EpcisEventDraft) -> tuple[tuple[str, int], ...]:
    return tuple((item.id, item.role) for item in draft.items)


def refusal(document: object) -> str:
    with pytest.raises(EpcisError) as caught:
        read(document)
    return str(caught.value)


def test_all_47_gs1_examples_are_tried() -> None:
    require_shared(EXAMPLES)

    assert len(documents(EXAMPLES)) == 47


def test_the_gs1_example_with_a_member_twice_is_refused_since_readers_differ_on_it() -> None:
    raw = (require_shared(EXAMPLES) / TWICE).read_bytes()

    with pytest.raises(EpcisError, match=f"{TWICE}: object key 'eventID' stands twice"):
        read_epcis(raw, name=TWICE)


def sound_examples() -> list[str]:
    return [name for name in documents(EXAMPLES) if name != TWICE]


@pytest.mark.parametrize("name", sound_examples())
def test_a_gs1_example_becomes_an_event_that_holds_it_byte_for_byte(name: str) -> None:
    raw = (require_shared(EXAMPLES) / name).read_bytes()

    draft = read_epcis(raw, name=name)
    event = made_into_event(draft)
    assert (draft.ids_refused_count, draft.items_left_out_count) == (0, 0)
    assert event.epcis_document.document == raw
    assert event.epcis_document.document_digest == hashlib.sha256(raw).digest()
    # Counted by another eye: each example event states its time zone offset once.
    assert event.epcis_document.event_count == raw.count(b'"eventTimeZoneOffset"')


@pytest.mark.parametrize("name", sound_examples())
def test_every_item_of_a_gs1_example_stands_in_it_and_none_is_missed(name: str) -> None:
    raw = (require_shared(EXAMPLES) / name).read_bytes()

    items = {item.id for item in read_epcis(raw, name=name).items}
    # Counted by another eye: the values of the members that name things, wherever they stand.
    text = re.sub(r"\s", "", raw.decode())
    lists = re.findall(r'"(?:epcList|\w+EPCList|childEPCs)":\[(.*?)\]', text)
    named = {item for each in lists for item in re.findall(r'"(.*?)"', each)}
    named |= set(re.findall(r'"(?:parentID|epcClass|deviceID)":"(.*?)"', text))
    assert items == named


@pytest.mark.parametrize("name", documents(HASH_VECTORS))
def test_events_are_counted_and_hashed_as_foreign_software_did(name: str) -> None:
    path = require_shared(HASH_VECTORS) / name
    hashes = path.with_suffix(".hashes").read_text().split()

    draft = read_epcis(path.read_bytes(), name=name)
    assert draft.event_count == len(hashes)
    assert [event_hash_uri(digest) for digest in draft.event_hashes] == hashes
    assert tuple(made_into_event(draft).epcis_document.event_hashes) == draft.event_hashes


def test_of_many_events_the_first_64_hashes_are_stated() -> None:
    events = [an_event(eventTime=f"2026-01-12T08:{minute:02}:00Z") for minute in range(60)]

    draft = read(events + events[:10])
    assert len(draft.event_hashes) == 64
    assert draft.event_hashes[:4] == draft.event_hashes[60:]
    assert made_into_event(draft).epcis_document.event_count == 70


def test_a_document_with_a_context_that_is_not_pinned_is_refused() -> None:
    problem = "d.jsonld: '@context': 'https://evil.example/c.jsonld' is a context that is not pinn"

    assert problem in refusal({"@context": "https://evil.example/c.jsonld", **an_event()})


def test_items_get_the_role_of_the_member_they_stand_in() -> None:
    draft = read(
        [
            an_event(epcList=["s1", "s1"], quantityList=[{"epcClass": "s2", "quantity": 1.5}]),
            an_event(inputEPCList=["i1"], inputQuantityList=[{"epcClass": "i2"}]),
            an_event(outputEPCList=["o1"], outputQuantityList=[{"epcClass": "o2"}]),
            an_event(parentID="p1", childEPCs=["c1"], childQuantityList=[{"epcClass": "c2"}]),
            an_event(inputEPCList=["s1"]),
        ]
    )

    assert draft.event_count == 5
    assert pairs(draft) == (
        ("s1", SUBJECT), ("s2", SUBJECT), ("i1", INPUT), ("i2", INPUT), ("o1", OUTPUT),
        ("o2", OUTPUT), ("p1", PARENT), ("c1", CHILD), ("c2", CHILD), ("s1", INPUT),
    )  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        an_event(),
        [an_event()],
        {"eventList": [an_event()]},
        {"type": "EPCISDocument", "epcisBody": {"eventList": [an_event()]}},
        {
            "type": "EPCISQueryDocument",
            "epcisBody": {"queryResults": {"resultsBody": {"eventList": [an_event()]}}},
        },
    ],
    ids=["bare", "list", "eventList", "EPCISDocument", "EPCISQueryDocument"],
)
def test_every_shape_that_holds_events_is_read(document: object) -> None:
    assert read(document).event_count == 1


def test_the_interval_reaches_from_the_earliest_to_the_latest_event() -> None:
    draft = read(
        [
            an_event(eventTime="2026-01-12T08:00:00Z"),
            an_event(eventTime="2026-01-12T09:00:00.0005+02:00"),
            an_event(eventTime="2026-01-12T08:00:00.0001Z"),
        ]
    )

    assert draft.end_ms - draft.start_ms == 3_600_001
    assert draft.start_ms == 1_768_201_200_000


def test_a_document_beyond_12_kib_is_on_the_ledger_by_its_digest_alone() -> None:
    document = [an_event(note="x" * EPCIS_DOCUMENT_SIZE_MAX)]

    draft = read(document)
    event = made_into_event(draft)
    assert not draft.embed
    assert event.epcis_document.document == b""
    assert event.epcis_document.document_digest == draft.sha256
    assert draft.document == json.dumps(document).encode()


def test_further_items_are_left_out_and_counted() -> None:
    draft = read([an_event(epcList=[f"item-{number}" for number in range(70)])])

    assert pairs(draft) == tuple((f"item-{number}", SUBJECT) for number in range(ITEMS_MAX))
    assert draft.items_left_out_count == 70 - ITEMS_MAX


def test_ids_without_a_form_on_the_ledger_are_left_out_counted_and_named() -> None:
    refused = ["a b", "é", "x" * 129, ""] + [f"n {number}" for number in range(20)]

    draft = read([an_event(epcList=["good", *refused], parentID="a b")])
    assert pairs(draft) == (("good", SUBJECT),)
    assert draft.ids_refused == tuple(refused[:IDS_REFUSED_SHOWN_MAX])
    assert draft.ids_refused_count == len(refused)
    assert made_into_event(draft).epcis_document.document == draft.document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<epcis:EPCISDocument/>", "d.jsonld: not JSON in UTF-8"),
        (b'{"a": 1, "a": 2}', "d.jsonld: object key 'a' stands twice"),
        ({}, "d.jsonld: no EPCIS event is here; an EPCISDocument has them in epcisBody.eventL"),
        ([], "d.jsonld: no EPCIS event is here"),
        (7, "d.jsonld: no EPCIS event is here"),
        ({"epcisBody": {"eventList": []}}, "d.jsonld: epcisBody.eventList: no EPCIS event is h"),
        ({"epcisBody": {"eventList": {}}}, "d.jsonld: epcisBody.eventList: no EPCIS event is h"),
        ({"eventList": [an_event(), 3]}, "d.jsonld: eventList[1]: is no EPCIS event"),
        ([{"type": "ObjectEvent"}], "d.jsonld: [0].eventTime is missing; every EPCIS event"),
        ([an_event(eventTime=7)], "d.jsonld: [0].eventTime: 7 is a bare number"),
        ([an_event(eventTime="2026-01-12T08:00:00")], "[0].eventTime: '2026-01-12T08:00:00' is n"),
        ([an_event(epcList="a")], "d.jsonld: [0].epcList: 'a' is no list"),
        ([an_event(epcList=[{}])], "d.jsonld: [0].epcList[0]: a table is no string"),
        ([an_event(parentID=None)], "d.jsonld: [0].parentID: None is no string"),
        ([an_event(quantityList=[{}])], "d.jsonld: [0].quantityList[0].epcClass is missing"),
        ([an_event(quantityList=["a"])], "d.jsonld: [0].quantityList[0].epcClass is missing"),
        (b" " * (DOCUMENT_SIZE_MAX + 1), f"at most {DOCUMENT_SIZE_MAX} are allowed"),
    ],
)
def test_a_document_that_says_no_event_is_refused_by_place(document: object, message: str) -> None:
    assert message in refusal(document)


def test_an_event_before_2000_is_refused_when_it_is_made() -> None:
    with pytest.raises(EpcisError, match="EVENT_TIME_ABSURD"):
        made_into_event(read([an_event(eventTime="1999-12-31T23:59:59Z")]))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["epcisBody", "eventList", "eventTime", "epcList", "parentID"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=100) | JSON_VALUES.map(json.dumps).map(str.encode))
def test_arbitrary_documents_raise_only_our_error(raw: bytes) -> None:
    try:
        read(raw)
    except EpcisError as error:
        assert str(error).startswith("d.jsonld: ")  # noqa: PT017  # it always names the document


@settings(max_examples=50)
@given(st.integers(0, 70), st.integers(1, 128), st.integers(0, 16_000))
def test_an_event_always_fits_and_embeds_whatever_leaves_room(
    item_count: int, id_size: int, note_size: int
) -> None:
    ids = [f"{number:0{id_size}}"[:id_size] for number in range(item_count)]
    draft = read([an_event(epcList=ids, note="x" * note_size)])

    size = made_into_event(draft).ByteSize()
    assert size <= EVENT_SIZE_MAX
    fits = size + len(draft.document) <= EVENT_SIZE_MAX - 512
    assert draft.embed or len(draft.document) > EPCIS_DOCUMENT_SIZE_MAX or not fits
