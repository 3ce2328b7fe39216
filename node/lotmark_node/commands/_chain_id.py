"""The chain id as a person gives it, for the commands that trust no file to tell it."""

from typing import Annotated

import typer

from lotmark_node import terminal

_DIGITS = 64

ChainIdOption = Annotated[
    str, typer.Option(metavar="HEX", help="Chain id from a source you trust.")
]


def parse_chain_id(text: str) -> bytes:
    """Return the bytes of a chain id, or end the command where it is none."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if 2 * len(raw) != _DIGITS:
        terminal.fail(
            f"{text[:80]!a} is no chain id.",
            f"Give its {_DIGITS} hex digits, as the founding document or a party has them (an"
            " invitation, a contract); take them neither from the file nor from a node.",
        )
    return raw
