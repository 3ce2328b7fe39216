"""LtHash16: a digest of a map that does not depend on how the map came to be."""

from pathlib import Path

import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark_node.state_machine import lthash

GOLDEN = Path(__file__).parent / "golden/lthash.txt"
ROWS = st.dictionaries(st.binary(max_size=12), st.binary(max_size=12), max_size=12)


def digest_of(rows: dict[bytes, bytes]) -> bytes:
    return lthash.digest(
        lthash.sum_elements([lthash.row_bytes(key, value) for key, value in rows.items()])
    )


def plain_digest(rows: dict[bytes, bytes]) -> bytes:
    """Return the digest as docs/protocol.md, section 7, says it, without numpy."""
    lanes = [0] * 1_024
    for key, value in rows.items():
        made = b"lotmark/state/v1\n" + len(key).to_bytes(4) + key + value
        raw = blake3.blake3(made).digest(length=2_048)
        for at in range(1_024):
            element = int.from_bytes(raw[2 * at : 2 * at + 2], "little")
            lanes[at] = (lanes[at] + element) % 2**16
    packed = b"".join(lane.to_bytes(2, "little") for lane in lanes)
    return blake3.blake3(b"lotmark/lanes/v1\n" + packed).digest()


SAMPLES: list[dict[bytes, bytes]] = [
    {},
    {b"": b""},
    {b"key": b"value"},
    {b"\x01a": b"1", b"\x02bc": b"\xff" * 300},
]


def test_the_golden_digests_still_hold() -> None:
    assert GOLDEN.read_text().split() == [digest_of(rows).hex() for rows in SAMPLES]


@settings(max_examples=25)
@given(rows=ROWS)
def test_the_digest_is_the_one_the_document_says(rows: dict[bytes, bytes]) -> None:
    assert digest_of(rows) == plain_digest(rows)


@given(rows=ROWS, data=st.data())
def test_the_order_of_rows_does_not_matter(rows: dict[bytes, bytes], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(rows.items()))))

    assert digest_of(shuffled) == digest_of(rows)


@given(before=ROWS, after=ROWS)
def test_an_update_is_the_removal_of_the_old_and_the_addition_of_the_new(
    before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> None:
    changes = [(key, before.get(key), after.get(key)) for key in before.keys() | after.keys()]
    lanes = lthash.updated(lthash.empty_lanes(), [(key, None, before[key]) for key in before])

    assert lthash.digest(lthash.updated(lanes, changes)) == digest_of(after)


@given(rows=ROWS)
def test_lanes_survive_being_stored(rows: dict[bytes, bytes]) -> None:
    lanes = lthash.updated(lthash.empty_lanes(), [(key, None, rows[key]) for key in rows])

    stored = lanes.tobytes()

    assert len(stored) == lthash.LANES_SIZE
    assert (lthash.lanes_from_bytes(stored) == lanes).all()


@given(key=st.binary(min_size=1, max_size=9), value=st.binary(max_size=9))
def test_a_byte_that_moves_between_key_and_value_changes_the_digest(
    key: bytes, value: bytes
) -> None:
    assert digest_of({key: value}) != digest_of({key[:-1]: key[-1:] + value})


def test_65536_copies_of_a_row_sum_to_nothing() -> None:
    """Why a state file whose rows do not strictly ascend is refused where it is read."""
    lanes = lthash.sum_elements([lthash.row_bytes(b"key", b"value")])
    for _ in range(16):
        lanes = lanes + lanes

    assert (lanes == lthash.empty_lanes()).all()
    assert lthash.digest(lanes) == digest_of({})


def test_more_rows_than_one_chunk_are_summed_whole() -> None:
    rows = {number.to_bytes(2): b"" for number in range(200)}
    halves = [dict(list(rows.items())[:77]), dict(list(rows.items())[77:])]
    summed = [
        lthash.sum_elements([lthash.row_bytes(key, value) for key, value in half.items()])
        for half in halves
    ]
    assert lthash.digest(summed[0] + summed[1]) == digest_of(rows) == plain_digest(rows)
