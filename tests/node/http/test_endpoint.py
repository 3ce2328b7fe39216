"""The HTTP endpoint of a real node: sealing and looking up, as an ERP does it."""

import hashlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lotmark.canonical_json import dump
from lotmark.certificates import tls_name
from lotmark.client import LedgerSession, read_client_settings
from lotmark.network_address import split_address
from lotmark.verify.receipt import verify_receipt
from lotmark_node.http.api_keys import May
from lotmark_node.http.body_limit import BODY_SIZE_MAX
from lotmark_node.main import app
from tests.node.http.http_node import (
    NODE,
    PARTY,
    Answer,
    Contract,
    call,
    http_node,
    keys_of,
    keys_path,
    make_key,
)
from tests.node.running_node import NodeProcess
from tests.node.test_renewal import until
from tests.proto.sound_reports import TEST, TEST_REPORT

_NAMES = count()


class Endpoint:
    """A running node's endpoint, with a key that may do everything."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.key = make_key(node, "erp")
        self.contract = Contract(self.call("GET", "/openapi.json").body)

    def call(self, method: str, path: str, **options: Any) -> Answer:
        return call(self.node.ready["http"], method, path, **{"key": self.key, **options})

    def seal(self, fields: object, query: str = "", **options: Any) -> Answer:
        return self.call("POST", f"/v1/seals{query}", body=json.dumps(fields).encode(), **options)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with http_node(tmp_path_factory.mktemp("http") / "consortium") as node:
        yield Endpoint(node)


def report(**fields: object) -> dict[str, Any]:
    """Return a report on an item of its own."""
    return {**TEST_REPORT, "item_identification": f"lot-{next(_NAMES)}", **fields}


def digest_of(fields: dict[str, Any]) -> str:
    return hashlib.sha256(dump(fields)).hexdigest()


def test_a_report_is_sealed_and_looked_up_and_its_receipt_verified(endpoint: Endpoint) -> None:
    fields = report()

    sealed = endpoint.seal(fields)
    assert sealed.code == 201
    assert sealed.headers["location"] == sealed.body["receipt"]
    assert sealed.body["report_digest"] == digest_of(fields)
    item = fields["item_identification"]
    by_item = endpoint.call("GET", f"/v1/seals?item={item}&test={TEST}")
    by_digest = endpoint.call("GET", f"/v1/reports/{digest_of(fields)}")
    assert by_item.body == by_digest.body
    (record,) = by_item.body["seals"]
    assert record["entry"] == sealed.body["entry"]
    assert (record["item"], record["verdict"]) == (item, "CONFORMING")
    receipt = endpoint.call("GET", sealed.body["receipt"])
    found = verify_receipt(
        receipt.raw,
        genesis_json=(endpoint.node.folder / "genesis.json").read_bytes(),
        chain_id=endpoint.node.chain_id,
    )
    assert receipt.headers["lotmark-standing"] == "final"
    assert (found.index, found.party, found.holder) == (sealed.body["entry"], PARTY, "erp")


def test_the_same_report_again_in_another_order_is_not_sealed_again(endpoint: Endpoint) -> None:
    fields = report()

    first = endpoint.seal(fields)
    again = endpoint.seal(dict(reversed(fields.items())))
    assert (first.code, again.code) == (201, 200)
    assert again.body == {**first.body, "new": False}


def test_another_content_is_a_correction_and_has_to_be_called_one(endpoint: Endpoint) -> None:
    fields = report()
    first = endpoint.seal(fields).body["entry"]
    other = {**fields, "method": "another"}

    refused = endpoint.seal(other)
    assert (refused.code, refused.body["entries"]) == (409, [first])
    nothing = endpoint.seal(report(), f"?corrects={first}")
    assert nothing.code == 409
    assert "none stands" in nothing.body["detail"]
    corrected = endpoint.seal(other, f"?corrects={first}")
    assert corrected.code == 201
    found = endpoint.call("GET", f"/v1/seals?item={fields['item_identification']}").body["seals"]
    assert [each["entry"] for each in found] == [first, corrected.body["entry"]]
    assert [each["corrected_by"] is None for each in found] == [False, True]


def test_all_missing_fields_come_in_the_problem(endpoint: Endpoint) -> None:
    fields = report()
    for name in ("customer_address", "authoriser"):
        del fields[name]

    problem = endpoint.seal(fields).body
    assert problem["type"] == "urn:lotmark:problem:report-incomplete"
    assert [each["field"] for each in problem["missing"]] == ["customer_address", "authoriser"]
    assert problem["missing"][0]["clause"] == ".2.1 e"


def test_of_many_at_once_with_one_report_one_seals_it(endpoint: Endpoint) -> None:
    fields = report()

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: endpoint.seal(fields), range(12)))
    codes = [answer.code for answer in answers]
    assert codes.count(201) == 1
    assert set(codes) <= {200, 201, 503}
    item = fields["item_identification"]
    assert len(endpoint.call("GET", f"/v1/seals?item={item}").body["seals"]) == 1


def test_what_an_erp_sealed_the_command_line_knows(endpoint: Endpoint, tmp_path: Path) -> None:
    fields = report()
    entry = endpoint.seal(fields).body["entry"]
    file = tmp_path / "report.json"
    file.write_text(json.dumps(fields))

    client = endpoint.node.client(PARTY, "lims")
    done = CliRunner().invoke(app, ["seal", str(file), "--as", str(client), "--json"])
    (told,) = json.loads(done.stdout)["sealed"]
    assert (told["index"], told["new"]) == (entry, False)


# Who may come in


def test_whoever_has_no_valid_key_is_told_the_same_whatever_is_wrong(endpoint: Endpoint) -> None:
    node = endpoint.node
    revoked = make_key(node, "revoked")
    keys_of(node).revoke("revoked", now_ms=1)
    foreign = make_key(node, "foreign")
    path = keys_path(node)
    document = json.loads(path.read_text())
    for each in document["keys"]:
        if each["name"] == "foreign":
            each["party"] = "OEM-A"
    path.write_text(json.dumps(document))

    shown: list[dict[str, Any]] = [
        {"key": None},
        {"key": ""},
        {"key": "lmk_unknown"},
        {"key": revoked},
        {"key": foreign},
        {"key": endpoint.key[:-1]},
        {"key": None, "headers": {"Authorization": f"Basic {endpoint.key}"}},
        {"key": None, "headers": {"Authorization": endpoint.key}},
        {"key": "\xff" * 40},
    ]
    answers = [endpoint.call("GET", "/v1/seals?item=x", **options) for options in shown]
    assert {answer.code for answer in answers} == {401}
    assert len({answer.raw for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert endpoint.call("GET", "/v1/seals?item=x").code == 200


def test_a_key_for_another_batch_key_opens_nothing(endpoint: Endpoint) -> None:
    secret = make_key(endpoint.node, "old-service")
    path = keys_path(endpoint.node)
    document = json.loads(path.read_text())
    for each in document["keys"]:
        if each["name"] == "old-service":
            each["batch_key"] = bytes(32).hex()
    path.write_text(json.dumps(document))

    assert endpoint.call("GET", "/v1/seals?item=x", key=secret).code == 401


def test_a_key_that_was_used_too_often_may_come_back_later(endpoint: Endpoint) -> None:
    slow = make_key(endpoint.node, "slow", per_minute=1)

    assert endpoint.call("GET", "/v1/seals?item=x", key=slow).code == 200
    refused = endpoint.call("GET", "/v1/seals?item=x", key=slow)
    assert refused.code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert endpoint.call("GET", "/v1/seals?item=x").code == 200


def test_no_secret_is_in_the_log_or_in_the_file(endpoint: Endpoint) -> None:
    endpoint.call("GET", "/v1/seals?item=x", key="lmk_my-secret")

    written = "".join(endpoint.node.log) + keys_path(endpoint.node).read_text()
    assert endpoint.key not in written
    assert "my-secret" not in written
    assert keys_path(endpoint.node).stat().st_mode & 0o777 == 0o600


def test_no_page_of_another_origin_may_read_an_answer(endpoint: Endpoint) -> None:
    origin = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}

    for method in ("OPTIONS", "GET"):
        answer = endpoint.call(method, "/v1/seals?item=x", headers=origin)
        assert not [name for name in answer.headers if name.startswith("access-control")]


# Every answer that the OpenAPI has


def _with_broken_keys(endpoint: Endpoint, ask: Callable[[], Answer]) -> Answer:
    path = keys_path(endpoint.node)
    whole = path.read_text()
    path.write_text("{")
    try:
        return ask()
    finally:
        path.write_text(whole)


def _twice_with_a_slow_key(endpoint: Endpoint, method: str, path: str) -> Answer:
    key = make_key(endpoint.node, f"slow-{next(_NAMES)}", per_minute=1)
    endpoint.call(method, path, key=key)
    return endpoint.call(method, path, key=key)


ROUTES = {
    ("post", "/v1/seals"): "/v1/seals",
    ("get", "/v1/seals"): "/v1/seals?item=x",
    ("get", "/v1/reports/{digest}"): f"/v1/reports/{'0' * 64}",
    ("get", "/v1/receipts/{entry}"): "/v1/receipts/0",
}
# Reached by test_app.py, which can make a node slow or its disk full.
ELSEWHERE = {("post", "/v1/seals", 202), ("post", "/v1/seals", 408)}
REACHED: dict[tuple[str, str, int], Callable[[Endpoint], Answer]] = {
    ("post", "/v1/seals", 200): lambda at: [at.seal(at_same) for at_same in [report()] * 2][1],
    ("post", "/v1/seals", 201): lambda at: at.seal(report()),
    ("post", "/v1/seals", 400): lambda at: at.seal({}),
    ("post", "/v1/seals", 409): lambda at: at.seal(report(), "?corrects=1"),
    ("post", "/v1/seals", 413): lambda at: at.seal({"method": "x" * BODY_SIZE_MAX}),
    ("post", "/v1/seals", 415): lambda at: at.seal({}, headers={"Content-Type": "text/plain"}),
    ("get", "/v1/seals", 200): lambda at: at.call("GET", "/v1/seals?item=x"),
    ("get", "/v1/seals", 400): lambda at: at.call("GET", "/v1/seals"),
    ("get", "/v1/reports/{digest}", 200): lambda at: at.call(
        "GET", f"/v1/reports/{at.seal(report()).body['report_digest']}"
    ),
    ("get", "/v1/reports/{digest}", 400): lambda at: at.call("GET", "/v1/reports/x"),
    ("get", "/v1/reports/{digest}", 404): lambda at: at.call("GET", f"/v1/reports/{'0' * 64}"),
    ("get", "/v1/receipts/{entry}", 200): lambda at: at.call(
        "GET", at.seal(report()).body["receipt"]
    ),
    ("get", "/v1/receipts/{entry}", 400): lambda at: at.call("GET", "/v1/receipts/-1"),
    ("get", "/v1/receipts/{entry}", 404): lambda at: at.call("GET", "/v1/receipts/0"),
}


def _reach(endpoint: Endpoint, method: str, path: str, code: int) -> Answer:
    url = ROUTES[method, path]
    match code:
        case 401:
            return endpoint.call(method.upper(), url, key=None)
        case 403:
            key = make_key(endpoint.node, f"other-{next(_NAMES)}", may=May.CAPTURE)
            return endpoint.call(method.upper(), url, key=key)
        case 429:
            return _twice_with_a_slow_key(endpoint, method.upper(), url)
        case 503:
            return _with_broken_keys(endpoint, lambda: endpoint.call(method.upper(), url))
        case _:
            return REACHED[method, path, code](endpoint)


def test_every_documented_answer_is_given_as_documented(endpoint: Endpoint) -> None:
    answers = endpoint.contract.answers - ELSEWHERE
    promised = {each for each in answers if each[1].startswith("/v1/")}
    assert {route[:2] for route in promised} == set(ROUTES)

    for method, path, code in sorted(promised):
        answer = _reach(endpoint, method, path, code)
        assert answer.code == code, (method, path, code, answer)
        endpoint.contract.check(method, path, answer)


def test_what_is_no_route_is_a_problem_too(endpoint: Endpoint) -> None:
    for method, path, code in (
        ("GET", "/", 404),
        ("GET", "/v1/seals/", 404),
        ("GET", "/docs", 404),
        ("DELETE", "/v1/seals", 405),
    ):
        answer = endpoint.call(method, path)
        assert answer.code == code
        assert answer.body["status"] == code
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"files": [{"path": "../secret", "media_type": "a/b"}]}, "write sha256 and size"),
        ({"files": [{"path": "/etc/passwd", "media_type": "a/b"}]}, "write sha256 and size"),
        ({"method": 1.5}, "report: method: 1.5 is a bare number"),
        ({"../../x": "y"}, "report: '../../x' is unknown"),
        ({"method": "a\0b"}, "control character U+0000"),
    ],
)
def test_a_hostile_report_is_refused_with_the_reason(
    endpoint: Endpoint, fields: dict[str, Any], reason: str
) -> None:
    refused = endpoint.seal(report(**fields))

    assert refused.code == 400
    assert reason in refused.body["detail"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    st.sampled_from(["/v1/seals", "/v1/reports/", "/v1/receipts/", "/v1/seals?item=", "/"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80),
    st.binary(max_size=200) | st.dictionaries(st.text(), st.text()).map(json.dumps).map(str.encode),
)
def test_whatever_is_asked_nothing_fails_in_a_way_nobody_foresaw(
    endpoint: Endpoint, method: str, path: str, more: str, body: bytes
) -> None:
    answer = endpoint.call(method, path + more.replace("#", ""), body=body)

    assert answer.code < 500 or answer.code == 503, answer
    if answer.code >= 400 and method != "HEAD":
        assert answer.body["status"] == answer.code


def test_a_request_that_is_no_http_harms_nobody(endpoint: Endpoint) -> None:
    host, port = endpoint.node.ready["http"].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01 no request\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")

    assert endpoint.call("GET", "/v1/seals?item=x").code == 200


# The node


def test_with_tls_the_endpoint_shows_the_node_s_certificate(tmp_path: Path) -> None:
    with http_node(tmp_path / "c", url="https://127.0.0.1:0") as node:
        key, address = make_key(node, "erp"), node.ready["http"]
        trusted = ssl.create_default_context(cafile=node.folder / PARTY / "ca" / "ca.pem")
        trusted.check_hostname = False
        answer = call(address, "GET", "/v1/seals?item=x", key=key, tls=trusted)
        assert answer.code == 200

        host, port = address.split(":")
        name = tls_name(PARTY, NODE.split("/")[1], node.chain_id)
        named = ssl.create_default_context(cafile=node.folder / PARTY / "ca" / "ca.pem")
        with (
            socket.create_connection((host, int(port)), timeout=20) as plain,
            named.wrap_socket(plain, server_hostname=name),
        ):
            pass  # the handshake holds under the node's own name
        with pytest.raises(OSError, match=r"closed|reset"):
            call(address, "GET", "/v1/seals?item=x", key=key)


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    with http_node(tmp_path / "c", url="https://127.0.0.1:0") as node:
        address = split_address(node.ready["http"])
        before = ssl.get_server_certificate(address)
        done = node.lotmark("key", "renew-cert", str(node.settings))
        assert done.returncode == 0, done.stderr
        renewed = x509.load_pem_x509_certificate(
            (node.settings.parent / "tls/cert.pem").read_bytes()
        )

        until(lambda: ssl.get_server_certificate(address) != before)
        shown = ssl.get_server_certificate(address).encode()
        assert x509.load_pem_x509_certificate(shown) == renewed


def test_a_node_that_restarts_goes_on_with_its_keys_and_seals(tmp_path: Path) -> None:
    with http_node(tmp_path / "c") as node:
        endpoint, fields = Endpoint(node), report()
        entry = endpoint.seal(fields).body["entry"]
        assert node.stop() == 0
        node.start()

        again = endpoint.seal(fields)
        assert (again.code, again.body["entry"]) == (200, entry)
        assert node.kill() != 0
        node.start()
        assert endpoint.seal(fields).code == 200
        with LedgerSession(read_client_settings(node.client(PARTY, "lims"))) as session:
            assert len(list(session.seals(item=fields["item_identification"]))) == 1
