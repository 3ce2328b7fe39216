"""Pages of state rows: from a key on, within bounds, and the key with which to go on."""

from collections.abc import Callable
from typing import TypeVar

from lotmark.errors import MalformedError
from lotmark_node.engine.store import LedgerStore

RESUME_SIZE_MAX = 2_048

Told = TypeVar("Told")


def row_page(
    store: LedgerStore,
    prefix: bytes,
    resume: bytes,
    tell: Callable[[bytes, bytes], Told | None],
    *,
    told_max: int,
    looked_at_max: int,
) -> tuple[list[Told], bytes]:
    """Return what a page of rows tells, and what to go on with; b"" at the end.

    Args:
        store: The rows.
        prefix: What their keys begin with.
        resume: From the page before; b"": begin.
        tell: Returns what a row tells from key and value, or None where it was not asked for.
        told_max: Of a page.
        looked_at_max: Rows for a page.

    Raises:
        MalformedError: What to go on with is of another question.
    """
    if resume and (not resume.startswith(prefix) or len(resume) > RESUME_SIZE_MAX):
        raise MalformedError("resume is of another question; ask the same one, or begin anew")
    page: list[Told] = []
    for at, (key, value) in enumerate(store.rows_from(resume or prefix, prefix)):
        if len(page) >= told_max or at >= looked_at_max:
            return page, key
        told = tell(key, value)
        if told is not None:
            page.append(told)
    return page, b""


def check_size(text: str, size_max: int, what: str) -> None:
    """Check that a name that a caller gave is not too long for a row's key.

    Raises:
        MalformedError: It is.
    """
    size = len(text.encode())
    if size > size_max:
        raise MalformedError(f"{what} has {size:,} bytes; at most {size_max:,} are looked up")
