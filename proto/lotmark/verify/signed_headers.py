"""Batch headers with their signatures, as entries hold them: without the events."""

from lotmark.batch import Batch
from lotmark.errors import MalformedError

_SIGNATURE_SIZE = 64


def read_signed_headers(raw: bytes, count: int) -> list[Batch]:
    """Return `count` batches, empty of events, whose signed headers stand one after another.

    Raises:
        MalformedError: The bytes are something else.
    """
    headers, at = [], 0
    for _ in range(count):
        end = at + 2 + int.from_bytes(raw[at : at + 2]) + _SIGNATURE_SIZE
        if end > len(raw):
            raise MalformedError(f"a batch header at byte {at} of {len(raw)} is cut off")
        headers.append(Batch(b"", raw[at:end], []))
        at = end
    if at != len(raw):
        raise MalformedError(f"{len(raw) - at} bytes follow {count} batch headers")
    return headers
