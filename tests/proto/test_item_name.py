"""Names of items: every id has exactly one, on every node and for ever; typed ones are judged."""

import re
import timeit
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lotmark.errors import MalformedError
from lotmark.gs1_ids import read_gs1
from lotmark.gs1_keys import check_digit
from lotmark.item_name import canonical_item, plain_names, read_item_name
from lotmark.text import check_identifier

GOLDEN = Path(__file__).parent / "golden/item_names.txt"
IDENTIFIER = st.text(
    st.sampled_from(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:/~%+()@!$&'*,;=?#[]"
    ),
    min_size=1,
    max_size=128,
)
# Characters of set 82 as a URN writes them, and the escaped ones.
URN_TEXT = st.lists(
    st.sampled_from([*"AZaz09-._'!()*+,:;=", "%2F", "%22", "%25", "%26", "%3C", "%3e", "%3F"]),
    min_size=1,
    max_size=16,
).map("".join)
PREFIX = st.integers(6, 12).flatmap(lambda size: digits(size))


def digits(size: int) -> st.SearchStrategy[str]:
    return st.text(st.sampled_from("0123456789"), min_size=size, max_size=size)


def golden() -> list[tuple[str, str]]:
    lines = GOLDEN.read_text("utf-8").splitlines()
    pairs = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [(item_id, name) for item_id, name in pairs]


@pytest.mark.parametrize(("item_id", "name"), golden())
def test_an_item_has_the_name_of_the_golden_table(item_id: str, name: str) -> None:
    check_identifier(item_id, what="id")
    assert canonical_item(item_id) == name
    assert canonical_item(name) == name


@pytest.mark.parametrize("prefix_size", range(6, 13))
def test_a_check_digit_is_computed_whatever_the_prefix_s_size(prefix_size: int) -> None:
    prefix, reference = "401234501234"[:prefix_size], "1000016"[: 13 - prefix_size]
    gtin = reference[0] + prefix + reference[1:]

    link = f"https://id.gs1.org/01/{gtin}{check_digit(gtin)}/21/7"
    assert canonical_item(f"urn:epc:id:sgtin:{prefix}.{reference}.7") == link


@st.composite
def gs1_ids(draw: st.DrawFn) -> tuple[str, str]:
    """An EPC URN, and a Digital Link of any domain of the same thing, made by other arithmetic."""
    scheme = draw(st.sampled_from(["sgtin", "lgtin", "sscc", "sgln", "grai", "gdti", "gsrn"]))
    total = {"sgtin": 13, "lgtin": 13, "sscc": 17, "gsrn": 17}.get(scheme, 12)
    prefix = draw(PREFIX)
    reference = draw(digits(total - len(prefix)))
    text = draw(URN_TEXT)
    moved = scheme in ("sgtin", "lgtin", "sscc")
    body = reference[:1] + prefix + reference[1:] if moved else prefix + reference
    body = "0" + body if scheme == "grai" else body
    weights = [3, 1] * 9
    total = sum(int(d) * w for d, w in zip(reversed(body), weights, strict=False))
    number = body + str((10 - total % 10) % 10)
    path = {
        "sgtin": f"01/{number}/21/{text}",
        "lgtin": f"gtin/{number}/cpv/2A/lot/{text}",
        "sscc": f"00/{number}",
        "sgln": f"414/{number}/254/{text}",
        "grai": f"8003/{number}{text}",
        "gdti": f"253/{number}{text}",
        "gsrn": f"8018/{number}",
    }[scheme]
    kind = "class" if scheme == "lgtin" else "id"
    rest = "" if scheme in ("sscc", "gsrn") else f".{text}"
    query = draw(st.sampled_from(["", "?17=261231", "#x", "/"]))
    stem = draw(st.sampled_from(["https://id.gs1.org", "http://dl.example.com/products/of"]))
    return f"urn:epc:{kind}:{scheme}:{prefix}.{reference}{rest}", f"{stem}/{path}{query}"


@given(gs1_ids())
def test_a_urn_and_any_digital_link_of_the_same_thing_have_one_name(ids: tuple[str, str]) -> None:
    urn, link = ids

    name = canonical_item(urn)
    assert name.startswith("https://id.gs1.org/")
    assert canonical_item(link) == name
    assert canonical_item(name) == name
    assert read_item_name(urn) == read_item_name(link) == name


LOOKALIKE = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["https://id.gs1.org/", "http://a.b/", "HTTPS://ID.GS1.ORG/", "urn:epc:"]),
        st.lists(
            st.sampled_from(
                ["id:", "idpat:", "sgtin:", "01/", "00/", "gtin/", "04012345000016", "/21/", "/10/",
                 "/22/", "4012345.", "011111.", "*", "%2F", "%", "8010/", "?a", "/", "0", "é"]
            ),
            max_size=8,
        ).map("".join),
    ),
)  # fmt: skip


@given(IDENTIFIER | LOOKALIKE)
@example("https://id.gs1.org/8010/0614" + "%23" * 26 + "/8011/123456789012")
def test_any_id_has_a_name_that_is_its_own_name_and_fits_an_id(item_id: str) -> None:
    name = canonical_item(item_id)

    assert canonical_item(name) == name
    if name != item_id:
        check_identifier(name, what="name", size_max=128)
        assert read_gs1(name) is not None
    for short in plain_names(name):
        assert short


