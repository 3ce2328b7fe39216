"""EPCIS documents that no one checked: whatever they say, the index takes the block they are in.

A block that is ordered must be applied by every node; what stops one, stops all of them.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis.strategies import dictionaries, just, lists, recursive, sampled_from, text

from lotmark.v1 import provenance_pb2, quality_pb2
from lotmark_node.provenance.event_facts import DESTINATIONS_MAX
from lotmark_node.provenance.rows import Postings
from tests.node.provenance.index_in_memory import IndexInMemory, event

_SHIPPED = provenance_pb2.EDGE_KIND_SHIPPED
_MEMBERS = (
    "type", "action", "bizStep", "disposition", "destinationList", "destination",
    "sensorElementList", "epcisBody", "eventList",
)  # fmt: skip
_texts = text(max_size=5) | sampled_from(
    ("shipping", "TransformationEvent", "in_transit", "a\nb", "a\tb", "\ud800", "x" * 200)
)
_documents = recursive(
    _texts | just(None) | just(7),
    lambda inner: (
        lists(inner, max_size=3) | dictionaries(sampled_from(_MEMBERS), inner, max_size=5)
    ),
    max_leaves=12,
)


def captured(document: bytes) -> quality_pb2.EpcisDocument:
    return quality_pb2.EpcisDocument(document=document, document_digest=bytes(32), event_count=1)


def shipped(*destinations: object, disposition: str = "in_transit") -> quality_pb2.EpcisDocument:
    listed = [{"type": "owning_party", "destination": each} for each in destinations]
    stated = {"bizStep": "shipping", "disposition": disposition, "destinationList": listed}
    return captured(json.dumps(stated).encode())


@pytest.mark.parametrize("text", ["\ud800", "a\nb", "a\tb", "a\nb\tc", "x" * 200, ""])
def test_a_document_with_a_text_that_ends_rows_is_indexed_without_it(text: str) -> None:
    index = IndexInMemory()
    for _ in range(2):  # the second one reads what the first has written
        body = shipped(text, "urn:epc:id:pgln:4012345.00005", disposition=text)
        (entry,) = index.block(event(("U1", "SUBJECT"), epcis_document=body))
        index.forget_tails()

    assert [(kind, target) for kind, target, _, _ in index.reader.facts("U1")] == [
        (_SHIPPED, "party:urn:epc:id:pgln:4012345.00005")
    ]
    assert list(index.reader.entries(Postings.ITEM, "U1"))[-1] == entry
    assert not [key for key in index.rows.rows if key[0] == Postings.DISPOSITION]


def test_of_many_destinations_the_first_are_facts() -> None:
    index = IndexInMemory()
    body = shipped(*(f"urn:example:{at}" for at in range(3 * DESTINATIONS_MAX)))
    index.block(event(("U1", "SUBJECT"), epcis_document=body))

    assert [target for _, target, _, _ in index.reader.facts("U1")] == [
        f"party:urn:example:{at}" for at in range(DESTINATIONS_MAX)
    ]


@given(document=_documents)
@settings(max_examples=300, deadline=None)
def test_whatever_a_document_holds_its_block_is_indexed(document: object) -> None:
    index = IndexInMemory()
    items = (("U1", "SUBJECT"), ("U2", "INPUT"), ("U3", "OUTPUT"))
    for _ in range(2):
        body = captured(json.dumps(document).encode())
        index.block(event(*items, epcis_document=body))
        index.forget_tails()

    assert len(list(index.reader.entries(Postings.ITEM, "U1"))) == 2
    assert list(index.reader.facts("U1")) == list(index.reader.facts("U3"))
