"""Items and edges: which rows an accepted event leaves, readable from both ends."""

from hypothesis import given
from hypothesis import strategies as st

from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.state_machine.tables import (
    Relation,
    Table,
    parse_edge_value,
    split_row_key,
)
from tests.node.ledger_in_memory import LedgerInMemory, event, measurement, transformation
from tests.node.state_machine.reading import event_outcomes, rows

ERP = "OEM-A/erp"
SUBJECT, INPUT, OUTPUT, PARENT, CHILD, USED = range(1, 7)
ADD, DELETE, OBSERVE = range(1, 4)

Edge = tuple[str, str, int, Relation, str, str]  # parent, child, entry, relation, amount, unit


def edges(ledger: LedgerInMemory) -> list[Edge]:
    """Return all edges, after a check that both tables hold the same."""
    found: list[list[Edge]] = []
    for table, parent_at, child_at in ((Table.PARENT, 1, 0), (Table.CHILD, 0, 1)):
        found.append([])
        for key, value in rows(ledger, table).items():
            _, parts = split_row_key(key)
            parent, child = parts[parent_at].decode(), parts[child_at].decode()
            found[-1].append((parent, child, int.from_bytes(parts[2]), *parse_edge_value(value)))
    by_child, by_parent = found
    assert sorted(by_child) == sorted(by_parent)
    return sorted(by_child)


def items(ledger: LedgerInMemory) -> dict[str, int]:
    """Return the first entry of every item."""
    return {
        split_row_key(key)[1][0].decode(): int.from_bytes(value)
        for key, value in rows(ledger, Table.ITEM).items()
    }


def put(ledger: LedgerInMemory, *raws: bytes) -> None:
    assert set(event_outcomes(ledger.block([ledger.batch(ERP, raws)]))) == {0}


def relation(name: str, action: int, *references: tuple[str, int]) -> bytes:
    body = {
        "aggregation": quality_pb2.Aggregation,
        "association": quality_pb2.Association,
    }[name](action=quality_pb2.RelationAction.ValueType(action))
    return event(nonce=f"{name} {action} {references}", items=references, **{name: body})


def test_an_item_keeps_the_first_entry_that_names_it() -> None:
    ledger = LedgerInMemory()
    put(ledger, measurement(1, item="A"), measurement(2, item="B"), measurement(3, item="A"))
    put(ledger, measurement(4, item="B"), transformation("p", ["A"], ["C"]))

    # Entries 0 and 1 are the genesis and its close, 2 and 7 the batches.
    assert items(ledger) == {"A": 3, "B": 4, "C": 9}


def test_an_item_of_any_role_is_known_but_only_inputs_and_outputs_are_related() -> None:
    ledger = LedgerInMemory()
    body = quality_pb2.Transformation(process="p")
    references = [("S", SUBJECT), ("I", INPUT), ("O", OUTPUT), ("U", USED), ("P", PARENT)]
    put(ledger, event(transformation=body, nonce="all", items=references))

    assert set(items(ledger)) == {"S", "I", "O", "U", "P"}
    assert [edge[:2] for edge in edges(ledger)] == [("I", "O")]


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
def test_edges_and_items_are_those_of_the_events_whatever_their_order(
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
    named = {}
    for at, step in reversed(list(enumerate(steps))):
        named.update(dict.fromkeys([*step[0], *step[1]], 3 + at))
    assert items(ledger) == named
