"""Changes of rule packages: what is signed, and how a package is carried."""

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.errors import MalformedError
from lotmark.event_rules import PACKAGE_PART_SIZE_MAX
from lotmark.package_change import (
    PART_SIZE_MAX,
    PARTS_MAX,
    ChangeKind,
    archive_parts,
    change_approval_statement,
    change_bytes,
    change_hash,
    encode_archive,
    kind_of,
    name_of,
    parse_archive,
)
from lotmark.v1 import contracts_pb2
from tests.proto.damaged_bytes import damaged_or_arbitrary

HASH, CHAIN = bytes(range(32)), b"c" * 32
PATHS = st.text("abcxyz/._-0", min_size=1, max_size=20)
FILES = st.dictionaries(PATHS, st.binary(max_size=40), max_size=6)
SAMPLE = {"manifest.json": b"{}", "rules/a.json": b"", "tests/b.json": bytes(70)}


def activation(**fields: Any) -> contracts_pb2.PackageChange:
    asked = {"name": "scrap-credit", "version": 1, "package": HASH, "parts": [HASH], **fields}
    return contracts_pb2.PackageChange(
        expires_ms=5, activate=contracts_pb2.PackageActivation(**asked)
    )


def named(change: str, name: str) -> contracts_pb2.PackageChange:
    made = contracts_pb2.PackageChange(expires_ms=5)
    getattr(made, change).name = name
    return made


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (activation(), ChangeKind.ACTIVATE),
        (activation(version=1_000_000, parts=[HASH] * PARTS_MAX), ChangeKind.ACTIVATE),
        (activation(report=HASH, report_last_height=1), ChangeKind.ACTIVATE),
        (
            activation(report=HASH, report_first_height=7, report_last_height=7, from_height=9),
            ChangeKind.ACTIVATE,
        ),
        (named("suspend", "scrap-credit"), ChangeKind.SUSPEND),
        (named("resume", "7"), ChangeKind.RESUME),
        (named("resume", "-" * 39 + "a"), ChangeKind.RESUME),
    ],
)
def test_a_sound_change_is_of_one_kind_and_about_one_package(
    change: contracts_pb2.PackageChange, kind: ChangeKind
) -> None:
    assert kind_of(change) is kind
    assert name_of(change, kind) in {"scrap-credit", "7", "-" * 39 + "a"}


def test_the_kinds_are_the_fields_of_the_message() -> None:
    fields = contracts_pb2.PackageChange.DESCRIPTOR.fields

    assert {kind.name.lower(): int(kind) for kind in ChangeKind} == {
        field.name: field.number for field in fields if field.message_type is not None
    }


def both() -> contracts_pb2.PackageChange:
    made = activation()
    made.suspend.name = "scrap-credit"
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (contracts_pb2.PackageChange(expires_ms=5), "one thing, this one 0"),
        (both(), "one thing, this one 2"),
        (activation(name=""), "'' is no package's name"),
        (activation(name="Scrap"), "no package's name"),
        (activation(name="a_b"), "no package's name"),
        (activation(name="---"), "no package's name"),
        (activation(name="a" * 41), "no package's name"),
        (activation(name="a\n"), "no package's name"),
        (named("suspend", "a b"), "no package's name"),
        (named("resume", ""), "no package's name"),
        (activation(version=0), "version 0 is not 1 to 1,000,000"),
        (activation(version=1_000_001), "version 1000001 is not"),
        (activation(parts=[]), "0 parts; a package has 1 to 24"),
        (activation(parts=[HASH] * 25), "25 parts"),
        (activation(package=b""), "32 bytes"),
        (activation(package=bytes(33)), "32 bytes"),
        (activation(parts=[HASH, bytes(31)]), "32 bytes"),
        (activation(report=bytes(31), report_last_height=1), "32 bytes"),
        (activation(report=HASH), "come together"),
        (activation(report_last_height=1), "come together"),
        (activation(report=HASH, report_first_height=2, report_last_height=1), "come together"),
        (activation(report_first_height=1), "come together"),
    ],
)
def test_a_change_that_breaks_a_rule_is_refused(
    change: contracts_pb2.PackageChange, message: str
) -> None:
    with pytest.raises(MalformedError, match=message):
        kind_of(change)


