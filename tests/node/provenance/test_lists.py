"""Lists of entries and links: long ones, in blocks of any size, also after a restart."""

from hypothesis import given, settings
from hypothesis.strategies import integers, lists

from lotmark.v1 import quality_pb2
from lotmark_node.provenance.packed import EDGES_PER_CHUNK, POSTINGS_PER_CHUNK
from lotmark_node.provenance.rows import Edges, Postings
from tests.node.provenance.index_in_memory import IndexInMemory, event

_MEASURED = quality_pb2.Measurement(
    feature="f", value="1", unit="mm", verdict=quality_pb2.VERDICT_CONFORMING, method="m"
)
_WOUND = quality_pb2.Transformation(process="winding")
_block_sizes = lists(integers(1, 3 * EDGES_PER_CHUNK // 2), min_size=1, max_size=6)


def measured(count: int, item: str = "U1") -> IndexInMemory:
    """Return an index with `count` events of an item, in blocks of three."""
    index = IndexInMemory()
    left = count
    while left:
        index.block(*[event((item, "SUBJECT"), measurement=_MEASURED)] * min(left, 3))
        left -= min(left, 3)
    return index


@given(sizes=_block_sizes)
@settings(max_examples=25, deadline=None)
def test_a_lot_has_all_its_products_in_order_whatever_the_blocks(sizes: list[int]) -> None:
    index, made = IndexInMemory(), list[str]()
    for size in sizes:
        names = [f"U{len(made) + at:05}" for at in range(size)]
        index.block(
            *[event(("LOT", "INPUT"), (name, "OUTPUT"), transformation=_WOUND) for name in names]
        )
        index.forget_tails()
        made += names

    edges = list(index.reader.edges(Edges.FORWARD, "LOT"))

    assert [edge.other for edge in edges] == made
    assert [edge.entry for edge in edges] == sorted({edge.entry for edge in edges})
    assert all([edge.other for edge in index.reader.edges(Edges.BACK, name)] == ["LOT"]
               for name in made[:3])  # fmt: skip


def test_entries_are_found_from_any_index_on_and_back_from_it() -> None:
    index = measured(2 * POSTINGS_PER_CHUNK + 100)
    whole = list(index.reader.entries(Postings.ITEM, "U1"))

    assert len(whole) == 2 * POSTINGS_PER_CHUNK + 100
    assert whole == sorted(set(whole))
    edges = [0, 1, 2, POSTINGS_PER_CHUNK - 1, POSTINGS_PER_CHUNK, POSTINGS_PER_CHUNK + 1]
    edges += [2 * POSTINGS_PER_CHUNK + at for at in (-1, 0, 1, 99)]
    for at in edges:
        for entry in (whole[at], whole[at] + 1):
            after = [each for each in whole if each >= entry]
            before = [each for each in whole if each < entry]
            assert list(index.reader.entries(Postings.ITEM, "U1", from_index=entry)) == after
            back = list(index.reader.entries_back(Postings.ITEM, "U1", to_index=entry))
            assert back == before[::-1]


def test_lists_of_names_that_begin_alike_are_kept_apart() -> None:
    index = measured(POSTINGS_PER_CHUNK + 5, "U1")
    count = POSTINGS_PER_CHUNK + 7
    own = [
        entry
        for _ in range(count)
        for entry in index.block(event(("U10", "SUBJECT"), measurement=_MEASURED))
    ]

    assert list(index.reader.entries(Postings.ITEM, "U10")) == own
    assert len(list(index.reader.entries(Postings.ITEM, "U1"))) == POSTINGS_PER_CHUNK + 5
    assert list(index.reader.entries(Postings.ITEM, "U")) == []


def test_facts_that_are_alike_are_counted_together_also_after_a_restart() -> None:
    index = IndexInMemory()
    bad = quality_pb2.Measurement(
        feature="f", value="1", unit="mm", verdict=quality_pb2.VERDICT_NONCONFORMING, method="m"
    )
    tool = ("G1", "USED")
    (first,) = index.block(event(("U1", "SUBJECT"), tool, device="cmm", measurement=_MEASURED))
    index.forget_tails()
    last = index.block(
        *[event(("U1", "SUBJECT"), tool, device="cmm", measurement=bad) for _ in range(3)]
    )[-1]

    facts = index.reader.facts("U1")

    assert {target for _, target, _, _ in facts} == {"device:cmm", "G1"}
    for told in facts.values():
        assert (told.entry, told.last_entry) == (first, last)
        assert (told.event_count, told.nonconforming_count) == (4, 3)


def test_a_digest_and_a_file_name_lead_to_the_events_that_anchor_them() -> None:
    from lotmark_node.provenance.rows import DIGEST, digest_prefix, file_name_prefix

    index = IndexInMemory()
    anchored = event(("U1", "SUBJECT"), measurement=_MEASURED)
    anchored.files.add(sha256=b"\7" * 32, size=3, media_type="text/csv", name="raw.csv")
    (entry,) = index.block(anchored)

    assert list(index.reader.under_digest(digest_prefix(DIGEST, b"\7" * 32))) == [entry]
    assert list(index.reader.under_digest(file_name_prefix("raw.csv"))) == [entry]
    assert list(index.reader.under_digest(digest_prefix(DIGEST, b"\xff" * 32))) == []
