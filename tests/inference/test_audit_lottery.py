"""The lottery: the same draw for everybody, at its rate, and only among what a root covers."""

import hashlib

from hypothesis import given
from hypothesis.strategies import binary, integers

from lotmark_inference.audit_lottery import RATE_MAX_PPM, Draw

ROOT = hashlib.sha256(b"a root").digest()
DRAWN = [149, 164, 361, 367, 646, 893, 902, 951]  # of 1,000 entries, at 1 %


def test_the_draw_of_a_root_is_written_down() -> None:
    draw = Draw(size=1_000, root=ROOT, rate_ppm=10_000)

    assert [index for index in range(1_200) if draw.takes(index)] == DRAWN


def test_about_the_asked_share_is_drawn_and_another_root_draws_others() -> None:
    first, second = (
        {
            index
            for index in range(100_000)
            if Draw(size=100_000, root=root, rate_ppm=20_000).takes(index)
        }
        for root in (ROOT, hashlib.sha256(ROOT).digest())
    )

    for drawn in (first, second):
        assert 1_800 < len(drawn) < 2_200
    assert len(first & second) < 100


@given(root=binary(min_size=32, max_size=32), index=integers(0, 2**63))
def test_a_higher_rate_draws_all_that_a_lower_one_does(root: bytes, index: int) -> None:
    taken = [
        Draw(size=2**63 + 1, root=root, rate_ppm=rate).takes(index)
        for rate in (0, 1, 500_000, RATE_MAX_PPM)
    ]

    assert taken == sorted(taken)
    assert (taken[0], taken[-1]) == (False, True)
