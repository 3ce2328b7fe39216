"""Reads the worked examples of docs/protocol.md, and hashes and verifies them without our code."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DOCUMENT = Path(__file__).parents[2] / "docs/protocol.md"

_EXAMPLE = re.compile(r"<!-- example: ([a-z0-9_.]+) -->\n[^\n]*\n```text\n(.*?)```\n", re.DOTALL)
_REFERENCE = re.compile(r"\((\d+) bytes: ([a-z0-9_.]+)\)")


@cache
def _examples() -> dict[str, str]:
    found = _EXAMPLE.findall(DOCUMENT.read_text(encoding="utf-8"))
    return dict(found)


def example_text(name: str) -> str:
    """Return an example that is text, with its newlines."""
    return _examples()[name]


def joined_text(name: str) -> bytes:
    """Return an example that is one line of text, broken for people."""
    return _examples()[name].replace("\n", "").encode("ascii")


def example_bytes(name: str) -> bytes:
    """Return the bytes of an example, those that it refers to included."""
    above, _, _ = _examples()[name].partition("----\n")
    return b"".join(raw for _, raw in _fields(above))


def example_fields(name: str) -> list[tuple[str, bytes]]:
    """Return the labels and bytes of an example's fields."""
    above, _, _ = _examples()[name].partition("----\n")
    return _fields(above)


def what_follows(name: str) -> dict[str, bytes]:
    """Return what stands below the line of an example, by its label."""
    _, _, below = _examples()[name].partition("----\n")
    return dict(_fields(below))


def _fields(lines: str) -> list[tuple[str, bytes]]:
    fields: list[tuple[str, bytes]] = []
    for line in lines.splitlines():
        if reference := _REFERENCE.fullmatch(line):
            size, name = int(reference[1]), reference[2]
            is_text = name == "policy"
            raw = example_text(name).encode() if is_text else example_bytes(name)
            assert len(raw) == size, f"{line}: it has {len(raw)} bytes"
            fields.append((f"={name}", raw))
            continue
        digits, _, label = line.partition("  ")
        if label:
            fields.append((label, bytes.fromhex(digits)))
        else:
            before, raw = fields.pop()
            fields.append((before, raw + bytes.fromhex(digits)))
    return fields


def sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right)


def str8(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("ascii")


def u64(number: int | str) -> bytes:
    return int(number).to_bytes(8)


KEYS = dict(example_fields("keys"))
GENESIS: dict[str, Any] = json.loads(joined_text("genesis.json"))
CHAIN_ID = example_bytes("genesis.chain_id")
ORIGIN = f"lotmark.invalid/example/{CHAIN_ID.hex()}"
NODES = ("OEM-A/n1", "T1-STATOR/n1")
PURPOSES = {"batch": 1, "proposal": 2, "log": 3, "cosign": 4, "admit": 5}
BATCH_DOMAIN = b"lotmark/batch/v1\n"


def verify(label: str, signed: bytes, signature: bytes) -> None:
    Ed25519PublicKey.from_public_bytes(KEYS[label]).verify(signature, signed)


def event_ids() -> list[bytes]:
    return [leaf_hash(example_bytes(f"event.{number}")) for number in (1, 2)]


def leaf_hashes() -> list[bytes]:
    return [leaf_hash(example_bytes(f"leaf.{index}")) for index in range(8)]
