"""Ids of the instructions in a settlement file: the same posting has the same id for everybody."""

import hashlib
import struct
from typing import Final

_DOMAIN: Final = b"lotmark/settlement/v1\n"
_PLACE = struct.Struct(">QH")


def instruction_id(*, chain_id: bytes, receipt_index: int, number: int) -> bytes:
    """Return the id of a posting, 32 bytes, by which nobody settles it twice.

    Args:
        chain_id: Of the ledger.
        receipt_index: Entry index of the rule receipt that posts.
        number: Of the posting within it; the first is 0.
    """
    return hashlib.sha256(_DOMAIN + chain_id + _PLACE.pack(receipt_index, number)).digest()
