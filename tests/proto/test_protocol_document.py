"""docs/protocol.md shows what the code does: regenerated, it does not change."""

import pytest

from tests.proto.protocol_examples import DOCUMENT
from tools.make_protocol_examples import contents, filled


def test_the_examples_and_tables_of_the_document_are_those_the_code_makes() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")

    changed = [
        marker
        for marker, content in contents().items()
        if f"{marker} -->\n{content}" not in document
    ]

    assert not changed, "run `python -m tools.make_protocol_examples`, and say in the log why"
    assert filled(document) == document


def test_filling_repairs_a_changed_example() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    line = "00000007  lane 7\n"
    assert line in document

    assert filled(document.replace(line, "00000008  lane 8\n")) == document


@pytest.mark.parametrize(
    "change",
    [
        ("<!-- example: batch.header -->", "<!-- example: batch.heading -->"),
        ("<!-- table: outcomes -->\n", ""),
        (
            "<!-- example: keys -->\n",
            "<!-- example: keys -->\n<!-- end -->\n<!-- example: keys -->\n",
        ),
    ],
    ids=["unknown", "missing", "twice"],
)
def test_a_place_that_is_unknown_missing_or_there_twice_is_an_error(
    change: tuple[str, str],
) -> None:
    document = DOCUMENT.read_text(encoding="utf-8").replace(*change)

    with pytest.raises(AssertionError, match="places"):
        filled(document)
