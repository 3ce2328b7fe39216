"""Strategies for bytes that are no longer what they were, for tests of parsers."""

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """Draw `raw` after up to four changes: bytes set, taken out, put in, doubled, or cut off."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 8)))
        change = draw(st.sampled_from(["set", "cut", "take", "double", "put"]))
        if change == "set":
            raw = raw[:start] + draw(st.binary(min_size=1, max_size=8)) + raw[end:]
        elif change == "cut":
            raw = raw[:start]
        elif change == "take":
            raw = raw[:start] + raw[end:]
        elif change == "double":
            raw = raw[:end] + raw[start:]
        else:
            raw = raw[:start] + draw(st.binary(min_size=1, max_size=8)) + raw[start:]
    return raw


def damaged_or_arbitrary(raw: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy of bytes near to `raw` and of bytes of any kind."""
    return st.one_of(damaged(raw), st.binary(max_size=300))
