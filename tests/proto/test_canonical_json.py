"""JSON that is hashed: one encoding for a value, and nothing that two readers take differently."""

import json
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis.strategies import (
    SearchStrategy,
    binary,
    booleans,
    characters,
    dictionaries,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)

from lotmark.canonical_json import (
    DEPTH_MAX,
    FOREIGN_DEPTH_MAX,
    INTEGER_MAX,
    JsonValue,
    dump,
    load,
    load_foreign,
)
from lotmark.errors import MalformedError
from tests.shared_vectors import require_shared, shared_folder

GOLDEN = Path(__file__).parent / "golden/canonical.json"
SIZE_MAX = 1 << 20


def vector_names() -> list[str]:
    folder = shared_folder()
    inputs = (folder / "vectors/rfc8785/input").glob("*.json") if folder else ()
    return sorted(path.name for path in inputs)


def json_values() -> SearchStrategy[JsonValue]:
    scalars: SearchStrategy[JsonValue] = (
        none() | booleans() | integers(-INTEGER_MAX, INTEGER_MAX) | text(max_size=8)
    )
    keys = text(characters(max_codepoint=127), max_size=4)
    return recursive(
        scalars,
        lambda inner: lists(inner, max_size=4) | dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


def test_the_vectors_are_all_there() -> None:
    require_shared("vectors/rfc8785")

    assert len(vector_names()) == 6


# The vectors hold floats and keys that are not ASCII, both of which `dump` refuses on purpose. So
# they are tried on the two parts it is made of: the serialiser beneath it, fed by our own reader.
@pytest.mark.parametrize("name", vector_names())
def test_the_serialiser_beneath_makes_the_bytes_of_rfc_8785(name: str) -> None:
    folder = require_shared("vectors/rfc8785")
    given_document = load_foreign((folder / "input" / name).read_bytes(), size_max=SIZE_MAX)

    assert rfc8785.dumps(given_document) == (folder / "output" / name).read_bytes()


@pytest.mark.parametrize("name", vector_names())
def test_a_canonical_vector_is_loaded_unless_it_holds_what_is_excluded(name: str) -> None:
    canonical = (require_shared("vectors/rfc8785/output") / name).read_bytes()
    excluded = {"values.json": "is a float", "french.json": "not an ASCII", "weird.json": "ASCII"}

    if name in excluded:
        with pytest.raises(MalformedError, match=excluded[name]):
            load(canonical, size_max=SIZE_MAX)
    else:
        assert dump(load(canonical, size_max=SIZE_MAX)) == canonical


def test_golden_document() -> None:
    document: JsonValue = {
        "serial": "SN-0001",
        "result": True,
        "count": -INTEGER_MAX,
        "nested": {"b": [1, None, []], "a": {}, "A": "", "": 0},
        "escapes": '\x00\x1f\b\t\n\f\r"\\/\x7f',
        "unicode": "Ø µm \u2028 \U0001f44d",
        "value": "12.050",
    }

    assert dump(document) == GOLDEN.read_bytes()
    assert load(GOLDEN.read_bytes(), size_max=SIZE_MAX) == document


@given(value=json_values())
def test_what_is_dumped_is_loaded_again(value: JsonValue) -> None:
    raw = dump(value)

    assert load(raw, size_max=len(raw)) == value
    assert load_foreign(raw, size_max=len(raw)) == value


@given(value=json_values())
def test_the_encoding_is_json_for_any_reader(value: JsonValue) -> None:
    assert json.loads(dump(value)) == value


def test_tuples_are_arrays() -> None:
    assert dump({"a": (1, (2,))}) == b'{"a":[1,[2]]}'


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.0, "float"),
        ([float("nan")], "float"),
        (INTEGER_MAX + 1, "decimal string"),
        (-INTEGER_MAX - 1, "decimal string"),
        pytest.param(10**5000, "decimal string", id="of more digits than Python prints"),
        ("\ud800", "surrogate"),
        ({"\u00e9": 1}, "ASCII"),
        ({"\ud800": 1}, "ASCII"),
        ({1: 1}, "ASCII"),
        (b"bytes", "no JSON value"),
        ({1}, "no JSON value"),
    ],
)
def test_values_without_one_encoding_are_refused(value: JsonValue, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        dump(value)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b" 1", "not canonical"),
        (b"1\n", "not canonical"),
        (b"[1, 2]", "not canonical"),
        (b'{"b":1,"a":2}', "not canonical"),
        (b'"\\u0041"', "not canonical"),
        (b'"\\/"', "not canonical"),
        (b'"\\u001F"', "not canonical"),
        (b'"\\u00e9"', "not canonical"),
        (b"-0", "not canonical"),
        (b"01", "not JSON"),
        (b"1.0", "float"),
        (b"1e3", "float"),
        (b"NaN", "NaN"),
        (b"-Infinity", "-Infinity"),
        (b"9007199254740992", "decimal string"),
        (b"1" * 5000, "not JSON"),
        (b'{"a":1,"a":1}', "stands twice"),
        (b'{"a":1,"\\u0061":1}', "stands twice"),
        (b'[{"a":{"b":1,"b":2}}]', "stands twice"),
        (b'{"\xc3\xa9":1}', "ASCII"),
        (b'"\\ud800"', "surrogate"),
        (b'"\xed\xa0\x80"', "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"\xef\xbb\xbf1", "not JSON"),
        ("1".encode("utf-16"), "not JSON"),
        (b'"\n"', "not JSON"),
        (b"1" * 101 + b" " * 9900, "at most 10000"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        load(raw, size_max=10_000)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"a":1,"a":1}', "stands twice"),
        (b'["\\udc00"]', "surrogate"),
        (b'{"\\ud800":1}', "surrogate"),
        (b"[NaN]", "NaN"),
        (b"Infinity", "Infinity"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"\xef\xbb\xbf1", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1,]", "not JSON"),
        (b" " * 101, "at most 100"),
    ],
)
def test_ambiguous_foreign_documents_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        load_foreign(raw, size_max=100)


