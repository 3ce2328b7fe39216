"""A receiver of webhooks on this machine, which answers as it is told and keeps what it got."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a secret of a test"  # noqa: S105  # of nothing else
HOUR_S = 3_600
SIGN_FAILED = 19_021


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Answers in order what is in `answers`, then success."""

    def __init__(self, *, now_s: int = 0) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.received: list[Received] = []
        self.now_s = now_s
        self.is_feishu = False
        self.url = ""

    def answer(self, received: Received) -> tuple[int, bytes]:
        self.received.append(received)
        if self.answers:
            return self.answers.pop(0)
        return (200, self._feishu(received.document)) if self.is_feishu else (204, b"")

    def _feishu(self, document: dict[str, Any]) -> bytes:
        """Judge a message as the custom bot's documentation says."""
        key = f"{document['timestamp']}\n{SECRET}".encode()
        sign = base64.b64encode(hmac.new(key, digestmod=hashlib.sha256).digest()).decode()
        is_late = abs(self.now_s - int(document["timestamp"])) >= HOUR_S
        if is_late or document["sign"] != sign:
            said = "sign match fail or timestamp is not within one hour from current time"
            return json.dumps({"code": SIGN_FAILED, "msg": said}).encode()
        return json.dumps({"code": 0, "msg": "success", "data": {}}).encode()


@contextmanager
def receiving(*, is_feishu: bool = False, now_s: int = 0) -> Iterator[Receiver]:
    """Run a receiver on a free port of this machine."""
    receiver = Receiver(now_s=now_s)
    receiver.is_feishu = is_feishu

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            status, answer = receiver.answer(
                Received(dict(self.headers.items()), self.rfile.read(size))
            )
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            if 300 <= status < 400:
                self.send_header("location", receiver.url)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
