"""docs/epcis.md is true: its event is captured, its routes, parameters and bounds are those."""

import json
import re
import shlex
from pathlib import Path
from typing import cast

from lotmark.event import ITEMS_MAX
from lotmark.event_rules import EPCIS_DOCUMENT_SIZE_MAX
from lotmark_node.http.app import make_app
from lotmark_node.http.doorkeeper import Doorkeeper
from lotmark_node.http.epcis import answers, candidates, capture_jobs, event_search, exceptions
from lotmark_node.http.epcis.capture_desk import CaptureDesk
from lotmark_node.http.epcis.capture_routes import ACKNOWLEDGED_S
from lotmark_node.http.epcis.event_desk import EventDesk
from lotmark_node.http.epcis.interface import EpcisDesks
from lotmark_node.http.epcis.query_parameters import parse_query
from lotmark_node.http.epcis.standard_parameters import LIST_NAMES, MATCH_NAMES
from lotmark_node.http.sealing_desk import SealingDesk
from tests.node.http.epcis.epcis_endpoint import EpcisEndpoint, events_of
from tests.node.http.http_node import http_node
from tests.node.test_readme import command_named

DOCUMENT = (Path(__file__).parents[2] / "docs" / "epcis.md").read_text()


def test_the_first_event_is_captured_and_found_as_the_page_says(tmp_path: Path) -> None:
    (event,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    (query,) = re.findall(r'"http://127\.0\.0\.1:7480/epcis(/epcs/[^"]+)"', DOCUMENT)

    with http_node(tmp_path / "c") as node:
        endpoint = EpcisEndpoint(node)
        assert endpoint.capture_one(event.encode()).code == 201
        (told,) = events_of(endpoint.call("GET", query))
    said = {name: value for name, value in json.loads(event).items() if name != "@context"}
    assert said == {name: told[name] for name in said}


def test_every_command_of_the_page_exists_with_its_options() -> None:
    lines = re.findall(r"^\$ (lotmark .*)$", DOCUMENT, re.MULTILINE)
    assert lines
    for line in lines:
        command, rest = command_named(shlex.split(line)[1:])
        known = {name for each in command.params for name in each.opts}
        assert {word for word in rest if word.startswith("--")} <= known


def test_every_route_of_the_page_exists_and_every_route_is_in_it() -> None:
    told = set(re.findall(r"^\| `(GET|POST) (/epcis/[^`]*)`", DOCUMENT, re.MULTILINE))
    desks = EpcisDesks(cast(CaptureDesk, None), cast(EventDesk, None))
    app = make_app(cast(SealingDesk, None), cast(Doorkeeper, None), epcis=desks)  # nobody calls it
    routes = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/epcis") and method != "options" and "501" not in operation["responses"]
    } | {("GET", "/epcis/events")}

    below_lists = re.compile(
        r"/epcis/(eventTypes|epcs|bizSteps|bizLocations|readPoints|dispositions)/\{\w+\}"
    )
    assert {each for each in routes if not below_lists.match(each[1])} == told


def test_every_parameter_of_the_page_is_read_and_every_one_is_in_it() -> None:
    (table,) = re.findall(r"\| parameter \|.*?\n\n", DOCUMENT, re.DOTALL)
    named = set(re.findall(r"`([A-Za-z]+_?[A-Za-z_]*)`", table))

    assert {*LIST_NAMES, *MATCH_NAMES} <= named
    for name in {*LIST_NAMES, *MATCH_NAMES} - {"EQ_booleanValue", "eventType", "EQ_action"}:
        parse_query([(name, "urn:x:y")])
    times = ("eventTime", "recordTime", "errorDeclarationTime", "time", "startTime", "endTime")
    assert set(times) <= named
    for name in times:
        parse_query([(f"GE_{name}", "2026-01-12T08:00:00Z")])
    for scope in re.findall(r"`([A-Za-z_]+_)`", table.partition("example:colour")[2]):
        if scope != "INNER_":
            parse_query([(f"EQ_{scope}example:colour", "red")])
            parse_query([(f"EQ_INNER_{scope}example:colour", "red")])


def test_the_bounds_of_the_page_are_those_of_the_program() -> None:
    for bound in (
        f"{exceptions.CAPTURE_EVENTS_MAX:,} events and {exceptions.CAPTURE_SIZE_MAX >> 20} MiB",
        f"{ITEMS_MAX} items, {EPCIS_DOCUMENT_SIZE_MAX:,} bytes",
        f"over {ACKNOWLEDGED_S:g} s",
        f"{capture_jobs.FINISHED_KEPT_MS // 86_400_000} days, at most {capture_jobs.JOBS_MAX:,}"
        f" jobs or {capture_jobs.EVENTS_MAX:,} events",
        f"{answers.PER_PAGE} events unless",
        f"at most {answers.PER_PAGE_MAX:,} and about {event_search.PAGE_SIZE_MAX >> 20} MiB",
        f"at most {candidates.WINDOW_MAX_MS // 86_400_000} days apart",
        f"at most {event_search.WHOLE_LOOKED_MAX:,};",
    ):
        assert bound in DOCUMENT, bound
