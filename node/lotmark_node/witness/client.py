"""Asks a witness for cosignatures, as a log does: C2SP tlog-witness over HTTP or HTTPS.

The witness may be anybody's. Nothing it answers is believed without a signature of its key, and
neither slowness nor size of an answer holds up the caller beyond a bound.
"""

import io
import logging
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

from lotmark.checkpoint import parse_checkpoint
from lotmark.cosignature import verify_cosignature
from lotmark.errors import MalformedError, SignatureError
from lotmark.signed_note import Note, NoteSignature, VerifierKey
from lotmark.tlog_witness import (
    ADD_CHECKPOINT_PATH,
    ANSWER_SIZE_MAX,
    AddCheckpoint,
    format_add_checkpoint,
    parse_cosignatures,
    parse_size,
)
from lotmark_node.witness.bounded_reader import BoundedReader
from lotmark_node.witness.errors import WitnessAhead, WitnessRefused, WitnessUnavailable

TIMEOUT_S = 10.0  # to connect, to send, and to answer, each
ROUNDS_MAX = 3  # a witness's size may change between its answer and the proof from there
HEADER_SIZE_MAX = 16 << 10

logger = logging.getLogger(__name__)


class WitnessClient:
    """One witness, over one connection that is kept open; not for several threads at once."""

    def __init__(
        self,
        url: str,
        vkeys: Sequence[VerifierKey],
        *,
        ca_pem: str | None = None,
        server_name: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: The witness's submission prefix, http or https.
            vkeys: Its keys, of type 0x04; signatures of others are ignored.
            ca_pem: The CA that issued its certificate; None: those that this system trusts.
            server_name: The DNS name in its certificate; None: the URL's host.
            timeout_s: Bound for each step of a call: to connect, to send, to answer.

        Raises:
            WitnessUnavailable: The URL is none of a witness.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise WitnessUnavailable(f"{url[:200]!a} is no URL: {error}") from error
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
            raise WitnessUnavailable(
                f"{url[:200]!a} is no address of a witness; write such as https://w1.example:7404"
            )
        self._url, self._path = url, parts.path.rstrip("/") + ADD_CHECKPOINT_PATH
        self._vkeys = {(vkey.name, vkey.key_id): vkey for vkey in vkeys}
        context = ssl.create_default_context(cadata=ca_pem) if parts.scheme == "https" else None
        self._connection = _Connection(
            host,
            port or (443 if context else 80),
            timeout_s=timeout_s,
            tls=context,
            server_name=server_name or host,
        )
        self._cosigned_size = 0  # the largest this client knows of; the witness has the last word

    def submit(
        self, note: Note, prove: Callable[[int, int], Sequence[bytes]]
    ) -> tuple[NoteSignature, ...]:
        """Return the witness's cosignatures of a checkpoint, each verified.

        Args:
            note: The checkpoint, signed by its log.
            prove: Returns the consistency path from a size of 1 or more to a larger one, of which
                the checkpoint's is the second.

        Raises:
            WitnessAhead: The witness has cosigned a larger tree.
            WitnessRefused: It refuses this checkpoint, or its signatures do not hold.
            WitnessUnavailable: It does not answer, or not as a witness does.
        """
        size = parse_checkpoint(note.text).size
        old_size = self._cosigned_size
        for _ in range(ROUNDS_MAX):
            if old_size > size:
                raise WitnessAhead(f"{self._url} has cosigned size {old_size}, beyond {size}")
            path = prove(old_size, size) if 0 < old_size < size else ()
            request = AddCheckpoint(old_size, tuple(path), note)
            status, body = self._post(format_add_checkpoint(request))
            if status == HTTPStatus.OK:
                signatures = self._verified(body, note.text)
                self._cosigned_size = size
                return signatures
            if status != HTTPStatus.CONFLICT:
                reason = body[:200].decode("ascii", "replace").strip()
                raise WitnessRefused(f"{self._url} refuses size {size}: {status} {reason!a}")
            told_size = self._parsed_size(body)
            if told_size < self._cosigned_size:
                logger.warning(
                    "witness has forgotten what it cosigned",
                    extra={"url": self._url, "size": told_size, "known": self._cosigned_size},
                )
            old_size = told_size
        raise WitnessUnavailable(
            f"{self._url} named another size in each of {ROUNDS_MAX} answers, now {old_size}"
        )

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._connection.close()

    def _post(self, body: bytes) -> tuple[int, bytes]:
        # A witness may close a connection it kept open just as we use it: then once more.
        attempts = 2 if self._connection.sock is not None else 1
        while True:
            attempts -= 1
            try:
                self._connection.request(
                    "POST", self._path, body, {"Content-Type": "text/plain; charset=utf-8"}
                )
                with self._connection.getresponse() as response:
                    return response.status, self._read(response)
            except (OSError, HTTPException) as error:
                self._connection.close()
                if not attempts or isinstance(error, TimeoutError):
                    raise WitnessUnavailable(
                        f"{self._url} gives no answer: {type(error).__name__} {error}"
                    ) from error

    def _read(self, response: HTTPResponse) -> bytes:
        body = response.read(ANSWER_SIZE_MAX + 1)
        if not response.isclosed():
            self._connection.close()  # what is left unread would begin the next answer
        if response.length and len(body) <= ANSWER_SIZE_MAX:
            raise IncompleteRead(body, response.length)
        return body

    def _verified(self, body: bytes, text: str) -> tuple[NoteSignature, ...]:
        try:
            known = [
                (signature, vkey)
                for signature in parse_cosignatures(body, text)
                if (vkey := self._vkeys.get((signature.name, signature.key_id)))
            ]
            for signature, vkey in known:
                verify_cosignature(text, signature, vkey)
        except (MalformedError, SignatureError) as error:
            raise WitnessRefused(f"{self._url} answers no cosignature: {error}") from error
        if not known:
            raise WitnessRefused(f"{self._url} cosigns with no key that is known here")
        return tuple(signature for signature, _ in known)

    def _parsed_size(self, body: bytes) -> int:
        try:
            return parse_size(body)
        except MalformedError as error:
            raise WitnessUnavailable(f"{self._url} answers no size: {error}") from error


class _Response(HTTPResponse):
    """An answer of which only so much is read, and only so long."""

    def __init__(self, sock: Any, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        reader = BoundedReader(sock, self.fp)
        reader.allow(size=HEADER_SIZE_MAX + ANSWER_SIZE_MAX, time_s=sock.gettimeout())
        self.fp = io.BufferedReader(reader)


class _Connection(HTTPConnection):
    """A connection over TCP, or over TLS to a server of a given name."""

    response_class = _Response

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_s: float,
        tls: ssl.SSLContext | None,
        server_name: str,
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._tls, self._server_name = tls, server_name
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect, and shake hands where there is TLS."""
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)

    def send(self, data: Any) -> None:
        """Send, with the whole time again: reading an answer has used some of the last one."""
        if self.sock is not None:
            self.sock.settimeout(self._timeout_s)
        super().send(data)
