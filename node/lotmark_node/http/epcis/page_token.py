"""Where the next page of an answer begins, as a text that callers hand back.

Nothing is kept for it here: the token says all. It is good for its own question, for an hour, and
at the endpoint that made it, until that starts again.
"""

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from lotmark_node.http.api_keys import now_ms
from lotmark_node.http.errors import QueryParameterRefused

TOKEN_S = 3_600
TOKEN_SIZE_MAX = 8_192  # characters
STREAMS_MAX = 16

_SEAL_SIZE = 16
_KEY_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far an answer has come."""

    resumes: tuple[bytes, ...] = ()  # the node's, one for each look-up that finds candidates
    index: int = -1  # entry that was looked at last; -1: none
    row: int = -1  # of what that entry holds, the last one that was told; -1: all of it
    time: int | None = None  # of the last event told, where they are ordered by it
    told_count: int = 0
    by_hash: bool = False  # whether the look-ups are for hashes


@dataclass(frozen=True, slots=True)
class PageToken:
    """A token and when it ends."""

    text: str
    ends_ms: int


class PageTokens:
    """Makes tokens and reads them; nobody else can make one, or change where it leads."""

    def __init__(self, clock_ms: Callable[[], int] = now_ms) -> None:
        self._key = secrets.token_bytes(_KEY_SIZE)
        self._clock_ms = clock_ms

    def make(self, cursor: Cursor, question: Sequence[object]) -> PageToken:
        """Return the token of the page that follows.

        Args:
            cursor: Where it begins.
            question: What makes the token good for one question alone.
        """
        ends_ms = self._clock_ms() + TOKEN_S * 1_000
        resumes = [each.hex() for each in cursor.resumes]
        said = {**asdict(cursor), "resumes": resumes, "ends_ms": ends_ms}
        raw = json.dumps(said, separators=(",", ":")).encode()
        sealed = self._seal(raw, question) + raw
        return PageToken(base64.urlsafe_b64encode(sealed).decode().rstrip("="), ends_ms)

    def read(self, text: str, question: Sequence[object]) -> Cursor:
        """Return where a page begins.

        Raises:
            QueryParameterRefused: It is no token, another question's, or has ended.
        """
        try:
            if len(text) > TOKEN_SIZE_MAX:
                raise ValueError("too long")
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
            raw = sealed[_SEAL_SIZE:]
            if not hmac.compare_digest(sealed[:_SEAL_SIZE], self._seal(raw, question)):
                raise ValueError("not made here")
        except (ValueError, binascii.Error) as error:
            raise QueryParameterRefused(
                "nextPageToken was not given for this question, or the node has started since;"
                " follow the header Link as it stands, or ask for the first page again"
            ) from error
        said = json.loads(raw)
        if said.pop("ends_ms") < self._clock_ms():
            raise QueryParameterRefused(
                f"nextPageToken was good for {TOKEN_S} s and has ended; ask for the first page"
                " again"
            )
        return Cursor(**{**said, "resumes": tuple(map(bytes.fromhex, said["resumes"]))})

    def _seal(self, raw: bytes, question: Sequence[object]) -> bytes:
        asked = json.dumps(question).encode()
        whole = len(asked).to_bytes(8) + asked + raw
        return hmac.digest(self._key, whole, "sha256")[:_SEAL_SIZE]
