"""The OpenAPI is true: whatever it lets be asked, and some of what it does not, is answered so."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.node.http.epcis.epcis_endpoint import object_event
from tests.node.http.http_node import call, http_node, make_key
from tests.node.running_node import NodeProcess

SEED = 20_260_112
EXAMPLES = 5  # of each operation, in each mode
EXAMPLES_OF_DISCOVERY = 1  # which answers the same whatever it is asked
CALL_S = 30.0
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with http_node(tmp_path_factory.mktemp("openapi") / "consortium") as running:
        yield running


@pytest.fixture(scope="module")
def session(node: NodeProcess) -> Iterator[requests.Session]:
    """Return a caller that may do everything, on a ledger that has some events."""
    key = make_key(node, "everything", may="seal,capture,query")
    for _ in range(5):
        body = json.dumps(object_event()).encode()
        assert call(node.ready["http"], "POST", "/epcis/events", key=key, body=body).code == 201
    with requests.Session() as opened:
        opened.trust_env = False
        opened.headers["Authorization"] = f"Bearer {key}"
        yield opened


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_answers_as_the_openapi_says(
    node: NodeProcess, session: requests.Session, mode: GenerationMode
) -> None:
    url = f"http://{node.ready['http']}"
    document = session.get(f"{url}/openapi.json", timeout=CALL_S).json()
    operations: list[Any] = [
        found.ok()  # type: ignore[union-attr]  # an error has no such method, and fails here
        for found in schemathesis.openapi.from_dict(document).get_all_operations()
    ]
    asked = {each.label for each in operations if ask(each, url, session, mode)}
    assert {"POST /epcis/capture", "GET /epcis/events", "POST /v1/seals"} <= asked


def ask(operation: Any, url: str, session: requests.Session, mode: GenerationMode) -> int:
    """Ask an operation with what its schema allows, or does not, and return how often."""
    asked_count = 0
    is_discovery = operation.method == "options" or "/queries" in operation.label
    # Set last, as what is no key is tried elsewhere, and tells nothing of what lies behind.
    headers = {"Authorization": str(session.headers["Authorization"])}

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES_OF_DISCOVERY if is_discovery else EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        nonlocal asked_count
        note(f"seed {SEED}, {operation.label}, {mode.value}")
        case = data.draw(operation.as_strategy(generation_mode=mode))
        answer = case.call(base_url=url, session=session, headers=headers, timeout=CALL_S)
        assert answer.status_code < 500 or answer.status_code == 501, answer.text
        case.validate_response(answer, checks=CHECKS)
        asked_count += 1

    one()
    return asked_count
