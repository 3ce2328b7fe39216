"""The lottery: the same draw for everybody, at its rate, by the one root that an entry has."""

import hashlib

from hypothesis import given
from hypothesis.strategies import binary, integers

from lotmark_inference.audit_lottery import (
    DRAWING_STEP,
    RATE_MAX_PPM,
    Draw,
    drawing_size,
    drawn_size,
)

ROOT = hashlib.sha256(b"a root").digest()
DRAWN = [893, 902, 951]  # of the entries 768 to 1,023, at 1 %


def test_the_draw_of_a_root_is_written_down() -> None:
    draw = Draw(size=1_024, root=ROOT, rate_ppm=10_000)

    assert [index for index in range(1_500) if draw.takes(index)] == DRAWN


def test_about_the_asked_share_is_drawn_and_another_root_draws_others() -> None:
    first, second = (
        {
            index
            for index in range(400 * DRAWING_STEP)
            if Draw(size=drawing_size(index), root=root, rate_ppm=20_000).takes(index)
        }
        for root in (ROOT, hashlib.sha256(ROOT).digest())
    )

    for drawn in (first, second):
        assert 1_800 < len(drawn) < 2_300
    assert len(first & second) < 100


@given(root=binary(min_size=32, max_size=32), index=integers(0, 2**63))
def test_a_higher_rate_draws_all_that_a_lower_one_does(root: bytes, index: int) -> None:
    taken = [
        Draw(size=drawing_size(index), root=root, rate_ppm=rate).takes(index)
        for rate in (0, 1, 500_000, RATE_MAX_PPM)
    ]

    assert taken == sorted(taken)
    assert (taken[0], taken[-1]) == (False, True)


@given(index=integers(0, 2**40), later=integers(0, 10_000))
def test_an_entry_has_one_root_and_no_other_ever_draws_it(index: int, later: int) -> None:
    size = drawing_size(index)
    others = (size - DRAWING_STEP, size + DRAWING_STEP, size + DRAWING_STEP * (later + 1))

    assert index < size <= index + DRAWING_STEP
    assert not any(
        Draw(size=other, root=ROOT, rate_ppm=RATE_MAX_PPM).takes(index) for other in others if other
    )
    assert (drawn_size(index) <= index, drawn_size(size + later) >= size) == (True, True)