def test_the_hash_of_a_change_is_over_its_bytes_and_the_chain() -> None:
    raw = change_bytes(activation())

    assert change_hash(CHAIN, raw) == (
        hashlib.sha256(b"lotmark/package-change/v1\n" + CHAIN + raw).digest()
    )


def test_an_approval_names_chain_change_and_party() -> None:
    signed = change_approval_statement(chain_id=CHAIN, proposal=HASH, party="OEM-A")

    assert signed == b"lotmark/package-approve/v1\n" + CHAIN + HASH + b"\5OEM-A"


@pytest.mark.parametrize(
    ("proposal", "party", "message"),
    [
        (HASH, "oem", "party"),
        (HASH, "", "party"),
        (bytes(31), "OEM-A", "32 bytes, this one 31"),
        (b"", "OEM-A", "32 bytes, this one 0"),
    ],
)
def test_nothing_else_can_be_approved(proposal: bytes, party: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        change_approval_statement(chain_id=CHAIN, proposal=proposal, party=party)


@given(files=FILES)
def test_an_archive_gives_back_its_files_by_path(files: dict[str, bytes]) -> None:
    assert parse_archive(encode_archive(files)) == files
    assert list(parse_archive(encode_archive(files))) == sorted(files)
    assert encode_archive(dict(reversed(files.items()))) == encode_archive(files)


@settings(max_examples=300)
@given(raw=damaged_or_arbitrary(encode_archive(SAMPLE)))
def test_a_damaged_archive_is_refused_or_is_that_of_other_files(raw: bytes) -> None:
    try:
        files = parse_archive(raw)
    except MalformedError:
        return
    assert encode_archive(files) == raw


def test_an_archive_cut_off_within_a_file_is_refused() -> None:
    raw = encode_archive(SAMPLE)
    whole = {len(encode_archive(dict(list(SAMPLE.items())[:count]))) for count in range(4)}
    for size in set(range(len(raw))) - whole:
        with pytest.raises(MalformedError):
            parse_archive(raw[:size])


def _entry(path: bytes, data: bytes = b"x") -> bytes:
    return len(path).to_bytes(2) + path + len(data).to_bytes(4) + data


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (_entry(b"b") + _entry(b"a"), "path b'a' does not ascend after b'b'"),
        (_entry(b"a") + _entry(b"a"), "does not ascend"),
        (_entry(b""), "path b'' does not ascend"),
        (_entry("ä".encode()), "damaged"),
        (b"\xff\xff", "cut off or damaged"),
        (_entry(b"a")[:-1] + b"", "cut off or damaged"),
        (b"\0\1a\xff\xff\xff\xff", "cut off or damaged"),
    ],
)
def test_an_archive_with_a_second_spelling_is_refused(entries: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        parse_archive(b"lotmark/package/v1\n" + entries)


def test_an_archive_of_another_version_is_refused() -> None:
    with pytest.raises(MalformedError, match="version 1"):
        parse_archive(encode_archive(SAMPLE).replace(b"/v1\n", b"/v2\n", 1))


@pytest.mark.parametrize("size", [1, PART_SIZE_MAX, PART_SIZE_MAX + 1, PARTS_MAX * PART_SIZE_MAX])
def test_parts_are_full_but_for_the_last_and_make_the_archive_again(size: int) -> None:
    archive = bytes(range(256)) * (size // 256 + 1)
    parts = archive_parts(archive[:size])

    assert b"".join(parts) == archive[:size]
    assert all(len(part) == PART_SIZE_MAX for part in parts[:-1])
    assert 1 <= len(parts[-1]) <= PART_SIZE_MAX == PACKAGE_PART_SIZE_MAX


def test_a_package_that_is_too_large_for_the_ledger_is_told_the_bound() -> None:
    with pytest.raises(MalformedError, match="368,641 bytes; 368,640 go on the ledger"):
        archive_parts(bytes(PARTS_MAX * PART_SIZE_MAX + 1))
