"""Naming items, suspects, and finding events, by the index alone."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, sampled_from, tuples

from lotmark.errors import MalformedError
from lotmark.gs1_keys import check_digit
from lotmark.v1 import quality_pb2
from lotmark_node.provenance import finding, suspects
from lotmark_node.provenance.finding import EventQuestion, TooManyEntries, candidates
from lotmark_node.provenance.naming import (
    CANDIDATES_MAX,
    ItemAmbiguous,
    ItemUnknown,
    find_item,
)
from lotmark_node.provenance.rows import WINDOW_MS
from tests.node.provenance.index_in_memory import TIME_MS, IndexInMemory, event

WIRE = "https://id.gs1.org/01/04012345000016/10/CU-7"
OTHER_WIRE = "https://id.gs1.org/01/04012345000054/10/CU-7"
STATOR = "https://id.gs1.org/01/04012345000023/21/ST1"
_MADE = quality_pb2.Transformation(process="p")
_GOOD = quality_pb2.Measurement(
    feature="f", value="1", unit="mm", verdict=quality_pb2.VERDICT_CONFORMING
)
_BAD = quality_pb2.Measurement(
    feature="f", value="1", unit="mm", verdict=quality_pb2.VERDICT_NONCONFORMING
)


def named(
    index: IndexInMemory,
    typed: str,
    *,
    may_see: Callable[[str], bool] = lambda _name: True,
    may_read: Callable[[int], bool] = lambda _entry: True,
) -> str:
    return find_item(index.reader, typed, height=7, may_see=may_see, may_read=may_read)


@pytest.mark.parametrize(
    "typed",
    [
        STATOR,
        "ST1",
        "serial:04012345000023.ST1",
        "https://example.com/01/04012345000023/21/ST1?linkType=all",
        "urn:epc:id:sgtin:4012345.000002.ST1",
    ],
)
def test_an_item_is_found_by_any_of_its_ids(typed: str) -> None:
    index = IndexInMemory()
    index.block(event((WIRE, "INPUT"), (STATOR, "OUTPUT"), transformation=_MADE))

    assert named(index, typed) == STATOR


def test_an_item_is_found_by_a_stated_name() -> None:
    index = IndexInMemory()
    also = quality_pb2.ItemIdentified(also_known_as=["urn:uuid:580d3adf"])
    index.block(event((STATOR, "SUBJECT"), item_identified=also))

    assert named(index, "urn:uuid:580d3adf") == STATOR


def test_a_lot_number_of_two_products_names_both_and_chooses_none() -> None:
    index = IndexInMemory()
    index.block(event((WIRE, "INPUT"), (OTHER_WIRE, "OUTPUT"), transformation=_MADE))

    with pytest.raises(ItemAmbiguous, match="means 2 items") as caught:
        named(index, "CU-7")

    assert caught.value.candidates == [WIRE, OTHER_WIRE]


def test_an_item_that_is_named_as_another_ones_lot_does_not_take_its_place() -> None:
    index = IndexInMemory()
    index.block(event((WIRE, "INPUT"), (STATOR, "OUTPUT"), transformation=_MADE))
    assert named(index, "CU-7") == WIRE
    index.block(event(("CU-7", "SUBJECT"), measurement=_GOOD))

    with pytest.raises(ItemAmbiguous, match="name one of them whole, as id:CU-7") as caught:
        named(index, "CU-7")

    assert caught.value.candidates == ["CU-7", WIRE]
    assert named(index, "id:CU-7") == "CU-7"
    assert named(index, WIRE) == WIRE
    assert named(index, f"id:{WIRE}") == WIRE
    with pytest.raises(ItemUnknown):
        named(index, "id:ST1")


def test_an_unknown_item_is_said_to_be_unknown_at_a_height() -> None:
    with pytest.raises(ItemUnknown, match="no event up to height 7 names item 'ST9'"):
        named(IndexInMemory(), "ST9")


def test_a_malformed_digital_link_is_no_name() -> None:
    with pytest.raises(MalformedError):
        named(IndexInMemory(), "lot:0401234500001.CU-7")


def test_items_that_may_not_be_seen_are_neither_found_nor_counted() -> None:
    index = IndexInMemory()
    index.block(event((WIRE, "INPUT"), (OTHER_WIRE, "OUTPUT"), transformation=_MADE))

    assert named(index, "CU-7", may_see=lambda name: name == WIRE) == WIRE
    with pytest.raises(ItemUnknown):
        named(index, WIRE, may_see=lambda _name: False)


def test_an_item_is_found_by_its_lot_behind_many_that_may_not_be_seen() -> None:
    index = IndexInMemory()
    gtins = (f"0401234500{at:03}" for at in range(2 * CANDIDATES_MAX))
    lots = [f"https://id.gs1.org/01/{gtin}{check_digit(gtin)}/10/CU-7" for gtin in gtins]
    for lot in lots:
        index.block(event((lot, "SUBJECT"), measurement=_GOOD))

    assert named(index, "CU-7", may_see=lambda name: name == lots[-1]) == lots[-1]


def test_a_name_that_only_a_hidden_event_states_leads_nowhere() -> None:
    index = IndexInMemory()
    also = quality_pb2.ItemIdentified(also_known_as=["urn:uuid:580d3adf"])
    index.block(event((STATOR, "SUBJECT"), measurement=_GOOD))  # everybody may see the stator
    (hidden,) = index.block(
        event((STATOR, "SUBJECT"), audience=["LAB-17025"], item_identified=also)
    )

    with pytest.raises(ItemUnknown):
        named(index, "urn:uuid:580d3adf", may_read=lambda entry: entry != hidden)
    assert named(index, "urn:uuid:580d3adf") == STATOR


_seen = tuples(sampled_from(("W07", "W08")), integers(0, 5), integers(0, 3 * WINDOW_MS))


@given(sightings=lists(_seen, max_size=40), begin=integers(0, WINDOW_MS * 3),
       length=integers(1, WINDOW_MS * 2))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_suspects_are_all_that_a_tool_touched_in_an_interval(
    sightings: list[tuple[str, int, int]], begin: int, length: int
) -> None:
    index = IndexInMemory()
    expected: dict[str, list[int]] = {}
    for tool, unit, after_ms in sightings:
        name = f"U{unit}"
        items = ((name, "SUBJECT"), (tool, "USED"))
        index.block(event(*items, start_ms=TIME_MS + after_ms, measurement=_GOOD))
        if tool == "W07" and begin <= after_ms < begin + length:
            expected.setdefault(name, []).append(TIME_MS + after_ms)

    found = suspects.suspects(
        index.reader, "W07", from_ms=TIME_MS + begin, to_ms=TIME_MS + begin + length,
        size=index.size, may_read=lambda _entry: True,
    )  # fmt: skip

    assert {each.name: (each.event_count, each.first_ms, each.last_ms) for each in found} == {
        name: (len(times), min(times), max(times)) for name, times in expected.items()
    }
    assert [each.first_ms for each in found] == sorted(each.first_ms for each in found)


def test_suspects_of_a_device_and_of_a_lot_are_found_too() -> None:
    index = IndexInMemory()
    index.block(event((WIRE, "INPUT"), (STATOR, "OUTPUT"), device="winder", transformation=_MADE))
    index.block(event((WIRE, "SUBJECT"), device="scale", measurement=_GOOD))
    whole = {"from_ms": TIME_MS, "to_ms": TIME_MS + 1, "size": index.size}

    def names(of: str) -> list[str]:
        found = suspects.suspects(index.reader, of, **whole, may_read=lambda _entry: True)
        return [each.name for each in found]

    assert names("winder") == [STATOR]
    assert names("scale") == [WIRE]
    assert names(WIRE) == [STATOR]


def test_suspects_of_restricted_events_are_for_their_audience() -> None:
    index = IndexInMemory()
    index.block(event((STATOR, "SUBJECT"), device="cmm", audience=["OEM-A"], measurement=_GOOD))
    whole = {"from_ms": TIME_MS, "to_ms": TIME_MS + 1, "size": index.size}

    assert not suspects.suspects(index.reader, "cmm", **whole, may_read=lambda _entry: False)
    assert suspects.suspects(index.reader, "cmm", **whole, may_read=lambda _entry: True)


_told = tuples(integers(0, 3), sampled_from(("cmm", "cam")), booleans(), integers(0, 2 * WINDOW_MS))


@given(history=lists(_told, max_size=30), newest_first=booleans(), first=integers(0, 40),
       end=integers(0, 90))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_candidates_hold_every_event_that_is_looked_for(
    history: list[tuple[int, str, bool, int]], newest_first: bool, first: int, end: int
) -> None:
    index = IndexInMemory()
    entries = [
        index.block(
            event((f"U{unit}", "SUBJECT"), device=device, start_ms=TIME_MS + after_ms,
                  measurement=_BAD if bad else _GOOD)
        )[0]
        for unit, device, bad, after_ms in history
    ]  # fmt: skip

    def found(asked: EventQuestion) -> list[int]:
        return list(
            candidates(index.reader, asked, first=first, end=end, newest_first=newest_first)
        )

    def expected(kept: list[bool]) -> list[int]:
        listed = [e for e, keep in zip(entries, kept, strict=True) if keep and first <= e < end]
        return listed[::-1] if newest_first else listed

    assert found(EventQuestion(item="U1")) == expected([unit == 1 for unit, *_ in history])
    assert found(EventQuestion(device="cam")) == expected([each[1] == "cam" for each in history])
    assert found(EventQuestion(disposition="non_conformant")) == expected(
        [bad for *_, bad, _ in history]
    )
    assert found(EventQuestion(party="T1-STATOR")) == expected([True] * len(history))
    assert found(EventQuestion(event_types=frozenset({19, 20}))) == expected([True] * len(history))
    asked = EventQuestion(from_ms=TIME_MS + 5, to_ms=TIME_MS + WINDOW_MS)
    in_time = expected([5 <= after_ms < WINDOW_MS for *_, after_ms in history])
    candidate_entries = found(asked)
    assert set(in_time) <= set(candidate_entries)
    assert candidate_entries == sorted(candidate_entries, reverse=newest_first)


def test_a_question_without_a_condition_is_no_question() -> None:
    with pytest.raises(MalformedError, match="has no condition"):
        list(candidates(IndexInMemory().reader, EventQuestion(), first=0, end=9,
                        newest_first=False))  # fmt: skip


def test_a_time_that_holds_too_much_is_to_be_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "ENTRIES_MAX", 10)
    index = IndexInMemory()
    index.block(*[event((STATOR, "SUBJECT"), measurement=_GOOD)] * 11)

    with pytest.raises(TooManyEntries, match="more than 10 events"):
        list(candidates(index.reader, EventQuestion(from_ms=1), first=0, end=99,
                        newest_first=False))  # fmt: skip
