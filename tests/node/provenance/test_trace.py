"""Traces of random histories, with rework cycles, against a plain reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy, builds, integers, lists, sampled_from

from lotmark.v1 import provenance_pb2, quality_pb2
from lotmark_node.provenance import trace as trace_module
from lotmark_node.provenance.packed import EDGES_PER_CHUNK
from lotmark_node.provenance.rows import FACTS, tail_key
from lotmark_node.provenance.trace import (
    FACT_KINDS,
    LINK_KINDS,
    TooWide,
    TraceQuestion,
    TraceStep,
    trace,
)
from lotmark_node.provenance.writer import FACTS_PER_PARTY_MAX
from tests.node.provenance.index_in_memory import (
    CONSUMED,
    MOUNTED,
    PACKED,
    TIME_MS,
    IndexInMemory,
    event,
)

_KINDS: dict[str, int] = {
    CONSUMED: provenance_pb2.EDGE_KIND_CONSUMED,
    PACKED: provenance_pb2.EDGE_KIND_PACKED,
    MOUNTED: provenance_pb2.EDGE_KIND_MOUNTED,
}
_BODIES: dict[str, object] = {
    CONSUMED: quality_pb2.Transformation(process="p"),
    PACKED: quality_pb2.Aggregation(action=quality_pb2.RELATION_ACTION_ADD),
    MOUNTED: quality_pb2.Association(action=quality_pb2.RELATION_ACTION_ADD),
}


@dataclass(frozen=True)
class Step:
    """What one event of a random history says."""

    kind: str
    source: int
    product: int
    hour: int
    party: str

    @property
    def at_ms(self) -> int:
        return TIME_MS + self.hour * 3_600_000


def steps(*, items: int = 9) -> SearchStrategy[list[Step]]:
    step = builds(
        Step,
        kind=sampled_from((CONSUMED, PACKED, MOUNTED)),
        source=integers(0, items),
        product=integers(0, items),
        hour=integers(0, 5),
        party=sampled_from(("T1-STATOR", "OEM-A")),
    )
    return lists(step, max_size=40)


def indexed(history: Sequence[Step]) -> IndexInMemory:
    index = IndexInMemory()
    for step in history:
        roles = ("INPUT", "OUTPUT") if step.kind == CONSUMED else ("CHILD", "PARENT")
        source, product = f"I{step.source}", f"I{step.product}"
        items = ((source, roles[0]), (product, roles[1]))
        body = {step.kind: _BODIES[step.kind]}
        made = event(*items, start_ms=step.at_ms, **body)  # type: ignore[arg-type]  # one body
        index.block(made, party=step.party)
    return index


def question(index: IndexInMemory, item: str, **wished: object) -> TraceQuestion:
    return TraceQuestion(
        **{"item": item, "backward": True, "size": index.size, **wished}  # type: ignore[arg-type]
    )


def traced(index: IndexInMemory, asked: TraceQuestion) -> list[TraceStep]:
    return list(trace(index.reader, asked, lambda _entry: True))


def depths(asked: TraceQuestion, found: Sequence[TraceStep]) -> dict[str, int]:
    reached = {asked.item: 0}
    for step in found:
        for name in step.nodes:
            assert name not in reached, "a node is told once"
            reached[name] = step.depth
    return reached


def reference(
    history: Sequence[Step], asked: TraceQuestion
) -> tuple[dict[str, int], set[tuple[str, str, int]]]:
    """Return depth by node, and (from, to, kind) of every link, by looking at all events again."""
    links = [
        (f"I{step.product}", f"I{step.source}", _KINDS[step.kind])
        for step in history
        if step.source != step.product
        and _KINDS[step.kind] in asked.kinds
        and asked.from_ms <= step.at_ms
        and (asked.to_ms is None or step.at_ms < asked.to_ms)
        and (not asked.parties or step.party in asked.parties)
    ]
    if not asked.backward:
        links = [(source, product, kind) for product, source, kind in links]
    reached, told, frontier = {asked.item: 0}, set(), {asked.item}
    depth = 0
    while frontier and (asked.depth_max is None or depth < asked.depth_max):
        depth += 1
        followed = [link for link in links if link[0] in frontier]
        told |= set(followed)
        frontier = {link[1] for link in followed} - set(reached)
        reached |= dict.fromkeys(frontier, depth)
    return reached, told


@given(
    history=steps(),
    backward=sampled_from((True, False)),
    depth_max=sampled_from((None, 1, 2, 3)),
    from_hour=sampled_from((0, 2)),
    to_hour=sampled_from((None, 4)),
    parties=sampled_from((frozenset[str](), frozenset({"OEM-A"}))),
    kinds=sampled_from((LINK_KINDS, frozenset({provenance_pb2.EDGE_KIND_CONSUMED}))),
)
@settings(max_examples=300, deadline=None)
def test_a_trace_equals_looking_at_every_event_again(
    history: list[Step],
    backward: bool,
    depth_max: int | None,
    from_hour: int,
    to_hour: int | None,
    parties: frozenset[str],
    kinds: frozenset[int],
) -> None:
    index = indexed(history)
    asked = question(
        index,
        "I0",
        backward=backward,
        depth_max=depth_max,
        from_ms=TIME_MS + from_hour * 3_600_000,
        to_ms=None if to_hour is None else TIME_MS + to_hour * 3_600_000,
        parties=parties,
        kinds=kinds,
    )

    found = traced(index, asked)

    expected_depths, expected_links = reference(history, asked)
    names = [asked.item, *(name for step in found for name in step.nodes)]
    links = {
        (names[edge.origin], names[edge.target], edge.statement.kind)
        for step in found
        for edge in step.edges()
    }
    assert depths(asked, found) == expected_depths
    assert links == expected_links


@given(history=steps(items=5))
@settings(max_examples=100, deadline=None)
def test_unfiltered_and_filtered_traces_tell_the_same(history: list[Step]) -> None:
    """A question that leaves nothing out goes another way through the code."""
    index = indexed(history)
    plain = traced(index, question(index, "I0"))
    filtered = traced(index, question(index, "I0", from_ms=1))

    assert [step.nodes for step in plain] == [step.nodes for step in filtered]
    assert [list(step.edges()) for step in plain] == [list(step.edges()) for step in filtered]


def test_partial_lots_keep_their_quantities() -> None:
    index = IndexInMemory()
    index.block(
        event(
            ("WIRE", "INPUT"), ("VARNISH", "INPUT"), ("U1", "OUTPUT"),
            quantities=("1.84", "0.2"), transformation=quality_pb2.Transformation(process="p"),
        ),
        event(
            ("WIRE", "INPUT"), ("U1", "OUTPUT"),
            quantities=("0.16",), transformation=quality_pb2.Transformation(process="rework"),
        ),
    )  # fmt: skip

    (step,) = traced(index, question(index, "U1"))

    told = [edge.statement for edge in step.edges()]
    assert [(each.other, each.quantity, each.unit) for each in told] == [
        ("WIRE", "1.84", "KGM"), ("VARNISH", "0.2", "KGM"), ("WIRE", "0.16", "KGM"),
    ]  # fmt: skip


def test_a_part_that_was_dismounted_is_told_with_when_that_was() -> None:
    index = IndexInMemory()

    def mounted(action: int) -> int:
        body = quality_pb2.Association(action=quality_pb2.RelationAction.ValueType(action))
        return index.block(event(("ROTOR", "CHILD"), ("MOTOR", "PARENT"), association=body))[0]

    begin, seen, end, again = mounted(1), mounted(3), mounted(2), mounted(1)

    (step,) = traced(index, question(index, "MOTOR"))

    told = [edge.statement for edge in step.edges()]
    assert [(each.entry, each.last_entry, each.ended) for each in told] == [
        (begin, end, True), (seen, end, True), (again, again, False),
    ]  # fmt: skip


def test_an_answer_is_of_its_size_whatever_came_after() -> None:
    index = IndexInMemory()
    made = quality_pb2.Transformation(process="p")
    index.block(event(("A", "INPUT"), ("U1", "OUTPUT"), transformation=made))
    size = index.size
    before = traced(index, question(index, "U1"))
    index.block(event(("B", "INPUT"), ("U1", "OUTPUT"), transformation=made))

    after = traced(index, question(index, "U1", size=size))

    assert [step.nodes for step in after] == [step.nodes for step in before] == [["A"]]


def test_what_an_audience_does_not_hold_is_neither_told_nor_followed() -> None:
    index = IndexInMemory()
    made = quality_pb2.Transformation(process="p")
    index.block(event(("SECRET", "INPUT"), ("U1", "OUTPUT"), transformation=made,
                      audience=["OEM-A"]))  # fmt: skip
    index.block(event(("DEEPER", "INPUT"), ("SECRET", "OUTPUT"), transformation=made))
    index.block(event(("OPEN", "INPUT"), ("U1", "OUTPUT"), transformation=made))

    hidden = list(trace(index.reader, question(index, "U1"), lambda _entry: False))
    shown = list(trace(index.reader, question(index, "U1"), lambda _entry: True))

    assert [name for step in hidden for name in step.nodes] == ["OPEN"]
    assert [name for step in shown for name in step.nodes] == ["SECRET", "OPEN", "DEEPER"]


def test_a_part_that_was_dismounted_hundreds_of_parts_later_is_told_with_when_that_was() -> None:
    index = IndexInMemory()

    def mounted(action: int, part: str) -> int:
        body = quality_pb2.Association(action=quality_pb2.RelationAction.ValueType(action))
        return index.block(event((part, "CHILD"), ("CAR", "PARENT"), association=body))[0]

    begin = mounted(1, "ROTOR")
    for number in range(2 * EDGES_PER_CHUNK):
        mounted(1, f"P{number:04}")
    index.forget_tails()
    end = mounted(2, "ROTOR")

    told = [
        edge.statement
        for step in traced(index, question(index, "CAR"))
        for edge in step.edges()
        if edge.statement.other == "ROTOR"
    ]

    assert [(each.entry, each.last_entry, each.ended) for each in told] == [(begin, end, True)]


def test_facts_of_events_with_other_readers_or_signers_are_told_apart() -> None:
    index = IndexInMemory()
    bad = quality_pb2.Measurement(
        feature="f", value="1", unit="mm", verdict=quality_pb2.VERDICT_NONCONFORMING
    )
    readers: tuple[list[str], ...] = ([], ["OEM-A"], ["LAB-17025", "OEM-A"])
    entries = [
        index.block(event(("U1", "SUBJECT"), device="cmm", audience=each, measurement=bad))[0]
        for each in readers
    ]
    entries += index.block(event(("U1", "SUBJECT"), device="cmm", measurement=bad), party="OEM-A")
    asked = question(index, "U1", kinds=FACT_KINDS)

    def told_to(readable: set[int]) -> set[tuple[int, int, str]]:
        steps = trace(index.reader, asked, lambda entry: entry in readable)
        edges = [edge.statement for step in steps for edge in step.edges()]
        assert all(each.entry == each.last_entry for each in edges)
        return {(each.entry, each.nonconforming_count, each.party) for each in edges}

    everybody = {(entries[0], 1, "T1-STATOR"), (entries[3], 1, "OEM-A")}
    assert told_to(set()) == everybody
    assert told_to({entries[1]}) == everybody | {(entries[1], 1, "T1-STATOR")}
    assert told_to({entries[2]}) == everybody | {(entries[2], 1, "T1-STATOR")}


def test_facts_are_told_where_asked_for_and_tools_are_traced_on() -> None:
    index = IndexInMemory()
    calibrated = quality_pb2.Calibration(
        certificate="DCC-1",
        certificate_digest=bytes(32),
        valid_from_ms=TIME_MS,
        valid_until_ms=TIME_MS + 1,
        as_found=quality_pb2.VERDICT_CONFORMING,
        as_left=quality_pb2.VERDICT_CONFORMING,
    )
    measured = quality_pb2.Measurement(
        feature="f", value="1", unit="mm", verdict=quality_pb2.VERDICT_NONCONFORMING
    )
    index.block(event(("G1", "SUBJECT"), calibration=calibrated))
    index.block(event(("U1", "SUBJECT"), ("G1", "USED"), device="cmm", measurement=measured))

    found = traced(index, question(index, "U1", kinds=LINK_KINDS | FACT_KINDS))

    names = {name for step in found for name in step.nodes}
    assert names == {"G1", "device:cmm", "certificate:DCC-1"}
    bad = [edge.statement.other for step in found for edge in step.edges()
           if edge.statement.nonconforming_count]  # fmt: skip
    assert sorted(bad) == ["G1", "device:cmm"]


def test_what_is_known_of_one_name_of_an_item_is_known_of_the_other() -> None:
    index = IndexInMemory()
    made = quality_pb2.Transformation(process="p")
    index.block(
        event(("HEAT", "INPUT"), ("LOT", "OUTPUT"), transformation=made),
        event(("LOT", "INPUT"), ("U1", "OUTPUT"), transformation=made),
        event(("urn:uuid:1", "INPUT"), ("U2", "OUTPUT"), transformation=made),
    )
    also = quality_pb2.ItemIdentified(also_known_as=["urn:uuid:1"])
    index.block(event(("LOT", "SUBJECT"), item_identified=also))

    def reached(item: str, *, backward: bool) -> set[str]:
        steps = traced(index, question(index, item, backward=backward))
        return {name for step in steps for name in step.nodes}

    assert reached("LOT", backward=False) == {"urn:uuid:1", "U1", "U2"}
    assert reached("urn:uuid:1", backward=False) == {"LOT", "U1", "U2"}
    assert reached("HEAT", backward=False) == {"LOT", "urn:uuid:1", "U1", "U2"}
    assert reached("U2", backward=True) == {"urn:uuid:1", "LOT", "HEAT"}


def test_no_party_keeps_out_what_another_one_tells_of_an_item() -> None:
    index = IndexInMemory()

    def sealed(number: int, party: str, audience: Sequence[str] = ()) -> None:
        digest = number.to_bytes(32)
        body = quality_pb2.ReportSeal(report="R", laboratory="L", test="t", report_digest=digest,
                                      verdict=quality_pb2.VERDICT_CONFORMING)  # fmt: skip
        made = event(("LOT", "SUBJECT"), ("G1", "USED"), audience=audience, report_seal=body)
        index.block(made, party=party)

    for number in range(3 * FACTS_PER_PARTY_MAX):
        sealed(number, "T2-CU-JX", ["OEM-A", f"P{number}"] if number % 2 else [])
        index.forget_tails()
    sealed(999, "LAB-17025")

    told = [
        edge.statement
        for step in traced(index, question(index, "LOT", kinds=FACT_KINDS))
        for edge in step.edges()
    ]
    last = f"report:{(999).to_bytes(32).hex()}"
    assert [each.other for each in told if each.party == "LAB-17025"] == [last, "G1"]
    more = [each for each in told if each.other == "report:(more)"]
    assert sum(each.event_count for each in more) > FACTS_PER_PARTY_MAX
    row = index.rows.rows[tail_key(FACTS, "LOT")]
    assert len(row) < 3 * FACTS_PER_PARTY_MAX * 200


def test_a_trace_that_is_too_wide_ends_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "NODES_MAX", 100)
    index = IndexInMemory()
    made = quality_pb2.Transformation(process="p")
    index.block(
        *[event(("LOT", "INPUT"), (f"U{n}", "OUTPUT"), transformation=made) for n in range(101)]
    )

    with pytest.raises(TooWide, match="more than 100 nodes; narrow it"):
        traced(index, question(index, "LOT", backward=False))
