"""What docs/protocol.md shows of rule packages, recomputed from its text alone."""

import json
import struct
from typing import Any

from tests.proto.protocol_examples import (
    CHAIN_ID,
    event_ids,
    example_bytes,
    example_fields,
    joined_text,
    leaf_hash,
    sha256,
    str8,
    u64,
    verify,
    what_follows,
)
from tests.proto.test_protocol_examples_log import row_key

NAME, PARTIES = b"scrap", ("OEM-A", "T1-STATOR")


def u16(number: int) -> bytes:
    return number.to_bytes(2)


def u32(number: int) -> bytes:
    return number.to_bytes(4)


def files() -> dict[str, bytes]:
    """Return the files of the archive, read by the document's words."""
    raw, found = example_bytes("package.archive"), {}
    at = len(b"lotmark/package/v1\n")
    while at < len(raw):
        path_end = at + 2 + int.from_bytes(raw[at : at + 2])
        start = path_end + 4
        end = start + int.from_bytes(raw[path_end:start])
        found[raw[at + 2 : path_end].decode("ascii")] = raw[start:end]
        at = end
    return found


def receipt() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(joined_text("receipt.document"))
    return document


def test_the_archive_holds_files_by_path_whose_hash_names_the_package() -> None:
    found = files()
    hashes = {path: sha256(content).hex() for path, content in found.items()}
    canonical = json.dumps(hashes, sort_keys=True, separators=(",", ":")).encode()

    assert list(found) == ["manifest.json", "rules/credit.json"]
    assert json.loads(found["manifest.json"])["name"] == NAME.decode()
    assert list(what_follows("package.archive").values()) == [
        sha256(example_bytes("package.archive")),
        sha256(canonical),
    ]


def test_the_change_names_the_package_and_the_hash_of_its_only_part() -> None:
    part, package = what_follows("package.archive").values()
    asked = b"\n\5scrap" + b"\x10\1" + b"\x1a\x20" + package + b"\x22\x20" + part
    raw = b"\x08" + bytes.fromhex("80d0c792b933") + b"\x12" + bytes([len(asked)]) + asked

    assert example_bytes("package.change") == raw
    assert list(what_follows("package.change").values()) == [
        sha256(b"lotmark/package-change/v1\n" + CHAIN_ID + raw)
    ]


def test_both_roots_of_the_supplier_approve_the_change() -> None:
    hashed = what_follows("package.change")["change hash"]
    signed = b"lotmark/package-approve/v1\n" + CHAIN_ID + hashed + str8("T1-STATOR")

    assert example_bytes("package.approval") == signed
    for number in (1, 2):
        label = f"T1-STATOR root {number}"
        verify(label, signed, what_follows("package.approval")[f"signature of {label}"])


def test_the_event_holds_its_values_by_ascending_names() -> None:
    def text(value: str) -> bytes:
        return b"\x1a" + bytes([len(value)]) + value.encode()

    def named(name: str, value: bytes) -> bytes:
        field = b"\n" + bytes([len(name)]) + name.encode() + b"\x12" + bytes([len(value)]) + value
        return b"\n" + bytes([len(field)]) + field

    zigzag = 2 * 1_250
    integer = b"\x08" + bytes([zigzag & 127 | 128, zigzag >> 7])
    fields = named("credit", integer) + named("report", text("S-1"))
    fields += named("supplier", text("T1-STATOR"))
    body = b"\n\5scrap" + b"\x12" + bytes([len(fields)]) + fields
    raw = example_bytes("event.contract")

    assert raw.endswith(bytes([54 << 3 & 127 | 2 | 128, 54 >> 4, len(body)]) + body)
    assert what_follows("event.contract")["event id"] == leaf_hash(raw) not in event_ids()


def test_the_rule_receipt_names_its_event_and_says_what_the_rule_has_done() -> None:
    document = joined_text("receipt.document")
    head = struct.pack(">BQQQH", 2, 16, 4, 1767600240250, 0)
    said = receipt()

    assert example_bytes("leaf.receipt") == (
        b"lotmark/entry/v1\n" + head + u64(14) + u16(0) + document
    )
    assert json.dumps(said, sort_keys=True, separators=(",", ":")).encode() == document
    assert said["event"] == str(14 + 1 + 0)
    assert said["package_hash"] == list(what_follows("package.archive").values())[1].hex()
    assert (said["package"], said["version"], said["rule"]) == ("scrap", "1", "credit")
    assert said["status"] == "done"


def test_the_rows_about_the_package_follow_from_the_change_the_archive_and_the_receipt() -> None:
    package = bytes.fromhex(receipt()["package_hash"])
    hashed = what_follows("package.change")["change hash"]
    approvals = u16(2) + b"".join(map(str8, PARTIES))
    credit = 1_250
    balances = {"party:OEM-A": credit, "party:T1-STATOR": -credit}
    expected = {
        row_key(18, NAME): u32(1) + b"\0",
        row_key(19, NAME, u32(1)): package + hashed + u64(4) + approvals,
        row_key(21, hashed): b"\2" + u64(3) + u64(3) + approvals + example_bytes("package.change"),
        row_key(23, hashed, b"\0"): example_bytes("package.archive"),
        row_key(24, NAME, b"credited", b"T1-STATOR"): b"\x08\xc4\x13",
        row_key(25, NAME, b"credit", b"S-1"): u64(15),
        **{
            row_key(26, NAME, b"EUR", account.encode()): struct.pack(">q", minor)
            for account, minor in balances.items()
        },
    }
    raws = [raw for _, raw in example_fields("package.rows")]

    assert dict(zip(raws[::2], raws[1::2], strict=True)) == expected
    assert raws[::2] == sorted(expected)