def test_a_foreign_document_need_not_be_canonical() -> None:
    raw = '{ "é": [1.50, 1e3, 9007199254740993], "a": "\\ud83d\\udc4d" }'.encode()

    assert load_foreign(raw, size_max=100) == {
        "é": [1.5, 1000.0, 9007199254740993],
        "a": "\U0001f44d",
    }


def nested(depth: int) -> bytes:
    """A value of `depth` arrays and objects in one another."""
    opened = [b"[" if level % 2 else b'{"a":' for level in range(depth)]
    closed = [b"]" if level % 2 else b"}" for level in reversed(range(depth))]
    return b"".join([*opened, b"1", *closed])


@pytest.mark.parametrize("beyond", [1, 10, 400, 100_000])
def test_nesting_has_a_bound(beyond: int) -> None:
    load(nested(DEPTH_MAX), size_max=SIZE_MAX)
    load_foreign(nested(FOREIGN_DEPTH_MAX), size_max=SIZE_MAX)

    with pytest.raises(MalformedError, match="deeper than 32"):
        load(nested(DEPTH_MAX + beyond), size_max=SIZE_MAX)
    with pytest.raises(MalformedError, match="deeper than 64"):
        load_foreign(nested(FOREIGN_DEPTH_MAX + beyond), size_max=SIZE_MAX)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[JsonValue] = []
    endless.append(endless)

    with pytest.raises(MalformedError, match="deeper than 32"):
        dump(endless)


@given(raw=binary(max_size=60))
def test_arbitrary_bytes_are_canonical_or_malformed(raw: bytes) -> None:
    load_or_refuse(raw)


@given(
    value=json_values(),
    at=integers(min_value=0),
    change=binary(max_size=3) | sampled_from([b'"', b"[", b"{", b",", b"\\ud800", b"1e9", b" "]),
    cut=integers(0, 3),
)
def test_changed_documents_are_canonical_or_malformed(
    value: JsonValue, at: int, change: bytes, cut: int
) -> None:
    raw = dump(value)
    at %= len(raw) + 1

    load_or_refuse(raw[:at] + change + raw[at + cut :])


def load_or_refuse(raw: bytes) -> None:
    try:
        value = load(raw, size_max=10_000)
    except MalformedError:
        try:
            load_foreign(raw, size_max=10_000)
        except MalformedError:
            return
    else:
        assert dump(value) == raw
        assert load_foreign(raw, size_max=10_000) == value
