"""Answers of the HTTP endpoint that need a slow caller or a node that takes nothing."""

import asyncio
import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest
from fastapi import FastAPI

from lotmark.client import read_client_settings
from lotmark_node.http import body_limit, sealing_desk
from lotmark_node.http.api_keys import ApiKeyFile, May, Service
from lotmark_node.http.app import make_app
from lotmark_node.http.doorkeeper import Doorkeeper
from lotmark_node.http.epcis import capture_routes
from lotmark_node.http.open import open_desks
from lotmark_node.http.rate_limit import TokenBuckets
from lotmark_node.http.server import HttpServer
from tests.node.engine.running_engine import run
from tests.node.http.epcis.epcis_endpoint import object_event
from tests.node.http.http_node import Answer, Contract, call
from tests.node.rpc.served_ledger import FoundedConsortium, served
from tests.proto.sound_reports import TEST_REPORT

SERVICE = Service("OEM-A", "erp", bytes(32).hex())


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> FoundedConsortium:
    return FoundedConsortium(tmp_path_factory.mktemp("http-app") / "consortium")


def with_endpoint(
    consortium: FoundedConsortium,
    folder: Path,
    check: Callable[[str, str], None],
    *,
    free_size_min: int = 0,
) -> None:
    """Serve a ledger and HTTP over it, and check with the address and a key."""

    def serve(port: int) -> None:
        file = consortium.folder / "OEM-A/clients/erp/client.toml"
        file.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", file.read_text()))
        own = replace(read_client_settings(file), outbox_file=folder / "outbox.db")
        keys = ApiKeyFile(folder / "keys.json")
        secret = keys.make(
            "erp", SERVICE, may=frozenset({May.SEAL, May.CAPTURE}), per_minute=6_000, now_ms=1
        )
        with ExitStack() as desks:
            sealing, epcis = open_desks(own, folder / "jobs.db", desks)
            doorkeeper = Doorkeeper(keys, SERVICE, TokenBuckets())
            app = make_app(sealing, doorkeeper, epcis=epcis)
            server = HttpServer(app, "127.0.0.1:0", None)
            desks.callback(server.stop)
            check(server.address, secret)

    async def scenario() -> None:
        async with served(consortium, folder / "data", free_size_min=free_size_min) as ledger:
            await asyncio.to_thread(serve, ledger.port)

    run(scenario())


def contract_of(address: str) -> Contract:
    return Contract(call(address, "GET", "/openapi.json").body)


def test_a_seal_that_the_ledger_has_not_taken_yet_waits_and_is_not_made_twice(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing_desk, "ACKNOWLEDGED_S", 0.3)
    raw = json.dumps(dict(TEST_REPORT)).encode()

    def check(address: str, key: str) -> None:
        def seal(body: bytes) -> Answer:
            return call(address, "POST", "/v1/seals", key=key, body=body)

        first, again = seal(raw), seal(raw)
        contract_of(address).check("post", "/v1/seals", first)
        assert (first.code, again.code) == (202, 202)
        assert first.headers["retry-after"] == "2"
        assert (first.body["entry"], first.body["receipt"]) == (None, None)
        assert again.body == {**first.body, "new": False}
        other = seal(json.dumps({**TEST_REPORT, "method": "another"}).encode())
        assert other.code == 409
        assert "waits in the outbox" in other.body["detail"]

    with_endpoint(consortium, tmp_path, check, free_size_min=1 << 60)


def test_an_event_that_the_ledger_has_not_taken_yet_waits_in_a_job(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_routes, "ACKNOWLEDGED_S", 0.3)
    raw = json.dumps(object_event()).encode()

    def check(address: str, key: str) -> None:
        answer = call(address, "POST", "/epcis/events", key=key, body=raw)
        assert answer.code == 202
        job = call(address, "GET", answer.headers["location"], key=key).body
        assert (job["captureID"], job["running"]) == (answer.body["captureID"], True)
        assert [each["result"] for each in job["events"]] == ["waiting"]

    with_endpoint(consortium, tmp_path, check, free_size_min=1 << 60)


def test_a_body_that_does_not_arrive_is_not_waited_for(
    consortium: FoundedConsortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit, "BODY_S", 0.2)

    def check(address: str, key: str) -> None:
        with closing(HTTPConnection(address, timeout=20)) as connection:
            connection.putrequest("POST", "/v1/seals")
            connection.putheader("Content-Length", "9")
            connection.endheaders(b"{")
            response = connection.getresponse()
            content_type = response.headers["Content-Type"]
            answer = Answer(response.status, {"content-type": content_type}, response.read())
        assert answer.code == 408
        contract_of(address).check("post", "/v1/seals", answer)

    with_endpoint(consortium, tmp_path, check)


def test_a_caller_that_goes_away_in_the_middle_harms_nobody(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    def check(address: str, key: str) -> None:
        host, port = address.split(":")
        for sent in (
            b"",
            b"POST /v1/seals HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
        ):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(sent)
        assert call(address, "GET", "/v1/seals?item=x", key=key).code == 200

    with_endpoint(consortium, tmp_path, check)


def test_an_address_in_use_is_named_with_what_to_change(
    consortium: FoundedConsortium, tmp_path: Path
) -> None:
    def check(address: str, _key: str) -> None:
        with pytest.raises(OSError, match=f"cannot listen at {address}: .*; change http_listen"):
            HttpServer(FastAPI(), address, None)

    with_endpoint(consortium, tmp_path, check)


def test_the_endpoint_listens_at_an_ipv6_address_too() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    server = HttpServer(FastAPI(), "[::1]:0", None)
    try:
        assert server.address.startswith("[::1]:")
        assert call(server.address, "GET", "/openapi.json").code == 200
    finally:
        server.stop()
