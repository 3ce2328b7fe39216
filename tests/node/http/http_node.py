"""A node with an HTTP endpoint, and a caller that checks every answer against the OpenAPI."""

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lotmark_node.http.api_keys import ApiKeyFile, May, now_ms, parse_rights
from lotmark_node.http.app import SealAnswer, SealsAnswer
from lotmark_node.http.problems import Problem
from lotmark_node.http.service import API_KEYS_NAME, api_keys_file, read_service
from lotmark_node.node_settings import read_node_settings
from tests.node.running_node import NodeProcess

PARTY = "LAB-17025"
NODE = f"{PARTY}/n1"
CLIENT = f"{PARTY}/erp"
READER = f"{PARTY}/lims"
FOREIGN = "OEM-A/erp"
CALL_S = 60.0
PER_MINUTE = 60_000


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    code: int
    headers: Mapping[str, str]  # names in lower case
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@contextmanager
def http_node(
    folder: Path,
    *,
    url: str = "http://127.0.0.1:0",
    clients: Sequence[str] = (CLIENT, READER, FOREIGN),
) -> Iterator[NodeProcess]:
    """Run a laboratory's node with an HTTP endpoint for its ERP."""
    parties = (f"{PARTY}:laboratory", "OEM-A:oem")
    node = NodeProcess(folder, parties=parties, clients=clients, node=NODE)
    serve_http(node, url)
    node.start()
    try:
        yield node
    finally:
        if node.process is not None:
            node.stop()


def serve_http(node: NodeProcess, url: str) -> None:
    """Write into a node's settings that it serves HTTP, in the name of its party's ERP."""
    client = node.client(PARTY, "erp")
    client.write_text(client.read_text().replace(':0"', ':7401"'))  # any that can be: not called
    lines = f'http_listen = "{url}"\nhttp_client = "{client}"\n'
    node.settings.write_text(lines + node.settings.read_text())


def keys_of(node: NodeProcess) -> ApiKeyFile:
    return ApiKeyFile(api_keys_file(read_node_settings(node.settings)))


def keys_path(node: NodeProcess) -> Path:
    return node.client(PARTY, "erp").parent / API_KEYS_NAME


def make_key(
    node: NodeProcess, name: str, *, may: str = May.SEAL, per_minute: int = PER_MINUTE
) -> str:
    service, _ = read_service(read_node_settings(node.settings))
    return keys_of(node).make(
        name, service, may=parse_rights(may), per_minute=per_minute, now_ms=now_ms()
    )


def call(
    address: str,
    method: str,
    path: str,
    *,
    key: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Make a request and return the answer."""
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    connection = (
        HTTPSConnection(address, timeout=CALL_S, context=tls)
        if tls is not None
        else HTTPConnection(address, timeout=CALL_S)
    )
    with closing(connection):
        connection.request(method, path, body=body, headers=sent)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())


_MODELS: dict[str, type[BaseModel]] = {
    each.__name__: each for each in (Problem, SealAnswer, SealsAnswer)
}


class Contract:
    """What the OpenAPI of an endpoint promises."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.answers = {
            (method, path, int(code))
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            for code in operation["responses"]
        }

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Check that an answer to a route is one that the document has."""
        operation = self._document["paths"][path][method]
        content = operation["responses"][str(answer.code)]["content"]
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in content, (answer.code, media_type, content)
        if media_type.endswith("json"):
            model = _MODELS[content[media_type]["schema"]["$ref"].rpartition("/")[2]]
            model.model_validate_json(answer.raw, strict=True, extra="forbid")
