"""Edges: which rows an accepted event leaves of what went into what."""

from hypothesis import given
from hypothesis import strategies as st

from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.state_machine.tables import (
    Relation,
    Table,
    parse_edge_value,
    split_row_key,
)
from tests.node.ledger_in_memory import LedgerInMemory, event, transformation
from tests.node.state_machine.reading import event_outcomes, rows

ERP = "OEM-A/erp"
SUBJECT, INPUT, OUTPUT, PARENT, CHILD, USED = range(1, 7)
ADD, DELETE, OBSERVE = range(1, 4)

Edge = tuple[str, str, int, Relation, str, str]  # parent, child, entry, relation, amount, unit


def edges(ledger: LedgerInMemory) -> list[Edge]:
    """Return all edges."""
    found: list[Edge] = []
    for key, value in rows(ledger, Table.PARENT).items():
        child, entry, parent = split_row_key(key)[1]
        edge = parse_edge_value(value)
        found.append((parent.decode(), child.decode(), int.from_bytes(entry), *edge))
    return sorted(found)


def put(ledger: LedgerInMemory, *raws: bytes) -> None:
    assert set(event_outcomes(ledger.block([ledger.batch(ERP, raws)]))) == {0}


def relation(name: str, action: int, *references: tuple[str, int]) -> bytes:
    body = {
        "aggregation": quality_pb2.Aggregation,
        "association": quality_pb2.Association,
    }[name](action=quality_pb2.RelationAction.ValueType(action))
    return event(nonce=f"{name} {action} {references}", items=references, **{name: body})


def test_only_inputs_and_outputs_are_related() -> None:
    ledger = LedgerInMemory()
    body = quality_pb2.Transformation(process="p")
    references = [("S", SUBJECT), ("I", INPUT), ("O", OUTPUT), ("U", USED), ("P", PARENT)]
    put(ledger, event(transformation=body, nonce="all", items=references))

    assert [edge[:2] for edge in edges(ledger)] == [("I", "O")]


def test_items_are_related_under_one_name_whichever_ids_events_bear() -> None:
    ledger = LedgerInMemory()
    urn = "urn:epc:class:lgtin:4012345.000001.CU-7"
    link = "https://example.com/01/04012345000016/10/CU-7"
    put(ledger, transformation("draw", [urn], ["W1"]), transformation("wind", [link], ["S1"]))

    canonical = "https://id.gs1.org/01/04012345000016/10/CU-7"
    assert [edge[:2] for edge in edges(ledger)] == [(canonical, "S1"), (canonical, "W1")]


def test_a_transformation_relates_every_input_to_every_output_with_the_input_s_amount() -> None:
    ledger = LedgerInMemory()
    message = event_pb2.Event.FromString(transformation("wind", ["W1", "W2"], ["S1", "S2"]))
    message.items[0].quantity.value, message.items[0].quantity.unit = "1.50", "KGM"
    message.items[2].quantity.value, message.items[2].quantity.unit = "7", "EA"
    put(ledger, message.SerializeToString(deterministic=True))

    assert edges(ledger) == [
        ("W1", "S1", 3, Relation.CONSUMED, "1.50", "KGM"),
        ("W1", "S2", 3, Relation.CONSUMED, "1.50", "KGM"),
        ("W2", "S1", 3, Relation.CONSUMED, "", ""),
        ("W2", "S2", 3, Relation.CONSUMED, "", ""),
    ]


def test_what_went_into_a_container_is_its_parent_in_the_genealogy() -> None:
    ledger = LedgerInMemory()
    put(
        ledger,
        relation("aggregation", ADD, ("box", PARENT), ("u1", CHILD), ("u2", CHILD)),
        relation("association", OBSERVE, ("car", PARENT), ("motor", CHILD)),
        relation("aggregation", DELETE, ("box", PARENT), ("u1", CHILD)),
        relation("association", DELETE, ("car", PARENT), ("motor", CHILD)),
        relation("aggregation", OBSERVE, ("box", PARENT), ("u2", CHILD)),
        relation("association", ADD, ("car", PARENT), ("motor", CHILD)),
    )
    assert edges(ledger) == [
        ("motor", "car", 4, Relation.ASSOCIATED, "", ""),
        ("motor", "car", 6, Relation.ASSOCIATION_ENDED, "", ""),
        ("motor", "car", 8, Relation.ASSOCIATED, "", ""),
        ("u1", "box", 3, Relation.AGGREGATED, "", ""),
        ("u1", "box", 5, Relation.AGGREGATION_ENDED, "", ""),
        ("u2", "box", 3, Relation.AGGREGATED, "", ""),
        ("u2", "box", 7, Relation.AGGREGATED, "", ""),
    ]


IDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)


@given(steps=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5))
def test_edges_are_those_of_the_events_whatever_their_order(
    steps: list[tuple[list[str], list[str]]],
) -> None:
    ledger = LedgerInMemory()
    raws = [transformation(f"p{at}", *step) for at, step in enumerate(steps)]
    put(ledger, *raws)

    expected = [
        (parent, child, 3 + at)
        for at, (inputs, outputs) in enumerate(steps)
        for parent in inputs
        for child in outputs
    ]
    assert [edge[:3] for edge in edges(ledger)] == sorted(expected)
