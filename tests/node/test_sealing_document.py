"""docs/sealing.md names the fields that a report has, and the commands that exist."""

import re
import shlex
from pathlib import Path
from typing import cast

import pytest

from lotmark.report_fields import FIELDS, ReportField, missing_fields
from lotmark_node.http.app import make_app
from lotmark_node.http.doorkeeper import Doorkeeper
from lotmark_node.http.epcis.capture_desk import CaptureDesk
from lotmark_node.http.epcis.event_desk import EventDesk
from lotmark_node.http.epcis.interface import EpcisDesks
from lotmark_node.http.sealing_desk import SealingDesk
from tests.node.test_readme import command_named

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sealing.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
CONDITIONS = {
    "always": {},
    "calibration": {"kind": "calibration"},
    "conformity": {"statement_of_conformity": "met"},
    "verdict": {"verdict": "CONFORMING"},
}


def rows() -> dict[str, tuple[str, ...]]:
    return {
        name: (clause, needed, purpose) for name, clause, needed, purpose in ROW.findall(DOCUMENT)
    }


def test_the_table_has_the_fields_in_their_order_with_clause_and_purpose() -> None:
    told = {name: (clause, purpose) for name, (clause, _, purpose) in rows().items()}

    assert list(told) == list(FIELDS)
    assert told == {field.name: (clause_of(field), field.purpose) for field in FIELDS.values()}


def clause_of(field: ReportField) -> str:
    parts = field.clause.split(", ")
    return ", ".join(f"7.8{part}" for part in parts) if field.clause else "the seal"


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_field_is_needed_exactly_where_the_table_says(name: str) -> None:
    needed = rows()[name][1]
    besides = {word: {word: "x"} for word in re.findall(r"`(\w+)`", needed)}
    told = set(needed.replace("beside ", "").replace("`", "").split(", ")) - {""}

    for word, fields in {**CONDITIONS, **besides}.items():
        missing = {each.field.name for each in missing_fields(fields)}
        if name not in fields:
            assert (name in missing) == (word in told or "always" in told), word


def test_every_command_of_the_document_exists_with_its_options() -> None:
    lines = re.findall(r"^\$ (lotmark .*)$|`(lotmark [^`]+)`", DOCUMENT, re.MULTILINE)
    assert len(lines) >= 4
    for typed, quoted in lines:
        command, rest = command_named(shlex.split(typed or quoted)[1:])
        known = {name for each in command.params for name in each.opts}
        assert {word for word in rest if word.startswith("--")} <= known


def test_every_route_of_the_document_exists_and_every_route_is_in_it() -> None:
    told = set(re.findall(r"^\| `(GET|POST) (/v1/[^`?]*)", DOCUMENT, re.MULTILINE))
    desks = EpcisDesks(cast(CaptureDesk, None), cast(EventDesk, None))
    app = make_app(cast(SealingDesk, None), cast(Doorkeeper, None), epcis=desks)  # nobody calls it

    paths = {path: each for path, each in app.openapi()["paths"].items() if "/v1/" in path}
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert {(method, re.sub(r"/[A-Z]+$", "/{}", path)) for method, path in told} == {
        (method, re.sub(r"\{\w+\}", "{}", path)) for method, path in routes
    }