@given(st.text(max_size=60))
def test_a_typed_name_is_read_or_refused_by_our_error(typed: str) -> None:
    try:
        name = read_item_name(typed)
    except MalformedError as error:
        assert str(error)  # noqa: PT017  # any other error fails
    else:
        assert canonical_item(name) == name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (" lot:04012345000016.CU-20251223-07 ", "01/04012345000016/10/CU-20251223-07"),
        ("lot:4012345000016.a.b", "01/04012345000016/10/a.b"),
        ("serial:04012345000016.ST/1", "01/04012345000016/21/ST%2F1"),
        ("serial:96385074.1", "01/00000096385074/21/1"),
        ("urn:epc:id:sscc:4012345.0000000333", "00/040123450000003338"),
    ],
)
def test_what_people_type_becomes_the_canonical_name(typed: str, name: str) -> None:
    assert read_item_name(typed) == f"https://id.gs1.org/{name}"


@pytest.mark.parametrize("typed", ["W07", "T1-STATOR/W07", "http://example.com/files/00/1"])
def test_a_plain_id_is_its_own_name(typed: str) -> None:
    assert read_item_name(typed) == canonical_item(typed) == typed


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("", "item '' is not an identifier"),
        ("a b", "item 'a b' is not an identifier"),
        ("x" * 129, "item has 129 characters; at most 128"),
        ("lot:7", "'lot:7' names no lot: write lot:GTIN.LOT with a GTIN of 8, 12, 13 or 14 digits"),
        ("lot:04012345000016.", "names no lot"),
        ("serial:0401234500001.7", "'00401234500001' is no GTIN: the digit at place 14"),
        ("serial:04012345000016.\u4100", "is no value of AI 21: it has 1 to 20 characters"),
        (f"lot:04012345000016.{'x' * 21}", "is no value of AI 10: it has 1 to 20 characters"),
        ("https://id.gs1.org/01/04012345000017", "would be 6; correct the digit"),
        ("https://example.com/01/04012345000017", "would be 6; correct the digit"),
        ("https://id.gs1.org/01/0401234500001A", "is no GTIN: it has 8, 12, 13 or 14 digits"),
        ("https://id.gs1.org/02/04012345000016", "is no path of a GS1 Digital Link; write /<AI>/"),
        ("https://id.gs1.org/01/04012345000016/21/a%2", "is no path of a GS1 Digital Link"),
        ("https://id.gs1.org/01/04012345000016/21/a/10/b", "is no path of a GS1 Digital Link"),
        ("https://id.gs1.org/8011/5", "is no path of a GS1 Digital Link"),
        ("urn:epc:id:sgtin:4012345.11111.9876", "13 digits of prefix and reference; write it li"),
        ("urn:epc:id:sscc:4012345.0000000333.1", "is no urn:epc:id:sscc: a company prefix of 6"),
        ("urn:epc:id:cpi:0614141.ab.1", "write it like urn:epc:id:cpi:0614141.AB-1.1234"),
        ("urn:epc:id:cpi:0614141.AB.01", "is no value of AI 8011: it has 1 to 12 digits"),
        ("urn:epc:id:giai:400000123456." + "9" * 20, "is no GIAI: it has a company prefix and"),
    ],
)
def test_a_typed_name_that_is_none_is_refused_with_the_rule(typed: str, problem: str) -> None:
    with pytest.raises(MalformedError, match=re.escape(problem)):
        read_item_name(typed)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("https://id.gs1.org/01/04012345000016/21/ST%2F1", ("ST/1",)),
        ("https://id.gs1.org/01/04012345000016/10/CU-7", ("CU-7",)),
        ("https://id.gs1.org/00/040123450000003338", ("040123450000003338",)),
        ("https://id.gs1.org/414/4012345000054/254/122", ()),
        ("https://id.gs1.org/01/04012345000017/21/1", ()),
        ("W07", ()),
    ],
)
def test_a_serial_or_lot_alone_is_a_short_name(name: str, short: tuple[str, ...]) -> None:
    assert plain_names(name) == short


CLASS_IDS = {
    "01/04012345000016": True,
    "01/04012345000016/10/A": True,
    "01/04012345000016/21/A": False,
    "8003/04012345000221": True,
    "8003/040123450002211": False,
    "253/4012345000092": True,
    "8004/4012345ABC": False,
    "8010/4012345AB": True,
    "8010/4012345AB/8011/1": False,
    "8006/040123451111180102": True,
    "00/040123450000003338": False,
}


@pytest.mark.parametrize("path", CLASS_IDS)
def test_a_key_without_serial_names_a_class(path: str) -> None:
    found = read_gs1(f"https://id.gs1.org/{path}")

    assert found is not None
    assert found.is_class == CLASS_IDS[path]


def test_naming_a_canonical_id_takes_far_less_than_the_hot_path_has() -> None:
    item_id = "https://id.gs1.org/01/04012345000016/21/ST2601120001234"

    best_s = min(timeit.repeat(lambda: canonical_item(item_id), number=1_000, repeat=20))
    assert best_s < 0.005  # 1,000 of them; measured 0.3 ms
